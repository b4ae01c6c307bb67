//! A client of the running agent: one HTTP request over its unix socket.

use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;

/// How long an answer may take. The agent answers from memory; one that
/// takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest answer taken: all the faults a ledger holds, with evidence.
const ANSWER_MAX: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens there.
    #[error("no agent is running ({0})")]
    NotRunning(String),
    /// The socket refuses this user.
    #[error(
        "{0}: permission denied; run as root or as a member of the \
        socket's group"
    )]
    Denied(String),
    /// The agent refuses, and says why.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the agent says.
        message: String,
    },
    /// It does not answer as an agent does.
    #[error("the agent at {socket} does not answer as expected: {why}")]
    Broken {
        /// Where.
        socket: String,
        /// What happened.
        why: String,
    },
}

impl Error {
    /// Whether there is no agent to ask, so that the store may be read.
    pub fn is_not_running(&self) -> bool {
        matches!(self, Error::NotRunning(_))
    }
}

/// Asks for `path`.
///
/// # Errors
/// Whatever kept the agent from answering.
pub fn get(socket: &Path, path: &str) -> Result<Value, Error> {
    ask(socket, Method::GET, path, None)
}

/// Sends `body` to `path`.
///
/// # Errors
/// Whatever kept the agent from doing it.
pub fn post(socket: &Path, path: &str, body: &Value) -> Result<Value, Error> {
    ask(socket, Method::POST, path, Some(body))
}

fn ask(
    socket: &Path,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, Error> {
    let broken = |why: String| Error::Broken {
        socket: socket.display().to_string(),
        why,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| broken(e.to_string()))?;
    let answer = runtime.block_on(async {
        let asked = request(socket, method, path, body);
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(broken(format!(
                "no answer within {} s",
                PATIENCE.as_secs()
            ))),
        }
    });
    let (status, bytes) = answer?;
    let text = String::from_utf8_lossy(&bytes);
    if !status.is_success() {
        let message = refusal(status, &text);
        return Err(Error::Refused { status: status.as_u16(), message });
    }
    serde_json::from_str(&text).map_err(|e| broken(e.to_string()))
}

/// What a refusal says: `{"error": …}`, or the text itself.
fn refusal(status: StatusCode, text: &str) -> String {
    let json: Option<Value> = serde_json::from_str(text).ok();
    let told = json.as_ref().and_then(|j| j.get("error")?.as_str());
    match told.unwrap_or(text).trim() {
        "" => status.to_string(),
        told => told.to_owned(),
    }
}

async fn request(
    socket: &Path,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<(StatusCode, Bytes), Error> {
    let name = socket.display().to_string();
    let broken = |why: String| Error::Broken { socket: name.clone(), why };
    let stream = tokio::net::UnixStream::connect(socket)
        .await
        .map_err(|e| no_connection(&name, &e))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| broken(e.to_string()))?;
    // Its error is that of the request, which is reported below.
    tokio::spawn(async move { connection.await.ok() });
    let bytes = body.map(|b| Bytes::from(b.to_string())).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(bytes))
        .map_err(|e| broken(e.to_string()))?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(|e| broken(e.to_string()))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_MAX);
    let body = body.collect().await.map_err(|e| broken(e.to_string()))?;
    Ok((status, body.to_bytes()))
}

/// No socket, or one that a dead agent left behind, is no agent.
fn no_connection(name: &str, error: &std::io::Error) -> Error {
    use std::io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
    match error.kind() {
        NotFound => Error::NotRunning(format!("{name} does not exist")),
        ConnectionRefused => {
            Error::NotRunning(format!("nobody listens on {name}"))
        }
        PermissionDenied => Error::Denied(name.to_owned()),
        _ => Error::Broken { socket: name.to_owned(), why: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Answers one request with `answer`.
    fn with_agent(answer: &'static str) -> Result<Value, Error> {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let agent = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let n = stream.read(&mut request).unwrap();
            assert!(request[..n].starts_with(b"GET /api/v1/faults HTTP/1.1"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let result = get(&socket, "/api/v1/faults");
        agent.join().unwrap();
        result
    }

    #[test]
    fn an_answer_is_read_to_its_end() {
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n\
                      {\"faults\":[]";
        // One byte more than the answer has: the agent hangs up.
        assert!(matches!(with_agent(answer), Err(Error::Broken { .. })));
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n\
                      {\"faults\":[]}";
        let faults = serde_json::json!({ "faults": [] });
        assert_eq!(with_agent(answer).unwrap(), faults);
    }

    #[test]
    fn a_refusal_carries_what_the_agent_says() {
        let answer = "HTTP/1.1 409 Conflict\r\ncontent-length: 21\r\n\r\n\
                      {\"error\": \"it holds\"}";
        let error = with_agent(answer).unwrap_err();
        assert_eq!(error.to_string(), "it holds");
        assert!(!error.is_not_running());
    }

    #[test]
    fn no_socket_and_a_dead_one_are_no_agent() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        assert!(get(&socket, "/").unwrap_err().is_not_running());
        drop(UnixListener::bind(&socket).unwrap());
        assert!(get(&socket, "/").unwrap_err().is_not_running());
    }
}
