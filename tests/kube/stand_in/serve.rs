//! HTTP: paths to objects, answers with a date, watches as lines.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::{Method, Request, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::objects::{Key, Refusal, Side};
use super::table::{is_named, is_selected, table};
use super::{Seen, State, lock};

/// How often watches get a bookmark; the real one's is a minute.
const BOOKMARKS: Duration = Duration::from_secs(1);

/// An answer's body: chunks as they come.
pub struct Chunks(mpsc::UnboundedReceiver<Bytes>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|b| b.map(|b| Ok(Frame::data(b))))
    }
}

/// A request, taken apart.
struct Asked {
    method: Method,
    path: String,
    raw_query: String,
    query: BTreeMap<String, String>,
    kind: String,
    accept: String,
    body: Value,
    token: String,
}

pub async fn accept(listener: std::net::TcpListener, state: State) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let answer = |request| answer(request, Arc::clone(&state));
            let service = hyper::service::service_fn(answer);
            let io = hyper_util::rt::TokioIo::new(stream);
            // A client may go whenever it likes.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(io, service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    state: State,
) -> Result<Response<Chunks>, Infallible> {
    let asked = take_apart(request).await;
    let latency = lock(&state).latency;
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let (status, body, retry_after) = match trouble(&asked, &state) {
        Some((refusal, after)) => (refusal.0, one(&refusal.body()), after),
        None => match route(&asked, &state) {
            Ok((status, body)) => (status, body, None),
            Err(refusal) => (refusal.0, one(&refusal.body()), None),
        },
    };
    let mut shared = lock(&state);
    shared.seen.push(Seen {
        method: asked.method.to_string(),
        path: asked.path,
        query: asked.raw_query,
        status,
    });
    let offset = shared.clock_offset;
    drop(shared);
    state.1.notify_waiters();
    let mut response = Response::builder()
        .status(status)
        .header("Content-Type", "application/json")
        .header("Date", date(offset));
    if let Some(seconds) = retry_after {
        response = response.header("Retry-After", seconds);
    }
    Ok(response.body(body).unwrap())
}

async fn take_apart(request: Request<Incoming>) -> Asked {
    let header = |name: &str| {
        let value = request.headers().get(name);
        value.and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
    };
    let token = header("authorization");
    let token = token.strip_prefix("Bearer ").unwrap_or_default().to_owned();
    let (kind, accept) = (header("content-type"), header("accept"));
    let path = request.uri().path().to_owned();
    let raw_query = request.uri().query().unwrap_or_default().to_owned();
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key.to_owned(), decode(value))
    };
    let query = raw_query.split('&').map(pair).collect();
    let method = request.method().clone();
    let body = request.into_body().collect().await;
    let body = body.map(|b| b.to_bytes()).unwrap_or_default();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Asked { method, path, raw_query, query, kind, accept, body, token }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, more)) = rest.split_first() {
        rest = more;
        let hex = more.get(..2).and_then(|h| std::str::from_utf8(h).ok());
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &more[2..];
            }
            _ => bytes.push(first),
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// What was asked to go wrong.
fn trouble(asked: &Asked, state: &State) -> Option<(Refusal, Option<u64>)> {
    let mut shared = lock(state);
    if !shared.tokens.contains(&asked.token) {
        let refusal = Refusal(401, "Unauthorized", "Unauthorized".into());
        return Some((refusal, None));
    }
    let whole = format!("{}?{}", asked.path, asked.raw_query);
    let found = shared.troubles.iter_mut().find(|t| {
        t.times > 0
            && (t.method.is_empty() || asked.method.as_str() == t.method)
            && whole.contains(t.path)
    })?;
    found.times -= 1;
    let status = found.status;
    let refusal = Refusal(status, "Trouble", format!("asked for {status}"));
    Some((refusal, found.retry_after))
}

fn one(value: &Value) -> Chunks {
    let (sender, receiver) = mpsc::unbounded_channel();
    sender.send(Bytes::from(value.to_string())).unwrap();
    Chunks(receiver)
}

