//! Tests of the states' names.

use super::*;
use std::collections::BTreeSet;

#[test]
fn states_of_a_power_supply_differ_by_their_offset() {
    let psu = |bits| words(0x08, SPECIFIC, bits);
    assert_eq!(psu(0b1001), ["presence-detected", "input-lost"]);
    assert_eq!(psu(0b10), ["failure-detected"]);
    assert_eq!(psu(0), Vec::<&str>::new());
    assert_eq!(word(0x08, SPECIFIC, 6), "configuration-error");
}

#[test]
fn generic_states_do_not_depend_on_the_sensor() {
    for kind in [0x04, 0x08, 0x0d, 0xc5] {
        assert_eq!(words(kind, 0x0b, 0b10), ["redundancy-lost"]);
        assert_eq!(word(kind, 0x0b, 5), "non-redundant-insufficient");
        assert_eq!(word(kind, 0x08, 1), "device-present");
    }
}

#[test]
fn states_without_a_name_keep_their_number() {
    assert_eq!(words(0xc0, SPECIFIC, 0b101), ["state-0", "state-2"]);
    assert_eq!(word(0x23, SPECIFIC, 5), "state-5");
    assert_eq!(word(0x23, SPECIFIC, 8), "timer-interrupt");
    assert_eq!(word(0x08, 0x70, 3), "state-3");
    assert_eq!(word(0x08, SPECIFIC, 200), "state-8");
}

#[test]
fn bit_fifteen_is_no_state() {
    assert_eq!(words(0x08, SPECIFIC, 0x8000), Vec::<&str>::new());
}

#[test]
fn every_word_of_the_tables_is_in_the_list_of_all_words_and_no_other() {
    let mut all = BTreeSet::new();
    for reading_type in 0..=255 {
        for kind in 0..=255 {
            let table = table(kind, reading_type);
            all.extend(table.iter().copied().filter(|w| !w.is_empty()));
        }
    }
    all.extend(&UNNAMED);
    all.extend(["ok", "none"]);
    let listed: BTreeSet<&str> = ALL.iter().copied().collect();
    let missing: Vec<_> = all.difference(&listed).collect();
    let extra: Vec<_> = listed.difference(&all).collect();
    assert!(missing.is_empty() && extra.is_empty(), "{missing:?} {extra:?}");
    assert_eq!(listed.len(), ALL.len(), "a word stands twice");
}
