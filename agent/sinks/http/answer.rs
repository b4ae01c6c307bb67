//! What each path answers. The shapes are documented in `docs/api.md`.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Agent;
use super::socket::Access;
use crate::ledger::Command;
use crate::queue::{Message, Query};
use crate::store;

/// How long the ledger has to answer.
const LEDGER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an order may take to reach the disk before its answer says that
/// it has not.
const DISK_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause before a full queue is tried again.
const QUEUE_RETRY: Duration = Duration::from_millis(10);

/// The largest request body.
const BODY_MAX: usize = 64 * 1024;

/// The longest reason of a `clear`: that of the command and who asked.
const WHY_MAX: usize = 1000;

/// History entries answered at most, some hundred kilobytes; `faultline
/// history` reads older ones from the store itself.
const HISTORY_MAX: usize = 1000;

/// How long a long answer waits for the one before it.
const LONG_PATIENCE: Duration = Duration::from_secs(5);

type Answer = Response<Full<Bytes>>;

/// What `POST /v1/clear` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Clear {
    /// The fault's id, `pattern part`, or a part with one fault.
    fault: String,
    /// Why.
    why: String,
    /// Whether the part was replaced.
    #[serde(default)]
    replaced: bool,
    /// Clears although the failed serial is still present.
    #[serde(default)]
    force: bool,
}

/// Answers one request.
pub(super) async fn answer(
    request: Request<Incoming>,
    access: &Access,
    agent: &Arc<Agent>,
) -> Answer {
    if let Access::Refused(who) = access {
        return error(
            403,
            &format!(
                "{who} may not use this socket; it is for root and the \
                      configured group (socket_group)"
            ),
        );
    }
    let path = request.uri().path().to_owned();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let writes = *request.method() == Method::POST;
    match (path.as_str(), reads, access) {
        ("/v1/clear", _, Access::Full(by)) if writes => {
            clear(request, by.clone(), agent).await
        }
        ("/v1/clear", _, Access::Full(_)) => not_allowed("POST"),
        ("/metrics", true, _) => page(agent),
        ("/healthz", true, _) => healthz(agent).await,
        ("/readyz", true, _) => readyz(agent),
        ("/api/v1/node", true, _) => told(ask(agent, Query::Node).await),
        ("/api/v1/faults", true, _) => {
            let faults = async { told(ask(agent, Query::Faults).await) };
            long(agent, access, faults).await
        }
        ("/api/v1/patterns", true, _) => {
            told(ask(agent, Query::Patterns).await)
        }
        ("/api/v1/unexplained", true, _) => {
            told(ask(agent, Query::Unexplained).await)
        }
        ("/api/v1/history", true, _) => {
            let query = request.uri().query().unwrap_or_default().to_owned();
            match limit(&query) {
                Ok(limit) if limit <= store::HISTORY_RECENT => {
                    history(limit, agent).await
                }
                Ok(limit) => long(agent, access, history(limit, agent)).await,
                Err(message) => error(400, &message),
            }
        }
        (path, false, _) if is_known(path) => not_allowed("GET, HEAD"),
        _ => error(404, "there is nothing here; see docs/api.md"),
    }
}

fn is_known(path: &str) -> bool {
    matches!(
        path,
        "/metrics"
            | "/healthz"
            | "/readyz"
            | "/api/v1/node"
            | "/api/v1/faults"
            | "/api/v1/patterns"
            | "/api/v1/unexplained"
            | "/api/v1/history"
    )
}

fn respond(status: u16, content: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    if let Ok(status) = hyper::StatusCode::from_u16(status) {
        *answer.status_mut() = status;
    }
    let headers = answer.headers_mut();
    let value = hyper::header::HeaderValue::from_static;
    headers.insert("content-type", value(content));
    headers.insert("x-content-type-options", value("nosniff"));
    headers.insert("cache-control", value("no-store"));
    answer
}

fn send_json(status: u16, value: &Value) -> Answer {
    respond(status, "application/json", format!("{value}\n"))
}

/// An error, in its one shape.
pub(super) fn error(status: u16, message: &str) -> Answer {
    send_json(status, &json!({ "error": message }))
}

fn not_allowed(allowed: &'static str) -> Answer {
    let mut answer = error(405, &format!("only {allowed} is possible here"));
    let value = hyper::header::HeaderValue::from_static(allowed);
    answer.headers_mut().insert("allow", value);
    answer
}

/// What is added to the answer of an order that is not on the disk yet.
const UNWRITTEN: &str = "; but it could not be written yet, and a restart \
    before it is undoes it: see faultline_state_durable";

/// What the ledger said, or that it said nothing.
fn told(answer: Option<Value>) -> Answer {
    match answer {
        Some(value) => send_json(200, &value),
        None => error(503, "the ledger did not answer within 2 s"),
    }
}

fn page(agent: &Agent) -> Answer {
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    respond(200, TEXT, agent.page())
}

async fn healthz(agent: &Agent) -> Answer {
    let status = match ask(agent, Query::Alive).await {
        Some(_) => (200, "ok\n"),
        None => (503, "the ledger did not answer within 2 s\n"),
    };
    respond(status.0, "text/plain; charset=utf-8", status.1.to_owned())
}

