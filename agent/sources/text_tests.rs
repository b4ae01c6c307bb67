//! What is read from which format.

use super::*;

/// 2026-11-22T00:00:00Z.
const LATEST: Timestamp = Timestamp(1_795_305_600_000_000);

fn reader() -> Reader {
    Reader::new(LATEST, TimeZone::UTC)
}

fn read(input: &str) -> Vec<Line> {
    let mut reader = reader();
    let mut lines = Vec::new();
    for raw in input.lines() {
        lines.extend(reader.line(raw.as_bytes()).cloned());
    }
    while let Some(line) = reader.end() {
        lines.push(line.clone());
    }
    lines
}

fn one(raw: &str) -> Line {
    let lines = read(raw);
    assert_eq!(lines.len(), 1, "{raw}");
    lines.into_iter().next().unwrap()
}

fn at(rfc3339: &str) -> Time {
    let t: jiff::Timestamp = rfc3339.parse().unwrap();
    Time::Wall(Timestamp(t.as_microsecond()))
}

const TEXT: &str = "EDAC MC0: 1 UE on any memory";

#[test]
fn a_console_servers_time_before_the_kernels_is_the_lines() {
    let line = one(&format!("2016-12-03 19:08:52    [14874911.977687] {TEXT}"));
    assert_eq!(line.text, TEXT.as_bytes());
    assert_eq!(line.time, at("2016-12-03T19:08:52Z"));
    assert!(line.kernel);
    // Without the kernel's it is a log of any program.
    let other = one(&format!("2016-12-03 19:08:52 [error] {TEXT}"));
    assert_ne!(other.text, TEXT.as_bytes());
}

#[test]
fn every_transport_of_kernel_text_is_stripped() {
    let mono = Time::Monotonic(12_345_678);
    let wall = at("2026-01-02T15:04:05Z");
    let cases = [
        ("", Time::None, None),
        ("[   12.345678] ", mono, None),
        ("[   12.345678] [    T10] ", mono, None),
        ("[   12.345678][   T10] ", mono, None),
        ("[   12.345678][    C2] ", mono, None),
        ("[   T10] ", Time::None, None),
        ("[   12.345678] 003: ", mono, None),
        ("[   12.345678][   C3] ", mono, None),
        ("[   12.345678 <    0.000003>] ", mono, None),
        ("[Fri Jan  2 15:04:05 2026] ", wall, None),
        ("[Jan 2 15:04] ", Time::None, None),
        ("[Jan02 15:04] ", Time::None, None),
        ("[  +0.000003] ", Time::None, None),
        ("kern  :err   : [   12.345678] ", mono, Some(3)),
        ("kern  :warn  : [Fri Jan  2 15:04:05 2026] ", wall, Some(4)),
        ("<3>", Time::None, Some(3)),
        ("<3>[   12.345678] ", mono, Some(3)),
        ("3,1,12345678,-;", mono, Some(3)),
        ("3,1,12345678,-,caller=T10;", mono, Some(3)),
        ("Jan  2 15:04:05 host kernel: ", wall, None),
        ("Jan  2 15:04:05 host kernel: [   12.345678] ", wall, None),
        ("Jan 02 15:04:05 kernel: ", wall, None),
        ("Jan  2 15:04:05 host kernel[0]: ", wall, None),
        ("2026-01-02T15:04:05+00:00 host kernel: ", wall, None),
        ("2026-01-02T16:04:05+0100 host kernel: ", wall, None),
        ("2026-01-02T15:04:05,000000+00:00 ", wall, None),
        ("Fri 2026-01-02 15:04:05 UTC host kernel: ", wall, None),
        ("[   12.345678] host kernel: ", mono, None),
        ("[   12.345678] kernel: ", mono, None),
        ("kernel: ", Time::None, None),
        ("kernel: [   12.345678] ", mono, None),
        ("<6>Jan  2 15:04:05 host kernel: ", wall, Some(6)),
    ];
    for (head, time, level) in cases {
        let line = one(&format!("{head}{TEXT}"));
        assert_eq!(line.text, TEXT.as_bytes(), "{head}");
        assert!(line.kernel, "{head}");
        assert_eq!(line.time, time, "{head}");
        assert_eq!(line.level, level, "{head}");
        assert_eq!(line.form, "none", "{head}");
    }
}

