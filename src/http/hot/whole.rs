//! A request that has come whole, with its body. All that is left of hyper's work is to make a
//! request of its head and bytes of the response, and that is done here: a connection of hyper's,
//! made for one request, costs more than most handlers.
//!
//! The parsers are hyper's own: httparse and the types of http. What they refuse is left to hyper, and
//! so is who asks for more of the connection than to keep it, and every method but GET, POST, PUT and
//! DELETE.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, Uri};

use super::super::body::Unread;
use super::super::core::Core;
use super::super::gate::Passed;
use super::super::response::Sent;
use super::super::service;
use super::super::socket::{Phase, Socket};
use super::Hot;
use super::fields::place;
use super::head::FIELDS_MAX;
use super::output::Own;

/// Reads a head that is known to be whole and framed, with the body behind it. `None` where it is
/// hyper's to answer.
pub fn request(bytes: &Bytes) -> Option<Request<Unread>> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    let head = parsed.parse_with_uninit_headers(bytes, &mut fields).ok()?;
    let httparse::Status::Complete(head_bytes) = head else {
        return None;
    };
    let part = |part: &[u8]| bytes.slice(place(bytes, part));
    let method = match parsed.method? {
        "GET" => Method::GET,
        "POST" => Method::POST,
        "PUT" => Method::PUT,
        "DELETE" => Method::DELETE,
        _ => return None,
    };
    let uri = Uri::from_maybe_shared(part(parsed.path?.as_bytes())).ok()?;
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for field in &*parsed.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        // What HTTP/1.1 does anyway; all else means something.
        if name == CONNECTION && !field.value.eq_ignore_ascii_case(b"keep-alive") {
            return None;
        }
        let value = HeaderValue::from_maybe_shared(part(field.value)).ok()?;
        headers.append(name, value);
    }
    let mut request = Request::new(Unread::Whole(bytes.slice(head_bytes..)));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Some(request)
}

impl Hot {
    /// Has the request answered, as long as its client is there, and sends what the client takes of
    /// the answer. What became of the connection, if that is over.
    ///
    /// # Cancel safety
    /// The connection is lost.
    pub(super) async fn answer_whole(
        &mut self,
        core: &Rc<Core>,
        socket: &Rc<Socket>,
        request: Request<Unread>,
    ) -> Option<Passed> {
        socket.enter(Phase::Serving);
        // On the heap: an idle connection's task would be this much larger otherwise.
        let answer = service::serve(Rc::clone(core), Rc::clone(socket), request);
        let mut answer = Box::pin(answer);
        poll_fn(|cx| {
            if let Poll::Ready(why) = socket.poll_end(cx) {
                return Poll::Ready(Some(Passed::Ended(why)));
            }
            if let Poll::Ready(response) = answer.as_mut().poll(cx) {
                return Poll::Ready(self.send(cx, core, socket, response));
            }
            // hyper would not even have begun for a client that has gone already.
            let bytes_max = core.shared.options.head_bytes_max;
            let left = socket.poll_left(cx, &mut core.input.borrow_mut(), bytes_max);
            left.map(|_| Some(Passed::Over(None)))
        })
        .await
    }

    fn send(
        &mut self,
        cx: &mut Context<'_>,
        core: &Core,
        socket: &Socket,
        response: Response<Sent>,
    ) -> Option<Passed> {
        // All that a handler says of the connection is that it closes.
        let closes = response.headers().contains_key(CONNECTION);
        let response = response.map(Sent::into_body);
        let desk = &mut *core.desk.borrow_mut();
        desk.clear();
        let date = desk.answers.date();
        desk.output.put_made(response, Own::default(), true, date);
        match desk.output.poll_send(cx, socket) {
            Poll::Ready(Ok(())) if !closes => {
                socket.enter(Phase::Idle);
                socket.note_head(&socket.unread.borrow());
                None
            }
            Poll::Ready(_) => {
                desk.clear();
                Some(Passed::Over(None))
            }
            Poll::Pending => {
                self.waiting = Some(Box::new(desk.output.take()));
                self.closing = closes;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &str) -> Option<Request<Unread>> {
        request(&Bytes::copy_from_slice(bytes.as_bytes()))
    }

    #[test]
    fn a_request_is_what_hyper_makes_of_it() {
        let found = of(
            "\r\nPOST /todos?a=b HTTP/1.1\r\nHost: h\r\nIdempotency-Key:  k \r\nX: 1\r\n\
             X: \r\nX: \u{e9}\r\nContent-Length: 2\r\n\r\n{}",
        );
        let (parts, body) = found.expect("a request").into_parts();
        assert_eq!(
            (parts.method, parts.uri),
            (Method::POST, "/todos?a=b".parse().unwrap())
        );
        assert_eq!(parts.headers["idempotency-key"], "k");
        let repeated: Vec<&[u8]> = parts
            .headers
            .get_all("x")
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        assert_eq!(repeated, [b"1".as_slice(), b"", "\u{e9}".as_bytes()]);
        assert!(matches!(body, Unread::Whole(body) if body == "{}"));
    }

    #[test]
    fn hyper_has_what_is_not_plain() {
        for head in [
            "HEAD /todos/1 HTTP/1.1\r\nHost: h\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
            "PATCH /todos/1 HTTP/1.1\r\nHost: h\r\n\r\n",
            "get /health HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            "GET /health HTTP/1.1\r\nHost: h\r\nCONNECTION: keep-alive, x\r\n\r\n",
            "GET /health HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
            "GET /health HTTP/1.1\r\nHost: h\r\n",
        ] {
            assert!(of(head).is_none(), "{head:?}");
        }
        for fields in ["", "CONNECTION: Keep-Alive\r\n"] {
            let head = format!("GET /health HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
            assert!(of(&head).is_some(), "{head:?}");
        }
    }
}
