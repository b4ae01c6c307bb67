//! Start, faults, death, restart and end of the agent.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::{
    Agent, PATIENCE, PROGRAM, command, free_address, signal, write_config,
};

/// The kernel's log alone, as a drill reads it.
pub const KMSG: &str = "sources:\n  kmsg: { accept_userspace: true }\n  \
                    journal: { enabled: false }\n  mount: { enabled: false }\n";

/// Reads nothing.
pub const NOTHING: &str = "sources:\n  kmsg: { enabled: false }\n  \
                       journal: { enabled: false }\n  \
                       mount: { enabled: false }\n";

/// A pattern that no real line has.
pub fn write_pattern(directory: &Path) {
    let patterns = directory.join("patterns");
    fs::create_dir_all(&patterns).unwrap();
    let text = "version: 1\ncomponent: test\npatterns:\n  \
        - name: drill-failed\n    summary: \"{dev} failed {count} times\"\n    \
        severity: error\n    source: kmsg\n    \
        where: { message: '^faultline drill: (?<dev>[a-z0-9]{1,32}) failed' \
        }\n    part: \"disk/{dev}\"\n    clear: [replaced]\n    \
        advice: none\n    examples:\n      \
        - { line: 'faultline drill: a1 failed', gives: { part: disk/a1 } }\n\
        \x20     - { line: 'faultline drill: a1 works', gives: nothing }\n";
    fs::write(patterns.join("drill.yaml"), text).unwrap();
}

/// Writes lines to the kernel's log; false, said loudly, where that is not
/// possible.
pub fn kernel_says(lines: &[String]) -> bool {
    let device = fs::OpenOptions::new().write(true).open("/dev/kmsg");
    let Ok(mut device) = device else {
        crate::not_run::not_run(
            "drills",
            "cannot write to /dev/kmsg; needs root",
        );
        return false;
    };
    for line in lines {
        // Without a line break the kernel keeps the record open, unseen,
        // until the next one comes.
        device.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
    true
}

/// A name that no other test's lines in the same ring have.
pub fn unique(name: &str) -> String {
    format!("{name}{}", std::process::id())
}

#[test]
fn a_fault_is_counted_once_over_kill_and_restart_and_cleared_by_a_person() {
    let directory = tempfile::tempdir().unwrap();
    write_pattern(directory.path());
    let dev = unique("kill");
    let line = format!("<3>faultline drill: {dev} failed");
    if !kernel_says(&[line.clone(), line.clone()]) {
        return;
    }
    let series = format!(
        "faultline_fault_active{{component=\"test\",part=\"disk/{dev}\",\
         pattern=\"drill-failed\",severity=\"error\"}}"
    );
    let mut agent = Agent::start(directory.path(), KMSG);
    // What the ring holds may be told before the agent says that it runs.
    let opened = agent.log_line(&format!("disk/{dev}"));
    assert!(opened.contains("\"kind\":\"opened\""), "{opened}");
    assert!(kernel_says(std::slice::from_ref(&line)));
    agent.until(|a| a.count_of(&dev) == Some(3));
    agent.until(|a| a.metric(&series) == Some(1.0));
    // The counts must be on the disk before the process dies, or the tail
    // is read again, which is right but proves nothing here.
    agent.until(|a| a.stored_count_of(&dev) == Some(3));
    for _ in 0..3 {
        signal(&agent.child, Signal::SIGKILL);
        agent.child.wait().unwrap();
        drop(agent);
        agent = Agent::start(directory.path(), KMSG);
        agent.log_line("faultline runs");
        assert_eq!(agent.count_of(&dev), Some(3));
        assert_eq!(agent.metric(&series), Some(1.0));
    }
    assert!(kernel_says(&[line]));
    agent.until(|a| a.count_of(&dev) == Some(4));
    let wish = format!("{{\"fault\":\"disk/{dev}\",\"why\":\"a drill\"}}");
    let (status, answer) = agent.post("/v1/clear", &wish);
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("\"durable\":true"), "{answer}");
    // What was answered to a person stays so, whatever comes next.
    signal(&agent.child, Signal::SIGKILL);
    agent.child.wait().unwrap();
    drop(agent);
    let agent = Agent::start(directory.path(), KMSG);
    agent.log_line("faultline runs");
    assert_ne!(agent.metric(&series), Some(1.0));
    let (_, history) = agent.get("/api/v1/history");
    assert!(history.contains("\"why\":\"a drill\""), "{history}");
    assert!(history.contains("\"proof\":\"cleared by root\""), "{history}");
    let (status, _) = agent.post("/v1/clear", &wish);
    assert_eq!(status, 409, "a fault that is over was cleared again");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn what_is_logged_after_a_first_start_that_was_killed_at_once_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    write_pattern(directory.path());
    let path = directory.path().join("messages");
    let line = "Nov 22 03:08:11 n kernel: faultline drill: early failed\n";
    fs::write(&path, line).unwrap();
    let more = format!(
        "sources:\n  kmsg: {{ enabled: false }}\n  \
         journal: {{ enabled: false }}\n  file: {{ paths: \
         [{{ glob: {}, kernel: true }}] }}\n",
        path.display()
    );
    let up =
        format!("faultline_source_up{{source=\"file:{}\"}}", path.display());
    let mut agent = Agent::start(directory.path(), &more);
    agent.log_line("faultline runs");
    agent.until(|a| a.metric(&up) == Some(1.0));
    signal(&agent.child, Signal::SIGKILL);
    agent.child.wait().unwrap();
    drop(agent);
    // What it held before the first start is not this agent's to tell.
    let mut file = fs::File::options().append(true).open(&path).unwrap();
    file.write_all(line.repeat(2).as_bytes()).unwrap();
    let agent = Agent::start(directory.path(), &more);
    agent.log_line("faultline runs");
    agent.until(|a| a.count_of("early") == Some(2));
}

