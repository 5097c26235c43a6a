//! What writes cost the reads beside them, in words.

use super::markdown::{figure, ratio, thousands};
use crate::plan::MILLPOND;
use crate::record::Run;
use crate::stats::Median;

/// Of the reads that a CPU second makes without writes, those that it is to make beside them.
const GOAL: f64 = 0.85;

/// About the runs of `scenario` that were written to, each beside the one of its round that was not;
/// empty where there are none.
pub fn remark(runs: &[Run], scenario: &str) -> String {
    let of_it = || runs.iter().filter(|run| run.scenario == scenario);
    let pairs = of_it().filter_map(|run| {
        let mut alone = of_it().filter(|other| other.side == MILLPOND);
        let alone = alone.find(|other| other.round == run.round)?;
        Some(Pair {
            alone,
            written: run,
            applied: run.applied_per_second?,
        })
    });
    let pairs: Vec<Pair<'_>> = pairs.collect();
    let (Some(applied), Some(cost), Some(rate), Some(each), Some(left)) = (
        median(&pairs, |pair| pair.applied),
        median(&pairs, Pair::cost),
        median(&pairs, |pair| 1.0 / pair.cost()),
        median(&pairs, Pair::cpu_us_per_write),
        median(&pairs, Pair::left_of_a_core),
    ) else {
        return String::new();
    };
    format!(
        "\nBeside {} writes applied a second ({}–{}), a read costs {} × what it costs without, all of \
         the process counted: {} of the reads per CPU time. {GOAL} is the goal. Each write comes to \
         {} CPU µs ({}–{}). The fewer reads there are, the more of the time is the writes': beside so \
         many, a core that is full would make {} of the reads that it makes without.\n",
        thousands(applied.value),
        thousands(applied.low),
        thousands(applied.high),
        ratio(&cost),
        ratio(&rate),
        figure(each.value),
        figure(each.low),
        figure(each.high),
        ratio(&left),
    )
}

fn median<'a>(pairs: &[Pair<'a>], of: fn(&Pair<'a>) -> f64) -> Option<Median> {
    Median::of(pairs.iter().map(of))
}

/// Two runs of one round.
struct Pair<'a> {
    alone: &'a Run,
    written: &'a Run,
    applied: f64,
}

impl Pair<'_> {
    /// Of a read beside writes, as a multiple of one without.
    fn cost(&self) -> f64 {
        self.written.cpu_us_per_request() / self.alone.cpu_us_per_request()
    }

    /// What the reads alone do not account for, per write.
    fn cpu_us_per_write(&self) -> f64 {
        let more = self.written.cpu_us_per_request() - self.alone.cpu_us_per_request();
        let writes = self.applied * self.written.seconds;
        more * self.written.requests as f64 / writes
    }

    /// What writes leave of a core for reads.
    fn left_of_a_core(&self) -> f64 {
        1.0 - self.applied * self.cpu_us_per_write() / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::run;

    #[test]
    fn writes_are_told_by_what_they_add_within_a_round() {
        let written = |round, micros| Run {
            applied_per_second: Some(1_000.0),
            ..run("written-to", round, micros)
        };
        // The machine is twice as slow in the second round; the ratio is not.
        let runs = [
            run(MILLPOND, 0, 4.0),
            written(0, 5.0),
            written(1, 10.0),
            run(MILLPOND, 1, 8.0),
        ];
        let text = remark(&runs, "limit-100");
        assert!(text.contains("Beside 1,000 writes"), "{text}");
        assert!(text.contains("1.25 (1.25–1.25) ×"), "{text}");
        assert!(text.contains("0.80 (0.80–0.80) of the reads"), "{text}");
        // A thousand reads in two seconds, beside two thousand writes.
        assert!(text.contains("0.750 CPU µs (0.500–1.00)"), "{text}");
        assert!(text.contains("would make 1.00 (1.00–1.00)"), "{text}");
    }

    #[test]
    fn where_nobody_writes_nothing_is_said() {
        assert!(remark(&[run(MILLPOND, 0, 4.0)], "limit-100").is_empty());
    }
}
