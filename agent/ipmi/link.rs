//! The way to one BMC, kept open while it works: any error drops it, and the
//! next command opens another, after a pause that doubles. So a late answer
//! finds nobody, and a BMC that is down is asked little.

use std::collections::BTreeMap;
use std::time::Duration;

use super::device::Device;
use super::lan::Lan;
use super::{
    Address, Credentials, Response, Target, Transport, TransportError, access,
    code, netfn,
};
use crate::clock;
use crate::sources::Stop;
use crate::time::{Uptime, show_duration};

/// How long a command may take. The kernel gives a BMC five seconds for one
/// that it passes on (IPMI_MSG_TIMEOUT, drivers/char/ipmi); what takes longer
/// than this is not waited for.
pub const DEADLINE: Duration = Duration::from_secs(6);

/// The pause after an error; it doubles with each.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest: a BMC that is back is to be noticed within one pass.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The longest where it refuses to let us in: some lock an account that
/// fails too often.
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(300);

/// A BMC closes a session that was not used for a minute (IPMI 2.0, 6.12.15)
/// without a word; one as old as this is opened anew.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// How often a busy BMC is asked again, and after how long.
const BUSY_RETRIES: u32 = 3;
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// Get Device ID: what every BMC answers.
const GET_DEVICE_ID: u8 = 0x01;

/// The way to one BMC.
pub struct Link {
    address: Address,
    credentials: Result<Credentials, String>,
    stop: Stop,
    transport: Option<Box<dyn Transport>>,
    deadline: Duration,
    pause: Duration,
    not_before: Option<(Uptime, TransportError)>,
    used: Uptime,
    /// Errors by kind, since the start.
    pub errors: BTreeMap<&'static str, u64>,
    /// Commands sent, since the start.
    pub commands: u64,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link {{ {}, .. }}", self.address)
    }
}

impl Link {
    /// A way to `address`, not open yet. Where a BMC on the network has no
    /// `credentials`, the error says why.
    pub fn new(
        address: Address,
        credentials: Result<Credentials, String>,
        stop: &Stop,
    ) -> Link {
        Link {
            address,
            credentials,
            stop: stop.clone(),
            transport: None,
            deadline: DEADLINE,
            pause: PAUSE_MIN,
            not_before: None,
            used: clock::boot(),
            errors: BTreeMap::new(),
            commands: 0,
        }
    }

    /// A way over a transport that is open; once it fails there is none
    /// other than the one to `address`.
    pub fn over(
        address: Address,
        transport: Box<dyn Transport>,
        stop: &Stop,
    ) -> Link {
        let none = Err("there are no credentials".to_owned());
        let mut link = Link::new(address, none, stop);
        link.transport = Some(transport);
        link
    }

