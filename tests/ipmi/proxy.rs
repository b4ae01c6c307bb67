//! A network between the agent and its BMC that loses, delays and repeats.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What happens to answers.
#[derive(Clone, Default)]
pub struct Weather {
    /// Each is held back so long, milliseconds.
    pub late: Arc<AtomicU64>,
    /// Every one of so many is lost; none at 0.
    pub lost: Arc<AtomicU64>,
    /// Every one of so many comes twice; none at 0.
    pub twice: Arc<AtomicU64>,
}

/// A running proxy; it ends with this value.
pub struct Proxy {
    pub port: u16,
    pub weather: Weather,
    end: Arc<AtomicBool>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
    }
}

/// Starts one in front of the BMC at `port`.
pub fn start(port: u16) -> Proxy {
    let front = UdpSocket::bind("127.0.0.1:0").unwrap();
    front.set_nonblocking(true).unwrap();
    let own = front.local_addr().unwrap().port();
    let (weather, end) = (Weather::default(), Arc::new(AtomicBool::new(false)));
    let (sky, over) = (weather.clone(), Arc::clone(&end));
    std::thread::spawn(move || carry(&front, port, &sky, &over));
    Proxy { port: own, weather, end }
}

#[expect(clippy::disallowed_methods, reason = "a network takes real time")]
fn carry(front: &UdpSocket, port: u16, sky: &Weather, over: &AtomicBool) {
    let mut bytes = [0; 2048];
    // Each client has a way of its own to the BMC.
    let mut ways: Vec<(SocketAddr, UdpSocket)> = Vec::new();
    let mut held: VecDeque<(Instant, SocketAddr, Vec<u8>)> = VecDeque::new();
    let mut count = 0;
    while !over.load(Ordering::SeqCst) {
        let mut idle = true;
        if let Ok((length, from)) = front.recv_from(&mut bytes) {
            idle = false;
            let known = ways.iter().position(|(client, _)| *client == from);
            let at = known.unwrap_or_else(|| {
                let back = UdpSocket::bind("127.0.0.1:0").unwrap();
                back.connect(("127.0.0.1", port)).unwrap();
                back.set_nonblocking(true).unwrap();
                ways.push((from, back));
                ways.len() - 1
            });
            // A BMC that has just ended refuses; that is a loss too.
            let _ = ways[at].1.send(&bytes[..length]);
        }
        for (client, back) in &ways {
            let Ok(length) = back.recv(&mut bytes) else { continue };
            idle = false;
            count += 1;
            let every = |n: &AtomicU64| {
                let n = n.load(Ordering::SeqCst);
                n > 0 && count % n == 0
            };
            if every(&sky.lost) {
                continue;
            }
            let late = sky.late.load(Ordering::SeqCst);
            let at = Instant::now() + Duration::from_millis(late);
            let times = if every(&sky.twice) { 2 } else { 1 };
            for _ in 0..times {
                held.push_back((at, *client, bytes[..length].to_vec()));
            }
        }
        while held.front().is_some_and(|(at, ..)| *at <= Instant::now()) {
            if let Some((_, client, bytes)) = held.pop_front() {
                let _ = front.send_to(&bytes, client);
            }
        }
        if idle {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}
