//! What the parts behind the HTTP side count. Each part registers its own where it lives: a server
//! of a fleet applies nothing, a worker serves no list.

use std::time::Duration;

use prometheus::process_collector::ProcessCollector;
use prometheus::{Histogram, IntCounter, IntGauge, Opts, Registry};

use super::{Metrics, register};

/// What every process has: CPU time, memory, open files; and its version, in the label of what is
/// always 1.
pub(super) fn process() -> Registry {
    let registry = Registry::new();
    register(&registry, ProcessCollector::for_self());
    let version = Opts::new("build_info", "The version that runs")
        .const_label("version", env!("CARGO_PKG_VERSION"));
    let build = IntGauge::with_opts(version).expect("a valid metric");
    build.set(1);
    register(&registry, build);
    registry
}

/// What a worker counts, alone and in a fleet.
#[derive(Clone)]
pub struct WorkerMetrics {
    pub commands: IntCounter,
    pub dead_letters: IntCounter,
    pub batches: IntCounter,
    pub batches_refused: IntCounter,
    pub apply_seconds: Histogram,
}

impl WorkerMetrics {
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            commands: metrics.counter(
                "commands_applied_total",
                "Commands taken from the log and applied, rejected or dead-lettered",
            ),
            dead_letters: metrics
                .counter("dead_letters_total", "Commands that became dead letters"),
            batches: metrics.counter("batches_applied_total", "Transactions that applied a batch"),
            batches_refused: metrics.counter(
                "batches_refused_total",
                "Batches that were not applied: alone, their clients were told so; in a fleet they \
                 are tried again",
            ),
            apply_seconds: metrics.histogram(
                "apply_duration_seconds",
                "Time that a batch's transaction took",
            ),
        }
    }

    /// Counts a batch that was applied, and how long its transaction took.
    pub fn batch(&self, commands: usize, dead_letters: usize, took: Duration) {
        self.batches.inc();
        self.commands.inc_by(commands as u64);
        self.dead_letters.inc_by(dead_letters as u64);
        self.apply_seconds.observe(took.as_secs_f64());
    }
}

/// What a worker counts in a fleet only.
#[derive(Clone)]
pub struct ShareMetrics {
    pub partitions: IntGauge,
    pub lag: IntGauge,
    pub outbox: IntGauge,
    pub restarts: IntCounter,
    pub stood_aside: IntCounter,
    pub publish_failures: IntCounter,
}

impl ShareMetrics {
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            partitions: metrics.settable(
                "worker_partitions",
                "Partitions of the log that are this worker's",
            ),
            lag: metrics.settable(
                "log_lag_commands",
                "Commands of its partitions that were acknowledged and not applied, a moment ago",
            ),
            outbox: metrics.settable(
                "outbox_ranges",
                "Applied ranges of its partitions that were not in the feed at the last look",
            ),
            restarts: metrics.counter(
                "worker_restarts_total",
                "Times that it began again where the store stands: after conflicts and lost replies",
            ),
            stood_aside: metrics.counter(
                "worker_stood_aside_total",
                "Times that it left its partitions to others, since the store did not answer",
            ),
            publish_failures: metrics.counter(
                "feed_publish_failures_total",
                "Times that the feed did not take what was applied",
            ),
        }
    }
}

/// What the renewal of snapshots counts.
#[derive(Clone)]
pub struct SnapshotMetrics {
    pub publish_seconds: Histogram,
}

impl SnapshotMetrics {
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            publish_seconds: metrics.histogram(
                "snapshot_publish_duration_seconds",
                "Time from taking changes off the feed to the snapshot that shows them",
            ),
        }
    }
}

/// What a server of a fleet counts.
#[derive(Clone)]
pub struct FollowerMetrics {
    pub lag: IntGauge,
    pub ranges: IntCounter,
    pub commands: IntCounter,
    pub reloads: IntCounter,
    pub reload_seconds: Histogram,
}

impl FollowerMetrics {
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            lag: metrics.settable(
                "snapshot_lag_commands",
                "Commands that PostgreSQL had applied and this server did not serve, a moment ago",
            ),
            ranges: metrics.counter(
                "feed_ranges_total",
                "Applied ranges that came through the feed and are served",
            ),
            commands: metrics.counter("feed_commands_total", "Commands of these ranges"),
            reloads: metrics.counter(
                "snapshot_reloads_total",
                "Times that the todos were loaded anew, since the feed did not lead on",
            ),
            reload_seconds: metrics.histogram(
                "snapshot_reload_duration_seconds",
                "Time from finding that out to serving what was loaded",
            ),
        }
    }
}
