//! How clients of a cluster are configured, and where their own messages go.

use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::{Cluster, SetupError};

/// Pauses between attempts to connect again: a broker that is back is found within this.
const RECONNECT_MAX: Duration = Duration::from_secs(1);
/// A broker that says nothing for so long to a request is given up, and another one asked.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(6);
/// How long a broker holds a fetch that finds nothing. New records end the wait; this only bounds
/// how long a stopped fetch lingers there.
const FETCH_WAIT: Duration = Duration::from_millis(100);
/// How soon a client looks again whether what it has fetched ahead was taken.
const FETCH_AGAIN: Duration = Duration::from_millis(10);
/// Bytes of one fetch, over all partitions. A record that is larger comes even so (KIP-74).
const FETCH_BYTES_MAX: usize = 8 << 20;
/// Records, and bytes of them, that a client fetches ahead of whoever takes them. Small: what was
/// fetched ahead is thrown away when a partition is paused or taken away.
const PREFETCH_RECORDS: usize = 2_000;
const PREFETCH_BYTES: usize = 8 << 20;

impl Cluster {
    /// What every client has in common.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "millpond")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", millis(RECONNECT_MAX))
            .set("socket.timeout.ms", millis(SOCKET_TIMEOUT))
            // A lone command would wait for an acknowledgement of the segment before (RFC 896).
            .set("socket.nagle.disable", "true")
            .set_log_level(RDKafkaLogLevel::Info);
        config
    }

    /// Of a consumer of any kind: it commits no offsets by itself, and a place that is not in the
    /// topic is an error, never "latest".
    pub(crate) fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.client();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", millis(FETCH_WAIT))
            .set("fetch.error.backoff.ms", "100")
            // Its default, a second, is what catching up would wait for at every partition.
            .set("fetch.queue.backoff.ms", millis(FETCH_AGAIN))
            .set("fetch.max.bytes", FETCH_BYTES_MAX.to_string())
            .set("queued.min.messages", PREFETCH_RECORDS.to_string())
            .set(
                "queued.max.messages.kbytes",
                (PREFETCH_BYTES >> 10).to_string(),
            );
        config
    }
}

pub(super) fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// A client that could not be made: of what is configured, only the address can be at fault.
pub(crate) fn not_made(error: &KafkaError) -> SetupError {
    SetupError::config("KAFKA_BROKERS", error.to_string())
}

/// Whether the place where a consumer stands is not in the topic any more, or not yet.
#[must_use]
pub(crate) fn is_lost(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::AutoOffsetReset
            | RDKafkaErrorCode::OffsetOutOfRange
            | RDKafkaErrorCode::LogTruncation
    )
}

/// What a client says by itself goes to the log of the process.
pub(crate) fn trace(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning => tracing::warn!(facility, "kafka: {message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(facility, "kafka: {message}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(facility, "kafka: {message}"),
    }
}

/// The context of clients that need no other.
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        trace(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Whoever polls is told as well, and says what it means there.
        tracing::debug!(%error, "kafka: {reason}");
    }
}

impl ConsumerContext for Quiet {}
