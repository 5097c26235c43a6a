//! Bad input: a clear answer, no 5xx, nothing lost, and the connection in step or closed.

mod content;
mod framing;
mod heads;
mod hosts;
mod json;
mod members;
mod oversize;
mod queries;
mod splits;
mod tokens;

use crate::harness::{Ended, Response, Server, get};

/// Marks the request that follows the abuse.
const FOLLOWING: &str = "the-following-request";

/// What came back for abuse.
struct Answers {
    answers: Vec<Response>,
    /// The request that followed was answered on the same connection.
    in_step: bool,
}

impl Answers {
    /// The status of the first answer, if the connection was not closed without one.
    fn status(&self) -> Option<u16> {
        self.answers.first().map(|answer| answer.status)
    }
}

/// Sends `bytes` and then a valid request on one connection, and looks whether others are served.
///
/// # Panics
/// On an answer of 5xx, an error that is no problem document, silence, or a connection that goes
/// on although it is out of step.
#[track_caller]
fn abuse(server: &Server, bytes: impl AsRef<[u8]>) -> Answers {
    let shown = || {
        String::from_utf8_lossy(bytes.as_ref())
            .chars()
            .take(300)
            .collect::<String>()
    };
    let mut connection = server.connect();
    let following = get("/health").with("X-Request-Id", FOLLOWING);
    let mut sent = bytes.as_ref().to_vec();
    sent.extend(following.bytes(&connection.authority()));
    // The server may refuse before it has read all.
    drop(connection.send(&sent));
    let mut answers = vec![];
    let in_step = loop {
        match connection.response("GET") {
            Ok(answer) if answer.header("X-Request-Id") == Some(FOLLOWING) => {
                assert_eq!(answer.status, 200, "{:?}", shown());
                break true;
            }
            Ok(answer) => answers.push(answer),
            Err(Ended::Closed | Ended::Reset) => break false,
            Err(ended) => panic!("{ended:?} after {:?}", shown()),
        }
    };
    for answer in &answers {
        assert!(answer.status < 500, "{} for {:?}", answer.status, shown());
        if answer.status >= 400 {
            answer.problem(answer.status);
        }
    }
    server.anyone().ask(&get("/health")).expect(200);
    Answers { answers, in_step }
}

/// Abuse that must be refused with `status`.
#[track_caller]
fn refused(server: &Server, status: u16, bytes: impl AsRef<[u8]>) {
    let shown = String::from_utf8_lossy(bytes.as_ref())
        .chars()
        .take(300)
        .collect::<String>();
    let answers = abuse(server, bytes);
    assert_eq!(answers.status(), Some(status), "{shown:?}");
}

/// Abuse that is refused with 400 or served, but never half of each.
#[track_caller]
fn refused_or_served(server: &Server, bytes: impl AsRef<[u8]>) {
    let shown = String::from_utf8_lossy(bytes.as_ref())
        .chars()
        .take(300)
        .collect::<String>();
    let answers = abuse(server, bytes);
    let whole = answers.in_step && answers.answers.len() == 1;
    let status = answers.status();
    assert!(whole || status == Some(400), "{status:?} for {shown:?}");
}
