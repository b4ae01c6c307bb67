//! Clients that do not behave, and those that may not.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use crate::support::{Agent, PATIENCE, answer, ask};

const NOTHING: &str = "sources:\n  kmsg: { enabled: false }\n  \
                       journal: { enabled: false }\n  \
                       mount: { enabled: false }\n";

fn agent(directory: &tempfile::TempDir) -> Agent {
    let agent = Agent::start(directory.path(), NOTHING);
    agent.log_line("faultline runs");
    agent
}

#[test]
fn every_path_answers_with_its_status_and_type() {
    let directory = tempfile::tempdir().unwrap();
    let agent = agent(&directory);
    for (path, status, says) in [
        ("/healthz", 200, "ok\n"),
        ("/readyz", 200, "ready\n"),
        ("/metrics", 200, "faultline_build_info{"),
        ("/api/v1/node", 200, "\"node\":\"testnode\""),
        ("/api/v1/faults", 200, "{\"faults\":[]}"),
        ("/api/v1/patterns", 200, "\"patterns\":["),
        ("/api/v1/history", 200, "{\"history\":[]}"),
        ("/api/v1/history?limit=5000", 200, "{\"history\":[]}"),
        ("/api/v1/history?limit=x", 400, "whole number"),
        ("/api/v1/history?since=1", 400, "only parameter"),
        ("/api/v1/unexplained", 200, "\"total\":0"),
        ("/", 404, "error"),
        ("/metrics/", 404, "error"),
        ("/../etc/passwd", 404, "error"),
        ("/v1/clear", 404, "error"),
    ] {
        let (got, body) = agent.get(path);
        assert_eq!(got, status, "{path}: {body}");
        assert!(body.contains(says), "{path}: {body}");
    }
}

#[test]
fn nothing_can_be_changed_over_tcp() {
    let directory = tempfile::tempdir().unwrap();
    let agent = agent(&directory);
    for (method, path, status) in [
        ("POST", "/v1/clear", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/api/v1/faults", 405),
        ("PUT", "/nowhere", 404),
    ] {
        let stream = TcpStream::connect(&agent.address).unwrap();
        let start = format!("{method} {path} HTTP/1.1\r\n");
        let (got, body) = ask(stream, &start, "{\"fault\":\"x\"}");
        assert_eq!(got, status, "{method} {path}: {body}");
    }
}

#[test]
fn the_socket_takes_commands_and_refuses_bad_ones() {
    let directory = tempfile::tempdir().unwrap();
    let agent = agent(&directory);
    for (body, status, says) in [
        ("{\"fault\":\"disk/none\",\"why\":\"new\"}", 409, "disk/none"),
        ("{\"fault\":\"disk/none\",\"why\":\" \"}", 400, "a reason of 1 to"),
        ("{\"fault\":\"disk/none\"}", 400, "missing field `why`"),
        ("{\"fautl\":\"x\"}", 400, "unknown field"),
        ("not json", 400, "not a clear request"),
        ("{}", 400, "missing field"),
    ] {
        let (got, answer) = agent.post("/v1/clear", body);
        assert_eq!(got, status, "{body}: {answer}");
        assert!(answer.contains(says), "{body}: {answer}");
    }
    let (got, _) = agent.post("/v1/clear", &"x".repeat(70_000));
    assert_eq!(got, 413);
}

#[test]
fn a_huge_head_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let agent = agent(&directory);
    let long = "x".repeat(20_000);
    let many = "a: b\r\n".repeat(200);
    for head in [
        format!("GET /{long} HTTP/1.1\r\n"),
        format!("GET /metrics HTTP/1.1\r\ncookie: {long}\r\n"),
        format!("GET /metrics HTTP/1.1\r\n{many}"),
    ] {
        let stream = TcpStream::connect(&agent.address).unwrap();
        let (status, _) = ask(stream, &head, "");
        assert!(matches!(status, 0 | 414 | 431), "{status}");
    }
    assert_eq!(agent.get("/healthz").0, 200);
}

