//! What makes a fleet: PostgreSQL and Kafka, together or not at all.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{BadConfig, bad, values};

/// Partitions that a command topic can have, at most: each is a row, a mark and a queue.
const PARTITIONS_MAX: u16 = 1_024;
/// Connections of a pool, at most: PostgreSQL itself allows 100 unless told otherwise.
const POOL_SIZE_MAX: u32 = 1_000;
/// Characters of a topic's name, at most: Kafka's own limit.
const TOPIC_CHARS_MAX: usize = 249;

/// The variables of a fleet. The doc comments are the text of `--help`.
#[derive(Args, Clone, Debug)]
pub struct FleetSettings {
    /// PostgreSQL of a fleet, as in `postgres://user:password@host/database`; with KAFKA_BROKERS or
    /// not at all
    #[arg(long, env, global = true, hide_env_values = true)]
    pub(super) database_url: Option<String>,
    /// File that holds DATABASE_URL
    #[arg(long, env, global = true)]
    pub(super) database_url_file: Option<PathBuf>,
    /// Connections of a server to PostgreSQL, at most
    #[arg(long, env, global = true, default_value_t = 16)]
    pub(super) db_pool_size: u32,
    /// Kafka brokers of a fleet, as in `host:9092,other:9092`; with DATABASE_URL or not at all
    #[arg(long, env, global = true)]
    pub(super) kafka_brokers: Option<String>,
    /// Another name of KAFKA_BROKERS
    #[arg(long, env, global = true)]
    pub(super) kafka_bootstrap_servers: Option<String>,
    /// Topic of the commands, and group of its workers
    #[arg(long, env, global = true, default_value = "todo-commands")]
    pub(super) kafka_todo_topic: String,
    /// Partitions of that topic; they cannot be changed later
    #[arg(long, env, global = true, default_value_t = 8)]
    pub(super) kafka_partitions: u16,
    /// Topic of what was applied, which every server follows
    #[arg(long, env, global = true, default_value = "results")]
    pub(super) results_topic: String,
    /// Brokers that hold each record; 3 in production
    #[arg(long, env, global = true, default_value_t = 1)]
    pub(super) kafka_replication: u16,
    /// Brokers that must have a command before it is acknowledged; 2 in production
    #[arg(long, env, global = true, default_value_t = 1)]
    pub(super) kafka_min_insync: u16,
    /// How long a write waits for others to travel with to Kafka, and for how long new todos keep to
    /// the same partitions
    #[arg(long, env, global = true, default_value = "5ms", value_parser = values::span)]
    pub(super) kafka_linger: Duration,
    /// Port of a worker's health, readiness and metrics; 0 takes a free one
    #[arg(long, env, global = true, default_value_t = 9464)]
    pub(super) worker_metrics_port: u16,
}

/// What is done decides what must be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Both or neither, and in a fleet a key that all servers share.
    Serve,
    /// Both.
    Work,
    /// Both or neither.
    Write,
    /// `DATABASE_URL` is enough.
    Database,
    /// Both or neither, and in a fleet the key.
    Sign,
    /// Whatever is set is not used.
    Ask,
}

impl Purpose {
    pub(super) fn wants_key(self) -> bool {
        matches!(self, Self::Serve | Self::Sign)
    }
}

#[derive(Clone)]
pub struct Database {
    pub url: String,
    pub pool_size: u32,
}

impl std::fmt::Debug for Database {
    /// The address holds a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pool_size, .. } = self;
        f.debug_struct("Database")
            .field("pool_size", pool_size)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
pub struct Log {
    pub brokers: String,
    pub todo_topic: String,
    pub partitions: u16,
    pub results_topic: String,
    pub replication: u16,
    pub min_insync: u16,
    pub linger: Duration,
}

/// What of a fleet is configured. Unless the purpose is [`Purpose::Database`], both or neither.
#[derive(Clone, Debug)]
pub struct Fleet {
    pub database: Option<Database>,
    pub log: Option<Log>,
}

impl FleetSettings {
    pub(super) fn check(self, purpose: Purpose) -> Result<Fleet, BadConfig> {
        let fleet = Fleet {
            database: self.database()?,
            log: self.log()?,
        };
        match (&fleet.database, &fleet.log) {
            (Some(_), None) if purpose != Purpose::Database => Err(bad(
                "KAFKA_BROKERS",
                "is missing: DATABASE_URL is set, and a fleet needs both; unset that to work alone",
            )),
            (None, Some(_)) => Err(bad(
                "DATABASE_URL",
                "is missing: KAFKA_BROKERS is set, and a fleet needs both; unset that to work alone",
            )),
            (None, None) if purpose == Purpose::Work => Err(bad(
                "DATABASE_URL",
                "is missing, and so is KAFKA_BROKERS: a worker is part of a fleet; alone, \
                 `millpond serve` applies its writes itself",
            )),
            _ => Ok(fleet),
        }
    }

