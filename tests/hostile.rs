//! An unprivileged user cannot make the agent believe in a fault.
//!
//! Facility 0 says that the kernel printed a record, not that it chose the
//! words: crashing programs, out-of-memory kills and odd executables put names
//! that users choose into the kernel's log. Here programs run as `nobody`
//! under the name of every line that the shipped patterns take, whole, cut to
//! the length of a task's name, behind a newline, in directories and cgroups,
//! and crash. The agent reads what this machine's kernel really prints about
//! that: no fault opens, no proof is seen, and no part has a chosen name.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod crash;
mod harness;
mod not_run;

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crash::{COMM_MAX, End, program};
use faultline::kernel::KernelRecord;
use faultline::patterns::matcher::Scratch;
use faultline::patterns::{builtin, compile, parse};
use faultline::reload;
use faultline::signal::{Effect, Event};
use faultline::sources::kmsg_record;
use faultline::time::Timestamp;

/// `nobody`, everywhere.
const NOBODY: u32 = 65534;

/// The kernel prints at most ten out-of-memory kills in 5 s
/// (mm/oom_kill.c, oom_kill_process), so only some lines name a cgroup.
const CGROUPS: usize = 8;

/// A kernel setting, put back at the end.
struct Setting {
    path: &'static str,
    before: String,
}

impl Setting {
    fn set(path: &'static str, value: &str) -> Option<Setting> {
        let before = fs::read_to_string(path).ok()?;
        fs::write(path, value).ok()?;
        Some(Setting { path, before })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        if let Err(e) = fs::write(self.path, &self.before) {
            eprintln!("{} is not as it was: {e}", self.path);
        }
    }
}

/// What this machine lacks for the test, if anything.
fn lacking() -> Option<&'static str> {
    if cfg!(not(target_arch = "x86_64")) {
        return Some("the crashing program is x86-64 code");
    }
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root to read /dev/kmsg and to become nobody");
    }
    if open_kmsg().is_none() {
        return Some("/dev/kmsg cannot be read");
    }
    let trace = fs::read_to_string("/proc/sys/debug/exception-trace");
    if !trace.is_ok_and(|t| t.trim() == "1") {
        return Some("debug.exception-trace is off: crashes are not printed");
    }
    None
}

fn open_kmsg() -> Option<File> {
    let mut options = File::options();
    options.read(true).custom_flags(nix::libc::O_NONBLOCK);
    let mut file = options.open("/dev/kmsg").ok()?;
    file.seek(SeekFrom::End(0)).ok()?;
    Some(file)
}

/// Keeps every record of the kernel's log from now on.
struct Recorder {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Vec<Vec<u8>>>,
}

impl Recorder {
    fn start() -> Recorder {
        let mut log = open_kmsg().expect("it was opened a moment ago");
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        let thread = thread::spawn(move || {
            let mut records = Vec::new();
            let mut buffer = [0; 8192];
            loop {
                match log.read(&mut buffer) {
                    Ok(n) => records.push(buffer[..n].to_vec()),
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {
                        if stopping.load(Ordering::Relaxed) {
                            return records;
                        }
                        thread::sleep(Duration::from_millis(1));
                    }
                    Err(e) => panic!("records were lost to the test: {e}"),
                }
            }
        });
        Recorder { stop, thread }
    }

    fn end(self) -> Vec<Vec<u8>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The agent, on the real /dev/kmsg.
struct Agent {
    child: Child,
    url: String,
    _state: tempfile::TempDir,
}

impl Agent {
    fn start() -> Agent {
        let state = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let path = |name: &str| state.path().join(name);
        let child = harness::faultline()
            .args(["run", "--listen", &address])
            .arg("--state-dir")
            .arg(state.path())
            .arg("--socket")
            .arg(path("socket"))
            .stdout(File::create(path("log")).unwrap())
            .spawn()
            .unwrap();
        let agent = Agent { child, url: address, _state: state };
        agent.until("it answers", |a| a.get("/readyz").is_some());
        agent
    }

