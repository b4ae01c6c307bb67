//! A page of the kernel's trace buffers: any bytes, in the layout of a
//! 64-bit kernel.
#![no_main]

use faultline::decode::trace::Layout;
use libfuzzer_sys::fuzz_target;

const PAGE: &str =
    include_str!("../../fixtures/trace/debian-6.1/events/header_page");
const EVENT: &str =
    include_str!("../../fixtures/trace/debian-6.1/events/header_event");

fuzz_target!(|raw: &[u8]| {
    let layout = Layout::parse(PAGE, EVENT, None).expect("a real layout");
    let Some(mut page) = layout.page(raw) else { return };
    // Whatever the bytes say, no byte belongs to two records.
    let taken: usize = page.by_ref().map(|r| r.data.len() + 4).sum();
    assert!(taken <= raw.len());
});
