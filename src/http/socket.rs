//! One connection's socket, what it is doing, and since when.
//!
//! The hot loop and hyper, through its gate, read and write here, and so note their progress in
//! what the core's sweep looks at. That is all the deadlines need: no timer per connection, a few
//! cells to look at once a tick.
//!
//! The runtime says when a socket is ready; reading and writing are system calls made here. Those of
//! the C library may be cancelled by other threads, which nobody does, and preparing for it takes
//! longer than finding an answer.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::coop;

/// A core's coarse clock: ticks of [`super::sweep::TICK`] since the core started.
pub type Tick = u32;

/// What a connection is doing, as far as deadlines and refusals need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Between requests: nothing of the next head has come or, with hyper, it came together with
    /// the request before.
    Idle,
    /// A head has begun.
    Head,
    /// A request is under way: its body, its handler or its response. Or a read waits for admission.
    Serving,
    /// The response is complete, and may still stand in a buffer.
    Flushing,
}

/// Bytes that are read at once before the first head.
const FRONT_READ_BYTES: usize = 512;

/// Why the sweep or a drain ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    IdleTooLong,
    HeadTooSlow,
    ReaderStalled,
    /// Room for others, or the end of a drain.
    Evicted,
}

/// The socket and the state that the hot loop, the gate, the service and the sweep share.
pub struct Socket {
    stream: TcpStream,
    now: Rc<Cell<Tick>>,
    phase: Cell<Phase>,
    since: Cell<Tick>,
    /// Since when the client has left written bytes unread.
    stalled: Cell<Option<Tick>>,
    /// Read off the socket and not taken yet: the beginning of a head, or what came behind a
    /// request that is being answered. At most a head's limit and one read.
    pub unread: RefCell<Vec<u8>>,
    end: Cell<Option<End>>,
    driver: RefCell<Option<Waker>>,
    /// Whom the connection is from, once somebody wants to know: the other end, or whom a trusted
    /// proxy named.
    peer: Cell<Option<IpAddr>>,
    /// Whether a proxy said that it does not know whom the connection is from.
    is_unnamed: Cell<bool>,
    /// Bodies that are being read past.
    passed_over: Cell<u32>,
}

impl Socket {
    pub fn new(stream: TcpStream, now: Rc<Cell<Tick>>) -> Self {
        let since = Cell::new(now.get());
        Self {
            stream,
            now,
            phase: Cell::new(Phase::Idle),
            since,
            stalled: Cell::new(None),
            unread: RefCell::default(),
            end: Cell::new(None),
            driver: RefCell::new(None),
            peer: Cell::new(None),
            is_unnamed: Cell::new(false),
            passed_over: Cell::new(0),
        }
    }

    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Whom the connection is from. `None` once it is gone.
    pub fn peer(&self) -> Option<IpAddr> {
        if self.peer.get().is_none() {
            let address = self.stream.peer_addr().ok();
            self.peer.set(address.map(|address| address.ip()));
        }
        self.peer.get()
    }

    /// Whether a proxy said that it does not know whom the connection is from.
    pub fn is_unnamed(&self) -> bool {
        self.is_unnamed.get()
    }

    /// A proxy's header is read: whom it named, and what came behind it. A proxy that names nobody
    /// passes on what a client sends: what is said there of addresses is the client's word.
    pub fn proxied(&self, client: Option<IpAddr>, behind: Vec<u8>) {
        match client {
            Some(_) => self.peer.set(client),
            None => self.is_unnamed.set(true),
        }
        self.enter(Phase::Idle);
        self.note_head(&behind);
        self.unread.replace(behind);
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
            // An error is an end, too.
            let read = ready!(self.poll_read(cx, &mut scratch)).unwrap_or(0);
            self.note_head(&scratch[..read]);
            bytes.extend_from_slice(&scratch[..read]);
            Poll::Ready(Ok(read))
        })
        .await
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

    /// Enters a phase, be it the same one anew.
    pub fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.now.get());
    }

    /// Notes what was read while no request is being served. Line ends before a head do not count
    /// (RFC 9112, 2.2).
    pub fn note_head(&self, bytes: &[u8]) {
        let is_head = || bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
        if self.phase.get() == Phase::Idle && is_head() {
            self.enter(Phase::Head);
        }
    }

    /// What comes next is a body that nobody wants.
    pub fn passes_over(&self) {
        self.passed_over.set(self.passed_over.get() + 1);
    }

    /// Such a body has come, or is not waited for any more.
    pub fn has_passed_over(&self) {
        self.passed_over
            .set(self.passed_over.get().saturating_sub(1));
    }

    /// Whether what comes may be of a body that nobody wants.
    pub fn is_passing_over(&self) -> bool {
        self.passed_over.get() > 0
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
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
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

    /// Reads into `buffer`; 0 is the end of the stream.
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let bytes_max = buffer.len();
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            let received =
                retry_on_intr(|| rustix::net::recv(&self.stream, &mut *buffer, RecvFlags::empty()));
            let read = match received {
                Err(Errno::AGAIN) => None,
                received => Some(received?.0),
            };
            // A read that does not fill its buffer is the last one until the socket is readable
            // again: there is no second call to find that out.
            if read.is_none_or(|read| (1..bytes_max).contains(&read)) {
                self.forget(Interest::READABLE);
            }
            if let Some(read) = read {
                return Poll::Ready(Ok(read));
            }
        }
    }

    /// Has the runtime take the socket for not ready until the kernel says that it is. No news of
    /// that is lost: the runtime takes it in on this thread, and so none has come since the call
    /// that found the socket so.
    fn forget(&self, interest: Interest) {
        let blocked = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        drop(self.stream.try_io(interest, blocked));
    }

    /// Looks whether the client goes while its request is being served: it has closed its side, or
    /// the connection failed. What comes instead is put aside, up to `bytes_max` and one read: who
    /// has sent so much ahead is not looked after any more.
    pub fn poll_left(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        bytes_max: usize,
    ) -> Poll<io::Result<()>> {
        while self.unread.borrow().len() < bytes_max {
            let read = ready!(self.poll_read(cx, buffer))?;
            if read == 0 {
                return Poll::Ready(Ok(()));
            }
            self.unread.borrow_mut().extend(&buffer[..read]);
        }
        Poll::Pending
    }

    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_written(cx, || {
            rustix::net::send(&self.stream, bytes, SendFlags::NOSIGNAL)
        })
    }

    pub fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_written(cx, || rustix::io::writev(&self.stream, slices))
    }

    /// Writes without asking first whether there is room: nearly always there is. Each write is one
    /// of the steps after which the runtime has others go on; that is no stall of the client's.
    fn poll_written(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut() -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let step = ready!(coop::poll_proceed(cx));
        let written = loop {
            match retry_on_intr(&mut write) {
                Err(Errno::AGAIN) => self.forget(Interest::WRITABLE),
                written => {
                    step.made_progress();
                    break Poll::Ready(written.map_err(Into::into));
                }
            }
            match self.stream.poll_write_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        self.note_write(&written);
        written
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
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn who_only_writes_lets_others_go_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let _client = TcpStream::connect(address).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let socket = Socket::new(stream, Rc::default());
        let mut writes = 0;
        poll_fn(|cx| {
            while let Poll::Ready(written) = socket.poll_write(cx, b"x") {
                assert_eq!(written.unwrap(), 1);
                writes += 1;
                // All of them have room.
                assert!(writes < 1_000, "nobody else has had a turn");
            }
            Poll::Ready(())
        })
        .await;
        assert!(writes > 1);
        assert_eq!(socket.stalled(), None);
    }
}
