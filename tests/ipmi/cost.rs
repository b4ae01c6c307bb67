//! What polling costs: a pass is hardly more than one command a sensor.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use faultline::ipmi::monitor::{Monitor, Pace, Shared};
use faultline::ipmi::{Address, Credentials, Link, Target, netfn};
use faultline::sources::Stop;

use crate::bmc::{Bmc, READER};
use crate::proxy;

/// Get Sensor Reading.
const GET_READING: u8 = 0x2D;

/// What the issue of cost allows.
const MOST: f64 = 1.2;

/// Passes that are measured; the middle one counts.
const PASSES: usize = 9;

fn link(port: u16) -> Mutex<Link> {
    let credentials = Credentials {
        user: READER.0.into(),
        password: READER.1.into(),
        bmc_key: String::new(),
    };
    let address = Address::Lan("127.0.0.1".into(), port);
    let stop = Stop::new().unwrap();
    Mutex::new(Link::new(address, Ok(credentials), &stop))
}

#[expect(clippy::disallowed_methods, reason = "time is what is measured")]
fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn middle(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

#[test]
fn a_steady_pass_takes_hardly_longer_than_bare_requests() {
    let Some(bmc) = Bmc::start("ipmi: cost", 0) else { return };
    let proxy = proxy::start(bmc.port);
    for late in [0, 20] {
        let order = std::sync::atomic::Ordering::SeqCst;
        proxy.weather.late.store(late, order);
        // Without a detour where there is no delay to be made.
        let port = if late == 0 { bmc.port } else { proxy.port };
        let link = link(port);
        let now = Duration::from_nanos(1);
        let pace = Pace { fast: now, normal: now, slow: now };
        let mut monitor = Monitor::new(pace);
        let budget = Duration::from_secs(60);
        let mut shared = Shared(&link);
        monitor.pass_within(&mut shared, budget).unwrap();
        // Those without a reading are left alone for longer and longer.
        let known = monitor.views();
        let known = known.iter().filter(|view| view.reading.is_ok());
        let targets: Vec<(Target, u8)> = known
            .map(|view| {
                let key = view.sensor.key;
                let (address, channel, lun) = (key.owner, key.channel, key.lun);
                (Target { address, channel, lun }, key.number)
            })
            .collect();
        let before = link.lock().unwrap().commands;
        let mut asked = 0;
        let (mut passes, mut bare) = (Vec::new(), Vec::new());
        // In turn, so that a busy machine harms both.
        for _ in 0..PASSES {
            passes.push(timed(|| {
                let pass = monitor.pass_within(&mut shared, budget).unwrap();
                asked += pass.asked;
            }));
            let sent = link.lock().unwrap().commands;
            bare.push(timed(|| {
                let mut link = link.lock().unwrap();
                for (target, number) in &targets {
                    let (netfn, data) = (netfn::SENSOR, [*number]);
                    link.call(*target, netfn, GET_READING, &data).unwrap();
                }
            }));
            let mut link = link.lock().unwrap();
            link.commands = sent;
        }
        let commands = link.lock().unwrap().commands - before;
        let (pass, bare) = (middle(passes), middle(bare));
        eprintln!(
            "{} sensors, {late} ms a command: a pass {pass:.2} ms, bare \
             requests {bare:.2} ms; {commands} commands for {asked} readings",
            targets.len()
        );
        assert!(asked >= targets.len() * PASSES);
        assert!((commands as f64) <= asked as f64 * MOST, "{commands}");
        if late > 0 {
            assert!(pass <= bare * MOST, "{pass} ms, bare {bare} ms");
        }
    }
}