#[test]
fn dates_in_other_languages_are_dates() {
    for header in [
        "janv. 02 15:04:05 host kernel: ",
        "ene 02 15:04:05 host kernel: ",
        "1月 02 15:04:05 host kernel: ",
        "[Fr Jan  2 15:04:05 2026] ",
        "Fr 2026-01-02 15:04:05 UTC host kernel: ",
        "ven. 2026-01-02 15:04:05 UTC host kernel: ",
    ] {
        let line = one(&format!("{header}{TEXT}"));
        assert_eq!(line.text, TEXT.as_bytes(), "{header}");
        assert_eq!(line.time, at("2026-01-02T15:04:05Z"), "{header}");
        assert!(line.kernel, "{header}");
    }
}

#[test]
fn an_exported_entry_ends_where_another_begins() {
    let entry = |second: u64, text: &str| {
        let received = 1_790_000_000_000_000u64 + second * 1_000_000;
        format!(
            "__CURSOR=s=a;i=1;b=2;m=3;t={received:x};x=5\n_TRANSPORT=kernel\n\
             MESSAGE={text}\n"
        )
    };
    let lines = read(&(entry(0, "one") + &entry(2, "two")));
    let texts: Vec<&[u8]> = lines.iter().map(|l| &l.text[..]).collect();
    assert_eq!(texts, [b"one", b"two"]);
    assert_eq!(lines[1].time, at("2026-09-21T14:13:22Z"));
    assert_eq!((lines[0].number, lines[1].number), (1, 4));
}

#[test]
fn fractions_of_a_second_are_kept() {
    let line = one(&format!("Jan 02 15:04:05.250000 host kernel: {TEXT}"));
    assert_eq!(line.time, at("2026-01-02T15:04:05.25Z"));
    let line = one(&format!("1767366245.250000 host kernel: {TEXT}"));
    assert_eq!(line.time, at("2026-01-02T15:04:05.25Z"));
}

#[test]
fn what_programs_log_is_not_the_kernels() {
    for head in [
        "Jan  2 15:04:05 host logger[12]: ",
        "2026-01-02T15:04:05Z host logger: ",
        "Jan  2 15:04:05 host no tag here ",
        "<14>",
        "user  :info  : [   12.345678] ",
        "14,1,12345678,-;",
    ] {
        let line = one(&format!("{head}{TEXT}"));
        assert!(!line.kernel, "{head}");
    }
    let line = one("Jan  2 15:04:05 host logger[12]: hello");
    assert_eq!(line.identifier, b"logger");
    assert_eq!(line.text, b"hello");
}

#[test]
fn kernel_text_that_looks_like_a_header_stays() {
    for text in [
        "   [12] Timeout",
        "[ 0] RxErr                  (First)",
        "[  1234]  1000  1234    56789      123 x",
        "{1}[Hardware Error]: event severity: fatal",
        "Out of memory: Killed process 12 (x)",
        "Fri day",
        "kern",
        "0 1 2",
    ] {
        let line = one(text);
        assert_eq!(line.text, text.as_bytes());
        assert!(line.kernel);
        let line = one(&format!("[   12.345678] {text}"));
        assert_eq!(line.text, text.as_bytes());
    }
}

#[test]
fn a_raw_record_is_unescaped_and_takes_its_dictionary() {
    let input = "3,1,5,-;one\\x0atwo\n SUBSYSTEM=pci\n DEVICE=+pci:1\n\
                 4,2,6,-;three\nplain\n";
    let lines = read(input);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0].text, b"one\ntwo");
    assert_eq!(lines[0].subsystem, b"pci");
    assert_eq!(lines[0].device, b"+pci:1");
    assert_eq!(lines[1].text, b"three");
    assert_eq!(lines[1].subsystem, b"");
    assert_eq!(lines[2].text, b"plain");
    let numbers: Vec<u64> = lines.iter().map(|l| l.number).collect();
    assert_eq!(numbers, [1, 4, 5]);
}

#[test]
fn the_indented_lines_of_a_record_are_lines_of_its_form() {
    let lines = read(
        "[   12.345678] md/raid:md2: Disk failure on sdc5\n\
        \x20              md/raid:md2: Operation continuing\n\
         [   13.000000] x[1]: segfault at 8 ip 1 sp 2 error 4 in \n\
        \x20              EDAC MC0: 1 UE on any memory",
    );
    assert_eq!(lines[1].text, b"md/raid:md2: Operation continuing");
    assert_eq!(lines[1].time, Time::Monotonic(12_345_678));
    assert_eq!(lines[3].form, "segfault");
}

