//! Several clients that write the same todos through several servers, and remember what they were
//! told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use crate::harness::{
    Client, Dice, Launch, Place, Request, Response, delete, eventually, get, pause, post, put,
};

/// Todos of one user are written by several clients.
const USERS: usize = 3;
const CLIENTS: usize = 6;

/// How long a client waits for an answer before it takes it for lost: a little more than it asks
/// the server to wait.
const PATIENCE: Duration = Duration::from_secs(8);
const WAIT: &str = "wait=5";

/// Todos of a user that are written to at a time: few, so that writes meet.
const SHARED_MAX: usize = 30;

/// In which writes go on after a fault: a worker's session has to end, a broker to come back.
const GOES_ON: Duration = Duration::from_secs(45);

/// A keyed write that never comes to an answer, when nothing is broken any more, is a failure.
const SETTLE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Durable at a place in the log; with the status of its outcome, where that was waited for.
    Durable(Place, Option<u16>),
    /// Without effect, for certain.
    Refused,
    /// 503 `unknown`, or no answer.
    Unknown,
}

/// One request, between two moments that order all requests of a run.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub sent: u64,
    pub ended: u64,
    pub told: Told,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Create,
    Update(String),
    Delete(String),
    Claim,
}

/// What a client wanted once; with a key it may take several attempts.
#[derive(Clone, Debug)]
pub struct Write {
    pub kind: Kind,
    pub user: String,
    /// In the command as title, description or user: no other write has it. Deletes have none.
    pub mark: String,
    pub request: Request,
    pub keyed: bool,
    pub attempts: Vec<Attempt>,
}

impl Write {
    pub fn unknown(&self) -> usize {
        let told = self.attempts.iter().map(|attempt| &attempt.told);
        told.filter(|told| **told == Told::Unknown).count()
    }

    pub fn places(&self) -> impl Iterator<Item = (Place, Option<u16>, &Attempt)> {
        self.attempts
            .iter()
            .filter_map(|attempt| match attempt.told {
                Told::Durable(place, status) => Some((place, status, attempt)),
                Told::Refused | Told::Unknown => None,
            })
    }

    /// Whether its client has to send it again, and may.
    fn is_open(&self) -> bool {
        self.keyed
            && self
                .attempts
                .last()
                .is_some_and(|last| last.told == Told::Unknown)
    }
}

/// What all clients of a run share.
pub struct Crowd {
    /// Tokens are good at every server.
    pub launch: Launch,
    /// Of the servers that there are now.
    pub servers: RwLock<Vec<SocketAddr>>,
    /// Todos that others may write to, by user.
    todos: [Mutex<Vec<String>>; USERS],
    moments: AtomicU64,
    durable: AtomicUsize,
    over: AtomicBool,
}

impl Crowd {
    pub fn new(launch: &Launch, servers: Vec<SocketAddr>) -> Self {
        Self {
            launch: launch.clone(),
            servers: RwLock::new(servers),
            todos: Default::default(),
            moments: AtomicU64::new(0),
            durable: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        }
    }

    /// How many writes are durable.
    pub fn durable(&self) -> usize {
        self.durable.load(Ordering::SeqCst)
    }

    /// Waits until so many more writes are durable.
    #[track_caller]
    pub fn goes_on(&self, how: &str, more: usize) {
        let enough = self.durable() + more;
        let what = format!("{more} more writes are durable, {how}");
        eventually(&what, GOES_ON, || (self.durable() >= enough).then_some(()));
    }

    fn moment(&self) -> u64 {
        self.moments.fetch_add(1, Ordering::SeqCst)
    }
}

/// Lets all clients loose while `faults` are inflicted; gives what they wrote, once each write that
/// has a key is known to be durable.
pub fn under_load(crowd: &Crowd, dice: &mut Dice, faults: impl FnOnce()) -> Vec<Write> {
    thread::scope(|scope| {
        let writers = (0..CLIENTS).map(|number| {
            let mut writer = Writer::new(crowd, number, Dice::seed_from_u64(dice.random()));
            scope.spawn(move || {
                writer.work();
                writer.settle();
                writer.writes
            })
        });
        let writers: Vec<_> = writers.collect();
        let over = Over(crowd);
        faults();
        drop(over);
        let done = writers.into_iter().map(|writer| writer.join().unwrap());
        done.flatten().collect()
    })
}

/// Ends the load, also where a test fails: the clients would go on for ever.
struct Over<'a>(&'a Crowd);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
    }
}

struct Writer<'a> {
    crowd: &'a Crowd,
    number: usize,
    dice: Dice,
    writes: Vec<Write>,
    client: Option<Client>,
    claimed: usize,
}

impl<'a> Writer<'a> {
    fn new(crowd: &'a Crowd, number: usize, dice: Dice) -> Self {
        Self {
            crowd,
            number,
            dice,
            writes: vec![],
            client: None,
            claimed: 0,
        }
    }

    /// Writes until the run is over.
    fn work(&mut self) {
        while !self.crowd.over.load(Ordering::SeqCst) {
            let open = self.writes.iter().rposition(Write::is_open);
            match open.filter(|_| self.dice.random_bool(0.5)) {
                Some(at) => self.attempt(at),
                None => self.begin(),
            }
            if self.dice.random_bool(0.05) {
                self.read();
            }
            pause();
        }
    }

