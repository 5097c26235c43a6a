//! A random sequence of calls by a few users, each judged by a model that fits on a page; then
//! the same after a crash.

use std::collections::{BTreeMap, HashMap};

use rand::RngExt;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Client, Dice, Launch, Request, Server, delete, dice, get, number_from_env};
use crate::harness::{post, put};

/// Lengthens the run.
const STEPS: &str = "MILLPOND_MODEL_STEPS";
const STEPS_DEFAULT: u64 = 500;

/// Calls after which all that is served is compared.
const STEPS_BETWEEN_COMPARISONS: u64 = 50;

const USERS: [&str; 3] = ["alice", "bob", "carol"];
/// Few keys, so that they meet their duplicates.
const KEYS: usize = 6;

/// What should be there.
#[derive(Default)]
struct Model {
    /// Living todos by id, as last answered.
    todos: BTreeMap<String, Value>,
    /// Ids that were deleted, to be written to in vain.
    dead: Vec<String>,
    /// Tags that todos had once.
    old_tags: Vec<String>,
    /// The first payload and id of each user's keyed creates.
    keys: HashMap<(usize, usize), (Value, String)>,
    codes: HashMap<usize, String>,
}

struct Run {
    server: Server,
    clients: Vec<Client>,
    model: Model,
    dice: Dice,
}

impl Run {
    fn new(server: Server, model: Model, dice: Dice) -> Self {
        let clients = USERS.iter().map(|user| server.user(user)).collect();
        Self {
            server,
            clients,
            model,
            dice,
        }
    }

    fn step(&mut self) {
        let user = self.dice.random_range(0..USERS.len());
        match self.dice.random_range(0..100) {
            0..25 => self.create(user),
            25..40 => self.create_keyed(user),
            40..70 => self.update(user),
            70..85 => self.delete(user),
            85..95 => self.read(user),
            _ => self.claim(user),
        }
    }

    fn draft(&mut self) -> Value {
        let n: u32 = self.dice.random_range(0..1_000);
        match self.dice.random_range(0..3) {
            0 => json!({ "title": format!("title {n}") }),
            1 => json!({ "title": format!("\u{e9}\"\\{n}"), "description": "line\nbreak" }),
            _ => json!({ "title": format!("{n}"), "description": "x".repeat(n as usize) }),
        }
    }

    fn create(&mut self, user: usize) {
        let draft = self.draft();
        let created = self.clients[user].ask(&post("/todos", &draft).waiting());
        self.created(user, &draft, &created.expect(201).json());
    }

    fn created(&mut self, user: usize, draft: &Value, todo: &Value) {
        assert_eq!(todo["title"], draft["title"]);
        assert_eq!(
            todo["description"],
            *draft.get("description").unwrap_or(&json!(""))
        );
        assert_eq!(todo["completed"], false);
        assert_eq!(todo["user_id"], USERS[user]);
        let id = todo["id"].as_str().unwrap().to_owned();
        assert!(!self.model.dead.contains(&id), "{id} came back");
        let before = self.model.todos.insert(id, todo.clone());
        assert_eq!(before, None, "an id was given twice");
    }

    fn create_keyed(&mut self, user: usize) {
        let key = self.dice.random_range(0..KEYS);
        let first = self.model.keys.get(&(user, key)).cloned();
        let again = first.is_some() && self.dice.random_bool(0.6);
        let draft = match &first {
            Some((payload, _)) if again => payload.clone(),
            _ => self.draft(),
        };
        let request = post("/todos", &draft).with("Idempotency-Key", &format!("key {key}"));
        match first {
            None => {
                let todo = self.clients[user]
                    .ask(&request.waiting())
                    .expect(201)
                    .json();
                let id = todo["id"].as_str().unwrap().to_owned();
                self.created(user, &draft, &todo);
                self.model.keys.insert((user, key), (draft, id));
            }
            Some((payload, _)) if payload != draft => {
                self.clients[user].ask(&request.waiting()).problem(422);
            }
            Some((_, id)) => {
                // Without waiting: what a late duplicate shows of a changed todo is not promised.
                let receipt = self.clients[user].ask(&request).expect(202);
                assert_eq!(receipt.json()["id"], id.as_str());
                assert_eq!(self.clients[user].outcome(&receipt)["status"], "applied");
            }
        }
    }

    /// The id of a todo that lives, mostly, or of one that does not.
    fn target(&mut self) -> String {
        let living: Vec<&String> = self.model.todos.keys().collect();
        let dead = self.model.dead.choose(&mut self.dice);
        let nobody = Uuid::now_v7().to_string();
        match self.dice.random_range(0..10) {
            0 => nobody,
            1 => dead.cloned().unwrap_or(nobody),
            _ => living
                .choose(&mut self.dice)
                .map_or(nobody, |id| (*id).clone()),
        }
    }