#[test]
fn journal_entries_are_the_kernels_only_by_their_transport() {
    let json = |transport: &str| {
        format!(
            "{{\"__CURSOR\":\"s\",\"__REALTIME_TIMESTAMP\":\"1\",\
             \"SYSLOG_IDENTIFIER\":\"kernel\",\"PRIORITY\":\"3\",\
             \"_TRANSPORT\":\"{transport}\",\"MESSAGE\":\"{TEXT}\"}}"
        )
    };
    let line = one(&json("kernel"));
    assert!(line.kernel);
    assert_eq!(line.time, Time::Wall(Timestamp(1)));
    assert_eq!(line.text, TEXT.as_bytes());
    assert!(!one(&json("syslog")).kernel);

    let export = format!(
        "__CURSOR=s=1\n__REALTIME_TIMESTAMP=5\n_BOOT_ID=a\n\
         _TRANSPORT=kernel\nMESSAGE={TEXT}\n\n\
         __CURSOR=s=2\n__REALTIME_TIMESTAMP=6\n_BOOT_ID=b\nMESSAGE=x\n"
    );
    let lines = read(&export);
    assert_eq!(lines.len(), 2);
    assert!(lines[0].kernel && !lines[1].kernel);
    assert!(!lines[0].new_boot && lines[1].new_boot);
    assert_eq!((lines[0].number, lines[1].number), (1, 7));
}

#[test]
fn a_clock_that_begins_again_is_a_new_boot() {
    let lines = read(
        "[  100.000000] a\n[   99.999000] b\n[    0.000000] c\n\
         [    1.000000] d",
    );
    let boots: Vec<bool> = lines.iter().map(|l| l.new_boot).collect();
    assert_eq!(boots, [false, false, true, false]);
    let lines = read(
        "Jan  2 15:04:05 h kernel: a\n\
         Jan  2 15:05:05 h kernel: Linux version 6.1\n\
         Jan  2 15:05:05 h sshd: Linux version 6.1",
    );
    let boots: Vec<bool> = lines.iter().map(|l| l.new_boot).collect();
    assert_eq!(boots, [false, true, false]);
}

#[test]
fn what_journalctl_says_between_boots_is_no_line_of_the_log() {
    let lines = read(
        "-- Boot 1 --\nJan  2 15:04:05 h kernel: a\n-- Boot 2 --\n\
         Jan  2 15:05:05 h kernel: Linux version 6.1\n\
         Jan  2 15:05:05 h kernel: b\n-- No entries --",
    );
    let boots: Vec<bool> = lines.iter().map(|l| l.new_boot).collect();
    assert_eq!(boots, [false, true, false]);
}

#[test]
fn dates_without_a_year_are_of_the_past_and_pass_new_year() {
    let lines = read(
        "Dec 31 23:59:59 h kernel: a\nJan  1 00:00:01 h kernel: b\n\
         Feb 29 00:00:00 h kernel: c",
    );
    assert_eq!(lines[0].time, at("2025-12-31T23:59:59Z"));
    assert_eq!(lines[1].time, at("2026-01-01T00:00:01Z"));
    assert_eq!(lines[2].time, at("2026-02-28T00:00:00Z"));
}

#[test]
fn lines_out_of_order_at_new_year_are_of_two_years() {
    let lines = read(
        "Dec 31 23:59:59 h kernel: a\nJan  1 00:00:00 h kernel: b\n\
         Dec 31 23:59:59 h kernel: c\nJan  1 00:00:01 h kernel: d",
    );
    let times = lines.iter().map(|line| line.time);
    let wanted = [
        at("2025-12-31T23:59:59Z"),
        at("2026-01-01T00:00:00Z"),
        at("2025-12-31T23:59:59Z"),
        at("2026-01-01T00:00:01Z"),
    ];
    assert!(times.eq(wanted));
}

proptest::proptest! {
    #[test]
    fn arbitrary_lines_never_panic(lines: Vec<Vec<u8>>) {
        let mut reader = reader();
        for line in &lines {
            reader.line(line);
        }
        while reader.end().is_some() {}
    }

    #[test]
    fn broken_headers_never_panic(
        lines in proptest::collection::vec(
            "(\\[|<|kern |Jan |Fri |20|_|\\{|6,)[0-9a-zA-Z ,;:.\\[\\]<>+T-]{0,60}",
            0..8,
        ),
    ) {
        let mut reader = reader();
        for line in &lines {
            reader.line(line.as_bytes());
        }
        while reader.end().is_some() {}
    }
}

#[test]
fn blanks_that_a_mail_made_no_break_spaces_are_blanks() {
    let raw = "[   12.345678]\u{a0}EDAC MC0:\u{a0}\u{a0}1 UE, \u{a3}5, \u{b5}s";
    let line = one(raw);
    let text = "EDAC MC0:  1 UE, \u{a3}5, \u{b5}s";
    assert_eq!(line.text, text.as_bytes());
    assert_eq!(line.raw, raw.as_bytes());
    let mut reader = reader();
    reader.follow_at(LATEST);
    let line = reader.line("EDAC\u{a0}MC0: 1 UE".as_bytes()).unwrap();
    assert_eq!(line.text, "EDAC\u{a0}MC0: 1 UE".as_bytes());
}

