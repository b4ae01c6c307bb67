//! The two cipher suites that are used (IPMI 2.0, 22.15.2): 17 with SHA-256
//! where the BMC has it, else 3 with SHA-1; both with AES-128 in CBC. Suites
//! without authentication or encryption are not.

use aes::Aes128;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::Sha256;

/// A block of AES, bytes; also the length of the initial vector.
pub const BLOCK: usize = 16;

/// The constants from which keys are made: 20 bytes of 01h, of 02h
/// (IPMI 2.0, 13.32).
const CONSTANT_LENGTH: usize = 20;

/// HMAC takes keys of every length.
const ANY_KEY: &str = "HMAC takes a key of any length";

/// A cipher suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// RAKP-HMAC-SHA1, HMAC-SHA1-96, AES-CBC-128.
    Three,
    /// RAKP-HMAC-SHA256, HMAC-SHA256-128, AES-CBC-128.
    Seventeen,
}

impl Suite {
    /// Its algorithms: authentication, integrity, confidentiality
    /// (IPMI 2.0, tables 13-17 to 13-19).
    pub fn algorithms(self) -> [u8; 3] {
        match self {
            Suite::Three => [0x01, 0x01, 0x01],
            Suite::Seventeen => [0x03, 0x04, 0x01],
        }
    }

    /// The length of a key exchange's code.
    pub fn exchange_length(self) -> usize {
        match self {
            Suite::Three => 20,
            Suite::Seventeen => 32,
        }
    }

    /// The length of a packet's code, and of the one that ends the exchange.
    pub fn code_length(self) -> usize {
        match self {
            Suite::Three => 12,
            Suite::Seventeen => 16,
        }
    }

    /// The code of these bytes, in pieces.
    pub fn hmac(self, key: &[u8], pieces: &[&[u8]]) -> Vec<u8> {
        fn digest<M: Mac>(mut mac: M, pieces: &[&[u8]]) -> Vec<u8> {
            pieces.iter().for_each(|piece| mac.update(piece));
            mac.finalize().into_bytes().to_vec()
        }
        match self {
            Suite::Three => {
                let mac = <Hmac<Sha1> as Mac>::new_from_slice(key);
                digest(mac.expect(ANY_KEY), pieces)
            }
            Suite::Seventeen => {
                let mac = <Hmac<Sha256> as Mac>::new_from_slice(key);
                digest(mac.expect(ANY_KEY), pieces)
            }
        }
    }

    /// The keys of a session: for codes, and for encryption.
    pub fn keys(self, session_key: &[u8]) -> Keys {
        let made = |n| self.hmac(session_key, &[&[n; CONSTANT_LENGTH]]);
        let mut encryption = [0; BLOCK];
        encryption.copy_from_slice(&made(2)[..BLOCK]);
        let integrity = made(1);
        Keys { suite: self, integrity, cipher: Aes128::new(&encryption.into()) }
    }
}

/// What a session's packets are sealed with.
#[derive(Clone)]
pub struct Keys {
    suite: Suite,
    integrity: Vec<u8>,
    cipher: Aes128,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys {{ suite: {:?}, .. }}", self.suite)
    }
}

impl Keys {
    /// The code of a packet.
    pub fn code(&self, bytes: &[u8]) -> Vec<u8> {
        let mut code = self.suite.hmac(&self.integrity, &[bytes]);
        code.truncate(self.suite.code_length());
        code
    }

    /// Its length.
    pub fn code_length(&self) -> usize {
        self.suite.code_length()
    }

    /// Whether `code` is that of `bytes`.
    pub fn is_code(&self, bytes: &[u8], code: &[u8]) -> bool {
        is_same(&self.code(bytes), code)
    }

