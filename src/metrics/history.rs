//! The last half hour, a point a second: what the dashboard draws.
//!
//! A point is made of two looks (`look`) at what `/metrics` tells, so the two never say different
//! things.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use prometheus::proto::MetricFamily;
use serde::{Serialize, Serializer};

use super::look::{Look, SERIES, names};

/// Time from one look to the next.
pub const EVERY: Duration = Duration::from_secs(1);
/// Points that are kept: half an hour, about 200 bytes each.
const POINTS_MAX: usize = 1_800;

struct Point {
    /// Milliseconds since 1970.
    at: i64,
    /// Not a number where there is none.
    values: [f32; SERIES],
}

impl Point {
    fn value(&self, nth: usize) -> Option<f32> {
        Some(self.values[nth]).filter(|value| !value.is_nan())
    }
}

#[derive(Default)]
struct Kept {
    last: Option<Look>,
    points: VecDeque<Point>,
}

/// The points, oldest first.
#[derive(Default)]
pub(super) struct History(Mutex<Kept>);

/// Points as a chart takes them: a column of times, and one for each series.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Columns {
    /// Milliseconds since 1970.
    pub at: Vec<i64>,
    /// Those that have a value at one of the times; `None` at the others.
    #[serde(serialize_with = "by_name")]
    pub series: Vec<(&'static str, Vec<Option<f32>>)>,
}

fn by_name<S: Serializer>(
    series: &[(&'static str, Vec<Option<f32>>)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(series.iter().map(|(name, values)| (name, values)))
}

impl History {
    /// Adds a point, after the first look. `took` is the time since the look before.
    pub fn look(&self, families: &[MetricFamily], at: i64, took: Duration) {
        let look = Look::at(families);
        let mut kept = self.kept();
        if let Some(before) = &kept.last
            && !took.is_zero()
        {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a chart shows no more than three digits"
            )]
            let values = look
                .since(before, took)
                .map(|value| value.map_or(f32::NAN, |value| value as f32));
            // Where the clock was set back, what lies after it now would stand before it.
            while kept.points.back().is_some_and(|point| point.at >= at) {
                kept.points.pop_back();
            }
            if kept.points.len() == POINTS_MAX {
                kept.points.pop_front();
            }
            kept.points.push_back(Point { at, values });
        }
        kept.last = Some(look);
    }

    /// The points after a time.
    pub fn after(&self, time: i64) -> Columns {
        let kept = self.kept();
        let first = kept.points.partition_point(|point| point.at <= time);
        let newer = || kept.points.range(first..);
        let column = |(nth, name): (usize, _)| {
            let values = newer().map(|point| point.value(nth));
            let values: Vec<_> = values.collect();
            let is_used = values.iter().any(Option::is_some);
            is_used.then_some((name, values))
        };
        Columns {
            at: newer().map(|point| point.at).collect(),
            series: names().enumerate().filter_map(column).collect(),
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        let kept = self.0.lock();
        kept.unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Admission, Handler, Metrics};
    use hyper::{Method, StatusCode};

    fn column(columns: &Columns, wanted: &str) -> Vec<Option<f32>> {
        let mut series = columns.series.iter();
        let found = series.find(|(name, _)| *name == wanted);
        found.map(|(_, values)| values.clone()).unwrap_or_default()
    }

    #[test]
    fn a_point_is_what_happened_since_the_look_before() {
        let metrics = Metrics::new(2);
        metrics.gauge("snapshot_todos", "Todos", || 7.0);
        let request = |handler, status, count| {
            let took = Duration::from_micros(60);
            metrics
                .core(1)
                .requests(handler, &Method::GET, status, count, took);
        };
        request(Handler::Todos, StatusCode::OK, 1_000);
        metrics.look(1_000, EVERY);
        assert_eq!(metrics.after(0), Columns::default(), "one look is no point");
        request(Handler::Todos, StatusCode::OK, 100);
        request(Handler::Health, StatusCode::OK, 1_000);
        metrics.core(0).admission(Admission::OverRate);
        metrics.look(3_000, 2 * EVERY);
        metrics.look(4_000, EVERY);
        let columns = metrics.after(0);
        assert_eq!(columns.at, [3_000, 4_000]);
        assert_eq!(column(&columns, "200"), [Some(50.0), None]);
        assert_eq!(column(&columns, "throttled_rate"), [Some(0.5), Some(0.0)]);
        assert_eq!(column(&columns, "todos"), [Some(7.0), Some(7.0)]);
        // All of them are between 50 and 100 µs.
        assert_eq!(column(&columns, "p50"), [Some(0.075), None]);
        // What nobody counts is not there.
        assert!(column(&columns, "lag").is_empty());
        assert_eq!(metrics.after(3_000).at, [4_000]);
        assert!(metrics.after(4_000).at.is_empty());
    }

    #[test]
    fn points_stand_in_order_also_after_the_clock_was_set_back() {
        let metrics = Metrics::new(1);
        for at in [1_000, 2_000, 3_000, 4_000, 2_500, 3_500] {
            metrics.look(at, EVERY);
        }
        assert_eq!(metrics.after(0).at, [2_000, 2_500, 3_500]);
        assert_eq!(metrics.after(2_500).at, [3_500]);
    }

    #[test]
    fn half_an_hour_is_kept() {
        let metrics = Metrics::new(1);
        let looks = i64::try_from(POINTS_MAX).unwrap() + 10;
        for at in 0..=looks {
            metrics.look(at, EVERY);
        }
        let kept = metrics.after(0).at;
        assert_eq!(kept.len(), POINTS_MAX);
        assert_eq!(kept.last(), Some(&looks));
    }
}
