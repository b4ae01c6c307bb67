//! Records that are cut short, too long, or of another kind.

use super::*;

fn all() -> [(&'static str, Vec<u8>); 8] {
    let event = vec![1, 0, 0x51, 3, 0, 0x20, 0, 1, 7, 1, 8, 0x6f, 1, 0, 0, 0];
    let fru = vec![1, 0, 0x51, 0x11, 0, 0x20, 5, 0x80, 0, 0, 0x10, 0, 10, 1, 0];
    let controller =
        vec![1, 0, 0x51, 0x12, 0, 0x20, 0, 0, 0xbf, 0, 0, 0, 6, 1, 0];
    let device = vec![1, 0, 0x51, 0x10, 0, 0x20, 0, 0, 0, 0, 9, 1, 7, 1, 0];
    let entities = vec![1, 0, 0x51, 8, 11, 10, 1, 0, 10, 1, 10, 2, 0, 0, 0, 0];
    let mut relative = vec![1, 0, 0x51, 9, 27];
    relative.resize(32, 3);
    [
        ("full", full(0, 1, 0, 0, 0)),
        ("compact", compact([4, 0x80], b"Drive ")),
        ("event-only", named(event, 0xc2, b"ab")),
        ("fru", named(fru, 0xc1, b"x")),
        ("controller", named(controller, 0xc2, b"ab")),
        ("device", named(device, 0xc2, b"ab")),
        ("entities", entities),
        ("relative", relative),
    ]
}

#[test]
fn every_cut_of_a_record_is_an_error_or_the_same_sensor() {
    for (name, whole) in all() {
        let good = parse(&whole).expect(name);
        for n in 0..whole.len() {
            assert!(parse(&whole[..n]).is_err(), "{name} cut at {n}");
            // The same with a header that knows of the cut.
            if n < 5 {
                continue;
            }
            let mut cut = whole[..n].to_vec();
            cut[4] = u8::try_from(n - 5).expect("a short record");
            let Ok(record) = parse(&cut) else { continue };
            let (Body::Sensors(is), Body::Sensors(was)) =
                (&record.body, &good.body)
            else {
                continue;
            };
            for (is, was) in is.iter().zip(was) {
                let mut is = is.clone();
                is.name.clone_from(&was.name); // only its name was cut
                assert_eq!(&is, was, "{name} cut at {n}");
            }
        }
    }
}

#[test]
fn errors_say_what_is_missing() {
    let bad = |bytes: &[u8]| parse(bytes).expect_err("a bad record");
    assert_eq!(bad(&[1, 0, 0x51]), BadRecord::NoHeader(3));
    let cut = bad(&[1, 0, 0x51, 1, 10, 0]);
    assert_eq!(cut, BadRecord::Cut { want: 15, got: 6 });
    let short = bad(&[1, 0, 0x51, 1, 1, 0]);
    assert_eq!(short, BadRecord::Short { kind: 1, want: 48, got: 6 });
    assert_eq!(bad(&[1, 0, 0xff, 1, 0]), BadRecord::Version(0xff));
}

#[test]
fn records_of_unknown_types_are_told_as_such() {
    let record = parse(&[1, 0, 0x51, 0x7f, 2, 1, 2]).expect("a header");
    assert_eq!(record.body, Body::Other(0x7f));
}