fn readyz(agent: &Agent) -> Answer {
    let waiting = agent.ready.waiting();
    let (status, text) = if waiting.is_empty() {
        (200, "ready\n".to_owned())
    } else {
        (503, format!("not tried yet: {}\n", waiting.join(", ")))
    };
    respond(status, "text/plain; charset=utf-8", text)
}

/// A long answer: its place is free again when the client has read it, or is
/// gone. So many clients, fast or deaf, take no more memory than one.
async fn long(
    agent: &Agent,
    access: &Access,
    answer: impl Future<Output = Answer>,
) -> Answer {
    let places = agent.long.of(access);
    let place = tokio::time::timeout(LONG_PATIENCE, places.acquire_owned());
    let Ok(Ok(place)) = place.await else {
        return error(503, "other clients are reading long answers; try again");
    };
    let (head, body) = answer.await.into_parts();
    let held = Held { body: body_of(body).await, _place: place };
    Response::from_parts(head, Full::new(Bytes::from_owner(held)))
}

/// The bytes of a body that is in memory already.
async fn body_of(body: Full<Bytes>) -> Bytes {
    match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(never) => match never {},
    }
}

/// A body that holds its place.
struct Held {
    body: Bytes,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// Asks the ledger's thread.
async fn ask(agent: &Agent, query: Query) -> Option<Value> {
    let (reply, answer) = oneshot::channel();
    converse(agent, Message::Query(query, reply), answer).await
}

/// Puts a message in the queue and waits for its answer, within one limit
/// for both. The queue may be full for a moment: sources fill it in a burst.
async fn converse<T>(
    agent: &Agent,
    message: Message,
    answer: oneshot::Receiver<T>,
) -> Option<T> {
    use std::sync::mpsc::TrySendError;
    let talk = async {
        let mut message = message;
        loop {
            match agent.queue.try_send(message) {
                Ok(()) => return answer.await.ok(),
                Err(TrySendError::Disconnected(_)) => return None,
                Err(TrySendError::Full(back)) => message = back,
            }
            tokio::time::sleep(QUEUE_RETRY).await;
        }
    };
    tokio::time::timeout(LEDGER_TIMEOUT, talk).await.ok().flatten()
}

/// `?limit=N`: the last N changes; what is not in memory is read from the
/// store, if the disk answers in time.
async fn history(limit: usize, agent: &Agent) -> Answer {
    let recent = agent.recent.last(limit);
    if recent.len() >= limit || limit <= store::HISTORY_RECENT {
        return send_json(200, &json!({ "history": recent }));
    }
    let directory = agent.state_dir.clone();
    let read = move || store::read_history(&directory, limit);
    let entries = match agent.long.disk.ask(LEDGER_TIMEOUT, read).await {
        // The store lags a moment behind; what it lacks would be the newest.
        Some(Ok(entries)) if entries.len() >= recent.len() => entries,
        _ => recent,
    };
    send_json(200, &json!({ "history": entries }))
}

fn limit(query: &str) -> Result<usize, String> {
    let mut limit = store::HISTORY_RECENT;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("limit", n)) => {
                limit = n
                    .parse()
                    .map_err(|_| "limit must be a whole number".to_owned())?;
            }
            _ => return Err("the only parameter is limit".to_owned()),
        }
    }
    Ok(limit.min(HISTORY_MAX))
}

/// Carries out `clear` for `by`.
async fn clear(
    request: Request<Incoming>,
    by: String,
    agent: &Agent,
) -> Answer {
    let body = Limited::new(request.into_body(), BODY_MAX).collect().await;
    let Ok(body) = body else {
        return error(413, "the body is too large or was cut short");
    };
    let wish: Clear = match serde_json::from_slice(&body.to_bytes()) {
        Ok(wish) => wish,
        Err(e) => return error(400, &format!("not a clear request: {e}")),
    };
    if wish.why.trim().is_empty() || wish.why.len() > WHY_MAX {
        let what = format!("`why` is a reason of 1 to {WHY_MAX} bytes");
        return error(400, &what);
    }
    let command = Command::Clear {
        fault: wish.fault,
        by,
        why: wish.why,
        replaced: wish.replaced,
        force: wish.force,
    };
    let (reply, answer) = oneshot::channel();
    match converse(agent, Message::Command(command, reply), answer).await {
        Some(Ok(mut message)) => {
            let durable = is_written(agent).await;
            if !durable {
                message.push_str(UNWRITTEN);
            }
            send_json(200, &json!({ "message": message, "durable": durable }))
        }
        Some(Err(message)) => error(409, &message),
        None => error(
            503,
            "the ledger did not answer within 2 s; nothing was cleared, \
             unless the history says so",
        ),
    }
}

/// Whether what was done just now has reached the disk, in time.
async fn is_written(agent: &Agent) -> bool {
    let store = Arc::clone(&agent.store);
    let flush = move || store.flush(DISK_TIMEOUT) && store.status().durable;
    let written = agent.long.disk.ask(2 * DISK_TIMEOUT, flush).await;
    written.unwrap_or(false)
}