/// `/api/v1/nodes/n/status` and its like, taken apart.
fn key_of(path: &str) -> Option<(Key, Side, bool)> {
    let mut words = path.split('/').skip(1);
    let group = match words.next()? {
        "api" => String::new(),
        "apis" => format!("{}/", words.next()?),
        _ => return None,
    };
    words.next()?;
    let mut rest: Vec<&str> = words.collect();
    let mut namespace = "";
    if rest.first() == Some(&"namespaces") && rest.len() > 2 {
        namespace = rest[1];
        rest.drain(..2);
    }
    let resource = format!("{group}{}", rest.first()?);
    let name = rest.get(1).copied().unwrap_or_default();
    let side = match rest.get(2) {
        None => Side::Main,
        Some(&"status") => Side::Status,
        Some(_) => return None,
    };
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    let whole = name.is_empty();
    Some((Key { resource, namespace, name }, side, whole))
}

fn route(asked: &Asked, state: &State) -> Result<(u16, Chunks), Refusal> {
    let not_found = || {
        let message = "the server could not find the requested resource";
        Refusal(404, "NotFound", message.into())
    };
    let (key, side, whole) = key_of(&asked.path).ok_or_else(not_found)?;
    let dry = asked.query.get("dryRun").is_some_and(|d| d == "All");
    if whole && asked.method == Method::GET {
        let wants = |k: &str| asked.query.get(k).is_some_and(|v| v != "false");
        if wants("watch") {
            return watch(asked, key, state).map(|body| (200, body));
        }
        return list(asked, &key, state).map(|body| (200, one(&body)));
    }
    let mut shared = lock(state);
    let objects = &mut shared.objects;
    let (status, object) = match asked.method {
        Method::GET => (200, objects.get(&key)?),
        Method::POST if whole => {
            (201, objects.create(key, asked.body.clone(), dry)?)
        }
        Method::PUT => {
            (200, objects.update(&key, side, asked.body.clone(), dry)?)
        }
        Method::PATCH => {
            let kind = asked.kind.split(';').next().unwrap_or_default();
            (200, objects.patch(&key, side, kind, &asked.body, dry)?)
        }
        Method::DELETE => (200, objects.delete(&key, dry)?),
        _ => {
            let message = "the server does not allow this method";
            return Err(Refusal(405, "MethodNotAllowed", message.into()));
        }
    };
    Ok((status, one(&object)))
}

fn expired() -> Refusal {
    let message = "too old resource version, or an expired continue token";
    Refusal(410, "Expired", message.into())
}

fn list(asked: &Asked, key: &Key, state: &State) -> Result<Value, Refusal> {
    let shared = lock(state);
    let objects = &shared.objects;
    let text = |k: &str| asked.query.get(k).map_or("", String::as_str);
    let selected: Vec<(&Key, &Value)> = objects
        .list(&key.resource, &key.namespace)
        .filter(|(_, o)| is_selected(o, text("labelSelector")))
        .filter(|(_, o)| is_named(o, text("fieldSelector")))
        .collect();
    // `version/namespace/name` of the last one given.
    let mut version = objects.version();
    let mut begin = 0;
    if let Some((of, last)) = text("continue").split_once('/') {
        version = of.parse().unwrap_or(0);
        if version <= objects.compacted() && objects.compacted() > 0 {
            return Err(expired());
        }
        let is_after = |k: &Key| format!("{}/{}", k.namespace, k.name);
        begin = selected.partition_point(|(k, _)| is_after(k).as_str() <= last);
    }
    // From the cache, all at once.
    let cached = text("resourceVersion") == "0";
    let limit = text("limit").parse().ok().filter(|l| *l > 0 && !cached);
    let end = limit
        .map_or(selected.len(), |l: usize| (begin + l).min(selected.len()));
    let page = &selected[begin..end];
    let mut metadata = json!({ "resourceVersion": version.to_string() });
    if end < selected.len() {
        let last = page.last().map(|(k, _)| k).unwrap();
        let token = format!("{version}/{}/{}", last.namespace, last.name);
        metadata["continue"] = json!(token);
        if text("labelSelector").is_empty() {
            metadata["remainingItemCount"] = json!(selected.len() - end);
        }
    }
    let items: Vec<&Value> = page.iter().map(|(_, o)| *o).collect();
    if asked.accept.contains("as=Table") && key.resource == "nodes" {
        return Ok(table(&items, metadata));
    }
    Ok(json!({ "kind": "List", "apiVersion": "v1", "metadata": metadata,
               "items": items }))
}

