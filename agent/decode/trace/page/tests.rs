use proptest::prelude::*;

use super::super::format::Format;
use super::*;

const HEADER_PAGE: &str =
    include_str!("../../../../fixtures/trace/debian-6.1/events/header_page");
const HEADER_EVENT: &str =
    include_str!("../../../../fixtures/trace/debian-6.1/events/header_event");
const MCE: &str = include_str!(
    "../../../../fixtures/trace/debian-6.1/events/mce/mce_record/format"
);
const MIXED: &[u8] =
    include_bytes!("../../../../fixtures/trace/debian-6.1/mixed.pages");
const OVERRUN: &[u8] =
    include_bytes!("../../../../fixtures/trace/debian-6.1/overrun.pages");

fn layout() -> Layout {
    Layout::parse(HEADER_PAGE, HEADER_EVENT, None).unwrap()
}

/// A page of a kernel that stamps its beginning with `time`.
fn page(time: u64, commit: u64, data: &[u8]) -> Vec<u8> {
    let mut page = Vec::new();
    page.extend(time.to_ne_bytes());
    page.extend(commit.to_ne_bytes());
    page.extend(data);
    page
}

fn word(kind: u32, delta: u32) -> [u8; 4] {
    assert!(kind < 32 && delta < 1 << 27);
    let word = if cfg!(target_endian = "little") {
        delta << 5 | kind
    } else {
        kind << 27 | delta
    };
    word.to_ne_bytes()
}

fn records(page: &[u8]) -> (Vec<(u64, Vec<u8>)>, bool) {
    let mut page = layout().page(page).unwrap();
    let all = page.by_ref().map(|r| (r.time, r.data.to_vec())).collect();
    (all, page.is_damaged())
}

#[test]
fn a_recorded_page_gives_the_events_that_the_kernel_printed() {
    let mut page = layout().page(MIXED).unwrap();
    assert_eq!(page.missed(), Missed::Nothing);
    let kinds: Vec<(u64, u64)> = page
        .by_ref()
        .map(|r| {
            let id = u16::from_ne_bytes([r.data[0], r.data[1]]);
            (u64::from(id), (r.time + 500) / 1000)
        })
        .collect();
    // mce_record, aer_event and memory_failure_event with the times that
    // `trace` showed for them.
    let shown = [(113, 3_015_119), (1224, 5_196_322), (1223, 7_163_460)];
    assert_eq!(kinds, shown);
    assert!(!page.is_damaged());
}

#[test]
fn what_a_full_ring_has_overwritten_is_counted_exactly() {
    let format = Format::parse(MCE).unwrap();
    let (status, addr) =
        (format.slot("status").unwrap(), format.slot("addr").unwrap());
    let (mut found, mut missed, mut last) = (0u64, 0, 0);
    for bytes in OVERRUN.chunks(layout().page_size()) {
        let mut page = layout().page(bytes).unwrap();
        if let Missed::Exactly(n) = page.missed() {
            missed += n;
        }
        for record in page.by_ref() {
            let i = (addr.number(record.data).unwrap() - 0x1234_5000) >> 12;
            let said = status.number(record.data).unwrap();
            assert_eq!(said, 0x8c00_0040_0001_0090 + i % 4);
            assert!(record.time > last, "time goes on");
            last = record.time;
            found += 1;
        }
        assert!(!page.is_damaged());
    }
    // 700 were injected: the kernel's own statistics said 525 overrun.
    assert_eq!((found, missed), (175, 525));
}

#[test]
fn every_form_of_record_is_taken_apart() {
    let mut data = Vec::new();
    data.extend(word(2, 5)); // 8 bytes
    data.extend([1; 8]);
    data.extend(word(30, 3)); // 3 + (2 << 27) later
    data.extend(2u32.to_ne_bytes());
    data.extend(word(29, 1)); // discarded, 8 bytes behind its first word
    data.extend(8u32.to_ne_bytes());
    data.extend([9; 4]);
    data.extend(word(0, 1)); // long: its length counts itself
    data.extend(124u32.to_ne_bytes());
    data.extend([2; 120]);
    data.extend(word(31, 7)); // at 7 + (4 << 27)
    data.extend(4u32.to_ne_bytes());
    data.extend(word(1, 0));
    data.extend([3; 4]);
    data.extend(word(29, 0)); // the rest is nothing
    data.extend([0xff; 40]);
    let (all, damaged) = records(&page(1000, data.len() as u64, &data));
    let times: Vec<(u64, usize)> =
        all.iter().map(|(t, d)| (*t, d.len())).collect();
    let later = 1005 + 3 + (2 << 27) + 2;
    assert_eq!(times, [(1005, 8), (later, 120), (7 + (4 << 27), 4)]);
    assert!(!damaged);
}