    /// Adds an `If-Match` at times, and says whether it will hold for the todo at `path`.
    fn conditional(&mut self, request: Request, path: &str) -> (Request, bool) {
        let response = self.clients[0].ask(&get(path));
        let tag = response.header("ETag").map(str::to_owned);
        let old = self.model.old_tags.choose(&mut self.dice).cloned();
        match (self.dice.random_range(0..4), tag, old) {
            (0, Some(tag), _) => {
                self.model.old_tags.push(tag.clone());
                (request.with("If-Match", &tag), true)
            }
            (1, tag, Some(old)) => {
                let holds = tag.as_ref() == Some(&old);
                (request.with("If-Match", &old), holds)
            }
            _ => (request, true),
        }
    }

    /// What a write by `user` to `id` must be answered, if it would be `fine` otherwise.
    fn verdict(&self, user: usize, id: &str, holds: bool, fine: u16) -> u16 {
        let todo = self.model.todos.get(id);
        match todo.is_some_and(|todo| todo["user_id"] == USERS[user]) {
            false => 404,
            true if !holds => 412,
            true => fine,
        }
    }

    fn update(&mut self, user: usize) {
        let id = self.target();
        let path = format!("/todos/{id}");
        let mut draft = self.draft();
        if self.dice.random() {
            draft["completed"] = json!(self.dice.random::<bool>());
        }
        let (request, holds) = self.conditional(put(&path, &draft), &path);
        let expected = self.verdict(user, &id, holds, 200);
        let response = self.clients[user].ask(&request.waiting()).expect(expected);
        if expected != 200 {
            response.problem(expected);
            return;
        }
        let todo = response.json();
        let old = self.model.todos.insert(id, todo.clone()).unwrap();
        for (member, default) in [("title", ""), ("description", "")] {
            assert_eq!(todo[member], *draft.get(member).unwrap_or(&json!(default)));
        }
        assert_eq!(
            todo["completed"],
            *draft.get("completed").unwrap_or(&json!(false))
        );
        assert_eq!(todo["created_at"], old["created_at"]);
        assert!(todo["updated_at"].as_str() > old["updated_at"].as_str());
    }

    fn delete(&mut self, user: usize) {
        let id = self.target();
        let path = format!("/todos/{id}");
        let (request, holds) = self.conditional(delete(&path), &path);
        let expected = self.verdict(user, &id, holds, 204);
        self.clients[user].ask(&request.waiting()).expect(expected);
        if expected == 204 {
            self.model.todos.remove(&id);
            self.model.dead.push(id);
        }
    }

    fn read(&mut self, user: usize) {
        let id = self.target();
        let response = self.clients[user].ask(&get(&format!("/todos/{id}")));
        match self.model.todos.get(&id) {
            Some(todo) => assert_eq!(response.expect(200).json(), *todo),
            None => drop(response.problem(404)),
        }
    }

    fn claim(&mut self, user: usize) {
        let response = self.clients[user].ask(&Request::of("POST", "/gift-codes"));
        let body = response.expect(200).json();
        let code = body["gift_code"].as_str().unwrap().to_owned();
        let known = self.model.codes.insert(user, code.clone());
        assert!(
            known.is_none_or(|known| known == code),
            "{}'s code changed",
            USERS[user]
        );
        let mut others = self.model.codes.iter().filter(|(other, _)| **other != user);
        assert!(
            others.all(|(_, other)| *other != code),
            "{code} was given twice"
        );
    }

    /// All that is served is all that should be there, in its order.
    fn compare(&mut self) {
        let mut expected: Vec<&Value> = self.model.todos.values().collect();
        let place = |todo: &Value| {
            let text = |member: &str| todo[member].as_str().unwrap().to_owned();
            (text("created_at"), text("id"))
        };
        expected.sort_by_key(|todo| std::cmp::Reverse(place(todo)));
        let served = self.server.anyone().todos();
        assert_eq!(served.iter().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn random_calls_do_what_the_model_says_before_and_after_a_crash() {
    let steps = number_from_env(STEPS).unwrap_or(STEPS_DEFAULT);
    let mut run = Run::new(Launch::new().start(), Model::default(), dice());
    for _ in 0..3 {
        for step in 0..steps / 3 {
            run.step();
            if step % STEPS_BETWEEN_COMPARISONS == 0 {
                run.compare();
            }
        }
        run.compare();
        let Run {
            server,
            model,
            dice,
            ..
        } = run;
        run = Run::new(server.kill().start(), model, dice);
        run.compare();
    }
}
