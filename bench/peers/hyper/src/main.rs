//! Bare hyper on one current-thread runtime, with `TCP_NODELAY` and mimalloc.
//!
//! `pipeline_flush` writes several pipelined responses at once, but copies every body into one
//! buffer first; without it, bodies are written from where they are. So it is a choice.
//!
//! It lacks everything but the answer: no deadlines, no limits, no metrics, no drain, no other
//! routes, no q-values, data that never change.
//!
//! Usage: `peer-hyper <address> <directory of responses> [pipeline-flush]`.

use std::convert::Infallible;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use captured::{Answers, Ready};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, HeaderValue, IF_NONE_MATCH};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::LocalOptions;
use tokio::task::spawn_local;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().expect("the first argument is an address");
    let directory = arguments.next().expect("the second is a directory");
    let flush = arguments.next().as_deref() == Some("pipeline-flush");
    let answers = Rc::new(Answers::load(Path::new(&directory), Ready::new)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build_local(LocalOptions::default())?;
    runtime.block_on(serve(&address, flush, answers))
}

async fn serve(address: &str, flush: bool, answers: Rc<Answers<Ready>>) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        stream.set_nodelay(true)?;
        let answers = Rc::clone(&answers);
        spawn_local(async move {
            let service = service_fn(|request| {
                std::future::ready(Ok::<_, Infallible>(answer(&answers, &request)))
            });
            let connection = http1::Builder::new()
                .pipeline_flush(flush)
                .serve_connection(TokioIo::new(stream), service);
            // An error is the client's, and ends its connection.
            drop(connection.await);
        });
    }
}

fn answer(answers: &Answers<Ready>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let header = |name| request.headers().get(name).map(HeaderValue::as_bytes);
    let ready = (request.uri().path() == "/todos")
        .then(|| request.uri().query())
        .and_then(|query| answers.pick(query, header(ACCEPT_ENCODING), header(IF_NONE_MATCH)));
    ready.map_or_else(Ready::not_found, Ready::response)
}
