//! From CPU µs per request to cores: what the measured figures come to at given rates.

use std::fmt::Write;

use super::Summary;
use super::markdown::figure;
use crate::plan::MILLPOND;

/// Requests a second.
const RATES: [f64; 3] = [10_000.0, 100_000.0, 1_000_000.0];
/// Share of a core that may be used: beyond, queues grow faster than throughput.
const FILL: f64 = 0.7;

const READING: &str = "\
Cores = requests a second × CPU µs / 1,000,000 / 0.7: a core that is filled to 70 % still has room \
for what comes unevenly. It is the server's CPU alone, clients and network cards apart, as measured \
over the loopback of this machine; on a network the kernel's part differs. Bandwidth is the bytes \
of the answers, heads included.
";

/// The table of the product's scenarios; empty where it was not measured.
pub fn section(summaries: &[Summary]) -> String {
    let mut rows = String::new();
    for summary in summaries {
        let mut sides = summary.sides.iter();
        let Some(side) = sides.find(|side| side.side == MILLPOND) else {
            continue;
        };
        let (cpu, bytes) = (side.cpu.value, side.bytes.value);
        write!(rows, "| {} | {} |", summary.about, figure(cpu)).expect("a string takes all");
        for rate in RATES {
            let cores = cores(rate, cpu);
            let gigabits = rate * bytes * 8.0 / 1e9;
            write!(rows, " {} | {} |", figure(cores), figure(gigabits))
                .expect("a string takes all");
        }
        rows.push('\n');
    }
    if rows.is_empty() {
        return rows;
    }
    format!(
        "\n## What it comes to\n\n{READING}\n| Millpond | CPU µs | 10k/s: cores | Gbit/s | 100k/s: \
         cores | Gbit/s | 1M/s: cores | Gbit/s |\n|---|---|---|---|---|---|---|---|\n{rows}"
    )
}

fn cores(per_second: f64, cpu_us: f64) -> f64 {
    per_second * cpu_us / 1e6 / FILL
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{summarise, tests::run};

    #[test]
    fn seven_microseconds_a_million_times_are_ten_cores() {
        assert!((cores(1e6, 7.0) - 10.0).abs() < 1e-9);
        let text = section(&summarise(&[run(MILLPOND, 0, 7.0), run("floor", 0, 6.0)]));
        assert!(text.contains("| limit=100 | 7.00 | 0.100 |"), "{text}");
        assert!(section(&summarise(&[run("floor", 0, 6.0)])).is_empty());
    }
}
