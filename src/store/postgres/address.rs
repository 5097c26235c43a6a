//! Where the database is, and with which settings one connects to it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// How long anything may take, so that a server that hangs is an error and never a hang.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until a new connection can be used.
    pub connect: Duration,
    /// A statement, by the server's count.
    pub statement: Duration,
    /// Waiting for a lock: for a worker that holds the positions still.
    pub lock: Duration,
    /// A transaction that its worker has left open (stopped, cut off): the server ends it, so
    /// that who takes over its partitions does not wait longer.
    pub idle_in_transaction: Duration,
    /// One exchange with the server, by our count; more than `statement`, so that a server that
    /// still answers says what is wrong.
    pub exchange: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const SECOND: Duration = Duration::from_secs(1);
        Self {
            connect: SECOND * 5,
            statement: SECOND * 10,
            lock: SECOND * 5,
            idle_in_transaction: SECOND * 5,
            exchange: SECOND * 12,
        }
    }
}

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Worker,
    Reader,
    /// Migrates the schema or looks at dead letters, for an operator who waits.
    Operator,
    /// Removes dead letters that it has sent again.
    Redriver,
}

/// Where the database is and who asks, as in `DATABASE_URL`. Never prints the password.
#[derive(Clone)]
pub struct Address(Config);

/// Why a text is no address. Names what is wrong with it and never holds the password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadAddress(String);

/// Parameters that are named when their value cannot work. Nothing else of the text is shown: a
/// password with a stray `?` or `@` in it would be.
const PARAMETERS: [&str; 12] = [
    "channel_binding",
    "connect_timeout",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "load_balance_hosts",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
];

/// Seconds until a silent connection is probed, and what it is given up after, beside
/// `tcp_user_timeout`, which counts while something is not acknowledged.
const KEEPALIVE: Duration = Duration::from_secs(10);

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        if !(text.starts_with("postgres://") || text.starts_with("postgresql://")) {
            return Err(bad("does not begin with postgres://"));
        }
        let mut config: Config = text.parse().map_err(|error| describe(&error))?;
        if config.get_ssl_mode() == SslMode::Require {
            return Err(encrypted("sslmode"));
        }
        let is_host = |host: &Host| !matches!(host, Host::Tcp(name) if name.is_empty());
        if !config.get_hosts().iter().any(is_host) {
            return Err(bad("names no host"));
        }
        if config.get_user().is_none() {
            return Err(bad("names no user"));
        }
        config.ssl_mode(SslMode::Disable);
        Ok(Self(config))
    }
}

fn bad(text: &str) -> BadAddress {
    BadAddress(format!(
        "{text}; expected postgres://user:password@host:port/database, special characters \
         percent-encoded"
    ))
}

/// What asks for TLS is refused rather than connected without.
fn encrypted(parameter: &str) -> BadAddress {
    BadAddress(format!(
        "{parameter}: this version connects without TLS only; use sslmode=disable, and a private \
         network or a local TLS proxy"
    ))
}

fn describe(error: &tokio_postgres::Error) -> BadAddress {
    let text = super::fault::text(error);
    let named = PARAMETERS
        .iter()
        .find(|name| text.contains(&format!("`{name}`")));
    match named {
        Some(name) if name.starts_with("ssl") => encrypted(name),
        Some(name) => bad(&format!("has a bad value for {name}")),
        None => bad("is not a URL of PostgreSQL"),
    }
}

impl Address {
    pub(super) fn config(&self, role: Role, limits: &Limits) -> Config {
        let mut config = self.0.clone();
        config
            .connect_timeout(limits.connect)
            .tcp_user_timeout(limits.exchange)
            .keepalives_idle(KEEPALIVE)
            .keepalives_interval(KEEPALIVE / 5)
            .keepalives_retries(3)
            .options(self.options(role, limits));
        if config.get_application_name().is_none() {
            config.application_name("millpond");
        }
        if role != Role::Reader {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        config
    }

    /// Settings of the session, behind those that the address has of its own: they win.
    fn options(&self, role: Role, limits: &Limits) -> String {
        let given = self.0.get_options().unwrap_or_default();
        let lock = limits.lock.as_millis();
        let statement = limits.statement.as_millis();
        let idle = limits.idle_in_transaction.as_millis();
        match role {
            // A commit that is acknowledged is on disk, whatever the server's default is.
            // All its statements go by keys, but a plan that is made while a table is small and
            // kept while it grows would read the whole of it (and a plan that does so all the
            // same, for a table of one row, has a cost at which it would be compiled).
            Role::Worker => format!(
                "{given} -c synchronous_commit=on -c lock_timeout={lock} \
                 -c statement_timeout={statement} -c idle_in_transaction_session_timeout={idle} \
                 -c enable_seqscan=off -c jit=off"
            ),
            Role::Reader => format!(
                "{given} -c default_transaction_read_only=on -c lock_timeout={lock} \
                 -c statement_timeout={statement}"
            ),
            Role::Operator | Role::Redriver => {
                format!("{given} -c synchronous_commit=on -c lock_timeout={lock}")
            }
        }
    }

    /// The database's name, for messages.
    pub(super) fn database(&self) -> &str {
        let user = || self.0.get_user();
        self.0.get_dbname().or_else(user).unwrap_or_default()
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.database())
    }
}
