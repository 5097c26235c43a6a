//! Simple calls on top of a connection: one that is kept, and opened anew once the server said
//! `Connection: close`.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Connection, Ended, Request, Response, eventually, get, post};

pub struct Client {
    address: SocketAddr,
    /// Sent as a bearer token with every request that has no `Authorization` of its own.
    token: Option<String>,
    connection: Option<Connection>,
    patience: Duration,
}

impl Client {
    pub fn new(address: SocketAddr, token: Option<String>) -> Self {
        Self {
            address,
            token,
            connection: None,
            patience: super::PATIENCE,
        }
    }

    /// Takes an answer that comes later for lost.
    pub fn patient_for(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// What the server answers.
    ///
    /// # Panics
    /// Where it does not answer.
    #[track_caller]
    pub fn ask(&mut self, request: &Request) -> Response {
        match self.try_ask(request) {
            Ok(response) => response,
            Err(ended) => panic!(
                "no answer to {} {}: {ended:?}",
                request.method, request.target
            ),
        }
    }

    pub fn try_ask(&mut self, request: &Request) -> Result<Response, Ended> {
        let request = self.authorized(request);
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::try_open(self.address).map_err(|_| Ended::Reset)?,
        };
        connection.patience(self.patience);
        let response = connection.ask(&request)?;
        if !response.closes() {
            self.connection = Some(connection);
        }
        Ok(response)
    }

    fn authorized(&self, request: &Request) -> Request {
        let mut headers = request.headers.iter();
        let has = headers.any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        match &self.token {
            Some(token) if !has => {
                let bearer = format!("Bearer {token}");
                request.clone().with("Authorization", &bearer)
            }
            _ => request.clone(),
        }
    }

    /// Creates a todo and waits until it is there.
    #[track_caller]
    pub fn create(&mut self, title: &str) -> Value {
        let draft = json!({ "title": title });
        self.ask(&post("/todos", &draft).waiting())
            .expect(201)
            .json()
    }

    /// All todos, newest first.
    #[track_caller]
    pub fn todos(&mut self) -> Vec<Value> {
        self.ask(&get("/todos")).expect(200).list()
    }

    /// The operation that a 202 named, once it has an outcome.
    #[track_caller]
    pub fn outcome(&mut self, accepted: &Response) -> Value {
        let location = accepted.must("Location").to_owned();
        eventually(
            &format!("an outcome at {location}"),
            super::PATIENCE,
            || {
                let operation = self.ask(&get(&location).waiting()).expect(200).json();
                (operation["status"] != "queued").then_some(operation)
            },
        )
    }
}

/// A todo's id.
pub fn id(todo: &Value) -> &str {
    todo["id"].as_str().unwrap()
}
