//! actix-web with one worker, `TCP_NODELAY` and mimalloc; no compression middleware, no logger.
//!
//! Usage: `peer-actix <address> <directory of responses>`.

use std::path::Path;

use actix_web::http::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH};
use actix_web::http::{KeepAlive, StatusCode};
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use captured::{Answer, Answers};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A response but for its type, which cannot be cloned.
struct Ready {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().expect("the first argument is an address");
    let directory = arguments.next().expect("the second is a directory");
    let answers = Data::new(Answers::load(Path::new(&directory), Ready::new)?);
    let routes = move || {
        App::new()
            .app_data(Data::clone(&answers))
            .route("/todos", web::get().to(list))
    };
    HttpServer::new(routes)
        .workers(1)
        .backlog(4_096)
        .keep_alive(KeepAlive::Os)
        .tcp_nodelay(true)
        .bind(address)?
        .run()
        .await
}

async fn list(request: HttpRequest, answers: Data<Answers<Ready>>) -> HttpResponse {
    let header = |name| request.headers().get(name).map(HeaderValue::as_bytes);
    let ready = answers.pick(
        request.uri().query(),
        header(ACCEPT_ENCODING),
        header(IF_NONE_MATCH),
    );
    let Some(ready) = ready else {
        return HttpResponse::NotFound().finish();
    };
    let mut response = HttpResponse::with_body(ready.status, ready.body.clone());
    *response.headers_mut() = ready.headers.clone();
    response.map_into_boxed_body()
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
            body: answer.body.clone(),
        }
    }
}