    /// Another deadline for each command.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Link {
        self.deadline = deadline;
        self
    }

    /// Where it leads.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Told to end.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// A command for the BMC itself.
    ///
    /// # Errors
    /// See [`Link::call`].
    pub fn ask(
        &mut self,
        netfn: u8,
        command: u8,
        data: &[u8],
    ) -> Result<Response, TransportError> {
        self.call(Target::BMC, netfn, command, data)
    }

    /// A command; one that says that it is busy is asked again.
    ///
    /// # Errors
    /// There is no answer: then the way is closed, and for a while every
    /// call says so at once.
    pub fn call(
        &mut self,
        target: Target,
        netfn: u8,
        command: u8,
        data: &[u8],
    ) -> Result<Response, TransportError> {
        let deadline = clock::boot().plus(self.deadline);
        let mut retries = 0;
        loop {
            let response = self.once(target, (netfn, command), data, deadline);
            match response {
                Ok(r) if r.code == code::BUSY && retries < BUSY_RETRIES => {
                    *self.errors.entry("busy").or_default() += 1;
                    retries += 1;
                    if self.stop.sleep(BUSY_PAUSE * retries) {
                        return Err(TransportError::Stopped);
                    }
                }
                other => return other,
            }
        }
    }

    fn once(
        &mut self,
        target: Target,
        (netfn, command): (u8, u8),
        data: &[u8],
        deadline: Uptime,
    ) -> Result<Response, TransportError> {
        let now = clock::boot();
        if let Some((until, why)) = &self.not_before
            && now < *until
        {
            return Err(TransportError::Resting(Box::new(why.clone())));
        }
        let idle = matches!(self.address, Address::Lan(..))
            && now.since(self.used) > IDLE_MAX;
        let worn = self.transport.as_ref().is_some_and(|t| t.is_worn());
        if idle || worn {
            self.transport = None;
        }
        self.used = now;
        self.commands += 1;
        let sent = self
            .opened()
            .and_then(|way| way.send(target, netfn, command, data, deadline));
        self.used = clock::boot();
        match sent {
            Ok(response) => {
                self.pause = PAUSE_MIN;
                self.not_before = None;
                Ok(response)
            }
            Err(error) => {
                self.failed(&error);
                Err(error)
            }
        }
    }

    fn opened(&mut self) -> Result<&mut Box<dyn Transport>, TransportError> {
        if self.transport.is_none() {
            self.transport = Some(self.open()?);
        }
        Ok(self.transport.as_mut().expect("it was opened just now"))
    }

    fn open(&self) -> Result<Box<dyn Transport>, TransportError> {
        match &self.address {
            Address::Device(path) => {
                let path = access::place_of(path);
                Ok(Box::new(Device::open(&path, &self.stop)?))
            }
            Address::Lan(host, port) => {
                let credentials = self.credentials.as_ref();
                let credentials = credentials
                    .map_err(|why| TransportError::Refused(why.clone()))?;
                let place = (host.as_str(), *port);
                Ok(Box::new(Lan::open(place, credentials, &self.stop)?))
            }
        }
    }

    fn failed(&mut self, error: &TransportError) {
        self.transport = None;
        let Some(kind) = error.kind() else { return };
        *self.errors.entry(kind).or_default() += 1;
        let most = match error {
            TransportError::Refused(_) => REFUSED_PAUSE_MAX,
            _ => PAUSE_MAX,
        };
        let until = clock::boot().plus(self.pause);
        self.not_before = Some((until, error.clone()));
        self.pause = (self.pause * 2).min(most);
    }

    /// Whether the BMC answers at all, asked at once whatever the pause: a
    /// command that fails because of what it is about must not pass for a
    /// BMC that is silent.
    pub fn is_alive(&mut self) -> bool {
        let rest = self.not_before.take();
        // The driver itself answers for a silent BMC, with one of these.
        let silent = [code::TIMEOUT, code::STARTING, code::UNSPECIFIED];
        let response = self.ask(netfn::APP, GET_DEVICE_ID, &[]);
        let alive = response.is_ok_and(|r| !silent.contains(&r.code));
        if !alive && self.not_before.is_none() {
            self.not_before = rest.or_else(|| {
                let until = clock::boot().plus(self.pause);
                let why = show_duration(self.deadline);
                Some((until, TransportError::Timeout(why)))
            });
            self.transport = None;
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
        alive
    }

    /// How long it is left alone for now.
    pub fn rest(&self) -> Duration {
        let until = self.not_before.as_ref().map(|(until, _)| *until);
        until.map_or(Duration::ZERO, |until| until.since(clock::boot()))
    }

    /// Lets the next call try at once.
    pub fn wake(&mut self) {
        self.not_before = None;
    }
}

#[cfg(test)]
pub(super) mod testing {
    //! A BMC of a test's own, without a transport.

    use super::*;

    /// What a test's BMC answers.
    pub type Answers = Box<
        dyn FnMut(Target, u8, u8, &[u8]) -> Result<Response, TransportError>
            + Send,
    >;

    struct Fake(Answers);

    impl Transport for Fake {
        fn send(
            &mut self,
            target: Target,
            netfn: u8,
            command: u8,
            data: &[u8],
            _: Uptime,
        ) -> Result<Response, TransportError> {
            (self.0)(target, netfn, command, data)
        }
    }

    /// A link to it; after an error there is no other.
    pub fn link(answers: Answers) -> Link {
        let stop = Stop::new().unwrap();
        let address = Address::Device("/nonexistent/ipmi0".into());
        Link::over(address, Box::new(Fake(answers)), &stop)
    }

    /// An answer.
    pub fn answer(code: u8, data: &[u8]) -> Result<Response, TransportError> {
        Ok(Response { code, data: data.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{answer, link};
    use super::*;

    #[test]
    fn a_busy_bmc_is_asked_again_and_an_error_closes_the_way() {
        let mut calls = 0;
        let mut link = link(Box::new(move |_, _, _, _| {
            calls += 1;
            match calls {
                1 | 2 => answer(code::BUSY, &[]),
                3 => answer(0, &[7]),
                _ => Err(TransportError::Timeout("1s".into())),
            }
        }));
        let response = link.ask(6, 1, &[]).unwrap();
        assert_eq!((response.code, response.data), (0, vec![7]));
        assert_eq!(link.errors["busy"], 2);
        let timeout = link.ask(6, 1, &[]).unwrap_err();
        assert_eq!(timeout.kind(), Some("timeout"));
        let resting = link.ask(6, 1, &[]).unwrap_err();
        assert!(matches!(resting, TransportError::Resting(_)));
        link.wake();
        let absent = link.ask(6, 1, &[]).unwrap_err();
        assert_eq!(absent.kind(), Some("absent"), "{absent}");
        assert_eq!(link.commands, 5);
    }

    #[test]
    fn a_driver_that_answers_for_a_silent_bmc_is_no_bmc() {
        for (code, alive) in [(0, true), (0xC3, false), (0xD2, false)] {
            let mut link = link(Box::new(move |_, _, _, _| answer(code, &[])));
            assert_eq!(link.is_alive(), alive);
            assert_eq!(link.ask(6, 1, &[]).is_ok(), alive);
        }
    }
}
