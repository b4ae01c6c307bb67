//! A watch: one JSON document a line, for as long as the server holds the
//! connection.

use http_body_util::BodyExt;
use hyper::body::Bytes;
use kube::client::Body;
use serde::Deserialize;
use serde_json::Value;

use super::answer::meaning;
use super::cluster::{ApiError, Node};

/// The longest line: a Node as etcd may hold it (1.5 MiB,
/// `--max-request-bytes`), twice.
const LINE_MAX: usize = 3 << 20;

/// What a watch tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// The Node as it is now.
    Node(Box<Node>),
    /// It was deleted.
    Deleted,
    /// Nothing happened up to this version.
    Bookmark(String),
}

/// An open watch.
pub struct Watch {
    body: Body,
    buffer: Vec<u8>,
}

/// A body has nothing to show.
impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Watch({} bytes)", self.buffer.len())
    }
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

impl Watch {
    pub(super) fn new(body: Body) -> Watch {
        Watch { body, buffer: Vec::new() }
    }

    /// What comes next; `None`: the server ended it.
    ///
    /// # Errors
    /// `Gone` if the version to start from is too old; `Unreachable` if the
    /// connection broke.
    pub async fn next(&mut self) -> Result<Option<Told>, ApiError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                if let Some(told) = understand(&line)? {
                    return Ok(Some(told));
                }
                continue;
            }
            // A line of a big Node must not stay for the quiet hours after.
            if self.buffer.is_empty() {
                self.buffer.shrink_to(0);
            }
            match self.frame().await? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => return Ok(None),
            }
            if self.buffer.len() > LINE_MAX {
                let why = "a line of the watch is too long";
                return Err(ApiError::Unreachable(why.into()));
            }
        }
    }

    async fn frame(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame =
                frame.map_err(|e| ApiError::Unreachable(e.to_string()))?;
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
    }
}

/// Reads a line; `None`: of no interest.
fn understand(line: &[u8]) -> Result<Option<Told>, ApiError> {
    let odd = |e: serde_json::Error| {
        ApiError::Unreachable(format!("a line of the watch: {e}"))
    };
    let line: Line = serde_json::from_slice(line).map_err(odd)?;
    match line.kind.as_str() {
        "ADDED" | "MODIFIED" => {
            let node = serde_json::from_value(line.object).map_err(odd)?;
            Ok(Some(Told::Node(Box::new(node))))
        }
        "DELETED" => Ok(Some(Told::Deleted)),
        "BOOKMARK" => {
            let version = &line.object["metadata"]["resourceVersion"];
            let version = version.as_str().unwrap_or_default().to_owned();
            Ok(Some(Told::Bookmark(version)))
        }
        "ERROR" => {
            let code = line.object["code"].as_u64().unwrap_or(500);
            let said = line.object["message"].as_str().unwrap_or_default();
            Err(meaning(u16::try_from(code).unwrap_or(500), None, said))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_watch_are_understood() {
        let node = br#"{"type":"MODIFIED","object":{"kind":"Node",
            "metadata":{"name":"n","resourceVersion":"7"},"odd":1}}"#;
        let Ok(Some(Told::Node(node))) = understand(node) else { panic!() };
        assert_eq!(node.metadata.resource_version, "7");
        let mark = br#"{"type":"BOOKMARK","object":{"kind":"Node",
            "metadata":{"resourceVersion":"9"}}}"#;
        let mark = understand(mark).unwrap();
        assert_eq!(mark, Some(Told::Bookmark("9".into())));
        let gone = br#"{"type":"ERROR","object":{"code":410}}"#;
        assert_eq!(understand(gone), Err(ApiError::Gone));
        assert!(understand(b"{").is_err());
    }
}
