//! What is written to: the processes of one deployment, where they listen and who they are.
//!
//! A load needs no more than base URLs, a secret for tokens and the pids to count, so a fleet is
//! measured by the same scenarios as one process.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};

use crate::fleet::{self, Database};
use crate::proc::{self, Ticks};
use crate::process::Server;
use crate::product::{Product, Setting};
use crate::session::Session;

pub struct Deployment {
    pub name: String,
    pub servers: Vec<SocketAddr>,
    pub members: Vec<Member>,
    /// Ended with it, and before the database.
    _processes: Vec<Server>,
    _database: Option<Database>,
}

/// One or more processes whose CPU time counts under one name.
#[derive(Clone, Debug)]
pub struct Member {
    pub name: String,
    pub pids: Vec<u32>,
}

/// Whether a deployment limits its clients as it does by default, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    Default,
    None,
}

impl Limits {
    pub fn settings(self) -> Vec<Setting> {
        match self {
            Self::Default => Vec::new(),
            Self::None => vec![
                ("RATE_LIMIT_SCOPE".to_owned(), "none".to_owned()),
                ("INFLIGHT_SCOPE".to_owned(), "none".to_owned()),
            ],
        }
    }
}

impl Deployment {
    /// One process over `SQLite`, on the server's core, with the seeded todos.
    pub fn alone(session: &Session, product: &Product, limits: Limits) -> Result<Self> {
        let label = &product.label;
        let data = session.data(label)?;
        let settings = session.settings(limits);
        let server = product.start(&data, session.server_core, &session.log(label), &settings)?;
        Ok(Self {
            name: label.clone(),
            servers: vec![address(server.port)],
            members: vec![Member {
                name: label.clone(),
                pids: vec![server.pid()],
            }],
            _processes: vec![server],
            _database: None,
        })
    }

    /// Two servers and two workers over the services of a stack's environment file.
    pub fn fleet(session: &Session, product: &Product, limits: Limits) -> Result<Self> {
        let stack = session.stack.as_deref();
        let stack = stack.context("no stack was named: --fleet FILE")?;
        let fleet = fleet::start(session, product, stack, &session.settings(limits))?;
        Ok(Self {
            name: "fleet".to_owned(),
            servers: fleet.ports.into_iter().map(address).collect(),
            members: fleet.members,
            _processes: fleet.processes,
            _database: Some(fleet.database),
        })
    }

    /// CPU time of each member so far.
    pub fn used(&self) -> Result<Vec<(String, Ticks)>> {
        let members = self.members.iter();
        members
            .map(|member| {
                let usage = proc::trees(&member.pids)
                    .with_context(|| format!("{} is away", member.name))?;
                Ok((member.name.clone(), usage.cpu))
            })
            .collect()
    }
}

fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
