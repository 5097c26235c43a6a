//! What is written to: the processes of one deployment, where they listen and who they are.
//!
//! A load needs no more than base URLs, a secret for tokens and the pids to count, so a fleet is
//! measured by the same scenarios as one process.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};

use crate::proc::{self, Ticks};
use crate::process::Server;
use crate::product::{Product, Setting};
use crate::session::Session;

pub struct Deployment {
    pub name: String,
    pub servers: Vec<SocketAddr>,
    pub members: Vec<Member>,
    /// Ended with it, where nobody else has them.
    _processes: Vec<Server>,
}

/// One or more processes whose CPU time counts under one name.
#[derive(Clone, Debug)]
pub struct Member {
    pub name: String,
    pub pids: Vec<u32>,
}

/// Whether a deployment limits its clients as it does by default, not at all, or for show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    Default,
    None,
    /// All reads and writes are limited, and all are admitted.
    Admitting,
}

impl Limits {
    pub fn settings(self) -> Vec<Setting> {
        let pairs: &[(&str, &str)] = match self {
            Self::Default => &[],
            Self::None => &[("RATE_LIMIT_SCOPE", "none"), ("INFLIGHT_SCOPE", "none")],
            // Redis shares a core with the server: it may be slow, and is not away for that.
            Self::Admitting => &[
                ("RATE_LIMIT_SCOPE", "all"),
                ("INFLIGHT_SCOPE", "none"),
                ("TB_CAPACITY", "1000000000"),
                ("TB_RATE", "1000000000"),
                ("TRUSTED_PROXIES", "127.0.0.0/8"),
                ("LIMITER_TIMEOUT_MS", "1000"),
            ],
        };
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
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
        })
    }

    /// Processes that somebody else has started and will end.
    pub fn of(
        name: &str,
        ports: impl Iterator<Item = u16>,
        members: impl Iterator<Item = Member>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            servers: ports.map(address).collect(),
            members: members.collect(),
            _processes: Vec::new(),
        }
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
