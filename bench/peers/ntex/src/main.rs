//! ntex with one worker on its tokio runtime, with mimalloc; it sets `TCP_NODELAY` itself.
//!
//! Usage: `peer-ntex <address> <directory of responses>`.

use std::path::Path;
use std::sync::Arc;

use captured::{Answer, Answers};
use ntex::http::header::{ACCEPT_ENCODING, HeaderName, HeaderValue, IF_NONE_MATCH};
use ntex::http::{HeaderMap, KeepAlive, StatusCode};
use ntex::util::Bytes;
use ntex::web::types::State;
use ntex::web::{self, App, HttpRequest, HttpResponse};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A response but for its type, which cannot be cloned.
struct Ready {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

#[ntex::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().expect("the first argument is an address");
    let directory = arguments.next().expect("the second is a directory");
    let answers = Arc::new(Answers::load(Path::new(&directory), Ready::new)?);
    let routes = move || {
        App::new()
            .state(Arc::clone(&answers))
            .route("/todos", web::get().to(list))
    };
    web::server(routes)
        .workers(1)
        .backlog(4_096)
        .keep_alive(KeepAlive::Os)
        .bind(address)?
        .run()
        .await
}

async fn list(request: HttpRequest, answers: State<Arc<Answers<Ready>>>) -> HttpResponse {
    let header = |name| request.headers().get(name).map(HeaderValue::as_bytes);
    let ready = answers.pick(
        request.uri().query(),
        header(ACCEPT_ENCODING),
        header(IF_NONE_MATCH),
    );
    let Some(ready) = ready else {
        return HttpResponse::NotFound().finish();
    };
    let mut response = HttpResponse::new(ready.status).set_body(ready.body.clone().into());
    *response.headers_mut() = ready.headers.clone();
    response
}

impl Ready {
    fn new(answer: &Answer) -> Self {
        let headers = answer.headers.iter().map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name that was sent");
            let value = HeaderValue::from_str(value).expect("a value that was sent");
            (name, value)
        });
        Self {
            status: StatusCode::from_u16(answer.status).expect("a status that was sent"),
            headers: headers.collect(),
            body: Bytes::copy_from_slice(&answer.body),
        }
    }
}
