//! `may_minihttp` with one worker and mimalloc.
//!
//! It takes headers and text bodies as `&'static str`, so both are leaked once at the start; a body
//! that is not text (gzip) goes through its buffer. Every body is copied into the connection's
//! buffer, that is its design.
//!
//! Usage: `peer-may <address> <directory of responses>`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use captured::{Answer, Answers};
use may_minihttp::{HttpService, HttpServiceFactory, Request, Response};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A coroutine's stack in words; the default is too small for its 16 headers and an answer.
const STACK_WORDS: usize = 0x2000;

/// An answer as `may_minihttp` wants it.
struct Ready {
    status: u16,
    headers: Vec<&'static str>,
    text: Option<&'static str>,
    body: Bytes,
}

#[derive(Clone)]
struct Lists(Arc<Answers<Ready>>);

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().expect("the first argument is an address");
    let directory = arguments.next().expect("the second is a directory");
    let answers = Arc::new(Answers::load(Path::new(&directory), Ready::new)?);
    may::config().set_workers(1).set_stack_size(STACK_WORDS);
    let server = Lists(answers).start(address)?;
    server
        .join()
        .map_err(|_| io::Error::other("the listener panicked"))
}

impl HttpServiceFactory for Lists {
    type Service = Self;

    fn new_service(&self, _: usize) -> Self {
        self.clone()
    }
}

impl HttpService for Lists {
    fn call(&mut self, request: Request, response: &mut Response) -> io::Result<()> {
        let header = |name: &str| {
            let mut headers = request.headers().iter();
            let found = headers.find(|header| header.name.eq_ignore_ascii_case(name));
            found.map(|header| header.value)
        };
        let path = request.path();
        let query = path.split_once('?').map(|(_, query)| query);
        let known = path.split('?').next() == Some("/todos");
        let ready = known
            .then(|| (header("accept-encoding"), header("if-none-match")))
            .and_then(|(coding, tag)| self.0.pick(query, coding, tag));
        match ready {
            Some(ready) => ready.write(response),
            None => {
                response.status_code(404, "Not Found");
            }
        }
        Ok(())
    }
}

impl Ready {
    fn new(answer: &Answer) -> Self {
        let leaked = |text: String| &*text.leak();
        let headers = answer.headers.iter();
        let headers = headers.map(|(name, value)| leaked(format!("{name}: {value}")));
        let text = String::from_utf8(answer.body.to_vec()).ok();
        Self {
            status: answer.status,
            headers: headers.collect(),
            text: text.map(leaked),
            body: answer.body.clone(),
        }
    }

    fn write(&self, response: &mut Response) {
        if self.status != 200 {
            response.status_code(self.status.into(), "Not Modified");
        }
        for header in &self.headers {
            response.header(header);
        }
        match self.text {
            Some(text) => response.body(text),
            None => response.body_mut().extend_from_slice(&self.body),
        }
    }
}
