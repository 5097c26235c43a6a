//! A fleet: what its processes share, and how they are started. Each test has a database and topics
//! of its own.

use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use super::topics::PARTITIONS;
use super::{Database, Launch, Server, Stack, Topics, Worker, eventually};
use crate::services;

/// In which a fleet that was healed has done all that it was given.
pub const DRAIN: Duration = Duration::from_secs(30);

pub struct Fleet {
    /// How its servers and workers are started.
    pub launch: Launch,
    pub database: Arc<Database>,
    pub topics: Arc<Topics>,
}

/// What a fleet stands on, for as long as one of its launches is there.
#[derive(Clone)]
pub struct Ground {
    /// Applies what the servers of this launch take; started with the first of them, and ended
    /// before what it stands on.
    companion: Option<Arc<OnceLock<Worker>>>,
    _database: Arc<Database>,
    _topics: Arc<Topics>,
}

impl Ground {
    pub fn accompany(&self, launch: &Launch) {
        if let Some(companion) = &self.companion {
            companion.get_or_init(|| launch.start_worker());
        }
    }
}

impl Fleet {
    /// On the services that all tests share.
    pub fn new() -> Self {
        Self::at(&services::database_url(), &services::kafka_brokers())
    }

    /// On services of its own.
    pub fn on(stack: &Stack) -> Self {
        Self::at(
            &stack.setting("DATABASE_URL"),
            &stack.setting("KAFKA_BROKERS"),
        )
    }

    pub fn at(database_url: &str, brokers: &str) -> Self {
        let fleet = Self::unmigrated(database_url, brokers);
        let output = fleet.launch.run(&["migrate"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}\n{stderr}", output.status);
        fleet
    }

    /// With an empty database.
    pub fn unmigrated(database_url: &str, brokers: &str) -> Self {
        let database = Arc::new(Database::create(database_url));
        let topics = Arc::new(Topics::on(brokers, PARTITIONS));
        let ground = Ground {
            companion: None,
            _database: Arc::clone(&database),
            _topics: Arc::clone(&topics),
        };
        let launch = Launch::new()
            .without("DATA_DIR")
            .env("DATABASE_URL", database.url())
            .env("KAFKA_BROKERS", brokers)
            .env("KAFKA_TODO_TOPIC", &topics.commands)
            .env("RESULTS_TOPIC", &topics.results)
            .env("KAFKA_PARTITIONS", &PARTITIONS.to_string())
            .env("WORKER_METRICS_PORT", "0")
            .env("SHUTDOWN_DELAY", "0s")
            .on(ground);
        Self {
            launch,
            database,
            topics,
        }
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.launch = self.launch.env(name, value);
        self
    }

    #[track_caller]
    pub fn server(&self) -> Server {
        self.launch.start()
    }

    #[track_caller]
    pub fn worker(&self) -> Worker {
        self.launch.start_worker()
    }

    /// Commands in the log that are not applied.
    pub fn lag(&self) -> Option<u64> {
        let mut client = self.database.try_connect().ok()?;
        let query = "SELECT partition, next_offset FROM positions";
        let rows = client.query(query, &[]).ok()?;
        let mut lag = self.topics.ends();
        for row in rows {
            let (partition, next): (i32, i64) = (row.get(0), row.get(1));
            let left = &mut lag[usize::try_from(partition).unwrap()];
            *left = left.saturating_sub(u64::try_from(next).unwrap());
        }
        Some(lag.iter().sum())
    }

    /// Waits until all is applied and nothing waits to be told.
    #[track_caller]
    pub fn drained(&self) {
        eventually("the lag is 0", DRAIN, || (self.lag()? == 0).then_some(()));
        eventually("the outbox is empty", DRAIN, || {
            let count: i64 = self.database.value("SELECT count(*) FROM outbox");
            (count == 0).then_some(())
        });
    }
}

/// A launch of servers with a worker beside them, for tests that hold alone as well.
pub fn launch() -> Launch {
    let Fleet {
        launch,
        database,
        topics,
    } = Fleet::new();
    launch.on(Ground {
        companion: Some(Arc::default()),
        _database: database,
        _topics: topics,
    })
}

/// As [`super::alone::shared`], with a worker beside it.
pub fn shared() -> Arc<Server> {
    static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    Server::one_for_all(&SHARED, launch)
}
