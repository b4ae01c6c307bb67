//! The firmware's tables: any bytes.
#![no_main]

use faultline::parts::smbios::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (entry, table) = bytes.split_at(bytes.len().min(32));
    for entry in [entry, b""] {
        let tables = parse(entry, table);
        // Each structure takes at least six bytes.
        let most = table.len() / 6 + 1;
        assert!(tables.memory.len() <= most);
        assert!(tables.processors.len() <= most);
        let texts = tables.memory.iter().flat_map(|m| {
            [&m.locator, &m.bank, &m.maker, &m.model, &m.serial]
        });
        for text in texts.flatten() {
            assert!(!text.is_empty() && text.len() <= 96);
            assert!(!text.contains(char::is_control));
        }
    }
});
