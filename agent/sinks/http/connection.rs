//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::places::Place;
use super::socket::Access;
use super::{Agent, answer};

/// A client has so long to send a request's head, also on a connection that
/// it keeps open.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// A request is answered, and its body read, within this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection is closed after this and a request's time, whatever it does.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);

/// How long a client that is sent away has to take the farewell.
const FAREWELL: Duration = Duration::from_millis(100);

/// The largest request head.
const HEAD_MAX: usize = 16 * 1024;

/// Header fields at most.
const HEADERS_MAX: usize = 64;

/// What a client is told whose head does not come, or whose place is wanted
/// meanwhile.
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\n\
    content-type: application/json\r\ncontent-length: 52\r\n\
    connection: close\r\n\r\n\
    {\"error\":\"the head of the request came too slowly\"}\n";

/// How a connection came to its end.
enum Ended {
    /// The client and we are done with it, or it broke.
    Done,
    /// The client was too slow.
    Slow,
    /// It has lived long enough.
    Old,
}

/// Serves one connection to its end.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    access: Access,
    agent: Arc<Agent>,
    place: &Place,
) {
    let access = Arc::new(access);
    let service = service_fn(|request| {
        let (access, agent) = (Arc::clone(&access), Arc::clone(&agent));
        let seat = Arc::clone(&place.seat);
        let answer = async move {
            // Here and not at the call: one that comes while the client does
            // not read the answer before it is not polled.
            seat.answering();
            let answer = answer::answer(request, &access, &agent);
            let answer = tokio::time::timeout(REQUEST_TIMEOUT, answer).await;
            let late = |_| answer::error(408, "the request took too long");
            let answer = answer.unwrap_or_else(late);
            seat.answered();
            Ok::<_, Infallible>(answer)
        };
        Box::pin(answer) as Pin<Box<dyn Future<Output = _> + Send>>
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        // How a client ended its connection is its own business.
        result = poll_fn(|cx| connection.poll_without_shutdown(cx)) => {
            match result {
                Err(error) if error.is_timeout() => Ended::Slow,
                _ => Ended::Done,
            }
        }
        () = place.seat.wanted() => Ended::Slow,
        () = tokio::time::sleep(CONNECTION_LIFE) => Ended::Old,
    };
    if matches!(ended, Ended::Old) {
        Pin::new(&mut connection).graceful_shutdown();
        let rest = poll_fn(|cx| connection.poll_without_shutdown(cx));
        // It has had its time; what is unfinished now is cut off.
        let _ = tokio::time::timeout(REQUEST_TIMEOUT, rest).await;
    }
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    let farewell = async {
        if matches!(ended, Ended::Slow) && place.seat.may_be_told() {
            // Nothing was sent before, so there is room for all of it.
            let write = |cx: &mut Context<'_>| {
                Pin::new(&mut stream).poll_write(cx, TOO_SLOW)
            };
            poll_fn(write).await?;
        }
        poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx)).await
    };
    // A client that takes nothing is not waited for.
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}
