//! A BMC of our own on the loopback, written from the specification's side of
//! the controller; that others agree is for the tests against `ipmi_sim`.

use std::net::SocketAddr;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use super::*;

/// How the BMC behaves.
#[derive(Clone)]
struct Manners {
    suite: Suite,
    user: &'static str,
    password: &'static str,
    /// Of each datagram that came in, by number: what is sent back.
    twist: fn(u32) -> Twist,
}

#[derive(Clone, Copy, PartialEq)]
enum Twist {
    Answer,
    Silence,
    /// The answer to the message before, once more.
    Before,
    /// Sealed with other keys.
    Forged,
    Twice,
    /// Nothing yet: the answer is kept for later.
    Kept,
    /// What was kept, and the answer.
    Late,
}

impl Default for Manners {
    fn default() -> Manners {
        Manners {
            suite: Suite::Seventeen,
            user: "ops",
            password: "s3cret",
            twist: |_| Twist::Answer,
        }
    }
}

struct Bmc {
    address: SocketAddr,
    end: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Bmc {
    fn drop(&mut self) {
        self.end.send(()).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

const SESSION: u32 = 0x0708_090A;
const RANDOM: [u8; 16] = [0x55; 16];
const GUID: [u8; 16] = [0x66; 16];

fn bmc(manners: Manners) -> Bmc {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let address = socket.local_addr().unwrap();
    let (end, ended) = channel();
    let thread = std::thread::spawn(move || {
        let mut side = Side { manners, own: 0, nonce: [0; 16], keys: None };
        let (mut bytes, mut count) = ([0; 1024], 0);
        let (mut before, mut kept) = (Vec::new(), Vec::new());
        while ended.try_recv().is_err() {
            let Ok((length, from)) = socket.recv_from(&mut bytes) else {
                continue;
            };
            count += 1;
            let twist = (side.manners.twist)(count);
            let answer = side.answer(&bytes[..length], twist);
            let out = if twist == Twist::Before { &before } else { &answer };
            if twist == Twist::Kept {
                kept.clone_from(&answer);
            }
            if twist == Twist::Late {
                socket.send_to(&kept, from).unwrap();
            }
            let times = match twist {
                Twist::Silence | Twist::Kept => 0,
                Twist::Twice => 2,
                _ => 1,
            };
            for _ in 0..times {
                if !out.is_empty() {
                    socket.send_to(out, from).unwrap();
                }
            }
            before = answer;
        }
    });
    Bmc { address, end, thread: Some(thread) }
}

/// The controller's side.
struct Side {
    manners: Manners,
    own: u32,
    nonce: [u8; 16],
    keys: Option<Keys>,
}

impl Side {
    fn answer(&mut self, bytes: &[u8], twist: Twist) -> Vec<u8> {
        if let Some(keys) = &self.keys
            && let Some(packet) = packet::open(bytes, Some(keys))
        {
            let payload = self.carry_out(&packet.payload);
            let packet = Packet { session: self.own, payload, ..packet };
            let forged = Suite::Seventeen.keys(b"another");
            let keys = if twist == Twist::Forged { &forged } else { keys };
            return packet::seal(&packet, [3; BLOCK], keys);
        }
        let Some(packet) = packet::open(bytes, None) else { return Vec::new() };
        let payload = &packet.payload;
        let body = match packet.kind {
            kind::OPEN => self.open(payload),
            kind::RAKP_1 => self.rakp_2(payload),
            kind::RAKP_3 => self.rakp_4(payload),
            _ => return Vec::new(),
        };
        packet::clear(packet.kind + 1, &body)
    }

    fn open(&mut self, payload: &[u8]) -> Vec<u8> {
        let wanted = [payload[12], payload[20], payload[28]];
        if wanted != self.manners.suite.algorithms() {
            return vec![payload[0], 0x11, 0, 0, 0, 0, 0, 0];
        }
        self.own = u32::from_le_bytes(payload[4..8].try_into().unwrap());
        let mut out = vec![payload[0], 0, 4, 0];
        out.extend(self.own.to_le_bytes());
        out.extend(SESSION.to_le_bytes());
        out.extend(&payload[8..32]);
        out
    }

    fn hmac(&self, pieces: &[&[u8]]) -> Vec<u8> {
        self.manners.suite.hmac(self.manners.password.as_bytes(), pieces)
    }

    fn role(&self) -> Vec<u8> {
        let user = self.manners.user.as_bytes();
        [&[0x12, user.len() as u8], user].concat()
    }

    fn rakp_2(&mut self, payload: &[u8]) -> Vec<u8> {
        self.nonce.copy_from_slice(&payload[8..24]);
        let (own, session) = (self.own.to_le_bytes(), SESSION.to_le_bytes());
        if &payload[28..] != self.manners.user.as_bytes() {
            return vec![payload[0], 0x0D, 0, 0, 0, 0, 0, 0];
        }
        let role = self.role();
        let code =
            self.hmac(&[&own, &session, &self.nonce, &RANDOM, &GUID, &role]);
        let head = [payload[0], 0, 0, 0];
        [&head[..], &own, &RANDOM, &GUID, &code].concat()
    }

    fn rakp_4(&mut self, payload: &[u8]) -> Vec<u8> {
        let (own, role) = (self.own.to_le_bytes(), self.role());
        let expected = self.hmac(&[&RANDOM, &own, &role]);
        assert_eq!(payload[8..], expected, "RAKP message 3");
        let key = self.hmac(&[&self.nonce, &RANDOM, &role]);
        let pieces: [&[u8]; 3] = [&self.nonce, &SESSION.to_le_bytes(), &GUID];
        let code = self.manners.suite.hmac(&key, &pieces);
        self.keys = Some(self.manners.suite.keys(&key));
        let length = self.manners.suite.code_length();
        let head = [payload[0], 0, 0, 0];
        [&head[..], &own, &code[..length]].concat()
    }

    /// Answers with the request's data, reversed.
    fn carry_out(&self, payload: &[u8]) -> Vec<u8> {
        let data = &payload[6..payload.len() - 1];
        let reversed: Vec<u8> = data.iter().rev().copied().collect();
        if (payload[1] >> 2, payload[5]) == (netfn::APP, SEND_MESSAGE) {
            // What was to be passed on, carried out by whoever it was for.
            let inner = self.carry_out(&data[1..]);
            return reply(payload, &inner);
        }
        reply(payload, &reversed)
    }
}

/// The answer to a request: done, with this data.
fn reply(request: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![request[3], (request[1] & !3) + 4];
    let sum = |b: &[u8]| b.iter().fold(0u8, |s, b| s.wrapping_sub(*b));
    bytes.push(sum(&bytes));
    bytes.extend([request[0], request[4], request[5], 0]);
    bytes.extend(data);
    bytes.push(sum(&bytes[3..]));
    bytes
}

fn credentials(user: &str, password: &str) -> Credentials {
    Credentials {
        user: user.into(),
        password: password.into(),
        bmc_key: String::new(),
    }
}

fn open(bmc: &Bmc, user: &str, password: &str) -> Result<Lan, TransportError> {
    let host = bmc.address.ip().to_string();
    let stop = Stop::new().unwrap();
    let credentials = credentials(user, password);
    Lan::open((&host, bmc.address.port()), &credentials, &stop)
}

fn soon() -> Uptime {
    clock::boot().plus(Duration::from_millis(2500))
}

#[test]
fn both_suites_log_in_and_carry_commands() {
    for suite in [Suite::Three, Suite::Seventeen] {
        let bmc = bmc(Manners { suite, ..Manners::default() });
        let mut lan = open(&bmc, "ops", "s3cret").unwrap();
        for n in 0..70u8 {
            let response =
                lan.send(Target::BMC, 4, 0x2D, &[n, 1, 2], soon()).unwrap();
            assert_eq!(response.data, [2, 1, n]);
        }
    }
}

#[test]
fn a_wrong_user_or_password_is_refused_in_words_without_secrets() {
    let bmc = bmc(Manners::default());
    for (user, password, expected) in
        [("ops", "wr0ng", "password"), ("opz", "s3cret", "user")]
    {
        let error = open(&bmc, user, password).unwrap_err();
        assert_eq!(error.kind(), Some("refused"));
        let text = error.to_string();
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains(password), "{text}");
    }
}

#[test]
fn a_lost_datagram_is_sent_again() {
    // 4: the first command, after three datagrams of the login.
    let twist =
        |n| if n == 2 || n == 5 { Twist::Silence } else { Twist::Answer };
    let bmc = bmc(Manners { twist, ..Manners::default() });
    let mut lan = open(&bmc, "ops", "s3cret").unwrap();
    let response = lan.send(Target::BMC, 6, 1, &[9], soon()).unwrap();
    assert_eq!(response.data, [9]);
}

#[test]
fn an_answer_to_another_command_is_not_taken() {
    // Each command gets the answer to the one before it, or forged ones.
    for twist in [
        |n| if n > 4 { Twist::Before } else { Twist::Answer },
        |n| if n > 4 { Twist::Forged } else { Twist::Answer },
    ] {
        let bmc = bmc(Manners { twist, ..Manners::default() });
        let mut lan = open(&bmc, "ops", "s3cret").unwrap();
        assert!(lan.send(Target::BMC, 4, 0x2D, &[1], soon()).is_ok());
        let soon = clock::boot().plus(Duration::from_millis(300));
        let other = lan.send(Target::BMC, 4, 0x2D, &[2], soon);
        assert_eq!(other.unwrap_err().kind(), Some("timeout"));
    }
}

#[test]
fn the_late_answer_to_what_was_sent_twice_is_nobody_elses() {
    // The first sending of the first command is answered after the second,
    // and again beside each answer, also where the numbers begin anew.
    let twist = |n| match n {
        4 => Twist::Kept,
        6.. => Twist::Late,
        _ => Twist::Answer,
    };
    let bmc = bmc(Manners { twist, ..Manners::default() });
    let mut lan = open(&bmc, "ops", "s3cret").unwrap();
    for n in 0..=130u8 {
        let response = lan.send(Target::BMC, 4, 0x2D, &[n], soon()).unwrap();
        assert_eq!(response.data, [n]);
    }
    assert!(!lan.is_worn());
}

#[test]
fn a_session_whose_numbers_run_out_is_worn() {
    let bmc = bmc(Manners::default());
    let mut lan = open(&bmc, "ops", "s3cret").unwrap();
    for _ in 0..=REPEATED_MAX {
        assert!(!lan.is_worn());
        let sequence = lan.next_sequence();
        assert_eq!(lan.repeated >> sequence & 1, 0);
        lan.repeated |= 1 << sequence;
    }
    assert!(lan.is_worn());
    lan.repeated = u64::MAX;
    lan.next_sequence();
}

#[test]
fn an_answer_that_comes_twice_is_taken_once() {
    let bmc = bmc(Manners { twist: |_| Twist::Twice, ..Manners::default() });
    let mut lan = open(&bmc, "ops", "s3cret").unwrap();
    for n in 0..5 {
        let response = lan.send(Target::BMC, 4, 0x2D, &[n], soon()).unwrap();
        assert_eq!(response.data, [n]);
    }
}

#[test]
fn a_command_for_a_satellite_is_passed_on() {
    let bmc = bmc(Manners::default());
    let mut lan = open(&bmc, "ops", "s3cret").unwrap();
    let target = Target { address: 0x30, channel: 0, lun: 1 };
    let response = lan.send(target, 4, 0x2D, &[1, 2], soon()).unwrap();
    assert_eq!(response.data, [2, 1]);
}

#[test]
fn a_port_where_nobody_listens_is_told_of() {
    let gone = bmc(Manners::default()).address;
    let stop = Stop::new().unwrap();
    let error =
        Lan::open(("127.0.0.1", gone.port()), &credentials("a", "b"), &stop);
    let kind = error.unwrap_err().kind();
    assert!(matches!(kind, Some("io" | "timeout")), "{kind:?}");
}
