//! One connection from accept to close.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::core::Core;
use super::gate::{self, Passed};
use super::hot;
use super::response::Problem;
use super::socket::{End, Socket};

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
    let passed = if core.is_hot() {
        hot::serve(&core, &socket).await
    } else {
        Box::pin(gate::give(&core, &socket, Bytes::new())).await
    };
    drop(entered);
    let refused = match passed {
        Passed::Answered | Passed::Over(None) => None,
        Passed::Over(Some(status)) => Some(status),
        Passed::Ended(End::HeadTooSlow) => Some(StatusCode::REQUEST_TIMEOUT),
        Passed::Ended(End::IdleTooLong | End::ReaderStalled | End::Evicted) => return,
    };
    // hyper and the table have let go: what is left is the socket itself.
    let Some(mut stream) = Rc::into_inner(socket).map(Socket::into_stream) else {
        return;
    };
    if let Some(status) = refused {
        core.metrics.refused(status);
    }
    part(&core, &mut stream, refused).await;
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
