//! RMCP+ packets (IPMI 2.0, 13.6): what stands around a message, in the clear
//! while a session is made, sealed afterwards.

use super::suite::{BLOCK, Keys};

/// RMCP 1.0, no answer wanted by that layer, class IPMI (13.1.3).
const RMCP: [u8; 4] = [0x06, 0x00, 0xFF, 0x07];

/// The format of IPMI 2.0.
const FORMAT: u8 = 0x06;

/// In the payload's type: it is encrypted, it has a code.
const ENCRYPTED: u8 = 0x80;
const AUTHENTICATED: u8 = 0x40;

/// What follows the padding of a sealed packet.
const NEXT_HEADER: u8 = 0x07;

/// Header of RMCP, format, type, session, number, length.
const HEADER: usize = 4 + 1 + 1 + 4 + 4 + 2;

/// A payload in the clear, or what a sealed packet held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The payload's type, without its flags.
    pub kind: u8,
    /// Whose session; 0 while there is none.
    pub session: u32,
    /// Its number in the session.
    pub number: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

fn header(kind: u8, session: u32, number: u32, length: usize) -> Vec<u8> {
    let mut bytes = RMCP.to_vec();
    bytes.extend([FORMAT, kind]);
    bytes.extend(session.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend((length as u16).to_le_bytes());
    bytes
}

/// A packet in the clear, outside of a session.
pub fn clear(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(kind, 0, 0, payload.len());
    bytes.extend(payload);
    bytes
}

/// A sealed packet.
pub fn seal(packet: &Packet, vector: [u8; BLOCK], keys: &Keys) -> Vec<u8> {
    let sealed = keys.encrypt(vector, &packet.payload);
    let kind = packet.kind | ENCRYPTED | AUTHENTICATED;
    let mut bytes = header(kind, packet.session, packet.number, sealed.len());
    bytes.extend(sealed);
    // Format to next header: a multiple of four.
    let padding = (4 - (bytes.len() - RMCP.len() + 2) % 4) % 4;
    bytes.extend(std::iter::repeat_n(0xFF, padding));
    bytes.extend([padding as u8, NEXT_HEADER]);
    let code = keys.code(&bytes[RMCP.len()..]);
    bytes.extend(code);
    bytes
}

/// Takes a packet apart; with `keys`, only one that is sealed with them.
pub fn open(bytes: &[u8], keys: Option<&Keys>) -> Option<Packet> {
    if bytes.len() < HEADER || bytes[..4] != RMCP || bytes[4] != FORMAT {
        return None;
    }
    let number = |at: usize| {
        let four: Option<[u8; 4]> = bytes[at..at + 4].try_into().ok();
        four.map(u32::from_le_bytes)
    };
    let (kind, session, sequence) = (bytes[5], number(6)?, number(10)?);
    let length = usize::from(u16::from_le_bytes([bytes[14], bytes[15]]));
    let payload = bytes.get(HEADER..HEADER + length)?;
    let payload = match keys {
        None if kind & (ENCRYPTED | AUTHENTICATED) == 0 => payload.to_vec(),
        Some(keys) if kind & ENCRYPTED != 0 && kind & AUTHENTICATED != 0 => {
            let end = bytes.len().checked_sub(keys.code_length())?;
            let (body, code) = (bytes.get(4..end)?, bytes.get(end..)?);
            // The payload stands before the code, whatever its length says.
            if end < HEADER + length + 2 || !keys.is_code(body, code) {
                return None;
            }
            keys.decrypt(payload)?
        }
        _ => return None,
    };
    let kind = kind & !(ENCRYPTED | AUTHENTICATED);
    Some(Packet { kind, session, number: sequence, payload })
}

#[cfg(test)]
mod tests {
    use super::super::suite::Suite;
    use super::*;

    #[test]
    fn what_was_sealed_is_opened_with_the_same_keys_only() {
        let keys = Suite::Seventeen.keys(&[1; 32]);
        for length in 0..40 {
            let packet = Packet {
                kind: 0,
                session: 7,
                number: 3,
                payload: vec![5; length],
            };
            let bytes = seal(&packet, [2; BLOCK], &keys);
            assert_eq!((bytes.len() - 4 - 16) % 4, 0);
            assert_eq!(open(&bytes, Some(&keys)), Some(packet));
            assert_eq!(open(&bytes, None), None);
            let other = Suite::Three.keys(&[1; 32]);
            assert_eq!(open(&bytes, Some(&other)), None);
            for at in 0..bytes.len() {
                assert_eq!(open(&bytes[..at], Some(&keys)), None);
                let mut wrong = bytes.clone();
                wrong[at] ^= 1;
                // Only RMCP's own number is nobody's business.
                assert_eq!(open(&wrong, Some(&keys)), None, "byte {at}");
            }
        }
    }

    #[test]
    fn a_packet_in_the_clear_is_none_of_a_session() {
        let keys = Suite::Three.keys(&[1; 20]);
        let bytes = clear(0x11, &[1, 2, 3]);
        assert_eq!(open(&bytes, Some(&keys)), None);
        assert_eq!(open(&bytes, None).unwrap().payload, [1, 2, 3]);
        assert_eq!(open(&bytes[..bytes.len() - 1], None), None);
    }
}