#[test]
fn a_broken_pattern_file_shows_and_the_last_good_version_stays() {
    let directory = tempfile::tempdir().unwrap();
    write_pattern(directory.path());
    let agent = Agent::start(directory.path(), NOTHING);
    agent.log_line("faultline runs");
    let file = directory.path().join("patterns/drill.yaml");
    let series =
        format!("faultline_pattern_file_valid{{file=\"{}\"}}", file.display());
    assert_eq!(agent.metric(&series), Some(1.0));
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good.replace("severity", "serverity")).unwrap();
    agent.log_line("a pattern file is rejected");
    agent.until(|a| a.metric(&series) == Some(0.0));
    assert!(agent.get("/api/v1/patterns").1.contains("drill-failed"));
    fs::write(&file, good.replace("error", "warning")).unwrap();
    agent.log_line("the pattern set has changed");
    agent.until(|a| a.metric(&series) == Some(1.0));
    fs::remove_file(&file).unwrap();
    agent.until(|a| !a.get("/api/v1/patterns").1.contains("drill-failed"));
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_file_that_is_bad_at_a_restart_still_disables_and_still_opens() {
    let directory = tempfile::tempdir().unwrap();
    write_pattern(directory.path());
    let dev = unique("bad");
    let line = format!("<3>faultline drill: {dev} failed");
    if !kernel_says(std::slice::from_ref(&line)) {
        return;
    }
    let file = directory.path().join("patterns/drill.yaml");
    let good = fs::read_to_string(&file).unwrap();
    let good = format!("{good}  - {{ name: kernel-oom, disabled: true }}\n");
    fs::write(&file, &good).unwrap();
    let agent = Agent::start(directory.path(), KMSG);
    agent.log_line("faultline runs");
    agent.until(|a| a.count_of(&dev) == Some(1));
    assert_eq!(agent.stop(), Some(0));

    fs::write(&file, good.replace("severity", "serverity")).unwrap();
    let agent = Agent::start(directory.path(), KMSG);
    agent.log_line("its last good version stays in force");
    agent.log_line("faultline runs");
    let (_, patterns) = agent.get("/api/v1/patterns");
    assert!(!patterns.contains("\"kernel-oom\""));
    assert!(kernel_says(&[line]));
    agent.until(|a| a.count_of(&dev) == Some(2));
    let (_, node) = agent.get("/api/v1/node");
    assert!(node.contains("\"last_good_in_force\":true"), "{node}");
    let series =
        format!("faultline_pattern_file_valid{{file=\"{}\"}}", file.display());
    assert_eq!(agent.metric(&series), Some(0.0));
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_second_agent_on_the_same_socket_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let agent = Agent::start(directory.path(), NOTHING);
    agent.log_line("faultline runs");
    let config = write_config(directory.path(), "127.0.0.1:0", NOTHING);
    let output = command(&config).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("another agent answers"), "{told}");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_taken_address_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = write_config(directory.path(), &address, NOTHING);
    let output = command(&config).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains(&address) && told.contains("--listen"), "{told}");
}

/// This test binary and a directory, as `nobody` can use them; false, said
/// loudly, where nobody can't be played.
fn as_nobody(command: &mut Command) -> bool {
    if !nix::unistd::geteuid().is_root() {
        crate::not_run::not_run("nobody", "cannot become nobody; needs root");
        return false;
    }
    command.uid(65534).gid(65534);
    true
}

