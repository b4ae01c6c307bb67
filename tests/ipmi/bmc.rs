//! A simulated BMC of its own for each test: Debian's `ipmi_sim` on ports of
//! the loopback that were free, and its console, over which a test breaks
//! parts of the machine.

#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test binary uses a part of this module"
)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::machine;
use crate::not_run::not_run;

/// The user that may do everything, and the one that may only read.
pub const ADMIN: (&str, &str) = ("ipmiusr", "test");
pub const READER: (&str, &str) = ("monitor", "only-read");

/// The simulator is up in a second on an idle machine.
const START: Duration = Duration::from_secs(60);

/// A running BMC; it ends with this value.
pub struct Bmc {
    pub port: u16,
    /// Where QEMU's interface to a system connects.
    pub system_port: u16,
    console: u16,
    child: Child,
    dir: tempfile::TempDir,
}

fn free_tcp() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn free_udp() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Whether a program can be found.
pub fn have(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).exists())
}

impl Bmc {
    /// Starts one with `extra` more sensors. None, and loudly so, where there
    /// is no simulator.
    pub fn start(test: &str, extra: usize) -> Option<Bmc> {
        if !have("ipmi_sim") {
            not_run(test, "there is no ipmi_sim: install openipmi");
            return None;
        }
        // A port that was free may be taken before it is used.
        for _ in 0..5 {
            if let Some(bmc) = Bmc::try_start(extra) {
                return Some(bmc);
            }
        }
        panic!("ipmi_sim does not come up");
    }

    fn try_start(extra: usize) -> Option<Bmc> {
        let dir = tempfile::tempdir().unwrap();
        let (port, console, system_port) = (free_udp(), free_tcp(), free_tcp());
        let config = format!(
            "name \"faultline\"\nset_working_mc 0x20\n  startlan 1\n    \
             addr 127.0.0.1 {port}\n    priv_limit admin\n    \
             allowed_auths_admin none md2 md5 straight\n    \
             allowed_auths_user none md2 md5 straight\n    \
             guid \"faultline-bmc000\"\n  endlan\n  \
             serial 15 127.0.0.1 {system_port} codec VM\n  \
             user 1 true \"\" \"none\" user 10 none md2 md5 straight\n  \
             user 2 true \"{}\" \"{}\" admin 10 none md2 md5 straight\n  \
             user 3 true \"{}\" \"{}\" user 10 none md2 md5 straight\n  \
             console 127.0.0.1 {console}\n",
            ADMIN.0, ADMIN.1, READER.0, READER.1
        );
        let file = |name: &str, text: &str| -> PathBuf {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let lan = file("lan.conf", &config);
        let machine = file("machine", &machine::commands(extra, dir.path()));
        let state = dir.path().join("state");
        std::fs::create_dir(&state).unwrap();
        // It dies of a console that is closed early, unless it is told not
        // to.
        let child = Command::new("sh")
            .args(["-c", "trap '' PIPE; exec ipmi_sim \"$@\"", "sh", "-n"])
            .args([Path::new("-c"), &lan, Path::new("-f"), &machine])
            .args([Path::new("-s"), &state])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut bmc = Bmc { port, system_port, console, child, dir };
        bmc.await_console().then_some(())?;
        if have("ipmitool") {
            bmc.ipmitool(&["sel", "time", "set", "now"]);
        }
        Some(bmc)
    }

    fn await_console(&mut self) -> bool {
        for _ in 0..START.as_millis() / 50 {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if self.say(&[]).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    /// What it is called in the agent's configuration.
    pub fn address(&self) -> String {
        format!("lan:127.0.0.1:{}", self.port)
    }

    /// Carries out commands of the simulator.
    pub fn tell(&self, commands: &[&str]) {
        self.say(commands).unwrap();
    }

    fn say(&self, commands: &[&str]) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.console))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        prompt(&mut stream)?;
        for command in commands {
            writeln!(stream, "{command}")?;
            let said = prompt(&mut stream)?;
            assert!(!said.contains("**"), "{command}: {said}");
        }
        Ok(())
    }

    /// Sets a sensor's raw value; the BMC logs what follows from it.
    pub fn value(&self, number: u8, raw: u8) {
        self.tell(&[&format!("sensor_set_value 0x20 0 {number} {raw} 1")]);
    }

    /// Sets a sensor's states, one after the other; the BMC logs it.
    pub fn states(&self, number: u8, states: &[(u8, bool)]) {
        self.set_states(number, states, 1);
    }

    /// The same, and the BMC logs nothing.
    pub fn states_silently(&self, number: u8, states: &[(u8, bool)]) {
        self.set_states(number, states, 0);
    }

    fn set_states(&self, number: u8, states: &[(u8, bool)], log: u8) {
        let command = |(state, on): &(u8, bool)| {
            let on = u8::from(*on);
            format!("sensor_set_bit 0x20 0 {number} {state} {on} {log}")
        };
        let commands: Vec<String> = states.iter().map(command).collect();
        let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
        self.tell(&commands);
    }

    /// Puts another power supply into bay `n`.
    pub fn swap_supply(&self, n: u8, serial: &str) {
        let file = self.dir.path().join(serial);
        std::fs::write(&file, machine::supply_inventory(serial)).unwrap();
        self.tell(&[&machine::give_supply(n, &file)]);
    }

    /// Stops it, as a BMC that hangs.
    pub fn hang(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// A referee's answer: `ipmitool` over the network.
    pub fn ipmitool(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let fixed = ["-I", "lanplus", "-C", "3", "-H", "127.0.0.1"];
        let output = Command::new("ipmitool")
            .args(fixed)
            .args(["-p", &port, "-U", ADMIN.0, "-P", ADMIN.1])
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Another's: `ipmi-sensors` of FreeIPMI, with a cache of its own.
    pub fn ipmi_sensors(&self, arguments: &[&str]) -> String {
        let host = format!("127.0.0.1:{}", self.port);
        let cache = tempfile::tempdir().unwrap();
        let output = Command::new("ipmi-sensors")
            .args(["-h", &host, "-u", ADMIN.0, "-p", ADMIN.1])
            .args(["-D", "LAN_2_0", "-l", "ADMIN", "-W", "opensesspriv"])
            .arg("--quiet-cache")
            .arg(format!("--sdr-cache-directory={}", cache.path().display()))
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

fn prompt(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut said = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte)? == 1 {
        said.push(byte[0]);
        if said.ends_with(b"> ") {
            return Ok(String::from_utf8_lossy(&said).into_owned());
        }
    }
    Err(std::io::ErrorKind::UnexpectedEof.into())
}

impl Drop for Bmc {
    fn drop(&mut self) {
        self.signal(Signal::SIGCONT);
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