    /// Sends every keyed write again that nobody knows of yet.
    fn settle(&mut self) {
        let deadline = Instant::now() + SETTLE;
        while let Some(at) = self.writes.iter().position(Write::is_open) {
            let write = &self.writes[at];
            assert!(Instant::now() < deadline, "no answer to {write:?}");
            self.attempt(at);
            pause();
        }
    }

    fn user(&self) -> String {
        format!("user {}", self.number % USERS)
    }

    fn shared(&self) -> &'a Mutex<Vec<String>> {
        &self.crowd.todos[self.number % USERS]
    }

    fn begin(&mut self) {
        let mark = format!("mark {}-{}", self.number, self.writes.len());
        let todo = self
            .shared()
            .lock()
            .unwrap()
            .choose(&mut self.dice)
            .cloned();
        let (kind, request) = match (self.dice.random_range(0..100), todo) {
            (0..25, _) | (_, None) => {
                let draft = json!({ "title": mark, "description": "first" });
                (Kind::Create, post("/todos", &draft))
            }
            (25..75, Some(todo)) => {
                let draft = json!({
                    "title": "changed", "description": mark, "completed": self.dice.random::<bool>(),
                });
                let request = put(&format!("/todos/{todo}"), &draft);
                (Kind::Update(todo), request)
            }
            (75..88, Some(todo)) => {
                let request = delete(&format!("/todos/{todo}"));
                (Kind::Delete(todo), request)
            }
            _ => (Kind::Claim, Request::of("POST", "/gift-codes")),
        };
        self.put_down(kind, mark, request);
        self.attempt(self.writes.len() - 1);
    }

    /// A write as it will be sent, however often.
    fn put_down(&mut self, kind: Kind, mark: String, mut request: Request) {
        let keyed = kind != Kind::Claim && self.dice.random_bool(0.5);
        if keyed {
            request = request.with("Idempotency-Key", &mark.replace(' ', "-"));
        }
        let waits = self.dice.random_bool(0.4);
        if waits {
            request = request.with("Prefer", WAIT);
        }
        let user = match kind {
            // A user of its own, sometimes one that has a code already.
            Kind::Claim => {
                self.claimed += usize::from(self.dice.random_bool(0.7));
                format!("claimer {}-{}", self.number, self.claimed)
            }
            _ => self.user(),
        };
        self.writes.push(Write {
            kind,
            user,
            mark,
            request,
            keyed,
            attempts: vec![],
        });
    }

    fn attempt(&mut self, at: usize) {
        let write = &self.writes[at];
        let token = self.crowd.launch.token(&write.user);
        let request = write
            .request
            .clone()
            .with("Authorization", &format!("Bearer {token}"));
        let sent = self.crowd.moment();
        let response = self.exchange(&request);
        let ended = self.crowd.moment();
        let told = response.as_ref().map_or(Told::Unknown, told);
        if let (Told::Durable(..), Some(response)) = (&told, &response) {
            self.crowd.durable.fetch_add(1, Ordering::SeqCst);
            self.share(at, response);
        }
        self.writes[at].attempts.push(Attempt { sent, ended, told });
    }

    /// What there is now to be written to by others, and what is not.
    fn share(&self, at: usize, response: &Response) {
        let write = &self.writes[at];
        let mut todos = self.shared().lock().unwrap();
        match &write.kind {
            Kind::Create if matches!(response.status, 201 | 202) && todos.len() < SHARED_MAX => {
                let id = response.json()["id"].as_str().unwrap().to_owned();
                if !todos.contains(&id) {
                    todos.push(id);
                }
            }
            Kind::Delete(id) => todos.retain(|other| other != id),
            _ => {}
        }
    }

    /// Through any server; through another one where that fails, the next time.
    fn exchange(&mut self, request: &Request) -> Option<Response> {
        if self.dice.random_bool(0.1) {
            self.client = None;
        }
        let mut client = if let Some(client) = self.client.take() {
            client
        } else {
            let servers = self.crowd.servers.read().unwrap().clone();
            let address = servers.choose(&mut self.dice)?;
            Client::new(*address, None).patient_for(PATIENCE)
        };
        let response = client.try_ask(request).ok()?;
        self.client = Some(client);
        Some(response)
    }

    /// A read that asks for the latest write known here: it has it, or says that it has not.
    fn read(&mut self) {
        let mut latest = self.writes.iter().rev();
        let Some((place, ..)) = latest.find_map(|write| write.places().next()) else {
            return;
        };
        let token = format!("{}-{}", place.0, place.1);
        let request = get("/todos?limit=20").with("Consistency-Token", &token);
        if let Some(response) = self.exchange(&request) {
            assert!(matches!(response.status, 200 | 503), "{response:?}");
        }
    }
}

fn told(response: &Response) -> Told {
    match response.header("Consistency-Token") {
        Some(token) => {
            let (partition, offset) = token.split_once('-').unwrap();
            let place = (partition.parse().unwrap(), offset.parse().unwrap());
            let status = Some(response.status).filter(|status| *status != 202);
            Told::Durable(place, status)
        }
        None => match response.problem(503)["outcome"].as_str() {
            Some("not_enqueued") => Told::Refused,
            Some("unknown") => Told::Unknown,
            _ => panic!("{}", response.text()),
        },
    }
}
