//! What a record that panics leaves behind, and what time a late one has.

use nix::fcntl::OFlag;

use super::super::guard::tests::{BAD, context};
use super::*;
use crate::observation::Source;

#[test]
fn a_record_that_panics_is_skipped_and_not_read_again() {
    let (reader, writer) = std::io::pipe().unwrap();
    // Packets, so that a read gives one record, as the device does.
    let flags = OFlag::O_DIRECT | OFlag::O_NONBLOCK;
    let packets = || nix::fcntl::FcntlArg::F_SETFL(flags);
    nix::fcntl::fcntl(&writer, packets()).unwrap();
    nix::fcntl::fcntl(&reader, packets()).unwrap();
    let (mut context, messages) = context(Source::Kmsg);
    let options = Options::under(Path::new("/"));
    let id = SourceId::from("kmsg");
    let counters = context.counters(&id);
    let mut reading = Reading::new(&options, &mut context, id, "boot".into());
    for (seq, text) in [(1, "one"), (2, BAD), (3, "three")] {
        let record = format!("6,{seq},{seq},-;{text}\n");
        nix::unistd::write(&writer, record.as_bytes()).unwrap();
    }
    let file = File::from(std::os::fd::OwnedFd::from(reader));
    let drained = reading.drain(&file, &mut Chunk::new(BUFFER)).unwrap();
    assert!(drained == Drained::Empty);
    reading.flush(true).unwrap();
    let Ok(crate::queue::Message::Batch(batch)) = messages.try_recv() else {
        panic!("no batch")
    };
    assert_eq!(batch.events, []);
    let position = r#"{"boot":"boot","seq":3}"#;
    assert_eq!(batch.position, Some(Position(position.into())));
    let count = |n: &std::sync::atomic::AtomicU64| {
        n.load(std::sync::atomic::Ordering::Relaxed)
    };
    assert_eq!(count(&counters.invalid), 1);
    assert_eq!(count(&counters.observations), 2);
}

#[test]
fn what_is_read_long_after_the_end_has_the_time_it_was_printed() {
    let (mut context, _messages) = context(Source::Kmsg);
    let options = Options::under(Path::new("/"));
    let id = SourceId::from("kmsg");
    let mut reading = Reading::new(&options, &mut context, id, "boot".into());
    let printed = clock::monotonic();
    let text = format!("6,1,{printed},-;text\n");
    let mut record = parse(text.as_bytes()).unwrap();
    let mut read = |waited, end_at| {
        (reading.caught_up, reading.waited) = (true, waited);
        reading.end_at = end_at;
        reading.look_at_the_clock();
        record.usec = printed.saturating_sub(60_000_000);
        let kernel = kernel_record(&record, b"text", reading.moment);
        let ago = reading.moment.now.wall.since(kernel.time);
        (ago.as_secs(), kernel.approximate)
    };
    let now = clock::boot();
    assert_eq!(read(false, now), (0, false));
    let long_ago = Uptime(now.0 - LIVE.as_micros() as u64);
    assert_eq!(read(true, long_ago), (0, false), "it waited at the end");
    assert_eq!(read(false, long_ago), (60, true), "each batch was in time");
}