/// A connection on which half a head was sent.
fn half_open(agent: &Agent) -> TcpStream {
    let mut stream = TcpStream::connect(&agent.address).unwrap();
    stream.write_all(b"GET /metrics HTT").unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Far less than 300 slow heads take one after another, 64 at a time; a busy
/// machine takes seconds for anything.
const AT_ONCE: Duration = Duration::from_secs(12);

#[expect(clippy::disallowed_methods, reason = "a test's own limit")]
fn answers_at_once(agent: &Agent) {
    let begin = std::time::Instant::now();
    assert_eq!(agent.get("/healthz").0, 200);
    let took = begin.elapsed();
    assert!(took < AT_ONCE, "/healthz took {took:?}");
}

#[test]
fn slow_clients_are_cut_off_and_starve_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let agent = agent(&directory);
    // Many times the places there are.
    let slow: Vec<TcpStream> = (0..300).map(|_| half_open(&agent)).collect();
    answers_at_once(&agent);
    // The socket has places of its own: the operator is never locked out.
    let (status, _) =
        agent.post("/v1/clear", "{\"fault\":\"none\",\"why\":\"w\"}");
    assert_eq!(status, 409);
    answers_at_once(&agent);
    // Those who gave way, and those whose time is over, are told.
    for stream in slow.into_iter().step_by(50) {
        assert_eq!(answer(stream).0, 408);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own limit")]
fn many_clients_that_do_not_read_starve_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let agent = agent(&directory);
    // On the socket, whose buffers don't grow: some hundred kilobytes.
    let connect = || UnixStream::connect(agent.dir.join("run/f.sock")).unwrap();
    let request = "GET /api/v1/patterns HTTP/1.1\r\nhost: x\r\n\r\n";
    let deaf: Vec<UnixStream> = (0..70)
        .map(|_| {
            let mut stream = connect();
            stream.write_all(request.repeat(4).as_bytes()).unwrap();
            stream
        })
        .collect();
    let begin = std::time::Instant::now();
    let (status, _) = ask(connect(), "GET /healthz HTTP/1.1\r\n", "");
    assert_eq!(status, 200);
    let took = begin.elapsed();
    // They would hold their places for a connection's life, 70 s.
    assert!(took < Duration::from_secs(30), "/healthz took {took:?}");
    drop(deaf);
}

#[test]
fn whoever_leaves_without_reading_holds_no_place_for_long_answers() {
    let directory = tempfile::tempdir().unwrap();
    let agent = agent(&directory);
    let ask_all = "GET /api/v1/faults HTTP/1.1\r\nhost: x\r\n\r\n";
    let path = "/api/v1/history?limit=100000";
    let start = format!("GET {path} HTTP/1.1\r\n");
    for _ in 0..20 {
        let stream = TcpStream::connect(&agent.address).unwrap();
        assert_eq!(ask(stream, &start, "").0, 200);
        let mut stream = TcpStream::connect(&agent.address).unwrap();
        stream.write_all(ask_all.as_bytes()).unwrap();
    }
    // Whoever left without reading holds no place.
    assert_eq!(agent.get(path).0, 200);
}

#[test]
fn a_client_that_does_not_read_its_answers_is_only_its_own_problem() {
    let directory = tempfile::tempdir().unwrap();
    let agent = agent(&directory);
    let mut deaf = TcpStream::connect(&agent.address).unwrap();
    deaf.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    for _ in 0..2000 {
        if deaf.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").is_err()
        {
            break;
        }
    }
    assert_eq!(agent.get("/healthz").0, 200);
}

#[test]
fn garbage_is_no_request() {
    let directory = tempfile::tempdir().unwrap();
    let agent = agent(&directory);
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"\0\0\0\0\r\n\r\n"] {
        let mut stream = TcpStream::connect(&agent.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        let (status, _) = answer(stream);
        assert!(matches!(status, 0 | 400), "{status}");
    }
    assert_eq!(agent.get("/healthz").0, 200);
}

#[test]
fn the_socket_refuses_nobody_by_its_mode_and_by_its_peer() {
    let directory = tempfile::tempdir().unwrap();
    let _agent = agent(&directory);
    if !nix::unistd::geteuid().is_root() {
        crate::not_run::not_run(
            "the socket refuses nobody",
            "cannot become nobody; needs root",
        );
        return;
    }
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).unwrap();
    let socket = directory.path().join("run/f.sock");
    let try_it = || {
        let mut python = Command::new("python3");
        python.uid(65534).gid(65534).arg("-c").arg(format!(
            "import socket,sys\ns=socket.socket(socket.AF_UNIX)\n\
             s.connect({socket:?})\n\
             s.sendall(b'GET /api/v1/faults HTTP/1.1\\r\\nhost: x\\r\\n\
             connection: close\\r\\n\\r\\n')\n\
             print(s.recv(4096).decode())"
        ));
        python.output()
    };
    let Ok(output) = try_it() else {
        crate::not_run::not_run(
            "the socket refuses nobody",
            "no python3 to play nobody with",
        );
        return;
    };
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("PermissionError"), "{told}");
    // Even if somebody opens the file up, the peer is checked.
    let open = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(&socket, open).unwrap();
    let output = try_it().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.starts_with("HTTP/1.1 403"), "{told}");
    assert!(told.contains("socket_group"), "{told}");
}
