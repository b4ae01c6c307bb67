//! RMCP+ over UDP: a BMC on the network.
//!
//! Every answer has to be sealed with this session's keys, from the address
//! that was asked, with the number, the function and the command of what was
//! asked. A session is never taken up again after an error: whoever holds
//! this drops it, so that a late answer finds nobody. Commands for satellite
//! controllers are passed on with Send Message.

pub mod message;
pub mod packet;
pub mod session;
pub mod suite;

use std::fs::File;
use std::io::Read;
use std::net::{ToSocketAddrs, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::PollFlags;

use super::device::timeout;
use super::{
    BMC_ADDRESS, Credentials, Response, Target, Transport, TransportError,
    code, netfn,
};
use crate::clock;
use crate::sources::Stop;
use crate::sources::stop::{Woken, wait};
use crate::time::Uptime;
use message::Key;
use packet::Packet;
use session::{Exchange, kind};
use suite::{BLOCK, Keys, Suite};

/// A datagram that was not answered for so long is sent again: either may
/// have been lost. Then twice as long, and so on.
const RETRY: Duration = Duration::from_secs(1);

/// How long one step of a login may take: a BMC that is up answers at once,
/// one that is not is tried again later.
const LOGIN_STEP: Duration = Duration::from_secs(3);

/// Larger than any RMCP+ packet with one message.
const PACKET_MAX: usize = 1024;

/// Packets that are not the one that is waited for, at most.
const STRAY_MAX: u32 = 256;

/// So many of a session's sixty-four numbers may be of commands that were
/// sent more than once. The answer to the first sending may come at any time,
/// so such a number is not used again.
const REPEATED_MAX: u32 = 32;

/// Send Message, Close Session.
const SEND_MESSAGE: u8 = 0x34;
const CLOSE_SESSION: u8 = 0x3C;

/// In Send Message's channel: the answer is sent back to who asked
/// (IPMI 2.0, 22.7).
const TRACKED: u8 = 0x40;

/// A session.
#[derive(Debug)]
pub struct Lan {
    socket: UdpSocket,
    stop: Stop,
    own_session: u32,
    session: u32,
    keys: Keys,
    number: u32,
    sequence: u8,
    /// A bit for each sequence number that was sent more than once.
    repeated: u64,
    vectors: File,
}

impl Lan {
    /// Logs in, with the better suite that the BMC has.
    ///
    /// # Errors
    /// It can't be reached, or does not let us in.
    pub fn open(
        (host, port): (&str, u16),
        credentials: &Credentials,
        stop: &Stop,
    ) -> Result<Lan, TransportError> {
        let login =
            |suite| log_in(connect(host, port)?, credentials, stop, suite);
        match login(Suite::Seventeen) {
            Err(error) if session::lacks_suite(&error) => login(Suite::Three),
            other => other,
        }
    }

    /// Sends a message and waits for `keys`' answers, in their order; the
    /// last is returned.
    fn ask(
        &mut self,
        bytes: &[u8],
        key: Key,
        then: Option<Key>,
        deadline: Uptime,
    ) -> Result<Response, TransportError> {
        let began = clock::boot();
        let mut pause = RETRY;
        let mut again = began;
        let mut expected = key;
        for _ in 0..STRAY_MAX {
            let now = clock::boot();
            if now >= deadline {
                return Err(timeout(began, deadline));
            }
            // What is to be passed on is sent once: a second would be
            // carried out a second time.
            if now >= again && expected == key {
                if again > began {
                    self.repeated |= 1 << key.sequence;
                }
                self.dispatch(bytes)?;
                again = now.plus(pause);
                pause *= 2;
            }
            let until = if expected == key { again } else { deadline };
            let left = until.min(deadline).since(now);
            let Some((found, response)) = self.receive(left)? else {
                continue;
            };
            match then {
                Some(then) if found == then => return Ok(response),
                Some(then) if found == key => {
                    if response.code != code::OK {
                        return Ok(response);
                    }
                    // Some wrap the answer, some send it afterwards.
                    if let Some((inner, inner_response)) =
                        message::answer(&response.data)
                        && inner == then
                    {
                        return Ok(inner_response);
                    }
                    expected = then;
                }
                None if found == key => return Ok(response),
                _ => {}
            }
        }
        Err(TransportError::Garbled("only answers to other commands".into()))
    }

    fn dispatch(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        self.number = self.number.wrapping_add(1).max(1);
        let mut vector = [0; BLOCK];
        self.vectors.read_exact(&mut vector).map_err(no_random)?;
        let packet = Packet {
            kind: kind::MESSAGE,
            session: self.session,
            number: self.number,
            payload: bytes.to_vec(),
        };
        let bytes = packet::seal(&packet, vector, &self.keys);
        self.socket.send(&bytes).map_err(io).map(drop)
    }

    /// The next answer of this session, if one comes in time.
    fn receive(
        &mut self,
        time: Duration,
    ) -> Result<Option<(Key, Response)>, TransportError> {
        let Some(bytes) = receive(&self.socket, &self.stop, time)? else {
            return Ok(None);
        };
        let packet = packet::open(&bytes, Some(&self.keys));
        let ours = |p: &Packet| {
            p.session == self.own_session && p.kind == kind::MESSAGE
        };
        let packet = packet.filter(ours);
        Ok(packet.and_then(|packet| message::answer(&packet.payload)))
    }

    fn next_sequence(&mut self) -> u8 {
        for _ in 0..=message::SEQUENCE_MASK {
            self.sequence = (self.sequence + 1) & message::SEQUENCE_MASK;
            if self.repeated >> self.sequence & 1 == 0 {
                break;
            }
        }
        self.sequence
    }
}

impl Transport for Lan {
    fn send(
        &mut self,
        target: Target,
        netfn: u8,
        command: u8,
        data: &[u8],
        deadline: Uptime,
    ) -> Result<Response, TransportError> {
        let sequence = self.next_sequence();
        let key = Key { address: target.address, netfn, command, sequence };
        let what = (netfn, command);
        if target.is_bmc() {
            let bytes = message::request(
                target,
                message::SOFTWARE,
                sequence,
                what,
                data,
            );
            return self.ask(&bytes, key, None, deadline);
        }
        let inner = message::request(target, BMC_ADDRESS, sequence, what, data);
        let mut carried = vec![target.channel & 0x0F | TRACKED];
        carried.extend(inner);
        let (netfn, command) = (netfn::APP, SEND_MESSAGE);
        let bytes = message::request(
            Target::BMC,
            message::SOFTWARE,
            sequence,
            (netfn, command),
            &carried,
        );
        let outer = Key { address: BMC_ADDRESS, netfn, command, sequence };
        self.ask(&bytes, outer, Some(key), deadline)
    }

    fn is_worn(&self) -> bool {
        self.repeated.count_ones() > REPEATED_MAX
    }
}

/// A BMC has few sessions, and keeps one that nobody closes for a minute.
impl Drop for Lan {
    fn drop(&mut self) {
        let sequence = self.next_sequence();
        let what = (netfn::APP, CLOSE_SESSION);
        let data = self.session.to_le_bytes();
        let from = message::SOFTWARE;
        let bytes = message::request(Target::BMC, from, sequence, what, &data);
        // Whether it hears it makes no difference to anybody here.
        let _ = self.dispatch(&bytes);
    }
}

fn io(error: std::io::Error) -> TransportError {
    TransportError::Io(format!("the network: {error}"))
}

fn no_random(error: std::io::Error) -> TransportError {
    TransportError::Io(format!("/dev/urandom: {error}"))
}

fn connect(host: &str, port: u16) -> Result<UdpSocket, TransportError> {
    let found = (host, port).to_socket_addrs();
    let found =
        found.map_err(|e| TransportError::Io(format!("{host}: {e}")))?.next();
    let Some(address) = found else {
        return Err(TransportError::Io(format!("{host} has no address")));
    };
    let any = match address.is_ipv4() {
        true => "0.0.0.0:0",
        false => "[::]:0",
    };
    let socket = UdpSocket::bind(any).map_err(io)?;
    socket.connect(address).map_err(io)?;
    socket.set_nonblocking(true).map_err(io)?;
    Ok(socket)
}

/// The next datagram, if one comes in time.
fn receive(
    socket: &UdpSocket,
    stop: &Stop,
    time: Duration,
) -> Result<Option<Vec<u8>>, TransportError> {
    let fd = Some((socket.as_fd(), PollFlags::POLLIN));
    match wait(stop, fd, Some(time)) {
        Woken::Stop => return Err(TransportError::Stopped),
        Woken::Timeout => return Ok(None),
        Woken::Ready => {}
    }
    let mut bytes = vec![0; PACKET_MAX];
    match socket.recv(&mut bytes) {
        Ok(length) => {
            bytes.truncate(length);
            Ok(Some(bytes))
        }
        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
        Err(e) => Err(io(e)),
    }
}

fn log_in(
    socket: UdpSocket,
    credentials: &Credentials,
    stop: &Stop,
    suite: Suite,
) -> Result<Lan, TransportError> {
    let mut vectors = File::open("/dev/urandom").map_err(no_random)?;
    let mut random = [0; 20];
    vectors.read_exact(&mut random).map_err(no_random)?;
    let (id, own_random) = random.split_at(4);
    // Nought is the number of what is no session.
    let id = u32::from_le_bytes([id[0], id[1], id[2], id[3]]).max(1);
    let mut nonce = [0; 16];
    nonce.copy_from_slice(own_random);
    let mut exchange = Exchange::new(suite, credentials, id, nonce)?;
    let step = |tag: u8, kind: u8, payload: &[u8]| {
        exchange_step(&socket, stop, tag, kind, payload)
    };
    let answer = step(1, kind::OPEN, &exchange.open(1))?;
    exchange.opened(1, &answer)?;
    let answer = step(2, kind::RAKP_1, &exchange.first(2))?;
    exchange.second(2, &answer)?;
    let answer = step(3, kind::RAKP_3, &exchange.third(3))?;
    let keys = exchange.fourth(3, &answer)?;
    let session = exchange.session();
    let stop = stop.clone();
    Ok(Lan {
        socket,
        stop,
        own_session: id,
        session,
        keys,
        number: 0,
        sequence: 0,
        repeated: 0,
        vectors,
    })
}

/// Sends one step of a login until it is answered.
fn exchange_step(
    socket: &UdpSocket,
    stop: &Stop,
    tag: u8,
    kind: u8,
    payload: &[u8],
) -> Result<Vec<u8>, TransportError> {
    let began = clock::boot();
    let deadline = began.plus(LOGIN_STEP);
    let mut again = began;
    for _ in 0..STRAY_MAX {
        let now = clock::boot();
        if now >= deadline {
            return Err(timeout(began, deadline));
        }
        if now >= again {
            let bytes = packet::clear(kind, payload);
            socket.send(&bytes).map_err(io)?;
            again = now.plus(RETRY);
        }
        let left = again.min(deadline).since(now);
        let bytes = receive(socket, stop, left)?;
        let packet = bytes.and_then(|b| packet::open(&b, None));
        let is_it =
            |p: &Packet| p.kind == kind + 1 && p.payload.first() == Some(&tag);
        if let Some(packet) = packet.filter(is_it) {
            return Ok(packet.payload);
        }
    }
    Err(TransportError::Garbled("only answers to other commands".into()))
}

#[cfg(test)]
mod tests;