    /// Encrypts, padded with 01h, 02h and so on, and the padding's length
    /// (IPMI 2.0, 13.29); the initial vector stands first.
    pub fn encrypt(&self, vector: [u8; BLOCK], clear: &[u8]) -> Vec<u8> {
        let mut bytes = clear.to_vec();
        let padding = (BLOCK - (clear.len() + 1) % BLOCK) % BLOCK;
        bytes.extend(1..=padding as u8);
        bytes.push(padding as u8);
        let mut out = vector.to_vec();
        for (at, block) in bytes.chunks_exact(BLOCK).enumerate() {
            let mut mixed = [0; BLOCK];
            for (i, byte) in mixed.iter_mut().enumerate() {
                *byte = block[i] ^ out[at * BLOCK + i];
            }
            let mut mixed = mixed.into();
            self.cipher.encrypt_block(&mut mixed);
            out.extend(mixed);
        }
        out
    }

    /// Decrypts what [`Keys::encrypt`] makes; `None` if nobody makes that.
    pub fn decrypt(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        if sealed.len() < 2 * BLOCK || !sealed.len().is_multiple_of(BLOCK) {
            return None;
        }
        let mut clear = Vec::with_capacity(sealed.len());
        for at in (BLOCK..sealed.len()).step_by(BLOCK) {
            let mut block = [0; BLOCK];
            block.copy_from_slice(&sealed[at..at + BLOCK]);
            let mut block = block.into();
            self.cipher.decrypt_block(&mut block);
            let before = &sealed[at - BLOCK..at];
            clear.extend(block.iter().zip(before).map(|(a, b)| a ^ b));
        }
        let padding = usize::from(*clear.last()?);
        let length = clear.len().checked_sub(padding + 1)?;
        clear.truncate(length);
        Some(clear)
    }
}

/// Whether two codes are the same, in a time that does not tell where they
/// differ.
pub fn is_same(a: &[u8], b: &[u8]) -> bool {
    let differ = a.iter().zip(b).fold(0, |all, (x, y)| all | (x ^ y));
    a.len() == b.len() && differ == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_rfcs() {
        // RFC 2202, case 2; RFC 4231, case 2.
        let (key, text) = (b"Jefe", b"what do ya want for nothing?");
        let code = Suite::Three.hmac(key, &[&text[..4], &text[4..]]);
        assert_eq!(code[..4], [0xef, 0xfc, 0xdf, 0x6a]);
        assert_eq!(code.len(), Suite::Three.exchange_length());
        let code = Suite::Seventeen.hmac(key, &[text]);
        assert_eq!(code[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        assert_eq!(code.len(), Suite::Seventeen.exchange_length());
    }

    #[test]
    fn what_is_encrypted_is_decrypted_and_garbage_is_none() {
        for suite in [Suite::Three, Suite::Seventeen] {
            let keys = suite.keys(&[7; 32]);
            for length in 0..50u8 {
                let clear: Vec<u8> = (0..length).collect();
                let sealed = keys.encrypt([9; BLOCK], &clear);
                assert_eq!(sealed.len() % BLOCK, 0);
                assert_eq!(keys.decrypt(&sealed), Some(clear));
            }
            assert_eq!(keys.decrypt(&[1; 16]), None);
            assert_eq!(keys.decrypt(&[1; 33]), None);
        }
        assert!(!is_same(&[1, 2], &[1]));
        assert!(!is_same(&[1, 2], &[1, 3]));
    }

    /// NIST SP 800-38A, F.2.1: AES-128 in CBC, first block.
    #[test]
    fn the_cipher_is_aes_in_cbc() {
        let key = 0x2b7e151628aed2a6abf7158809cf4f3c_u128.to_be_bytes();
        let vector = 0x000102030405060708090a0b0c0d0e0f_u128.to_be_bytes();
        let clear = 0x6bc1bee22e409f96e93d7e117393172a_u128.to_be_bytes();
        let sealed = 0x7649abac8119b246cee98e9b12e9197d_u128.to_be_bytes();
        let cipher = Aes128::new(&key.into());
        let keys = Keys { suite: Suite::Three, integrity: Vec::new(), cipher };
        assert_eq!(keys.encrypt(vector, &clear)[BLOCK..2 * BLOCK], sealed);
    }
}