#[test]
fn an_absolute_stamp_takes_its_upper_bits_from_the_page() {
    let bit = 1u64 << STAMP_BITS;
    assert_eq!(absolute(500, 400), 500);
    assert_eq!(absolute(500, bit | 400), bit | 500);
    assert_eq!(absolute(300, bit | 400), (2 * bit) | 300);
}

#[test]
fn missed_records_whose_number_has_no_room_are_some() {
    let flagged = page(0, MISSED, &[0; 8]);
    assert_eq!(layout().page(&flagged).unwrap().missed(), Missed::Some);
    let unread = page(0, MISSED | MISSED_STORED, &[1, 0, 0]);
    assert_eq!(layout().page(&unread).unwrap().missed(), Missed::Some);
    let mut stored = page(0, MISSED | MISSED_STORED, &[]);
    stored.extend(525u64.to_ne_bytes());
    let stored = layout().page(&stored).unwrap().missed();
    assert_eq!(stored, Missed::Exactly(525));
}

#[test]
fn a_record_longer_than_its_page_is_damage_and_none_is_made_up() {
    let mut data = Vec::new();
    data.extend(word(1, 1));
    data.extend([7; 4]);
    data.extend(word(28, 1));
    data.extend([7; 8]);
    let (all, damaged) = records(&page(0, data.len() as u64, &data));
    assert_eq!((all.len(), damaged), (1, true));
    let (all, damaged) = records(&page(0, 4000, &[]));
    assert_eq!((all.len(), damaged), (0, true), "commit beyond the page");
    // A length that does not even count itself.
    let mut short = word(0, 1).to_vec();
    short.extend(0u32.to_ne_bytes());
    assert!(records(&page(0, 8, &short)).1);
}

#[test]
fn another_layout_is_read_as_it_describes_itself() {
    // As on a 32-bit kernel with 16 KiB pages: an int as commit.
    let header = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
        \tfield: local_t commit;\toffset:8;\tsize:4;\tsigned:1;\n\
        \tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n\
        \tfield: char data;\toffset:12;\tsize:16372;\tsigned:1;\n";
    let layout = Layout::parse(header, "", None).unwrap();
    assert_eq!(layout.page_size(), 16384);
    let mut bytes = 9u64.to_ne_bytes().to_vec();
    let commit = 8u32 | MISSED as u32 | MISSED_STORED as u32;
    bytes.extend(commit.to_ne_bytes());
    bytes.extend(word(1, 1));
    bytes.extend([5; 4]);
    bytes.extend(3u32.to_ne_bytes());
    let mut page = layout.page(&bytes).unwrap();
    assert_eq!(page.missed(), Missed::Exactly(3));
    assert_eq!(page.next().map(|r| r.time), Some(10));
    let own = Layout::parse(header, HEADER_EVENT, Some(65536)).unwrap();
    assert_eq!(own.page_size(), 65536);
}

#[test]
fn headers_that_describe_no_page_are_refused() {
    let bad = Layout::parse("", HEADER_EVENT, None);
    assert_eq!(bad.unwrap_err(), LayoutError::Page("timestamp"));
    let event = "type_len : 5 bits\ntime_delta : 40 bits\n";
    let bad = Layout::parse(HEADER_PAGE, event, None);
    assert_eq!(bad.unwrap_err(), LayoutError::Event(45));
    let tiny = Layout::parse(HEADER_PAGE, HEADER_EVENT, Some(8));
    assert_eq!(tiny.unwrap_err(), LayoutError::Page("data"));
}

proptest! {
    #[test]
    fn any_bytes_are_records_or_damage(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let Some(mut page) = layout().page(&bytes) else { return Ok(()) };
        let taken: usize = page.by_ref().map(|r| r.data.len() + 4).sum();
        prop_assert!(taken <= bytes.len());
    }

    #[test]
    fn records_come_back_as_they_were_written(
        written in prop::collection::vec((1usize..40, 0u32..1 << 27), 0..20),
    ) {
        let (mut data, mut time, mut wanted) = (Vec::new(), 50u64, vec![]);
        for (words, delta) in written {
            let bytes = vec![words as u8; words * 4];
            if words <= 28 {
                data.extend(word(words as u32, delta));
            } else {
                data.extend(word(0, delta));
                data.extend((words as u32 * 4 + 4).to_ne_bytes());
            }
            data.extend(&bytes);
            time += u64::from(delta);
            wanted.push((time, bytes));
        }
        let (all, damaged) = records(&page(50, data.len() as u64, &data));
        prop_assert_eq!(all, wanted);
        prop_assert!(!damaged);
    }
}
