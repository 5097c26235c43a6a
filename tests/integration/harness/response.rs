//! One response as it came, and what every error has in common.

use serde_json::Value;

#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// In the order received, names as received.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What must never be read by a client: traces of the code, of SQL and of memory.
const INTERNALS: [&str; 15] = [
    "sqlite",
    "postgres",
    "SQLSTATE",
    "rdkafka",
    "rusqlite",
    "SELECT ",
    "INSERT ",
    "panicked",
    "unwrap",
    "src/",
    ".rs",
    "serde",
    "hyper",
    "127.0.0.1",
    "0x",
];

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        let found = all.find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The header's value where a test depends on it.
    pub fn must(&self, name: &str) -> &str {
        match self.header(name) {
            Some(value) => value,
            None => panic!("no {name} in {self:?}"),
        }
    }

    /// Whether a header that is a list names `item`.
    pub fn lists(&self, name: &str, item: &str) -> bool {
        let items = self.header(name).unwrap_or_default().split(',');
        items
            .into_iter()
            .any(|part| part.trim().eq_ignore_ascii_case(item))
    }

    pub fn closes(&self) -> bool {
        self.lists("Connection", "close")
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}\n{:?}", self.text(), self.headers);
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{error} in {:?}", self.text()),
        }
    }

    /// The body as a JSON array.
    pub fn list(&self) -> Vec<Value> {
        match self.json() {
            Value::Array(items) => items,
            other => panic!("not an array: {other}"),
        }
    }

    /// The problem in the body (RFC 9457), with all members that every problem has.
    #[track_caller]
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}\n{:?}", self.text(), self.headers);
        assert_eq!(self.must("Content-Type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{problem}");
        for member in ["type", "title", "detail", "request_id"] {
            let text = problem[member].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "no {member} in {problem}");
        }
        assert_eq!(problem["request_id"], self.must("X-Request-Id"));
        for trace in INTERNALS {
            let leaks = self.text().contains(trace);
            assert!(!leaks, "leaks {trace:?}: {problem}");
        }
        problem
    }

    /// A problem that names what was wrong.
    #[track_caller]
    pub fn problem_about(&self, status: u16, named: &str) -> Value {
        let problem = self.problem(status);
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains(named),
            "{named:?} is not named in {problem}"
        );
        problem
    }
}
