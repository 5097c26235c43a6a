//! Who writes, and under which idempotency key.

use hyper::Method;
use uuid::Uuid;

use super::admission::{Kind, admit};
use super::headers::idempotency_key;
use super::response::Problem;
use super::service::Call;
use crate::clock;
use crate::domain::{Action, Command, Hash128, Idempotency, Timestamp};
use crate::log::Appender;

/// The namespace of the ids of keyed creates (UUIDv5 of user and key).
const KEYED: Uuid = Uuid::from_u128(0x6f6e_6365_2d61_6e64_2d6f_6e6c_792d_6f6e);

/// The user of a write, and what makes it one with those that are the same.
pub struct Writer {
    user: String,
    method: Method,
    key: Option<String>,
    /// When this server took the write.
    at: Timestamp,
}

impl Writer {
    /// Looks at the head of a write only: one that is refused here has not sent its body in vain.
    ///
    /// # Errors
    /// 401, what [`admit`] refuses with, or 400 for a malformed key.
    pub async fn of(call: &Call, kind: Kind) -> Result<Self, Problem> {
        let user = call.core.user(call.headers())?;
        admit(call, kind, Some(&user)).await?;
        Ok(Self {
            user,
            method: call.parts.method.clone(),
            key: idempotency_key(call.headers())?,
            at: clock::now(),
        })
    }

    /// The id of a todo that this write creates: the same one each time the write is sent under the
    /// same key.
    pub fn new_todo_id(&self, log: &Appender) -> Uuid {
        match &self.key {
            Some(key) => Uuid::new_v5(&KEYED, format!("{}\0{key}", self.user).as_bytes()),
            None => log.new_id(self.at, || clock::uuid_v7(self.at)),
        }
    }

    /// The command for `action` on `target`. A key counts within user, method and target;
    /// `fingerprint` is of all else that the client sent and that matters.
    pub fn command(self, target: &str, fingerprint: Hash128, action: Action) -> Command {
        let key = self.key.map(|key| Idempotency {
            scope: Hash128::of_fields(
                &[&self.user, self.method.as_str(), target, &key].map(str::as_bytes),
            ),
            fingerprint,
        });
        Command {
            user: self.user,
            at: self.at,
            key,
            action,
        }
    }
}
