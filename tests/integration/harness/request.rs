//! One request as a value, and its bytes.

use serde_json::Value;

#[derive(Clone, Debug)]
pub struct Request {
    pub method: &'static str,
    pub target: String,
    pub headers: Vec<(String, String)>,
    /// What stands after the head; a `Content-Length` is added where there is one.
    pub body: Option<Vec<u8>>,
}

fn bare(method: &'static str, target: &str) -> Request {
    Request {
        method,
        target: target.to_owned(),
        headers: vec![],
        body: None,
    }
}

pub fn get(target: &str) -> Request {
    bare("GET", target)
}

pub fn head(target: &str) -> Request {
    bare("HEAD", target)
}

pub fn options(target: &str) -> Request {
    bare("OPTIONS", target)
}

pub fn delete(target: &str) -> Request {
    bare("DELETE", target)
}

pub fn post(target: &str, body: &Value) -> Request {
    bare("POST", target).json(body)
}

pub fn put(target: &str, body: &Value) -> Request {
    bare("PUT", target).json(body)
}

impl Request {
    pub fn of(method: &'static str, target: &str) -> Self {
        bare(method, target)
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Waits for the outcome of a write, longer than any takes.
    pub fn waiting(self) -> Self {
        self.with("Prefer", "wait=30")
    }

    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = Some(bytes.into());
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.text_as_json(&body.to_string())
    }

    /// A body that claims to be JSON.
    pub fn text_as_json(self, text: &str) -> Self {
        self.with("Content-Type", "application/json").body(text)
    }

    pub fn bytes(&self, authority: &str) -> Vec<u8> {
        let mut bytes = format!(
            "{} {} HTTP/1.1\r\nHost: {authority}\r\n",
            self.method, self.target
        )
        .into_bytes();
        for (name, value) in &self.headers {
            bytes.extend(format!("{name}: {value}\r\n").as_bytes());
        }
        if let Some(body) = &self.body {
            bytes.extend(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(self.body.as_deref().unwrap_or_default());
        bytes
    }
}
