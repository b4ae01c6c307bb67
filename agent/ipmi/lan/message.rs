//! A message of the management bus (IPMI 2.0, 13.8; IPMB 1.0, 2.11): what
//! RMCP+ carries, and what is passed on to satellite controllers.

use super::super::{Response, Target};

/// The address of remote software (IPMI 2.0, 5.5).
pub const SOFTWARE: u8 = 0x81;

/// Sequence numbers have six bits.
pub const SEQUENCE_MASK: u8 = 0x3F;

/// So that all bytes and this sum to nothing.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, b| sum.wrapping_add(*b)).wrapping_neg()
}

/// What an answer is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Who answers.
    pub address: u8,
    /// The request's function.
    pub netfn: u8,
    /// Its command.
    pub command: u8,
    /// Its sequence number.
    pub sequence: u8,
}

/// A request from `from`.
pub fn request(
    target: Target,
    from: u8,
    sequence: u8,
    (netfn, command): (u8, u8),
    data: &[u8],
) -> Vec<u8> {
    let mut bytes = vec![target.address, netfn << 2 | target.lun & 3];
    bytes.push(checksum(&bytes));
    bytes.extend([from, (sequence & SEQUENCE_MASK) << 2, command]);
    bytes.extend(data);
    bytes.push(checksum(&bytes[3..]));
    bytes
}

/// Takes an answer apart; `None` if it is none. Who it is for is not looked
/// at: for passed-on answers BMCs disagree on that.
pub fn answer(bytes: &[u8]) -> Option<(Key, Response)> {
    let [_, netfn, _, address, sequence, command, rest @ ..] = bytes else {
        return None;
    };
    let ([code, data @ .., _], true) =
        (rest, checksum(&bytes[..3]) == 0 && checksum(&bytes[3..]) == 0)
    else {
        return None;
    };
    let netfn = netfn >> 2;
    let key = Key {
        address: *address,
        netfn: netfn.checked_sub(1).filter(|n| n % 2 == 0)?,
        command: *command,
        sequence: sequence >> 2,
    };
    Some((key, Response { code: *code, data: data.to_vec() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_its_unit_its_number_and_two_checksums() {
        let target = Target { address: 0x20, channel: 0, lun: 1 };
        let bytes = request(target, SOFTWARE, 5, (0x04, 0x2D), &[1]);
        assert_eq!(bytes[..2], [0x20, 0x11]);
        assert_eq!(bytes[3..7], [0x81, 0x14, 0x2D, 1]);
        assert_eq!(checksum(&bytes[..3]), 0);
        assert_eq!(checksum(&bytes[3..]), 0);
    }

    #[test]
    fn an_answer_is_known_by_who_sent_it_and_to_what() {
        let mut bytes = vec![0x81, 0x1C, 0, 0x20, 0x14, 0x01, 0xC1, 9];
        bytes[2] = checksum(&bytes[..2]);
        bytes.push(checksum(&bytes[3..]));
        let (key, response) = answer(&bytes).unwrap();
        let expected = Key { address: 0x20, netfn: 6, command: 1, sequence: 5 };
        assert_eq!(key, expected);
        assert_eq!(response, Response { code: 0xC1, data: vec![9] });
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 0x10;
            assert_eq!(answer(&wrong), None);
            assert_eq!(answer(&bytes[..at]), None);
        }
    }
}
