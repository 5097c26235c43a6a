//! A fleet: servers and workers over services that run already, with a database and topics of its own
//! there. The topics stay behind: they are named `bench_*`, and `make down CLEAN=1` removes them with
//! the rest of a stack.

use anyhow::{Context, Result};

use crate::deployment::{Deployment, Limits, Member};
use crate::loader;
use crate::process::Server;
use crate::product::{Product, Setting};
use crate::progress::Progress;
use crate::record::{Figure, FleetSetting, Line, Table, Writer};
use crate::session::Session;
use crate::stack::{Database, PARTITIONS, Stack};
use crate::writes;

const SERVERS: usize = 2;
pub const WORKERS: usize = 2;

/// A Kafka that has just been started is several times slower than one whose code is compiled, so a
/// fleet is warmed until two runs in a row are alike.
const WARM_UP_RUNS_MAX: u32 = 12;
pub const WARM_UP_SECONDS: u32 = 2;
/// How much two runs in a row may differ.
const ALIKE: f64 = 0.1;

pub struct Fleet<'a> {
    session: &'a Session,
    product: &'a Product,
    settings: Vec<Setting>,
    services: Vec<Member>,
    brokers: usize,
    /// Ended in this order, and before the database.
    servers: Vec<Server>,
    workers: Vec<Server>,
    pub database: Database,
}

impl<'a> Fleet<'a> {
    /// Two servers and two workers.
    pub fn start(session: &'a Session, product: &'a Product, limits: Limits) -> Result<Self> {
        let mut fleet = Self::prepare(session, product, limits)?;
        fleet.start_workers(WORKERS)?;
        fleet.start_servers()?;
        Ok(fleet)
    }

    /// A database with the product's schema, and no process yet.
    pub fn prepare(session: &'a Session, product: &'a Product, limits: Limits) -> Result<Self> {
        let stack = session.stack.as_deref();
        let stack = Stack::read(stack.context("no stack was named: --fleet FILE")?)?;
        let name = format!("bench_{}_{}", std::process::id(), session.seed());
        let mut settings = session.settings(limits);
        let database = Database::create(&stack.database_url, &name)?;
        settings.extend(stack.settings(&name, &database));
        product.migrate(&session.fresh("data-migrate")?, &settings)?;
        Ok(Self {
            session,
            product,
            settings,
            services: stack.members()?,
            brokers: stack.brokers(),
            servers: Vec::new(),
            workers: Vec::new(),
            database,
        })
    }

    pub fn start_servers(&mut self) -> Result<()> {
        for nth in 0..SERVERS {
            let server = self.start_server(nth)?;
            self.servers.push(server);
        }
        Ok(())
    }

    /// One that the caller ends.
    pub fn start_server(&self, nth: usize) -> Result<Server> {
        let session = self.session;
        let data = session.fresh(&format!("data-server-{nth}"))?;
        let log = session.log(&format!("server-{nth}"));
        let cores = session.all_cores();
        self.product.start_on(&data, &cores, &log, &self.settings)
    }

    pub fn start_workers(&mut self, count: usize) -> Result<()> {
        let session = self.session;
        for nth in 0..count {
            let data = session.fresh(&format!("data-worker-{nth}"))?;
            let log = session.log(&format!("worker-{nth}"));
            let cores = session.all_cores();
            let worker = self
                .product
                .start_worker(&data, &cores, &log, &self.settings)?;
            self.workers.push(worker);
        }
        Ok(())
    }

    pub fn stop_servers(&mut self) {
        self.servers.clear();
    }

    pub fn stop_workers(&mut self) {
        self.workers.clear();
    }

    /// Those that run now, for a load.
    pub fn deployment(&self) -> Deployment {
        let of = |name: &str, processes: &[Server]| {
            let pids: Vec<u32> = processes.iter().map(Server::pid).collect();
            let name = name.to_owned();
            (!pids.is_empty()).then_some(Member { name, pids })
        };
        let own = [of("servers", &self.servers), of("workers", &self.workers)];
        let services = self.services.iter().cloned();
        let ports = self.servers.iter().map(|server| server.port);
        Deployment::of("fleet", ports, own.into_iter().flatten().chain(services))
    }

    /// Creates until two runs in a row are alike, and puts on record what the fleet is made of.
    pub fn warm_up(&self, raw: &mut Writer, progress: &Progress) -> Result<()> {
        let deployment = self.deployment();
        let mut before = f64::INFINITY;
        let mut is_warm = false;
        for round in 0..WARM_UP_RUNS_MAX {
            progress.say(&format!("fleet: warms up, run {}", round + 1));
            let seconds = f64::from(WARM_UP_SECONDS);
            let loaded = loader::run(self.session, &deployment, writes::CREATES, seconds)?;
            let good: u64 = loaded.told.kinds.iter().map(|kind| kind.good).sum();
            let rate = good as f64 / loaded.told.seconds;
            let row = format!("run {}", round + 1);
            raw.put(Line::Figure(Figure::of(
                Table::WarmUp,
                &row,
                "creates acknowledged/s",
                rate,
            )))?;
            is_warm = (rate - before).abs() <= ALIKE * before.min(rate);
            if is_warm {
                break;
            }
            before = rate;
        }
        raw.put(Line::Fleet(FleetSetting {
            servers: SERVERS,
            workers: WORKERS,
            services: self.services.iter().map(|it| it.name.clone()).collect(),
            brokers: self.brokers,
            partitions: PARTITIONS,
            is_warm,
        }))
    }
}
