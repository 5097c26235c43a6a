//! The gate to hyper: it lets one framed request through, or a whole connection.
//!
//! What is no plain list read, and has not come whole, is hyper's to answer. Where its end is known,
//! a request goes through the gate alone: hyper sees a connection on which exactly these bytes come,
//! and is dropped with its buffers once its response has been sent. The hot loop goes on with what
//! follows. A stream whose requests only hyper can tell apart is hyper's for good.
//!
//! hyper answers heads that it cannot parse by itself, with an empty body. The gate keeps such an
//! answer back and notes its status, so that a problem document can be sent instead.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};

use super::body::Unread;
use super::core::Core;
use super::service;
use super::socket::{End, Phase, Socket};

/// What became of a connection whose requests went through the gate.
pub enum Passed {
    /// The request was answered, the response sent, and the connection may go on.
    Answered,
    /// The connection is done; where hyper refused it, with this status.
    Over(Option<StatusCode>),
    Ended(End),
}

/// Has hyper answer one request: `begun` is its head and what has come of its body, of which
/// `missing` bytes are still to come.
///
/// # Cancel safety
/// The connection is lost.
pub async fn pass(core: &Rc<Core>, socket: &Rc<Socket>, begun: Bytes, missing: u64) -> Passed {
    converse(Gate::new(core, socket, begun, Some(missing))).await
}

/// Gives hyper the connection for good, and what has come on it.
///
/// # Cancel safety
/// The connection is lost.
pub async fn give(core: &Rc<Core>, socket: &Rc<Socket>, begun: Bytes) -> Passed {
    converse(Gate::new(core, socket, begun, None)).await
}

async fn converse(gate: Rc<Gate>) -> Passed {
    let Gate { core, socket, .. } = &*gate;
    let service = service_fn(|request: Request<Incoming>| {
        socket.enter(Phase::Serving);
        let request = request.map(Unread::Coming);
        service::serve(Rc::clone(core), Rc::clone(socket), request).map(Ok::<_, Infallible>)
    });
    let mut builder = http1::Builder::new();
    // Deadlines are the sweep's; hyper's would be a timer per connection.
    builder
        .header_read_timeout(None)
        .max_header_size(core.shared.options.head_bytes_max);
    let mut connection = builder.serve_connection(Io(Rc::clone(&gate)), service);
    poll_fn(|cx| {
        if let Poll::Ready(why) = socket.poll_end(cx) {
            return Poll::Ready(Passed::Ended(why));
        }
        match Pin::new(&mut connection).poll(cx) {
            // An error is the client's: what there is to say about it is in `refused`.
            Poll::Ready(_) => Poll::Ready(Passed::Over(gate.refused.get())),
            Poll::Pending if gate.has_passed() => Poll::Ready(Passed::Answered),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// What hyper may read of a connection.
struct Gate {
    core: Rc<Core>,
    socket: Rc<Socket>,
    /// Read off the socket for hyper.
    begun: RefCell<Bytes>,
    /// Bytes of the request that are still to come off the socket; `None` where there is no end.
    missing: Cell<Option<u64>>,
    /// The status of hyper's own answer to a head it could not parse.
    refused: Cell<Option<StatusCode>>,
}

impl Gate {
    fn new(core: &Rc<Core>, socket: &Rc<Socket>, begun: Bytes, missing: Option<u64>) -> Rc<Self> {
        socket.note_head(&begun);
        Rc::new(Self {
            core: Rc::clone(core),
            socket: Rc::clone(socket),
            begun: RefCell::new(begun),
            missing: Cell::new(missing),
            refused: Cell::new(None),
        })
    }

    /// Whether hyper has had its one request and sent the response.
    fn has_passed(&self) -> bool {
        self.missing.get() == Some(0)
            && self.begun.borrow().is_empty()
            && self.socket.phase() == Phase::Idle
    }

    /// Reads as much as hyper may have.
    fn poll_read(
        &self,
        cx: &mut Context<'_>,
        into: &mut ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // Not into hyper's buffer at once: that is uninitialised memory, and would take unsafe code.
        let input = &mut *self.core.input.borrow_mut();
        let missing = self.missing.get();
        let most = missing.map_or(usize::MAX, |bytes| {
            usize::try_from(bytes).unwrap_or(usize::MAX)
        });
        let room = into.remaining().min(input.len()).min(most);
        let read = ready!(self.socket.poll_read(cx, &mut input[..room]))?;
        self.missing.set(missing.map(|bytes| bytes - read as u64));
        // Of a framed request it is body: the head came whole.
        if missing.is_none() && !self.socket.is_passing_over() {
            self.socket.note_head(&input[..read]);
        }
        into.put_slice(&input[..read]);
        Poll::Ready(Ok(()))
    }

    /// Whether these bytes are hyper's own answer: no request is being served and nothing of an
    /// earlier response is left. If so they are kept back and only their status is noted.
    fn keeps_back(&self, bytes: &[u8]) -> bool {
        if self.refused.get().is_some() {
            return true;
        }
        if !matches!(self.socket.phase(), Phase::Idle | Phase::Head) {
            return false;
        }
        // `HTTP/1.1 431 …`: the status is at bytes 9 to 11.
        let status = bytes
            .get(9..12)
            .and_then(|digits| StatusCode::from_bytes(digits).ok());
        self.refused
            .set(Some(status.unwrap_or(StatusCode::BAD_REQUEST)));
        true
    }
}

/// What hyper reads from and writes to.
struct Io(Rc<Gate>);

impl Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let gate = &self.0;
        let mut begun = gate.begun.borrow_mut();
        if !begun.is_empty() {
            let some = begun.len().min(into.remaining());
            into.put_slice(&begun.split_to(some));
            return Poll::Ready(Ok(()));
        }
        match gate.missing.get() {
            // Behind its request, hyper sees nothing but the end of the stream: it stops serving a
            // client that has gone.
            Some(0) => {
                let bytes_max = gate.core.shared.options.head_bytes_max;
                let buffer = &mut gate.core.input.borrow_mut();
                gate.socket.poll_left(cx, buffer, bytes_max)
            }
            _ => gate.poll_read(cx, &mut into),
        }
    }
}

impl Write for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.0.keeps_back(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        self.0.socket.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.0.keeps_back(slices.first().map_or(&[], |first| first)) {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        self.0.socket.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper flushes when its buffer is empty: a complete response has then left it.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.socket.phase() == Phase::Flushing {
            self.0.socket.enter(Phase::Idle);
        }
        Poll::Ready(Ok(()))
    }

    /// The driver closes the socket, in its own way.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
