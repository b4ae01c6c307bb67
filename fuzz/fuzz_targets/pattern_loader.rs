//! Pattern files: any bytes give a set or findings, and no finding can act on
//! the terminal that shows it.
#![no_main]

use faultline::cli::check::check_text;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Err(found) = check_text("fuzz.yaml", text) else { return };
    assert!(!found.is_empty());
    for finding in found {
        let shown = finding.to_string();
        let acts = |c: char| c.is_control() && c != '\n' && c != '\t';
        assert!(!shown.contains(acts), "{shown:?}");
        assert!(shown.len() < 16 << 10, "{} bytes", shown.len());
    }
});
