//! What an answer of the API server means: its date, its body, its refusal.

use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::Response;
use hyper::body::Bytes;
use hyper::header::{DATE, HeaderMap, RETRY_AFTER};
use kube::client::Body;
use serde_json::Value;

use super::client::PATIENCE;
use super::cluster::ApiError;
use crate::time::Timestamp;

/// The longest answer. A Node with a thousand images and a page of 500 table
/// rows with their labels stay well below.
const ANSWER_MAX: usize = 8 << 20;

/// The longest text of a server's refusal that is kept.
const WORDS_MAX: usize = 400;

/// An error with its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text.truncate(text.floor_char_boundary(WORDS_MAX));
    text
}

pub(super) async fn read(body: Body) -> Result<Bytes, ApiError> {
    let whole = Limited::new(body, ANSWER_MAX).collect().await;
    let whole = whole.map_err(|e| ApiError::Unreachable(chain(&*e)))?;
    Ok(whole.to_bytes())
}

/// When the server answered.
pub(super) fn date(headers: &HeaderMap) -> Result<Timestamp, ApiError> {
    let date = headers.get(DATE).and_then(|value| value.to_str().ok());
    date.and_then(parse_date).ok_or_else(|| ApiError::Failed {
        status: 200,
        message: "its answer has no Date; does something stand between?".into(),
    })
}

/// Reads an IMF-fixdate (RFC 9110, section 5.6.7).
pub fn parse_date(text: &str) -> Option<Timestamp> {
    let format = "%a, %d %b %Y %H:%M:%S GMT";
    let time = jiff::civil::DateTime::strptime(format, text).ok()?;
    let time = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp(time.timestamp().as_microsecond()))
}

/// What a failure means.
pub(super) async fn refusal(response: Response<Body>) -> ApiError {
    let status = response.status().as_u16();
    let after = response.headers().get(RETRY_AFTER);
    let after = after.and_then(|v| v.to_str().ok()?.parse().ok());
    let retry_after = after.map(Duration::from_secs);
    let body = tokio::time::timeout(PATIENCE, read(response.into_body())).await;
    let said: Value = match &body {
        Ok(Ok(bytes)) => serde_json::from_slice(bytes).unwrap_or_default(),
        _ => Value::Null,
    };
    let message = said["message"].as_str().unwrap_or_default();
    let cut = message.floor_char_boundary(WORDS_MAX);
    meaning(status, retry_after, &message[..cut])
}

/// What a status means.
pub fn meaning(
    status: u16,
    retry_after: Option<Duration>,
    message: &str,
) -> ApiError {
    let message = message.to_owned();
    match status {
        // The server's one word says nothing of what to do.
        401 => ApiError::Unauthorized(format!(
            "{message} (is the token over, or was the Node that it is bound \
             to made anew?)"
        )),
        403 => ApiError::Denied(message),
        404 => ApiError::NotFound,
        409 => ApiError::Conflict,
        410 => ApiError::Gone,
        429 => ApiError::Throttled { retry_after },
        503 if retry_after.is_some() => ApiError::Throttled { retry_after },
        400 | 413 | 422 => ApiError::Invalid(message),
        _ => ApiError::Failed { status, message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_date_is_read() {
        let date = parse_date("Sun, 22 Nov 2026 10:01:27 GMT").unwrap();
        assert_eq!(date.to_string(), "2026-11-22T10:01:27Z");
        for bad in ["", "now", "Sun, 22 Nov 2026 10:01:27 CET"] {
            assert_eq!(parse_date(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_status_tells_what_to_do_next() {
        let throttled = |s| ApiError::Throttled { retry_after: s };
        let second = Some(Duration::from_secs(1));
        assert_eq!(meaning(429, None, ""), throttled(None));
        assert_eq!(meaning(503, second, ""), throttled(second));
        assert_eq!(meaning(409, None, ""), ApiError::Conflict);
        // A token that is over says nothing of what its owner may do.
        assert!(!meaning(401, None, "").is_refusal());
        assert!(meaning(403, None, "").is_refusal());
        assert_eq!(meaning(403, None, "n"), ApiError::Denied("n".into()));
        let failed = ApiError::Failed { status: 500, message: "x".into() };
        assert_eq!(meaning(500, None, "x"), failed);
    }
}
