//! Where a BMC is: behind a device of this machine, or on the network.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The port of RMCP (IPMI 2.0, 13.1.2).
pub const PORT: u16 = 623;

/// Where a BMC is.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    /// The kernel's device.
    Device(PathBuf),
    /// RMCP+ over UDP: host and port.
    Lan(String, u16),
}

impl Address {
    /// The name by which parts and metrics know it: `bmc0` for `/dev/ipmi0`,
    /// as the kernel itself numbers BMCs, or the host.
    pub fn name(&self) -> String {
        match self {
            Address::Device(path) => {
                let name = path.file_name().unwrap_or(path.as_os_str());
                let name = name.to_string_lossy();
                let number =
                    name.trim_start_matches(|c: char| !c.is_ascii_digit());
                format!("bmc{number}")
            }
            Address::Lan(host, PORT) => host.clone(),
            Address::Lan(host, port) => format!("{host}:{port}"),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        if text.starts_with('/') {
            return Ok(Address::Device(text.into()));
        }
        let wrong = || {
            format!(
                "{text:?} is no BMC; write /dev/ipmi0, lan:HOST, \
                 lan:HOST:PORT or lan:[IPV6]:PORT"
            )
        };
        let place = text.strip_prefix("lan:").ok_or_else(wrong)?;
        let (host, port) = split(place).ok_or_else(wrong)?;
        let known = |c: char| c.is_ascii_alphanumeric() || ".-_:%".contains(c);
        let sane = !host.is_empty() && host.len() <= 253;
        if !sane || !host.chars().all(known) {
            return Err(wrong());
        }
        Ok(Address::Lan(host.to_owned(), port))
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`, or a bare address of version 6.
fn split(place: &str) -> Option<(&str, u16)> {
    let port = |text: &str| text.parse().ok().filter(|p| *p != 0);
    if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(text) => Some((host, port(text)?)),
            None => rest.is_empty().then_some((host, PORT)),
        };
    }
    match place.split_once(':') {
        None => Some((place, PORT)),
        Some((_, rest)) if rest.contains(':') => Some((place, PORT)),
        Some((host, text)) => Some((host, port(text)?)),
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Address, String> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Device(path) => path.display().fmt(f),
            Address::Lan(host, port) if host.contains(':') => {
                write!(f, "lan:[{host}]:{port}")
            }
            Address::Lan(host, port) => write!(f, "lan:{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_address_is_read_and_written_back() {
        for (text, shown) in [
            ("/dev/ipmi0", "/dev/ipmi0"),
            ("lan:bmc7", "lan:bmc7:623"),
            ("lan:10.0.0.1:9623", "lan:10.0.0.1:9623"),
            ("lan:[fe80::1]:1", "lan:[fe80::1]:1"),
            ("lan:fe80::1", "lan:[fe80::1]:623"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(shown.parse(), Ok(address));
        }
        assert_eq!("/dev/ipmi/1".parse::<Address>().unwrap().name(), "bmc1");
        assert_eq!("lan:a:7".parse::<Address>().unwrap().name(), "a:7");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "ipmi0", "lan:", "lan:a:b", "lan:a b", "lan:[::1"] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }
}