    fn database(&self) -> Result<Option<Database>, BadConfig> {
        let url = values::secret(
            ("DATABASE_URL", self.database_url.as_deref()),
            ("DATABASE_URL_FILE", self.database_url_file.as_deref()),
        )?;
        let pool_size = self.db_pool_size;
        if !(1..=POOL_SIZE_MAX).contains(&pool_size) {
            let problem = format!("{pool_size} is not between 1 and {POOL_SIZE_MAX}");
            return Err(bad("DB_POOL_SIZE", problem));
        }
        Ok(url.map(|url| Database { url, pool_size }))
    }

    fn log(&self) -> Result<Option<Log>, BadConfig> {
        self.check_topics()?;
        let (partitions, replication) = (self.kafka_partitions, self.kafka_replication);
        if !(1..=PARTITIONS_MAX).contains(&partitions) {
            let problem = format!("{partitions} is not between 1 and {PARTITIONS_MAX}");
            return Err(bad("KAFKA_PARTITIONS", problem));
        }
        if replication == 0 {
            return Err(bad("KAFKA_REPLICATION", "must be at least 1"));
        }
        if !(1..=replication).contains(&self.kafka_min_insync) {
            let problem =
                format!("must be between 1 and KAFKA_REPLICATION, which is {replication}");
            return Err(bad("KAFKA_MIN_INSYNC", problem));
        }
        if self.kafka_linger > values::LINGER_MAX {
            let problem = "must be at most 1s: every write waits for it";
            return Err(bad("KAFKA_LINGER", problem));
        }
        let brokers = self.brokers()?;
        Ok(brokers.map(|brokers| Log {
            brokers,
            todo_topic: self.kafka_todo_topic.clone(),
            partitions,
            results_topic: self.results_topic.clone(),
            replication,
            min_insync: self.kafka_min_insync,
            linger: self.kafka_linger,
        }))
    }

    fn brokers(&self) -> Result<Option<String>, BadConfig> {
        let named = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        match (
            named(&self.kafka_brokers),
            named(&self.kafka_bootstrap_servers),
        ) {
            (Some(one), Some(other)) if one != other => Err(bad(
                "KAFKA_BOOTSTRAP_SERVERS",
                "is another name of KAFKA_BROKERS, and they differ; set one of them",
            )),
            (Some(brokers), _) => listed("KAFKA_BROKERS", brokers).map(Some),
            (None, Some(brokers)) => listed("KAFKA_BOOTSTRAP_SERVERS", brokers).map(Some),
            (None, None) => Ok(None),
        }
    }

    fn check_topics(&self) -> Result<(), BadConfig> {
        let topics = [
            ("KAFKA_TODO_TOPIC", &self.kafka_todo_topic),
            ("RESULTS_TOPIC", &self.results_topic),
        ];
        let is_name = |text: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            (1..=TOPIC_CHARS_MAX).contains(&text.len())
                && text.bytes().all(fits)
                && ![".", ".."].contains(&text)
        };
        if let Some((variable, _)) = topics.iter().find(|(_, topic)| !is_name(topic)) {
            return Err(bad(
                variable,
                "must be 1 to 249 characters of A-Z, a-z, 0-9, `.`, `_` and `-`",
            ));
        }
        if self.kafka_todo_topic == self.results_topic {
            return Err(bad("RESULTS_TOPIC", "must differ from KAFKA_TODO_TOPIC"));
        }
        Ok(())
    }
}

/// The Kafka client drops what it cannot read, and would wait for nobody for ever.
fn listed(variable: &'static str, brokers: String) -> Result<String, BadConfig> {
    let is_host = |part: &str| {
        let host = part.trim();
        !host.is_empty() && !host.starts_with(':') && !host.contains(char::is_whitespace)
    };
    if brokers.split(',').all(is_host) {
        return Ok(brokers);
    }
    Err(bad(variable, "must be a list as in host:9092,other:9092"))
}
