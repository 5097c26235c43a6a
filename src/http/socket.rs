//! One connection's socket, what it is doing, and since when.
//!
//! hyper reads and writes through [`Io`], which notes progress in the [`Socket`] it shares with
//! the connection's driver, its service and the core's sweep. That is all the deadlines need: no
//! timer per connection, a few cells to look at once a tick.
//!
//! While a connection is idle it is parked: hyper and its 16 KiB of buffers are gone, and come back
//! with the next byte.
//!
//! hyper answers heads that it cannot parse by itself, with an empty body. [`Io`] keeps such an
//! answer back and notes its status, so that the driver can send a problem document instead.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use hyper::StatusCode;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A core's coarse clock: ticks of [`super::sweep::TICK`] since the core started.
pub type Tick = u32;

/// What a connection is doing, as far as deadlines and refusals need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Between requests: nothing of the next head has come, or, for as long as it takes to park, it
    /// came together with the request before.
    Idle,
    /// A head has begun.
    Head,
    /// A request is being served: its body, its handler or its response.
    Serving,
    /// The response is complete, and may still stand in hyper's buffer.
    Flushing,
}

/// Bytes that are read at once before the first head.
const FRONT_READ_BYTES: usize = 512;

/// Whether hyper has the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// Nobody does: there is the socket alone until something comes.
    Parked,
    Hyper,
    /// hyper does, and shall let go, since the connection has been idle for a while.
    Parking,
}

/// Why the sweep or a drain ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    IdleTooLong,
    HeadTooSlow,
    ReaderStalled,
    /// Room for others, or the end of a drain.
    Evicted,
}

/// The socket and the state that hyper's I/O, the service, the driver and the sweep share.
pub struct Socket {
    stream: RefCell<TcpStream>,
    now: Rc<Cell<Tick>>,
    phase: Cell<Phase>,
    since: Cell<Tick>,
    /// Since when the client has left written bytes unread.
    stalled: Cell<Option<Tick>>,
    /// The status of hyper's own answer to a head it could not parse.
    refused: Cell<Option<StatusCode>>,
    hold: Cell<Hold>,
    /// What hyper had read and not used when it let go.
    left: RefCell<Bytes>,
    end: Cell<Option<End>>,
    driver: RefCell<Option<Waker>>,
    /// Whom the connection is from, once somebody wants to know: the other end, or whom a trusted
    /// proxy named.
    peer: Cell<Option<IpAddr>>,
}

impl Socket {
    pub fn new(stream: TcpStream, now: Rc<Cell<Tick>>) -> Self {
        let since = Cell::new(now.get());
        Self {
            stream: RefCell::new(stream),
            now,
            phase: Cell::new(Phase::Idle),
            since,
            stalled: Cell::new(None),
            refused: Cell::new(None),
            hold: Cell::new(Hold::Parked),
            left: RefCell::default(),
            end: Cell::new(None),
            driver: RefCell::new(None),
            peer: Cell::new(None),
        }
    }

    pub fn into_stream(self) -> TcpStream {
        self.stream.into_inner()
    }

    /// Whom the connection is from. `None` once it is gone.
    pub fn peer(&self) -> Option<IpAddr> {
        if self.peer.get().is_none() {
            let address = self.stream.borrow().peer_addr().ok();
            self.peer.set(address.map(|address| address.ip()));
        }
        self.peer.get()
    }

    /// A proxy's header is read: whom it named, and what came behind it.
    pub fn proxied(&self, client: Option<IpAddr>, left: Bytes) {
        if client.is_some() {
            self.peer.set(client);
        }
        self.enter(Phase::Idle);
        self.parked(left);
    }

    /// Reads some of what comes before the first head: 0 bytes at the end of the stream. The
    /// deadline is that of a head.
    ///
    /// # Cancel safety
    /// What was read is in `bytes`.
    pub async fn read_front(&self, bytes: &mut Vec<u8>) -> Result<usize, End> {
        poll_fn(|cx| {
            if let Poll::Ready(why) = self.poll_end(cx) {
                return Poll::Ready(Err(why));
            }
            let mut scratch = [0; FRONT_READ_BYTES];
            let mut buffer = ReadBuf::new(&mut scratch);
            let mut stream = self.stream.borrow_mut();
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer));
            // An error is an end, too.
            drop(read);
            self.note_read(buffer.filled());
            bytes.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
        .await
    }

    /// The connection does not begin as it has to.
    pub fn refuse(&self, status: StatusCode) {
        self.refused.set(Some(status));
    }

    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Ticks that the present phase has lasted.
    pub fn lasted(&self) -> Tick {
        self.now.get().saturating_sub(self.since.get())
    }

    /// Ticks that the client has left bytes unread.
    pub fn stalled(&self) -> Option<Tick> {
        self.stalled
            .get()
            .map(|since| self.now.get().saturating_sub(since))
    }

    pub fn refused(&self) -> Option<StatusCode> {
        self.refused.get()
    }

    /// The service has taken a request.
    pub fn request_begins(&self) {
        self.enter(Phase::Serving);
    }