#[test]
fn busybox_writes_facility_and_level_before_the_tag() {
    for (level, word) in [(2, "crit"), (4, "warn"), (4, "warning")] {
        let line = one(&format!(
            "Nov 20 10:00:00 host kern.{word} kernel: [ 8123.400921] {TEXT}"
        ));
        assert_eq!(line.text, TEXT.as_bytes());
        assert_eq!((line.level, line.kernel), (Some(level), true));
        assert_eq!(line.identifier, b"kernel");
    }
    for other in ["user.crit kernel:", "kern.nothing kernel:", "kern.err"] {
        let line = one(&format!("Nov 20 10:00:00 host {other} {TEXT}"));
        assert!(!line.kernel, "{other}");
    }
}

#[test]
fn a_line_of_the_syslog_protocol_has_its_time_and_writer() {
    let line = |text: &str| {
        let mut reader = Reader::new(Timestamp(i64::MAX), TimeZone::UTC);
        reader.line(text.as_bytes()).unwrap().clone()
    };
    for data in ["-", "[a@1 b=\"c\\] d\"][e@1]"] {
        let told = line(&format!(
            "<3>1 1970-01-01T00:00:01.5Z host kernel - - {data} \
             \u{feff}EDAC MC0: 1 UE"
        ));
        assert_eq!(told.text, b"EDAC MC0: 1 UE");
        assert_eq!(told.time, Time::Wall(Timestamp(1_500_000)));
        assert_eq!((told.level, told.kernel), (Some(3), true));
    }
    let of_program =
        line("<11>1 1970-01-01T00:00:01Z host app 12 ID - EDAC MC0: 1 UE");
    assert_eq!(
        (of_program.identifier, of_program.kernel),
        (b"app".into(), false)
    );
    // A program that calls itself the kernel.
    for forged in [
        "<11>1 1970-01-01T00:00:01Z host kernel - - - EDAC MC0: 1 UE",
        "<11>Nov 22 03:00:00 host kernel: EDAC MC0: 1 UE",
    ] {
        assert!(!line(forged).kernel, "{forged}");
    }
    // No such line: nothing is taken away.
    for text in [
        "1 of 2 disks failed in bay a b c d",
        "1 of 2 kernel b c -EDAC MC0: 1 UE",
        "1 - host kernel b c -EDAC MC0: 1 UE",
    ] {
        assert_eq!(line(&format!("<3>{text}")).text, text.as_bytes());
    }
}

#[test]
fn a_time_that_tells_its_cpu_is_a_time() {
    let mut reader = Reader::new(Timestamp(i64::MAX), TimeZone::UTC);
    let line = reader.line(b"[   12.345678@3] EDAC MC0: 1 UE").unwrap();
    assert_eq!(line.text, b"EDAC MC0: 1 UE");
    assert_eq!(line.time, Time::Monotonic(12_345_678));
}

#[test]
fn in_a_log_that_is_followed_the_words_of_an_export_hide_nothing() {
    let mut reader = Reader::new(Timestamp(0), TimeZone::UTC);
    let mut texts = Vec::new();
    for line in ["__CURSOR=x", "free text", "more of it", "", "<3>disk bad"] {
        reader.follow_at(Timestamp(0));
        texts.extend(reader.line(line.as_bytes()).map(|l| l.text.clone()));
    }
    assert_eq!(texts.last().map(Vec::as_slice), Some(b"disk bad".as_slice()));
}

#[test]
fn in_a_log_that_is_followed_a_date_is_the_last_of_its_name() {
    let mut reader = Reader::new(Timestamp(0), TimeZone::UTC);
    let time = |text: &str| {
        let time: jiff::Timestamp = text.parse().unwrap();
        Timestamp(time.as_microsecond())
    };
    for (now, line, then) in [
        ("2026-11-20T10:00:00Z", "Nov 20 09:00:00", "2026-11-20T09:00:00Z"),
        // Silent for months.
        ("2027-01-10T10:00:00Z", "Jan 10 09:00:00", "2027-01-10T09:00:00Z"),
        ("2027-12-30T10:00:00Z", "Dec 30 09:00:00", "2027-12-30T09:00:00Z"),
        ("2028-01-01T00:00:05Z", "Dec 31 23:59:59", "2027-12-31T23:59:59Z"),
    ] {
        reader.follow_at(time(now));
        let line = format!("{line} host kernel: text");
        let taken = reader.line(line.as_bytes()).unwrap();
        assert_eq!(taken.time, Time::Wall(time(then)), "{line}");
    }
}