#[test]
fn without_the_permission_it_says_which_one_is_missing_and_exits_3() {
    let directory = tempfile::tempdir().unwrap();
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(directory.path(), open).unwrap();
    let binary = directory.path().join("agent");
    fs::copy(PROGRAM, &binary).unwrap();
    // A device that only root may read, whatever this host allows.
    let config = format!("{KMSG}root: {}\n", directory.path().display());
    fs::create_dir(directory.path().join("dev")).unwrap();
    let device = directory.path().join("dev/kmsg");
    fs::write(&device, "").unwrap();
    fs::set_permissions(&device, fs::Permissions::from_mode(0o600)).unwrap();
    let config = write_config(directory.path(), "127.0.0.1:0", &config);
    let mut again = Command::new(&binary);
    again.arg("run").arg("--config").arg(config);
    if !as_nobody(&mut again) {
        return;
    }
    let output = again.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("may not be opened by uid 65534"), "{told}");
    assert!(told.contains("Run as root"), "{told}");
}

#[test]
fn the_service_manager_is_told_that_it_is_ready_alive_and_stopping() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("notify");
    let listener = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    listener.set_read_timeout(Some(PATIENCE)).unwrap();
    let config = write_config(directory.path(), "127.0.0.1:0", NOTHING);
    let mut child = command(&config)
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "300000")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let hear = |wanted: &str| {
        let mut heard = String::new();
        for _ in 0..100 {
            let mut bytes = [0; 4096];
            let n = listener.recv(&mut bytes).expect(wanted);
            heard.push_str(&String::from_utf8_lossy(&bytes[..n]));
            if heard.contains(wanted) {
                return;
            }
        }
        panic!("never heard {wanted:?}, but {heard:?}");
    };
    hear("READY=1");
    hear("STATUS=");
    // More than the one that comes with the start.
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    signal(&child, Signal::SIGTERM);
    hear("STOPPING=1");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_end_leaves_no_socket_and_a_hangup_ends_nothing() {
    let directory = tempfile::tempdir().unwrap();
    write_pattern(directory.path());
    let agent = Agent::start(directory.path(), NOTHING);
    agent.log_line("faultline runs");
    signal(&agent.child, Signal::SIGHUP);
    agent.log_line("SIGHUP: looking at the pattern files");
    signal(&agent.child, Signal::SIGHUP);
    agent.log_line("SIGHUP: looking at the pattern files");
    assert_eq!(agent.get("/healthz").0, 200);
    let socket = directory.path().join("run/f.sock");
    assert!(socket.exists());
    assert_eq!(agent.stop(), Some(0));
    assert!(!socket.exists());
}

/// Whether a process runs; one that nobody has waited for does not.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// A pipe that takes no more, and the end that nobody reads.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let (reader, mut writer) = std::io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while writer.write(&[b'\n'; 512]).is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (reader, writer)
}

#[test]
fn an_agent_whose_output_nobody_reads_ends_when_it_is_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let config = write_config(directory.path(), &free_address(), NOTHING);
    let (_unread, stdout) = full_pipe();
    let mut agent = command(&config).stdout(stdout).spawn().unwrap();
    let since = faultline::clock::boot();
    let wait = |what: &mut dyn FnMut() -> bool| {
        while !what() {
            let passed = faultline::clock::boot().since(since);
            assert!(passed < PATIENCE, "it waits for a reader");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    let socket = directory.path().join("run/f.sock");
    wait(&mut || socket.exists());
    signal(&agent, Signal::SIGTERM);
    let mut status = None;
    wait(&mut || {
        status = agent.try_wait().unwrap();
        status.is_some()
    });
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
}

#[test]
fn a_killed_agent_leaves_no_journalctl_behind() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    fs::create_dir_all(dir.join("var/log/journal/machine")).unwrap();
    let fake = dir.join("journalctl");
    let script = format!(
        "#!/bin/sh\necho $$ > {0}/p && mv {0}/p {0}/pid\nexec sleep 1000\n",
        dir.display()
    );
    fs::write(&fake, script).unwrap();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&fake, open).unwrap();
    let more = format!(
        "root: {}\nsources:\n  kmsg: {{ enabled: false }}\n  \
         mount: {{ enabled: false }}\n",
        dir.display()
    );
    let config = write_config(dir, &crate::support::free_address(), &more);
    let path = std::env::var("PATH").unwrap();
    let mut child = command(&config)
        .env("PATH", format!("{}:{path}", dir.display()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let wait = |what: &dyn Fn() -> bool| {
        for _ in 0..PATIENCE.as_millis() / 20 {
            if what() {
                return true;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        false
    };
    assert!(wait(&|| dir.join("pid").exists()), "journalctl never ran");
    let pid = fs::read_to_string(dir.join("pid")).unwrap().trim().to_owned();
    assert!(runs(&pid));
    signal(&child, Signal::SIGKILL);
    child.wait().unwrap();
    assert!(wait(&|| !runs(&pid)), "journalctl {pid} runs on");
}
