//! A network between store and server that breaks where it is told to.

use std::future::pending;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Database;
use crate::store::postgres::{self, Address};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    Works,
    /// Connections stay open and carry nothing.
    Hangs,
    /// Connections are cut before a `COMMIT` reaches the server.
    CutsBeforeCommit,
    /// Connections are cut before the answer to a `COMMIT` reaches the store.
    CutsAfterCommit,
    /// No answer to a `COMMIT` reaches the store, and nothing after it.
    HangsAfterCommit,
}

pub struct Proxy {
    at: SocketAddr,
    network: watch::Sender<Network>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub async fn before(database: &Database) -> Self {
        let (_, server) = database.url.rsplit_once('@').unwrap();
        let server = server.split('/').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (network, seen) = watch::channel(Network::Works);
        let at = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (server, seen) = (server.clone(), seen.clone());
                tokio::spawn(async move { drop(carry(client, &server, seen).await) });
            }
        });
        Self {
            at,
            network,
            accepting,
        }
    }

    pub fn becomes(&self, network: Network) {
        self.network.send_replace(network);
    }

    /// The same database, by way of this network.
    pub fn options(&self, database: &Database) -> postgres::Options {
        let (before, after) = database.url.rsplit_once('@').unwrap();
        let (_, path) = after.split_once('/').unwrap();
        let address: Address = format!("{before}@{}/{path}", self.at).parse().unwrap();
        postgres::Options {
            address,
            limits: super::database::short(),
            ..database.options(1)
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(
    mut client: TcpStream,
    server: &str,
    network: watch::Receiver<Network>,
) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    let (mut request, mut answer) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let (from_client, length) = tokio::select! {
            length = client.read(&mut request) => (true, length?),
            length = server.read(&mut answer) => (false, length?),
        };
        if length == 0 {
            return Ok(());
        }
        let bytes = if from_client { &request } else { &answer };
        let bytes = &bytes[..length];
        // In a request it is the statement, in an answer the tag that it is done.
        let commits = bytes.windows(7).any(|part| part == b"COMMIT\0");
        let now = *network.borrow();
        match now {
            Network::Hangs => pending().await,
            Network::CutsBeforeCommit if commits && from_client => return Ok(()),
            Network::CutsAfterCommit if commits && !from_client => return Ok(()),
            Network::HangsAfterCommit if commits && !from_client => pending().await,
            _ if from_client => server.write_all(bytes).await?,
            _ => client.write_all(bytes).await?,
        }
    }
}
