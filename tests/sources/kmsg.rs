//! The kmsg source on the machine's own /dev/kmsg (as root), and on a FIFO in
//! packet mode, which also gives one record a read.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use faultline::clock;
use faultline::patterns::matcher::Matcher;
use faultline::patterns::set::PatternSet;
use faultline::queue::Message;
use faultline::signal::{Event, Health, Position, SourceId};
use faultline::sources::kmsg::Options;
use faultline::sources::{
    PatternsCell, Running, Setup, Shared, Stats, Stop, Unexplained, start,
};
use nix::fcntl::{FcntlArg, OFlag};
use serde_json::{Value, json};

/// A running source and what it sends.
struct Bench {
    shared: Shared,
    running: Option<Running>,
    messages: Receiver<Message>,
}

impl Bench {
    fn new(options: Options, positions: &[Value], queue: usize) -> Bench {
        Bench::with(options, positions, queue, false)
    }

    fn with(
        options: Options,
        positions: &[Value],
        queue: usize,
        once: bool,
    ) -> Bench {
        let (sender, messages) = sync_channel(queue);
        let set = PatternSet {
            patterns: BTreeMap::new(),
            matcher: Matcher::default(),
            hash: 0,
            incomplete: false,
        };
        let shared = Shared {
            queue: sender,
            patterns: Arc::new(PatternsCell::new(Arc::new(set))),
            stats: Arc::new(Stats::default()),
            unexplained: Arc::new(Unexplained::default()),
            stop: Stop::new().unwrap(),
            committed: None,
            once,
        };
        let position =
            |p: &Value| (SourceId::from("kmsg"), Position(p.to_string()));
        let positions = positions.iter().map(position).collect();
        let setups = vec![Setup::Kmsg(options)];
        let running = Some(start(setups, &shared, &positions).unwrap());
        Bench { shared, running, messages }
    }

    /// The next message; fails when the source has ended.
    fn next(&self) -> Message {
        let second = std::time::Duration::from_secs(20);
        self.messages.recv_timeout(second).expect("the source says something")
    }

    /// Takes messages until a position reaches `seq`; gives what was lost.
    fn until(&self, seq: u64) -> u64 {
        let mut lost = 0;
        loop {
            let Message::Batch(batch) = self.next() else { continue };
            for event in &batch.events {
                if let Event::Gap { lost: n } = event {
                    lost += n;
                }
            }
            let position = batch.position.expect("a batch has a position");
            let position: Value = serde_json::from_str(&position.0).unwrap();
            if position["seq"].as_u64().unwrap() >= seq {
                return lost;
            }
        }
    }

    fn counter(&self, which: &str) -> u64 {
        use std::sync::atomic::Ordering::Relaxed;
        let counters = self.shared.stats.of(&SourceId::from("kmsg"));
        match which {
            "observations" => counters.observations.load(Relaxed),
            "lost" => counters.lost.load(Relaxed),
            "invalid" => counters.invalid.load(Relaxed),
            other => panic!("no counter {other}"),
        }
    }

    fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
            // A full queue must not keep the source from ending.
            let messages = &self.messages;
            std::thread::scope(|scope| {
                let thread = scope.spawn(|| running.join(None));
                while !thread.is_finished() {
                    let pause = std::time::Duration::from_millis(1);
                    // Nothing is wanted of what still comes.
                    let _ = messages.recv_timeout(pause);
                }
                assert_eq!(thread.join().unwrap(), Vec::<SourceId>::new());
            });
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The real log, one test at a time, with user space allowed to write to it
/// without a rate limit; as it was when dropped.
struct RealLog {
    writer: File,
    before: String,
    _one: File,
}

const DEVKMSG: &str = "/proc/sys/kernel/printk_devkmsg";

impl RealLog {
    /// `None` where this isn't allowed: not root, or no such device.
    fn take() -> Option<RealLog> {
        // Tests may be threads of one process or processes of their own.
        let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/real-log.lock");
        let one = File::create(path).unwrap();
        one.lock().unwrap();
        let writer = File::options().write(true).open("/dev/kmsg").ok();
        let before = fs::read_to_string(DEVKMSG).ok();
        let (Some(writer), Some(before)) = (writer, before) else {
            crate::not_run::not_run(
                "the real kernel log",
                "may not write to /dev/kmsg; needs root",
            );
            return None;
        };
        // The newline is part of the value (devkmsg_sysctl_set_loglvl).
        if fs::write(DEVKMSG, "on\n").is_err() {
            crate::not_run::not_run(
                "the real kernel log",
                "may not set kernel.printk_devkmsg; needs root",
            );
            return None;
        }
        Some(RealLog { writer, before, _one: one })
    }

