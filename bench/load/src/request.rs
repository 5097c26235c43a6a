//! Requests as bytes, and what their answers tell of a write.

use std::io::Write;
use std::rc::Rc;

use serde::Deserialize;

use crate::http::Answer;
use crate::token::token;

/// Seconds that a waiting write waits for its outcome.
const WAIT_SECONDS: u32 = 30;
/// Makes a todo some 230 bytes long, as those are that the product seeds.
const DESCRIPTION: &str = "Before the weekend, and not later than that.";

/// Who asks: a user with a token.
#[derive(Clone, Debug)]
pub struct Author {
    pub name: Rc<str>,
    token: Rc<str>,
}

/// Where a write stands in the log, and who may ask what became of it.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub partition: u32,
    pub offset: u64,
    pub author: Author,
}

/// The members of a body that are looked at.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Members {
    pub id: Option<String>,
    pub status: Option<String>,
    pub gift_code: Option<String>,
    pub result: Option<Outcome>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Outcome {
    pub gift_code: Option<String>,
}

impl Author {
    pub fn new(name: String, secret: &str) -> Self {
        let token = token(&name, secret).into();
        Self {
            name: name.into(),
            token,
        }
    }

    pub fn create(&self, request: &mut Vec<u8>, title: &str, wait: bool) {
        let body = format!(r#"{{"title":"{title}","description":"{DESCRIPTION}"}}"#);
        self.write("POST /todos", request, wait, &body);
    }

    pub fn update(&self, request: &mut Vec<u8>, id: &str, title: &str, wait: bool) {
        let body =
            format!(r#"{{"title":"{title}","description":"{DESCRIPTION}","completed":true}}"#);
        self.write(&format!("PUT /todos/{id}"), request, wait, &body);
    }

    pub fn delete(&self, request: &mut Vec<u8>, id: &str, wait: bool) {
        self.write(&format!("DELETE /todos/{id}"), request, wait, "");
    }

    pub fn claim(&self, request: &mut Vec<u8>) {
        self.write("POST /gift-codes", request, false, "");
    }

    /// What became of a write, once it is known.
    pub fn operation(&self, request: &mut Vec<u8>, receipt: &Receipt) {
        let (partition, offset) = (receipt.partition, receipt.offset);
        let line = format!("GET /operations/{partition}-{offset}");
        self.write(&line, request, true, "");
    }

    fn write(&self, line: &str, request: &mut Vec<u8>, wait: bool, body: &str) {
        let token = &self.token;
        let mut put = |text: std::fmt::Arguments<'_>| {
            request.write_fmt(text).expect("a vector takes all");
        };
        put(format_args!(
            "{line} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
        ));
        if wait {
            put(format_args!("Prefer: wait={WAIT_SECONDS}\r\n"));
        }
        if !line.starts_with("GET") {
            let bytes = body.len();
            put(format_args!("Content-Length: {bytes}\r\n"));
        }
        if !body.is_empty() {
            put(format_args!("Content-Type: application/json\r\n"));
        }
        put(format_args!("\r\n{body}"));
    }
}

/// A read without a token.
pub fn read(request: &mut Vec<u8>, path: &str, consistent: Option<&str>) {
    let mut put = |text: std::fmt::Arguments<'_>| {
        request.write_fmt(text).expect("a vector takes all");
    };
    put(format_args!("GET {path} HTTP/1.1\r\nHost: bench\r\n"));
    if let Some(position) = consistent {
        put(format_args!("Consistency-Token: {position}\r\n"));
    }
    put(format_args!("\r\n"));
}

impl Receipt {
    /// From the answer to a write of `author`; none where it was not accepted.
    pub fn of(answer: &Answer<'_>, author: &Author) -> Option<Self> {
        let position = answer.header("consistency-token")?;
        let (partition, offset) = position.split_once('-')?;
        Some(Self {
            partition: partition.parse().ok()?,
            offset: offset.parse().ok()?,
            author: author.clone(),
        })
    }
}

/// The members of an answer's body; all absent where it is no JSON.
pub fn members(answer: &Answer<'_>) -> Members {
    serde_json::from_slice(answer.body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_the_consistency_token() {
        let alice = Author::new("alice".to_owned(), "secret");
        let answer = Answer {
            status: 202,
            head: b"HTTP/1.1 202 Accepted\r\nConsistency-Token: 3-17\r\n\r\n",
            body: br#"{"id":"x","status":"queued"}"#,
        };
        let receipt = Receipt::of(&answer, &alice).unwrap();
        assert_eq!((receipt.partition, receipt.offset), (3, 17));
        assert_eq!(members(&answer).id.as_deref(), Some("x"));
    }

    #[test]
    fn only_what_has_a_body_names_its_type() {
        let alice = Author::new("alice".to_owned(), "secret");
        let mut request = Vec::new();
        alice.create(&mut request, "Tea", true);
        let text = String::from_utf8(request).unwrap();
        assert!(text.starts_with("POST /todos HTTP/1.1\r\nHost: bench\r\n"));
        assert!(text.contains("Prefer: wait=30\r\n") && text.contains("application/json"));
        let mut request = Vec::new();
        alice.delete(&mut request, "x", false);
        let text = String::from_utf8(request).unwrap();
        assert!(text.ends_with("Content-Length: 0\r\n\r\n") && !text.contains("Prefer"));
    }
}
