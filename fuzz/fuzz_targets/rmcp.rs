//! Packets of RMCP+ and the messages in them: any bytes, in the clear and
//! sealed with the right keys, and as answers to each step of a login.
#![no_main]

use faultline::ipmi::Credentials;
use faultline::ipmi::lan::packet::{self, Packet};
use faultline::ipmi::lan::session::Exchange;
use faultline::ipmi::lan::suite::Suite;
use faultline::ipmi::lan::message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((how, bytes)) = bytes.split_first() else { return };
    let suite = match how & 1 {
        0 => Suite::Three,
        _ => Suite::Seventeen,
    };
    let keys = suite.keys(&[how & 0xF0; 20]);
    // As they come from the network.
    if let Some(packet) = packet::open(bytes, None) {
        assert!(packet.payload.len() <= bytes.len());
        assert_eq!(packet::open(bytes, Some(&keys)), None);
    }
    assert_eq!(packet::open(bytes, Some(&keys)), None, "nobody sealed it");
    // As whoever has the keys may send them.
    let sealed = Packet {
        kind: 0,
        session: 7,
        number: u32::from(*how),
        payload: bytes[..bytes.len().min(512)].to_vec(),
    };
    let sent = packet::seal(&sealed, [*how; 16], &keys);
    assert_eq!(packet::open(&sent, Some(&keys)), Some(sealed));
    if let Some((key, response)) = message::answer(bytes) {
        assert!(key.netfn % 2 == 0 && key.sequence <= message::SEQUENCE_MASK);
        assert!(response.data.len() < bytes.len());
    }
    let credentials = Credentials {
        user: "user".into(),
        password: "password".into(),
        ..Credentials::default()
    };
    let Ok(mut login) = Exchange::new(suite, &credentials, 7, [3; 16]) else {
        return;
    };
    let _ = login.opened(1, bytes);
    assert!(login.second(2, bytes).is_err(), "it has not the password");
    assert!(login.fourth(3, bytes).is_err(), "it has not the key");
});
