//! One user's writes over one connection, each known in the ledger before the next is sent.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::RngExt;

use super::ledger::{Claim, Content, Entry, Ledger};
use crate::harness::{Client, Dice, Ended, Launch, Request, Response, delete, post, put};

pub struct Writer<'a> {
    pub client: Client,
    pub launch: &'a Launch,
    pub address: SocketAddr,
    pub ledger: &'a mut Ledger,
    pub dice: Dice,
    /// Counts for all writers, so that the server is killed while they are at it.
    pub acknowledged: &'a AtomicUsize,
}

/// What an answer says about the write.
enum Told {
    Accepted(Response),
    /// For certain without effect.
    Refused,
    Lost,
}

/// The server is gone.
struct Gone;

impl Writer<'_> {
    pub fn write_until_the_server_is_gone(mut self) {
        while self.write().is_ok() {}
    }

    fn write(&mut self) -> Result<(), Gone> {
        let entries = self.ledger.entries.len();
        let at = (entries > 0).then(|| self.dice.random_range(0..entries));
        match (self.dice.random_range(0..100), at) {
            (0..35, _) | (35..85, None) => self.create(),
            (35..60, Some(at)) => self.update(at),
            (60..70, Some(at)) => self.delete(at),
            (70..80, Some(at)) => self.create_again(at),
            (80..85, Some(at)) => self.update_again(at),
            _ => self.claim(),
        }
    }

    /// Sends a write and notes its position.
    fn send(&mut self, request: &Request) -> Told {
        let response = match self.client.try_ask(request) {
            Ok(response) => response,
            Err(Ended::Closed | Ended::Reset) => return Told::Lost,
            Err(ended) => panic!("{ended:?}"),
        };
        if response.status != 202 {
            let problem = response.problem(503);
            let refused = problem["outcome"] == "not_enqueued";
            return if refused { Told::Refused } else { Told::Lost };
        }
        let token = response.must("Consistency-Token");
        let (partition, offset) = token.split_once('-').unwrap();
        let position = (partition.parse().unwrap(), offset.parse().unwrap());
        self.ledger.positions.push(position);
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        Told::Accepted(response)
    }

    /// Sends a write that makes the entry `then`, and notes what it may be now.
    fn change(&mut self, at: usize, request: &Request, then: Option<Content>) -> Result<(), Gone> {
        let told = self.send(request);
        let entry = &mut self.ledger.entries[at];
        match told {
            Told::Accepted(response) => {
                let id = response.json()["id"].as_str().unwrap().to_owned();
                assert!(
                    entry.id.as_ref().is_none_or(|known| *known == id),
                    "{entry:?}: {id}"
                );
                entry.id = Some(id);
                entry.may_be = vec![then];
                entry.created = true;
                Ok(())
            }
            Told::Refused => Ok(()),
            Told::Lost => {
                entry.may_be.push(then);
                Err(Gone)
            }
        }
    }

    fn content(&mut self) -> Content {
        Content {
            description: self.ledger.fresh("content"),
            completed: self.dice.random(),
        }
    }

    fn create(&mut self) -> Result<(), Gone> {
        let title = self.ledger.fresh("title");
        let key = self.dice.random_bool(0.5).then(|| self.ledger.fresh("key"));
        let first = Content {
            completed: false,
            ..self.content()
        };
        self.ledger
            .entries
            .push(Entry::new(title, key, first.clone()));
        let at = self.ledger.entries.len() - 1;
        let request = self.create_request(at);
        self.change(at, &request, Some(first))
    }

    fn create_request(&self, at: usize) -> Request {
        let entry = &self.ledger.entries[at];
        let request = post("/todos", &entry.draft());
        match &entry.key {
            Some(key) => request.with("Idempotency-Key", key),
            None => request,
        }
    }

    /// A keyed create sent again: the first effect if it had none yet, and none otherwise.
    fn create_again(&mut self, at: usize) -> Result<(), Gone> {
        let entry = &self.ledger.entries[at];
        if entry.key.is_none() || entry.may_be.len() > 1 {
            return Ok(());
        }
        let then = if entry.created {
            entry.may_be[0].clone()
        } else {
            Some(entry.first.clone())
        };
        let request = self.create_request(at);
        self.change(at, &request, then)
    }

    fn update(&mut self, at: usize) -> Result<(), Gone> {
        let new = self.content();
        let key = self.dice.random_bool(0.3).then(|| self.ledger.fresh("key"));
        let entry = &self.ledger.entries[at];
        if entry.content().is_none() {
            return Ok(());
        }
        let request = put(&entry.path(), &entry.update(&new));
        let Some(key) = key else {
            return self.change(at, &request, Some(new));
        };
        self.change(
            at,
            &request.with("Idempotency-Key", &key),
            Some(new.clone()),
        )?;
        let entry = &mut self.ledger.entries[at];
        // Only what was accepted: otherwise it may yet have its first effect.
        if entry.content() == Some(&new) {
            entry.old_update = Some((key, new));
        }
        Ok(())
    }

    /// An old keyed update sent again: no effect, whatever has come since.
    fn update_again(&mut self, at: usize) -> Result<(), Gone> {
        let entry = &self.ledger.entries[at];
        let (Some((key, old)), [now]) = (&entry.old_update, entry.may_be.as_slice()) else {
            return Ok(());
        };
        let now = now.clone();
        let request = put(&entry.path(), &entry.update(old)).with("Idempotency-Key", key);
        self.change(at, &request, now)
    }

    fn delete(&mut self, at: usize) -> Result<(), Gone> {
        let entry = &self.ledger.entries[at];
        if entry.content().is_none() {
            return Ok(());
        }
        let request = delete(&entry.path());
        self.change(at, &request, None)
    }

    /// A claim by a user seen before, or a new one.
    fn claim(&mut self) -> Result<(), Gone> {
        let claims = self.ledger.claims.len();
        let at = self.dice.random_range(0..=claims);
        if at == claims {
            let user = self.ledger.fresh("claimer");
            self.ledger.claims.push(Claim { user, code: None });
        }
        let claim = &mut self.ledger.claims[at];
        let mut client = Client::new(self.address, Some(self.launch.token(&claim.user)));
        let Ok(response) = client.try_ask(&Request::of("POST", "/gift-codes")) else {
            return Err(Gone);
        };
        let body = response.expect(200).json();
        let code = body["gift_code"].as_str().unwrap().to_owned();
        assert!(
            claim.code.as_ref().is_none_or(|known| *known == code),
            "{claim:?}: {code}"
        );
        claim.code = Some(code);
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