fn watch(asked: &Asked, key: Key, state: &State) -> Result<Chunks, Refusal> {
    let text = |k: &str| asked.query.get(k).cloned().unwrap_or_default();
    let from: u64 = text("resourceVersion").parse().unwrap_or(0);
    let (sender, receiver) = mpsc::unbounded_channel();
    let shared = lock(state);
    let selector = text("fieldSelector");
    let mut sent = from;
    if from == 0 {
        for (_, object) in shared.objects.list(&key.resource, &key.namespace) {
            if is_named(object, &selector) {
                let line = json!({ "type": "ADDED", "object": object });
                let _ = sender.send(Bytes::from(format!("{line}\n")));
            }
        }
        sent = shared.objects.version();
    } else if from < shared.objects.compacted() {
        let error = json!({ "type": "ERROR", "object": expired().body() });
        let _ = sender.send(Bytes::from(format!("{error}\n")));
        return Ok(Chunks(receiver));
    }
    drop(shared);
    let seconds = text("timeoutSeconds").parse().unwrap_or(3600);
    let marks = text("allowWatchBookmarks") == "true";
    let follow = Follow { key, selector, marks, sender, sent };
    let (state, limit) = (Arc::clone(state), Duration::from_secs(seconds));
    tokio::spawn(async move {
        let _ = tokio::time::timeout(limit, follow.run(state)).await;
    });
    Ok(Chunks(receiver))
}

/// One open watch.
struct Follow {
    key: Key,
    selector: String,
    marks: bool,
    sender: mpsc::UnboundedSender<Bytes>,
    sent: u64,
}

impl Follow {
    async fn run(mut self, state: State) {
        let mut mark = tokio::time::interval(BOOKMARKS);
        loop {
            let changed = state.1.notified();
            if !self.tell(&state) {
                return;
            }
            tokio::select! {
                () = changed => {}
                _ = mark.tick(), if self.marks => {
                    if !self.tell(&state) {
                        return;
                    }
                    let version = self.sent;
                    let line = json!({ "type": "BOOKMARK", "object": {
                        "kind": "Node", "apiVersion": "v1",
                        "metadata": { "resourceVersion": version.to_string() },
                    }});
                    if self.sender.send(format!("{line}\n").into()).is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Sends what is new; whether to go on.
    fn tell(&mut self, state: &State) -> bool {
        let shared = lock(state);
        if self.sent < shared.objects.compacted() {
            let error = json!({ "type": "ERROR", "object": expired().body() });
            let _ = self.sender.send(format!("{error}\n").into());
            return false;
        }
        for event in shared.objects.after(self.sent) {
            self.sent = event.version;
            let ours = event.key.resource == self.key.resource
                && (self.key.namespace.is_empty()
                    || event.key.namespace == self.key.namespace)
                && is_named(&event.object, &self.selector);
            if !ours {
                continue;
            }
            let line = json!({ "type": event.kind, "object": event.object });
            if self.sender.send(format!("{line}\n").into()).is_err() {
                return false;
            }
        }
        true
    }
}

fn date(offset: i64) -> String {
    let now = faultline::clock::now().wall;
    let now = jiff::Timestamp::from_microsecond(now.0).unwrap();
    let now = now + jiff::SignedDuration::from_secs(offset);
    now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
