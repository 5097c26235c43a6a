//! A request on its way: what is checked of every one, who answers it, what every answer has.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use bytes::Bytes;
use hyper::header::{ALLOW, CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use uuid::Uuid;

use super::body::Unread;
use super::core::{Core, Surface};
use super::headers::{self, CONSISTENCY_TOKEN, X_REQUEST_ID};
use super::response::{Body, Problem, Sent, empty};
use super::router::Route;
use super::socket::Socket;
use super::stamp::Stamp;
use super::{body, dashboard, docs, gifts, openapi, operations, ops, todos, writes};
use crate::clock::Stopwatch;
use crate::limit::Permit;

/// One request and what its handler needs to answer it.
pub struct Call {
    pub core: Rc<Core>,
    pub parts: Parts,
    /// Taken by who reads it. What is still here when the answer goes out is unread.
    body: Cell<Option<Unread>>,
    request_id: OnceCell<String>,
    pub socket: Rc<Socket>,
    /// What the response says about the limits, if the request was limited.
    stamp: Cell<Option<Stamp>>,
    /// The in-flight slot, if the request has one.
    permit: Cell<Option<Permit>>,
}

impl Call {
    fn new(core: Rc<Core>, socket: Rc<Socket>, request: Request<Unread>) -> Self {
        let (parts, body) = request.into_parts();
        let body = Cell::new(Some(body).filter(|body| !body.is_empty()));
        Self {
            core,
            parts,
            body,
            request_id: OnceCell::new(),
            socket,
            stamp: Cell::new(None),
            permit: Cell::new(None),
        }
    }

    /// Notes what admission said.
    pub fn admitted(&self, stamp: Option<Stamp>, permit: Option<Permit>) {
        self.stamp.set(stamp);
        self.permit.set(permit);
    }

    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The client's request id, or one made here.
    pub fn request_id(&self) -> &str {
        match headers::request_id(&self.parts.headers) {
            Some(id) => id,
            None => self.request_id.get_or_init(|| Uuid::new_v4().to_string()),
        }
    }

    /// Reads the body; see [`body::read`].
    pub async fn read_body(&self) -> Result<Bytes, Problem> {
        match self.body.take() {
            Some(body) => body::read(body, &self.core.shared.options).await,
            None => Ok(Bytes::new()),
        }
    }

    /// Whether nothing of the body is left, or it is being read past.
    fn is_rid_of_body(&self) -> bool {
        let options = &self.core.shared.options;
        let pass_over = |body| body::pass_over(body, self.headers(), &self.socket, options);
        self.body.take().is_none_or(pass_over)
    }

    /// The id for `X-Request-Id`. A plain list read is spared one unless its client sent it.
    fn request_id_header(&self, route: Route<'_>) -> Option<HeaderValue> {
        let reads = matches!(self.parts.method, Method::GET | Method::HEAD);
        let cursor = self
            .parts
            .uri
            .query()
            .is_some_and(|query| query.contains("after="));
        let is_plain = route == Route::Todos
            && reads
            && !cursor
            && !self.parts.headers.contains_key(CONSISTENCY_TOKEN);
        let id = match headers::request_id(&self.parts.headers) {
            Some(id) => id,
            None if is_plain => self.request_id.get()?,
            None => self.request_id(),
        };
        HeaderValue::from_str(id).ok()
    }
}

/// Answers one request of a connection.
pub async fn serve(core: Rc<Core>, socket: Rc<Socket>, request: Request<Unread>) -> Response<Sent> {
    let watch = Stopwatch::start();
    let call = Call::new(core, socket, request);
    let route = Route::of(call.parts.uri.path());
    let mut response = match answer(&call, route).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(call.request_id()),
    };
    let request_id = call.request_id_header(route);
    let body_bytes = response.body().remaining_bytes();
    let response_may_have_body = !matches!(
        response.status(),
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    let headers = response.headers_mut();
    headers.extend(request_id.map(|id| (X_REQUEST_ID, id)));
    if let Some(stamp) = call.stamp.take() {
        stamp.told(&call.core.shared).insert(headers);
    }
    if call.parts.method == Method::HEAD && response_may_have_body {
        // hyper derives it from the body, but not for HEAD.
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body_bytes));
    }
    let stage = &call.core.shared.stage;
    // Who comes too early comes back on a new connection, which the hot loop owns. What is left of a
    // body stands in the way of the next request.
    if stage.is_draining() || stage.is_starting() || !call.is_rid_of_body() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    call.core.metrics.request(
        route.into(),
        &call.parts.method,
        response.status(),
        watch.elapsed(),
    );
    let permit = call.permit.take();
    response.map(|body| Sent::new(body, call.socket, permit))
}

async fn answer(call: &Call, route: Route<'_>) -> Result<Response<Body>, Problem> {
    headers::check_host(call)?;
    if !is_shown(call, route) {
        return Err(Problem::not_found("there is nothing at this path"));
    }
    let method = &call.parts.method;
    if *method == Method::OPTIONS {
        let mut response = empty(StatusCode::NO_CONTENT);
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static(route.allow()));
        return Ok(response);
    }
    if !route.allows(method) {
        let allow = HeaderValue::from_static(route.allow());
        let problem = Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "this path takes other methods",
        );
        return Err(problem.with_header(ALLOW, allow));
    }
    if call.core.shared.stage.is_starting() && route.needs_todos() {
        return Err(ops::starting(call));
    }
    match (route, method) {
        (Route::Todos, &Method::POST) => writes::create(call).await,
        (Route::Todos, _) => todos::list(call).await,
        (Route::Todo(id), &Method::PUT) => writes::replace(call, id).await,
        (Route::Todo(id), &Method::DELETE) => writes::delete(call, id).await,
        (Route::Todo(id), _) => todos::get(call, id).await,
        (Route::GiftCodes, _) => gifts::claim(call).await,
        (Route::Operation(position), _) => operations::get(call, position).await,
        (Route::Health, _) => Ok(ops::health()),
        (Route::Ready, _) => ops::ready(call),
        (Route::Metrics, _) => Ok(ops::metrics(call)),
        (Route::Index, _) => Ok(ops::index(call)),
        (Route::OpenApi, _) => Ok(openapi::document()),
        (Route::Dashboard(part), _) => dashboard::get(call, part),
        (Route::Docs(page), _) => Ok(docs::get(call, page)),
        (Route::Server | Route::Unknown, _) => {
            Err(Problem::not_found("there is nothing at this path"))
        }
    }
}

/// Whether the listener that took the request shows the route.
fn is_shown(call: &Call, route: Route<'_>) -> bool {
    match (call.core.surface, route) {
        (_, Route::Unknown) => false,
        (_, Route::Server) => call.parts.method == Method::OPTIONS,
        (Surface::Admin, route) => route.is_operational(),
        (Surface::Public, Route::Metrics | Route::Dashboard(_)) => {
            !call.core.shared.options.metrics_apart
        }
        (Surface::Public, _) => true,
    }
}
