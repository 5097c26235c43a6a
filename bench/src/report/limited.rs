//! What limits in Redis cost the rate of reads where Redis shares the server's core, in words.

use super::SATURATED;
use super::markdown::{figure, ratio};
use crate::plan::{LIMITED_BY_REDIS, MILLPOND};
use crate::record::Run;
use crate::stats::Median;

/// About the runs of `scenario` that Redis limited, each beside the one of its round without limits;
/// empty where there are none.
pub fn remark(runs: &[Run], scenario: &str) -> String {
    let of_it = || runs.iter().filter(|run| run.scenario == scenario);
    let limited = of_it().filter(|run| run.side == LIMITED_BY_REDIS);
    let pairs = limited.filter_map(|run| {
        let mut alone = of_it().filter(|other| other.side == MILLPOND);
        let alone = alone.find(|other| other.round == run.round)?;
        Some(Pair {
            rate: run.requests_per_second() / alone.requests_per_second(),
            redis: run.companions_cores?,
            client_alone: alone.client_use,
        })
    });
    let pairs: Vec<Pair> = pairs.collect();
    let median = |of: fn(&Pair) -> f64| Median::of(pairs.iter().map(of));
    let (Some(rate), Some(redis), Some(client_alone)) = (
        median(|pair| pair.rate),
        median(|pair| pair.redis * 100.0),
        median(|pair| pair.client_alone),
    ) else {
        return String::new();
    };
    let mut text = format!(
        "\nLimited by Redis, there are {} of the reads a second. Redis uses {} % ({}–{}) of the core \
         that it shares with the server.",
        ratio(&rate),
        figure(redis.value),
        figure(redis.low),
        figure(redis.high),
    );
    if client_alone.value >= SATURATED {
        text += " Without limits it is the client that decides how many reads there are: what a limit \
                 costs is the CPU time of the server and of Redis.";
    }
    text + "\n"
}

/// Two runs of one round.
struct Pair {
    /// Limited, as a share of the reads without limits.
    rate: f64,
    redis: f64,
    client_alone: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::run;

    fn limited(round: u32, requests: u64) -> Run {
        Run {
            companions_cores: Some(0.2),
            requests,
            ..run(LIMITED_BY_REDIS, round, 9.0)
        }
    }

    #[test]
    fn the_rate_is_compared_within_a_round() {
        let alone = |round, requests| Run {
            requests,
            ..run(MILLPOND, round, 6.0)
        };
        // The machine is twice as slow in the second round; the ratio is not.
        let runs = [
            alone(0, 1_000),
            limited(0, 600),
            limited(1, 300),
            alone(1, 500),
        ];
        let text = remark(&runs, "limit-100");
        assert!(text.contains("0.60 (0.60–0.60) of the reads"), "{text}");
        assert!(
            text.ends_with("uses 20.0 % (20.0–20.0) of the core that it shares with the server.\n"),
            "{text}"
        );
    }

    #[test]
    fn where_the_client_is_full_it_is_said() {
        let full = Run {
            client_use: 1.0,
            ..run(MILLPOND, 0, 6.0)
        };
        let text = remark(&[full, limited(0, 600)], "limit-100");
        assert!(text.contains("it is the client that decides"), "{text}");
    }

    #[test]
    fn where_redis_limits_nothing_nothing_is_said() {
        assert!(remark(&[run(MILLPOND, 0, 4.0)], "limit-100").is_empty());
    }
}