    fn write(&self, text: &str) {
        // Without its newline a record stays open, unseen, until the next.
        let line = format!("<14>{text}\n");
        (&self.writer).write_all(line.as_bytes()).unwrap();
    }

    /// The number of the newest record.
    fn newest(&self) -> u64 {
        use std::io::Read;
        let mut log = File::options()
            .read(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .unwrap();
        let mut buffer = vec![0; 16384];
        let mut newest = 0;
        loop {
            match log.read(&mut buffer) {
                Ok(n) => newest = number(&buffer[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    return newest;
                }
                Err(_) => {} // overwritten meanwhile: read on
            }
        }
    }
}

impl Drop for RealLog {
    fn drop(&mut self) {
        fs::write(DEVKMSG, &self.before).unwrap();
    }
}

fn number(raw: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(raw);
    text.split(',').nth(1).unwrap().parse().unwrap()
}

fn accepting() -> Options {
    Options { accept_userspace: true, ..Options::under(Path::new("/")) }
}

fn boot() -> String {
    let path = "/proc/sys/kernel/random/boot_id";
    fs::read_to_string(path).unwrap().trim().to_owned()
}

#[test]
fn the_real_log_is_read_followed_and_resumed_without_a_record_twice() {
    let Some(log) = RealLog::take() else { return };
    log.write("faultline test: first");
    let first = log.newest();
    let mut bench = Bench::new(accepting(), &[], 64);
    assert!(matches!(bench.next(), Message::Health(_, Health::Up)));
    bench.until(first);
    let seen = bench.counter("observations");
    log.write("faultline test: second");
    let second = log.newest();
    bench.until(second);
    assert_eq!(bench.counter("observations") - seen, second - first);
    bench.stop();

    for _ in 0..3 {
        log.write("faultline test: while away");
    }
    let third = log.newest();
    let position = json!({ "boot": boot(), "seq": second });
    let bench = Bench::new(accepting(), &[position], 64);
    assert_eq!(bench.until(third), 0);
    assert_eq!(bench.counter("observations"), third - second);
    assert_eq!(bench.counter("lost"), 0);
}

#[test]
fn a_position_of_another_boot_begins_at_the_oldest_record() {
    let Some(log) = RealLog::take() else { return };
    log.write("faultline test: of this boot");
    let newest = log.newest();
    let position = json!({ "boot": "another", "seq": newest + 1000 });
    let bench = Bench::new(accepting(), &[position], 64);
    assert_eq!(bench.until(newest), 0);
    assert!(bench.counter("observations") > 0);
}

#[test]
fn what_user_space_writes_is_not_the_kernels() {
    let Some(log) = RealLog::take() else { return };
    let before = log.newest();
    log.write("EDAC MC0: 1 UE memory read error on CPU_SrcID#0");
    let newest = log.newest();
    let position = json!({ "boot": boot(), "seq": before });
    let bench = Bench::new(Options::under(Path::new("/")), &[position], 64);
    bench.until(newest);
    // The kernel itself may have said something meanwhile.
    assert!(bench.counter("observations") < newest - before);
}

#[test]
fn a_stalled_reader_counts_exactly_what_the_ring_overwrote() {
    let Some(log) = RealLog::take() else { return };
    log.write("faultline test: before the flood");
    let start = log.newest();
    let position = json!({ "boot": boot(), "seq": start });
    // A queue of one that nobody takes from: the source stands still.
    let bench = Bench::new(accepting(), &[position], 1);
    let text = "x".repeat(900);
    for _ in 0..40_000 {
        log.write(&text);
    }
    let newest = log.newest();
    let lost = bench.until(newest);
    let seen = bench.counter("observations");
    assert!(lost > 0, "the ring holds 40,000 long records?");
    assert_eq!(seen + lost, newest - start);
    assert_eq!(bench.counter("lost"), lost);
}

#[test]
fn a_record_longer_than_the_buffer_is_counted_and_the_next_one_is_read() {
    let Some(log) = RealLog::take() else { return };
    log.write("faultline test: short");
    let start = log.newest() - 1;
    log.write(&"x".repeat(700));
    log.write("faultline test: short again");
    let newest = log.newest();
    let position = json!({ "boot": boot(), "seq": start });
    let options = Options { buffer: 300, ..accepting() };
    let bench = Bench::new(options, &[position], 64);
    let lost = bench.until(newest);
    assert!(lost >= 1);
    // Long records that were read before the restart are met once more.
    assert!(bench.counter("invalid") >= lost);
    assert_eq!(bench.counter("observations") + lost, newest - start);
}

/// A FIFO whose every write is one read.
pub struct Packets {
    _dir: tempfile::TempDir,
    path: PathBuf,
    writer: File,
}

impl Packets {
    pub fn new() -> Packets {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kmsg");
        let mode = nix::sys::stat::Mode::S_IRWXU;
        nix::unistd::mkfifo(&path, mode).unwrap();
        let writer = File::options()
            .read(true) // so that it opens without a reader
            .write(true)
            .open(&path)
            .unwrap();
        // open(2) refuses O_DIRECT on a FIFO, fcntl(2) does not.
        let packets = FcntlArg::F_SETFL(OFlag::O_DIRECT);
        nix::fcntl::fcntl(&writer, packets).unwrap();
        Packets { _dir: dir, path, writer }
    }

    pub fn write(&mut self, raw: &str) {
        self.writer.write_all(raw.as_bytes()).unwrap();
    }

    pub fn options(&self) -> Options {
        Options { path: self.path.clone(), ..Options::under(Path::new("/")) }
    }
}

#[test]
fn a_malformed_record_is_counted_and_skipped() {
    let mut packets = Packets::new();
    packets.write("6,1,0,-;one\n");
    packets.write("what is this\n");
    packets.write("6,3,0,-;three\n");
    let bench = Bench::new(packets.options(), &[], 64);
    assert_eq!(bench.until(3), 0);
    assert_eq!(bench.counter("observations"), 2);
    assert_eq!(bench.counter("invalid"), 1);
    assert_eq!(bench.counter("lost"), 0);
}

#[test]
fn a_gap_in_the_numbers_is_what_was_lost() {
    let mut packets = Packets::new();
    packets.write("6,7,0,-;read before\n");
    packets.write("6,12,0,-;twelve\n");
    let position = json!({ "boot": boot(), "seq": 9 });
    let bench = Bench::new(packets.options(), &[position], 64);
    assert_eq!(bench.until(12), 2);
    packets.write("6,15,0,-;fifteen\n");
    assert_eq!(bench.until(15), 2);
    assert_eq!(bench.counter("observations"), 2);
}

#[test]
fn errors_that_nothing_takes_are_kept_as_shapes() {
    let mut packets = Packets::new();
    packets.write("3,1,0,-;frobnicator 12 failed\n");
    packets.write("3,2,0,-;frobnicator 13 failed\n");
    packets.write("3,3,0,-;x[1]: segfault at 8 ip 1 sp 2 error 4\n");
    packets.write("6,4,0,-;all is well\n");
    packets.write("4,5,0,-;odd\n SUBSYSTEM=pci\n");
    let bench = Bench::new(packets.options(), &[], 64);
    bench.until(5);
    let unexplained = &bench.shared.unexplained;
    assert_eq!(unexplained.total(), 4);
    let shapes = unexplained.shapes();
    assert_eq!(shapes[0].text, "frobnicator # failed");
    assert_eq!((shapes[0].count, shapes.len()), (2, 2));
}

#[test]
fn a_missing_device_is_down_with_a_reason_and_found_when_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kmsg");
    let options =
        Options { path: path.clone(), ..Options::under(Path::new("/")) };
    let bench = Bench::new(options, &[], 64);
    let Message::Health(id, Health::Down(why)) = bench.next() else {
        panic!("a missing device is down");
    };
    assert_eq!(&*id, "kmsg");
    assert!(why.contains("there is no"), "{why}");
    // The first restart is a second away.
    let mode = nix::sys::stat::Mode::S_IRWXU;
    nix::unistd::mkfifo(&path, mode).unwrap();
    let _writer = File::options().read(true).write(true).open(&path).unwrap();
    assert!(matches!(bench.next(), Message::Health(_, Health::Up)));
}

fn stamped(packets: &mut Packets, seq: u64, usec: u64, rest: &str) {
    packets.write(&format!("3,{seq},{usec},{rest}\n"));
}

#[test]
fn what_was_printed_before_has_its_own_time_and_what_comes_has_now() {
    let mut packets = Packets::new();
    let (began, printed) = (clock::now().wall, clock::monotonic());
    let hour = 3_600_000_000;
    let early = printed.saturating_sub(hour);
    stamped(&mut packets, 1, early, "-;disk sda: broken");
    let setup = Setup::Kmsg(packets.options());
    let bench = crate::bench::Bench::new(setup);
    let old = bench.until_match();
    assert!(old.approximate && !old.injected);
    let expected = began.0 - i64::try_from(printed - early).unwrap();
    assert!((old.time.0 - expected).abs() < 1_000_000, "{}", old.time);
    // A position without a match is sent when it waits for more.
    stamped(&mut packets, 2, 1, "-;nothing");
    bench.until_position("kmsg");
    // The kernel's clock may be off by what it likes.
    stamped(&mut packets, 3, 1, "-;disk sdb: broken");
    let new = bench.until_match();
    assert!(!new.approximate);
    assert!(new.time >= began, "{}", new.time);
}

#[test]
fn a_fragment_completes_the_record_it_continues_and_counts_once() {
    let mut packets = Packets::new();
    stamped(&mut packets, 1, 1, "-,caller=T1;disk ");
    stamped(&mut packets, 2, 1, "-,caller=C0;something else");
    stamped(&mut packets, 3, 1, "c,caller=T1;sda: bro");
    let setup = Setup::Kmsg(packets.options());
    let bench = crate::bench::Bench::new(setup);
    bench.until_observed("kmsg", 3);
    stamped(&mut packets, 4, 1, "c,caller=T1;ken");
    assert_eq!(bench.until_match().part.as_str(), "disk/sda");
    stamped(&mut packets, 5, 1, "c,caller=T1; and more of it");
    stamped(&mut packets, 6, 1, "-;disk sdb: broken");
    assert_eq!(bench.until_match().part.as_str(), "disk/sdb");
    bench.stop();
}

#[test]
fn a_name_with_a_newline_forges_nothing() {
    let mut packets = Packets::new();
    for (seq, text) in [
        "x\\x0adisk sda: broken[1]: segfault at 8 ip 1 sp 2 error 4",
        "INFO: task x\\x0adisk sda: broken:1 blocked for more than 122 seconds.",
        "process '/tmp/x\\x0adisk sda: broken' started with executable stack",
        "x\\x0adisk sda: broken: page allocation failure: order:4",
    ]
    .iter()
    .enumerate()
    {
        stamped(&mut packets, seq as u64, 1, &format!("-;{text}"));
    }
    // What follows a break is believed behind what a pattern takes alone.
    let text = "-;disk sdb: broken\\x0adisk sdc: broken";
    stamped(&mut packets, 9, 1, text);
    stamped(&mut packets, 10, 1, "-;two lines\\x0adisk sdd: broken");
    let setup = Setup::Kmsg(packets.options());
    let bench = crate::bench::Bench::new(setup);
    // Records 4 to 8 are a gap; it comes in one batch with the match.
    let batch = loop {
        if let Message::Batch(batch) = bench.messages.recv().unwrap()
            && !batch.events.is_empty()
        {
            break batch;
        }
    };
    let [Event::Gap { lost: 5 }, Event::Match(first), Event::Match(second)] =
        &batch.events[..]
    else {
        panic!("{:?}", batch.events);
    };
    assert_eq!(first.part.as_str(), "disk/sdb");
    assert_eq!(second.part.as_str(), "disk/sdc");
}

#[test]
fn what_a_drill_writes_is_injected() {
    let Some(log) = RealLog::take() else { return };
    let before = log.newest();
    log.write("disk sda: broken");
    let position =
        Position(json!({ "boot": boot(), "seq": before }).to_string());
    let positions = [(SourceId::from("kmsg"), position)].into();
    let setup = Setup::Kmsg(accepting());
    let bench = crate::bench::Bench::with(setup, positions, false);
    assert!(bench.until_match().injected);
}

#[test]
fn reading_once_ends_by_itself_with_the_position() {
    let mut packets = Packets::new();
    packets.write("6,1,0,-;one\n");
    let mut bench = Bench::with(packets.options(), &[], 64, true);
    assert_eq!(bench.until(1), 0);
    let running = bench.running.take().unwrap();
    assert_eq!(running.join(None), Vec::<SourceId>::new());
}
