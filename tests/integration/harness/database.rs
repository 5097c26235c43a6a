//! A PostgreSQL database of a test's own, dropped with it.

use postgres::types::{FromSql, ToSql};
use postgres::{Client, Config, NoTls, Row};

pub struct Database {
    name: String,
    /// Of a role that may create databases, on a database that is not ours.
    home: Config,
    url: String,
}

impl Database {
    pub fn create(home_url: &str) -> Self {
        let name = format!("test_{:032x}", rand::random::<u128>());
        let database = Self {
            url: named(home_url, &name),
            name,
            home: home_url.parse().unwrap(),
        };
        let create = format!("CREATE DATABASE {}", database.name);
        let mut home = database.home.connect(NoTls).unwrap();
        home.batch_execute(&create).unwrap();
        database
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same database as another role.
    pub fn url_as(&self, role: &str, password: &str) -> String {
        let host = self.url.split_once('@').unwrap().1;
        format!("postgres://{role}:{password}@{host}")
    }

    /// A connection for a few statements; none is kept, since tests restart the server.
    pub fn try_connect(&self) -> Result<Client, postgres::Error> {
        Client::connect(&self.url, NoTls)
    }

    pub fn connect(&self) -> Client {
        self.try_connect().unwrap()
    }

    #[track_caller]
    pub fn execute(&self, statements: &str) {
        self.connect().batch_execute(statements).unwrap();
    }

    #[track_caller]
    pub fn rows(&self, query: &str, values: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        self.connect().query(query, values).unwrap()
    }

    /// The one value that a query has.
    #[track_caller]
    pub fn value<T: for<'a> FromSql<'a>>(&self, query: &str) -> T {
        self.connect().query_one(query, &[]).unwrap().get(0)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A server that a test has stopped takes its databases along.
        if let Ok(mut home) = self.home.connect(NoTls) {
            let drop_it = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
            drop(home.batch_execute(&drop_it));
        }
    }
}

/// The same server, another database.
fn named(url: &str, name: &str) -> String {
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}
