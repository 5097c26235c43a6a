//! axum on one current-thread runtime, with `TCP_NODELAY` and mimalloc.
//!
//! Served by `axum::serve`, as its documentation has it; a handler gets the parts of the request
//! that it needs through extractors.
//!
//! Usage: `peer-axum <address> <directory of responses>`.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT_ENCODING, HeaderValue, IF_NONE_MATCH};
use axum::response::Response;
use axum::routing::get;
use axum::serve::ListenerExt;
use captured::{Answers, Ready};
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().expect("the first argument is an address");
    let directory = arguments.next().expect("the second is a directory");
    let answers = Arc::new(Answers::load(Path::new(&directory), Ready::new)?);
    let routes = Router::new().route("/todos", get(list)).with_state(answers);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(&address, routes))
}

async fn serve(address: &str, routes: Router) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        // A stream that takes no option has ended already.
        drop(stream.set_nodelay(true));
    });
    axum::serve(listener, routes).await
}

async fn list(
    State(answers): State<Arc<Answers<Ready>>>,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
) -> Response {
    let header = |name| asked.get(name).map(HeaderValue::as_bytes);
    let ready = answers.pick(
        query.as_deref(),
        header(ACCEPT_ENCODING),
        header(IF_NONE_MATCH),
    );
    ready.map_or_else(Ready::not_found, Ready::response)
}
