//! One connection from accept to close.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode, body::Incoming};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::core::{Core, Surface};
use super::response::Problem;
use super::socket::{End, Io, Socket};
use super::{peer, proxy, service};

/// Input that is read and thrown away after a refusal, at most: closing a socket with unread
/// input resets it, and the client might never see the answer.
const LINGER_BYTES_MAX: usize = 256 << 10;
/// Time for which input is thrown away after a refusal, at most.
const LINGER_TIME_MAX: Duration = Duration::from_secs(1);

/// Serves a connection until it ends.
///
/// # Cancel safety
/// Dropping the future closes the socket at once.
pub async fn serve(core: Rc<Core>, stream: TcpStream) {
    let socket = Rc::new(Socket::new(stream, core.connections.clock()));
    let entered = core.connections.enter(&socket);
    let ended = drive(&core, &socket).await;
    drop(entered);
    let refused = socket.refused();
    // hyper and the table have let go: what is left is the socket itself.
    let Some(mut stream) = Rc::into_inner(socket).map(Socket::into_stream) else {
        return;
    };
    let status = match (ended, refused) {
        (Some(End::HeadTooSlow), _) => Some(StatusCode::REQUEST_TIMEOUT),
        (Some(End::IdleTooLong | End::ReaderStalled | End::Evicted), _) => return,
        (None, refused) => refused,
    };
    if let Some(status) = status {
        core.metrics.refused(status);
    }
    part(&core, &mut stream, status).await;
}

/// Closes a connection with a last word, if there is one to say, and before the grace is over.
async fn part(core: &Core, stream: &mut TcpStream, refused: Option<StatusCode>) {
    let close = async {
        match refused {
            Some(status) => refuse(stream, status).await,
            None => linger(stream).await,
        }
    };
    tokio::select! {
        () = close => {}
        () = core.shared.stage.over() => {}
    }
}

/// Runs the connection until it is done (`None`) or is ended from outside. It starts parked.
async fn drive(core: &Rc<Core>, socket: &Rc<Socket>) -> Option<End> {
    if is_introduced(core, socket) {
        match proxy::read(socket).await {
            Err(why) => return Some(why),
            Ok(true) => {}
            Ok(false) => {
                socket.refuse(StatusCode::BAD_REQUEST);
                return None;
            }
        }
    }
    loop {
        if let Err(why) = socket.readable().await {
            return Some(why);
        }
        if let Some(end) = converse(core, socket).await {
            return end;
        }
    }
}

/// Whether the connection begins with a proxy's word on whom it is from.
fn is_introduced(core: &Core, socket: &Socket) -> bool {
    let options = &core.shared.options.admission;
    let is_trusted = |peer| peer::is_in(&options.trusted_proxies, peer);
    options.proxy_protocol
        && core.surface == Surface::Public
        && socket.peer().is_some_and(is_trusted)
}

/// Runs hyper on the socket until the connection ends, or (`None`) is to be parked.
async fn converse(core: &Rc<Core>, socket: &Rc<Socket>) -> Option<Option<End>> {
    let service = service_fn(|request: Request<Incoming>| {
        socket.request_begins();
        service::serve(Rc::clone(core), Rc::clone(socket), request)
    });
    let mut builder = http1::Builder::new();
    // Deadlines are the sweep's; hyper's would be a timer per connection.
    builder
        .header_read_timeout(None)
        .max_header_size(core.shared.options.head_bytes_max);
    let mut connection = builder.serve_connection(Io(Rc::clone(socket)), service);
    let over = poll_fn(|cx| {
        if let Poll::Ready(why) = socket.poll_end(cx) {
            return Poll::Ready(Some(Some(why)));
        }
        if socket.is_parking() {
            return Poll::Ready(None);
        }
        // An error is the client's: what there is to say about it is in `socket.refused()`.
        Pin::new(&mut connection).poll(cx).map(|_| Some(None))
    })
    .await;
    if over.is_none() {
        socket.parked(connection.into_parts().read_buf);
    }
    over
}

/// Tells a client that its request is not understood, and closes.
async fn refuse(stream: &mut TcpStream, status: StatusCode) {
    let answer = Problem::refusal(status).to_wire();
    if timeout(LINGER_TIME_MAX, stream.write_all(&answer))
        .await
        .is_ok_and(|sent| sent.is_ok())
    {
        linger(stream).await;
    }
}

/// Answers a connection beyond the limit with 503, and closes it.
pub async fn turn_away(core: &Core, mut stream: TcpStream) {
    part(core, &mut stream, Some(StatusCode::SERVICE_UNAVAILABLE)).await;
}

/// Closes in two steps: no more is sent, then what still comes is thrown away, within bounds.
async fn linger(stream: &mut TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    // On the heap: every connection's task would be this much larger otherwise.
    let mut scratch = vec![0; 4 << 10];
    let discard = async {
        let mut left = LINGER_BYTES_MAX;
        while left > 0 {
            match stream.read(&mut scratch).await {
                Ok(0) | Err(_) => break,
                Ok(read) => left = left.saturating_sub(read),
            }
        }
    };
    // Either way the socket is closed next.
    drop(timeout(LINGER_TIME_MAX, discard).await);
}