    /// Waits for something that must come.
    fn until(&self, what: &str, holds: impl Fn(&Agent) -> bool) {
        for _ in 0..200 {
            if holds(self) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        let (read, lost) = (self.read(), self.lost());
        panic!("waited 10 s until {what}: {read} read, {lost} lost");
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = std::net::TcpStream::connect(&self.url).ok()?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.contains(" 200 ").then(|| body.to_owned())
    }

    fn metric(&self, name: &str) -> Option<u64> {
        let page = self.get("/metrics")?;
        let line = page.lines().find_map(|l| l.strip_prefix(name))?;
        line.trim().parse().ok()
    }

    fn read(&self) -> u64 {
        let name = "faultline_observations_total{source=\"kmsg\"}";
        self.metric(name).unwrap_or(0)
    }

    fn lost(&self) -> u64 {
        let name = "faultline_records_lost_total{source=\"kmsg\"}";
        self.metric(name).unwrap_or(0)
    }

    fn faults(&self) -> String {
        let faults = self.get("/api/v1/faults").unwrap();
        faults + &self.get("/api/v1/history").unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may be gone already; the test has then failed elsewhere.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every line that the shipped patterns have as an example.
fn lines() -> Vec<String> {
    let packs = reload::list(&harness::root().join("patterns")).unwrap();
    let files = packs.iter().map(|path| reload::read(path).unwrap());
    let mut all: Vec<String> = files
        .flat_map(|f| parse::parse(&f).unwrap().file.patterns.clone())
        .flat_map(|p| p.value.examples)
        .filter_map(|e| e.value.line)
        .collect();
    all.sort();
    all.dedup();
    all
}

/// Runs a program as nobody and waits for its end. A name that the file
/// system refuses is passed over.
fn run(path: &Path, code: &[u8], before: impl Fn(u32)) -> bool {
    if fs::write(path, code).is_err() {
        return false;
    }
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    let child = Command::new(path)
        .uid(NOBODY)
        .gid(NOBODY)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let ran = child.map(|mut child| {
        before(child.id());
        child.wait().unwrap()
    });
    fs::remove_file(path).unwrap();
    ran.is_ok_and(|status| !status.success())
}

/// A file name: no slash, at most NAME_MAX bytes.
fn file_name(text: &str) -> PathBuf {
    let mut name = text.replace(['/', '\0'], "|");
    while name.len() > 255 {
        name.pop();
    }
    PathBuf::from(name)
}

/// Crashes programs under every line, in every way; returns how many ran.
fn crash_under_every_line(dir: &Path, lines: &[String]) -> usize {
    let ends = [End::Segfault, End::BadOpcode, End::Privileged, End::Division];
    let mut ran = 0;
    for (i, line) in lines.iter().enumerate() {
        if i % 25 == 24 {
            // The ring may be small and the agent not optimised.
            thread::sleep(Duration::from_millis(20));
        }
        let end = ends[i % ends.len()];
        let comm = &line.as_bytes()[..line.len().min(COMM_MAX)];
        let behind = [b"\n", &comm[..comm.len().min(COMM_MAX - 1)]].concat();
        let tries = [
            // The file's name, whole, and in it behind a newline.
            (file_name(line), None),
            (file_name(&format!("x\n{line}")), None),
            // The task's name, cut by the program itself, which may hold a
            // slash, and behind a newline.
            (file_name(line), Some(comm)),
            (PathBuf::from("x"), Some(behind.as_slice())),
        ];
        for (name, comm) in tries {
            let code = program(comm, end, false);
            ran += usize::from(run(&dir.join(name), &code, |_| {}));
        }
    }
    // `process '…' started with executable stack` shows the last four
    // directories, once for each boot.
    for line in lines.iter().filter(|l| l.contains('/')).take(5) {
        let path = dir.join("deep").join(line.trim_matches('/'));
        if fs::create_dir_all(&path).is_ok() {
            let code = program(None, End::Segfault, true);
            ran += usize::from(run(&path.join("x"), &code, |_| {}));
        }
    }
    ran
}

/// Lets programs run out of memory in cgroups named after lines.
fn kill_in_cgroups(dir: &Path, lines: &[String]) -> usize {
    let (root, limit) = if Path::new("/sys/fs/cgroup/memory").is_dir() {
        (Path::new("/sys/fs/cgroup/memory"), "memory.limit_in_bytes")
    } else {
        (Path::new("/sys/fs/cgroup"), "memory.max")
    };
    let mut killed = 0;
    // Lines from all over the list: it is sorted.
    for line in lines.iter().step_by(lines.len().div_ceil(CGROUPS)) {
        let group = root.join(file_name(line));
        if fs::create_dir(&group).is_err() {
            continue;
        }
        if fs::write(group.join(limit), "1048576").is_ok() {
            let code = program(None, End::Memory, false);
            let join = |pid: u32| {
                // Killed before it could be moved, it says nothing of this
                // cgroup, and the count of what was printed tells.
                let _ = fs::write(group.join("cgroup.procs"), pid.to_string());
            };
            killed += usize::from(run(&dir.join(file_name(line)), &code, join));
        }
        // An empty cgroup goes; the last task may need a moment.
        for _ in 0..50 {
            if fs::remove_dir(&group).is_ok() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
    killed
}

/// What the patterns make of the records, and what they would make of them if
/// the forms were not recognised.
fn held_against_patterns(records: &[Vec<u8>]) -> (Vec<Event>, usize) {
    let files = builtin::files();
    let files: Vec<_> =
        files.iter().map(|f| parse::parse(f).unwrap()).collect();
    let (set, _) = compile::compile(&files).unwrap();
    let (mut scratch, mut events, mut fooled) =
        (Scratch::default(), Vec::new(), Vec::new());
    for raw in records {
        let record = kmsg_record::parse(raw).unwrap();
        if record.facility != 0 {
            continue;
        }
        let mut buffer = Vec::new();
        let mut offer = |form, out: &mut Vec<Event>| {
            let text = kmsg_record::unescape(record.text, &mut buffer);
            let record = KernelRecord {
                text,
                form,
                level: Some(record.level),
                subsystem: record.subsystem,
                device: record.device,
                time: Timestamp::default(),
                approximate: false,
                injected: false,
            };
            set.matcher.observe_kernel(&record, &mut scratch, out);
        };
        let form = || faultline::forms::form_of(record.text);
        offer(record.escaped.then(form), &mut events);
        offer(Some("none"), &mut fooled);
    }
    let opens = |e: &&Event| matches!(e, Event::Match(s) if s.effect == Effect::Open && s.count > 0);
    (events, fooled.iter().filter(opens).count())
}

/// A part that only the kernel can have named: a task by its pid, a CPU by
/// its number, or the node.
fn kernel_named(part: &str) -> bool {
    let number = |n: &str| n.bytes().all(|b| b.is_ascii_digit());
    part.starts_with("node/")
        || part.strip_prefix("task/").is_some_and(number)
        || part.strip_prefix("cpu/cpu").is_some_and(number)
}

#[test]
fn programs_named_like_faults_open_none() {
    if let Some(why) = lacking() {
        return not_run::not_run("hostile program names", why);
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    // No rate limit on what is tried here, and no console to wait for.
    let _settings = [
        Setting::set("/proc/sys/kernel/printk_ratelimit", "0"),
        Setting::set("/proc/sys/kernel/printk", "1 4 1 7"),
    ];
    // Thousands of core files would fill the disk.
    let pid = std::process::id().to_string();
    let cores =
        Command::new("prlimit").args(["--core=0:0", "--pid", &pid]).status();
    assert!(cores.is_ok_and(|s| s.success()), "core files can be switched off");

    let lines = lines();
    // Other programs may have filled the ring: there is to be something of
    // the kernel's own in it.
    crash_under_every_line(dir.path(), &lines[..1]);
    let agent = Agent::start();
    agent.until("it has read the back-log", |a| {
        let before = a.read();
        thread::sleep(Duration::from_millis(200));
        before > 0 && before == a.read()
    });
    let (before, read) = (agent.faults(), agent.read());
    let recorder = Recorder::start();
    let ran = crash_under_every_line(dir.path(), &lines);
    let killed = kill_in_cgroups(dir.path(), &lines);
    let records = recorder.end();

    let says = |word: &[u8]| {
        let holds = |r: &&Vec<u8>| r.windows(word.len()).any(|w| w == word);
        records.iter().filter(holds).count()
    };
    let crashes = says(b"]: segfault at ") + says(b"traps: ");
    let kills = says(b";oom-kill:");
    println!(
        "{} lines, {ran} programs ran, {crashes} crashes and {kills} kills \
         of {killed} printed, {} records",
        lines.len(),
        records.len()
    );
    assert!(crashes * 10 >= ran * 9, "{crashes} of {ran} were printed");
    if kills == 0 {
        not_run::not_run("hostile cgroup names", "no memory limit works here");
    }

    // The agent has read all of it, and knows nothing new.
    let kernel =
        |r: &&Vec<u8>| kmsg_record::parse(r).is_ok_and(|r| r.facility == 0);
    let printed = records.iter().filter(kernel).count() as u64;
    agent.until("it has read what was printed", |a| {
        a.read() + a.lost() >= read + printed
    });
    let lost = agent.lost();
    assert!(lost * 20 <= printed, "{lost} of {printed} lost");
    assert_eq!(agent.faults(), before, "something opened or cleared");

    // Nor did a pattern see more than a note in it, on parts that users
    // cannot name; and it is not for lack of trying.
    let (events, fooled) = held_against_patterns(&records);
    for event in &events {
        let Event::Match(s) = event else { continue };
        let harmless = matches!(s.effect, Effect::Note) || s.count == 0;
        let proof = matches!(s.effect, Effect::Proof(_));
        assert!(harmless && !proof, "{s:?}");
        assert!(kernel_named(s.part.as_str()), "{s:?}");
    }
    println!("without the forms {fooled} would have opened a fault");
    assert!(fooled > 0, "the names are not what would fool the patterns");
}
