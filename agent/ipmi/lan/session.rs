//! How an RMCP+ session is made (IPMI 2.0, 13.17 to 13.24): what is asked
//! for, and a key exchange in which both sides show that they know the
//! password, without sending it. The bytes only; `super` sends them.

use super::suite::{Keys, Suite, is_same};
use crate::ipmi::{Credentials, TransportError};

/// Payload types (table 13-16).
pub mod kind {
    /// An IPMI message.
    pub const MESSAGE: u8 = 0x00;
    /// Open Session Request; its answer is one more.
    pub const OPEN: u8 = 0x10;
    /// RAKP messages 1 and 3; 2 and 4 are one more each.
    pub const RAKP_1: u8 = 0x12;
    /// See [`RAKP_1`].
    pub const RAKP_3: u8 = 0x14;
}

/// USER: enough to read everything, and all that is asked for. Looked up by
/// the name alone (13.20), so that a user who may do more can log in too.
const ROLE: u8 = 0x10 | 0x02;

/// What both sides have told each other so far.
#[derive(Debug)]
pub struct Exchange {
    suite: Suite,
    user: Vec<u8>,
    password: Vec<u8>,
    key: Vec<u8>,
    own_session: u32,
    own_random: [u8; 16],
    session: u32,
    random: [u8; 16],
    bmc: [u8; 16],
}

fn status(code: u8) -> &'static str {
    match code {
        0x01 => "it has no room for another session",
        0x02 => "it does not know the session",
        0x04 | 0x05 | 0x10 | 0x11 => "it does not have the cipher suite",
        0x09 => "it does not let this user have the privilege it needs",
        0x0D => "it does not know the user",
        0x0F => "the password, or bmc_key, is not the right one",
        _ => "it refuses",
    }
}

/// The status by which a BMC says that it lacks a suite (table 13-15).
pub fn lacks_suite(error: &TransportError) -> bool {
    *error == TransportError::Refused(status(0x11).to_owned())
}

fn refused(code: u8) -> TransportError {
    TransportError::Refused(status(code).to_owned())
}

fn garbled() -> TransportError {
    TransportError::Garbled("an answer to the login makes no sense".into())
}

/// The answer's own bytes, if it is ours: tag and status stand first.
fn accepted(
    payload: &[u8],
    tag: u8,
    length: usize,
) -> Result<&[u8], TransportError> {
    match payload {
        [t, 0, ..] if *t == tag && payload.len() >= length => Ok(payload),
        [t, code, ..] if *t == tag && *code != 0 => Err(refused(*code)),
        _ => Err(garbled()),
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    if let Some(found) = bytes.get(at..at + N) {
        out.copy_from_slice(found);
    }
    out
}

impl Exchange {
    /// A beginning; `own_session` and `own_random` are random.
    ///
    /// # Errors
    /// The credentials make no sense.
    pub fn new(
        suite: Suite,
        credentials: &Credentials,
        own_session: u32,
        own_random: [u8; 16],
    ) -> Result<Exchange, TransportError> {
        credentials.check().map_err(TransportError::Refused)?;
        let key = credentials.key().map_err(TransportError::Refused)?;
        Ok(Exchange {
            suite,
            user: credentials.user.clone().into_bytes(),
            password: credentials.password.clone().into_bytes(),
            key,
            own_session,
            own_random,
            session: 0,
            random: [0; 16],
            bmc: [0; 16],
        })
    }

    /// The session's number at the BMC.
    pub fn session(&self) -> u32 {
        self.session
    }

    /// What opens a session.
    pub fn open(&self, tag: u8) -> Vec<u8> {
        let mut bytes = vec![tag, 0, 0, 0];
        bytes.extend(self.own_session.to_le_bytes());
        for (kind, algorithm) in (0..).zip(self.suite.algorithms()) {
            bytes.extend([kind, 0, 0, 8, algorithm, 0, 0, 0]);
        }
        bytes
    }

    /// Takes the answer to [`Exchange::open`].
    ///
    /// # Errors
    /// The BMC refuses, or offers something else.
    pub fn opened(
        &mut self,
        tag: u8,
        payload: &[u8],
    ) -> Result<(), TransportError> {
        let bytes = accepted(payload, tag, 36)?;
        let own = u32::from_le_bytes(array(bytes, 4));
        let offered = [bytes[16], bytes[24], bytes[32]];
        if own != self.own_session {
            return Err(garbled());
        }
        if offered.map(|a| a & 0x3F) != self.suite.algorithms() {
            return Err(refused(0x11));
        }
        self.session = u32::from_le_bytes(array(bytes, 8));
        Ok(())
    }

    /// RAKP message 1.
    pub fn first(&self, tag: u8) -> Vec<u8> {
        let mut bytes = vec![tag, 0, 0, 0];
        bytes.extend(self.session.to_le_bytes());
        bytes.extend(self.own_random);
        bytes.extend([ROLE, 0, 0, self.user.len() as u8]);
        bytes.extend(&self.user);
        bytes
    }

    fn role(&self) -> Vec<u8> {
        let mut bytes = vec![ROLE, self.user.len() as u8];
        bytes.extend(&self.user);
        bytes
    }

    /// Takes RAKP message 2: the BMC shows that it knows the password.
    ///
    /// # Errors
    /// It refuses, or does not know it.
    pub fn second(
        &mut self,
        tag: u8,
        payload: &[u8],
    ) -> Result<(), TransportError> {
        let code_length = self.suite.exchange_length();
        let bytes = accepted(payload, tag, 40 + code_length)?;
        if u32::from_le_bytes(array(bytes, 4)) != self.own_session {
            return Err(garbled());
        }
        self.random = array(bytes, 8);
        self.bmc = array(bytes, 24);
        let code = self.suite.hmac(
            &self.password,
            &[
                &self.own_session.to_le_bytes(),
                &self.session.to_le_bytes(),
                &self.own_random,
                &self.random,
                &self.bmc,
                &self.role(),
            ],
        );
        match is_same(&code, &bytes[40..40 + code_length]) {
            true => Ok(()),
            false => Err(refused(0x0F)),
        }
    }

    /// RAKP message 3: we show that we know the password.
    pub fn third(&self, tag: u8) -> Vec<u8> {
        let mut bytes = vec![tag, 0, 0, 0];
        bytes.extend(self.session.to_le_bytes());
        bytes.extend(self.suite.hmac(
            &self.password,
            &[&self.random, &self.own_session.to_le_bytes(), &self.role()],
        ));
        bytes
    }

    /// Takes RAKP message 4, and makes the session's keys.
    ///
    /// # Errors
    /// The BMC refuses, or is another one than before.
    pub fn fourth(
        &self,
        tag: u8,
        payload: &[u8],
    ) -> Result<Keys, TransportError> {
        let length = self.suite.code_length();
        let bytes = accepted(payload, tag, 8 + length)?;
        if u32::from_le_bytes(array(bytes, 4)) != self.own_session {
            return Err(garbled());
        }
        let session_key = self
            .suite
            .hmac(&self.key, &[&self.own_random, &self.random, &self.role()]);
        let code = self.suite.hmac(
            &session_key,
            &[&self.own_random, &self.session.to_le_bytes(), &self.bmc],
        );
        match is_same(&code[..length], &bytes[8..8 + length]) {
            true => Ok(self.suite.keys(&session_key)),
            false => Err(refused(0x0F)),
        }
    }
}