    /// The response's body is complete or was dropped.
    pub fn response_ends(&self) {
        self.enter(Phase::Flushing);
    }

    /// Whether the connection has been ended, though its driver may not have run since.
    pub fn has_ended(&self) -> bool {
        self.end.get().is_some()
    }

    /// Ends the connection: its driver returns at once.
    pub fn end(&self, why: End) {
        self.end.set(Some(why));
        self.wake();
    }

    /// Has hyper let go of an idle connection.
    pub fn park(&self) {
        if self.hold.get() == Hold::Hyper {
            self.hold.set(Hold::Parking);
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    /// Whether hyper shall let go now: it is asked to, and nothing has come since.
    pub fn is_parking(&self) -> bool {
        self.hold.get() == Hold::Parking && self.phase.get() == Phase::Idle
    }

    /// hyper has let go, and had read this of a next head.
    pub fn parked(&self, left: Bytes) {
        self.hold.set(Hold::Parked);
        self.note_read(&left);
        let left = if self.phase.get() == Phase::Head {
            left
        } else {
            Bytes::new()
        };
        *self.left.borrow_mut() = left;
    }

    /// Waits until there is something to read, or the end.
    ///
    /// # Cancel safety
    /// Nothing is read.
    pub async fn readable(&self) -> Result<(), End> {
        poll_fn(|cx| {
            if let Poll::Ready(why) = self.poll_end(cx) {
                return Poll::Ready(Err(why));
            }
            let is_left = !self.left.borrow().is_empty();
            if !is_left {
                // A look at the socket itself: the runtime takes a new one for readable. An error
                // is for whoever reads it.
                let mut byte = [0];
                let mut peeked = ReadBuf::new(&mut byte);
                drop(ready!(self.stream.borrow().poll_peek(cx, &mut peeked)));
            }
            self.hold.set(Hold::Hyper);
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Whether the connection has been ended from outside; wakes `driver` when it is.
    pub fn poll_end(&self, driver: &mut Context<'_>) -> Poll<End> {
        if let Some(why) = self.end.get() {
            return Poll::Ready(why);
        }
        let mut known = self.driver.borrow_mut();
        if !known
            .as_ref()
            .is_some_and(|known| known.will_wake(driver.waker()))
        {
            *known = Some(driver.waker().clone());
        }
        Poll::Pending
    }

    fn enter(&self, phase: Phase) {
        if self.hold.get() == Hold::Parking {
            // Something came before hyper let go.
            self.hold.set(Hold::Hyper);
        }
        self.phase.set(phase);
        self.since.set(self.now.get());
    }

    /// Line ends before a head do not count (RFC 9112, 2.2).
    fn note_read(&self, bytes: &[u8]) {
        let is_head = bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
        if is_head && self.phase.get() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    fn note_write(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Pending => {
                if self.stalled.get().is_none() {
                    self.stalled.set(Some(self.now.get()));
                }
            }
            Poll::Ready(_) => self.stalled.set(None),
        }
    }

    /// Whether these bytes are hyper's own answer: no request is being served and nothing of an
    /// earlier response is left. If so they are kept back and only their status is noted.
    fn keeps_back(&self, bytes: &[u8]) -> bool {
        if self.refused.get().is_some() {
            return true;
        }
        if !matches!(self.phase.get(), Phase::Idle | Phase::Head) {
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

/// Bytes that one read takes from the socket at most. hyper's buffer starts at 8 KiB and grows
/// with the client's speed; more than this would only fill a core's cache.
const READ_BYTES_MAX: usize = 64 << 10;

thread_local! {
    // Reads land here first: hyper's buffer is uninitialised memory, and filling it in place would
    // take unsafe code. Copying a head costs some 10 ns.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES_MAX].into_boxed_slice());
}

/// What hyper reads from and writes to.
pub struct Io(pub Rc<Socket>);

impl Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = &self.0;
        let mut left = socket.left.borrow_mut();
        if !left.is_empty() {
            let some = left.len().min(into.remaining());
            into.put_slice(&left.split_to(some));
            return Poll::Ready(Ok(()));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let room = into.remaining().min(scratch.len());
            let mut buffer = ReadBuf::new(&mut scratch[..room]);
            let mut stream = socket.stream.borrow_mut();
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
            socket.note_read(buffer.filled());
            into.put_slice(buffer.filled());
            Poll::Ready(Ok(()))
        })
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
        let written = Pin::new(&mut *self.0.stream.borrow_mut()).poll_write(cx, bytes);
        self.0.note_write(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.0.keeps_back(slices.first().map_or(&[], |first| first)) {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let written = Pin::new(&mut *self.0.stream.borrow_mut()).poll_write_vectored(cx, slices);
        self.0.note_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper flushes when its buffer is empty: a complete response has then left it.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.phase.get() == Phase::Flushing {
            self.0.enter(Phase::Idle);
        }
        Poll::Ready(Ok(()))
    }

    /// The driver closes the socket, in its own way.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
