//! Where a server listens, and from when on.
//!
//! From its start on, so that health and readiness answer while it waits for what it leans on: a
//! supervisor that cannot connect would start it anew, and it would never get done. Only where
//! another server of the fleet has the port is it left to that one until this one has something to
//! serve: the kernel would send half of the connections to each.

use std::net::{SocketAddr, TcpListener};

use tracing::info;

use super::Failed;
use crate::config::Config;
use crate::http::{self, Sharing, Surface};
use crate::runtime::Servers;

pub struct Place {
    variable: &'static str,
    surface: Surface,
    pub address: SocketAddr,
    /// Listeners there are to be.
    count: usize,
    sharing: Sharing,
    /// Where it does not listen yet, nothing.
    listeners: Vec<TcpListener>,
}

impl Place {
    /// The public place first, then the admin one if there is one.
    pub fn all(config: &Config, sharing: Sharing) -> Result<Vec<Self>, Failed> {
        let public = (
            "HTTP_PORT",
            Surface::Public,
            config.listen,
            config.cores.count,
        );
        let admin = config
            .admin
            .map(|address| ("ADMIN_PORT", Surface::Admin, address, 1));
        let places = [Some(public), admin].into_iter().flatten();
        places
            .map(|(variable, surface, address, count)| {
                let place = Self {
                    variable,
                    surface,
                    address,
                    count,
                    sharing,
                    listeners: Vec::new(),
                };
                place.found()
            })
            .collect()
    }

    /// Listens, unless somebody does already with whom the port may be shared.
    fn found(mut self) -> Result<Self, Failed> {
        self.address =
            http::probe(self.address, self.sharing).map_err(|error| self.failed(error))?;
        if self.sharing == Sharing::Fleet && http::is_listened_to(super::reachable(self.address)) {
            let port = self.address.port();
            info!(
                port,
                "another server has the port, and this one joins it once it is ready"
            );
            return Ok(self);
        }
        self.listen()?;
        Ok(self)
    }

    fn listen(&mut self) -> Result<(), Failed> {
        let listeners = http::bind(self.address, self.count, self.sharing);
        self.listeners = listeners.map_err(|error| self.failed(error))?;
        Ok(())
    }

    /// Has the server answer here, if it listens.
    pub fn serve(&mut self, servers: &mut Servers) -> Result<(), Failed> {
        let listeners = std::mem::take(&mut self.listeners);
        if listeners.is_empty() {
            return Ok(());
        }
        self.count = 0;
        let address = self.address;
        info!(%address, "listening");
        servers
            .serve(self.surface, listeners)
            .map_err(|error| Failed::Io("cannot start", error))
    }

    /// Has the server answer here in any case: it has something to serve.
    pub fn join(&mut self, servers: &mut Servers) -> Result<(), Failed> {
        if self.count > 0 {
            self.listen()?;
        }
        self.serve(servers)
    }

    fn failed(&self, error: std::io::Error) -> Failed {
        Failed::Listen(self.variable, self.address, error)
    }
}
