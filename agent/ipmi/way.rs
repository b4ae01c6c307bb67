//! One BMC as the agent's configuration names it, and the one link to it that
//! everyone shares who asks it: one command is under way at a time.

use std::sync::{Arc, Mutex, OnceLock};

use super::monitor::Shared;
use super::{Address, Board, Credentials, Link};
use crate::sources::Stop;

/// A BMC to be asked.
#[derive(Clone, Debug)]
pub struct Way {
    /// Where it is.
    pub address: Address,
    /// By what parts, metrics and messages know it.
    pub name: String,
    /// Whether its parts are called by their plain names: those of further
    /// BMCs have its name before theirs.
    pub is_first: bool,
    /// Where what is known of it is seen.
    pub board: Board,
    credentials: Result<Credentials, String>,
    link: Arc<OnceLock<Mutex<Link>>>,
}

impl Way {
    /// The ways to these BMCs.
    pub fn all(
        addresses: Vec<Address>,
        credentials: &Result<Credentials, String>,
        board: &Board,
    ) -> Vec<Way> {
        let way = |(nth, address): (usize, Address)| Way {
            name: address.name(),
            address,
            is_first: nth == 0,
            board: board.clone(),
            credentials: credentials.clone(),
            link: Arc::default(),
        };
        addresses.into_iter().enumerate().map(way).collect()
    }

    /// One to a BMC of this machine that appeared after others were named.
    pub fn further(address: Address, board: &Board) -> Way {
        let none = Err("a device wants no credentials".to_owned());
        let mut ways = Way::all(vec![address], &none, board);
        let mut way = ways.remove(0);
        way.is_first = false;
        way
    }

    /// The link, made at the first call.
    pub fn link(&self, stop: &Stop) -> Shared<'_> {
        let make = || {
            let (address, who) = (self.address.clone(), &self.credentials);
            Mutex::new(Link::new(address, who.clone(), stop))
        };
        Shared(self.link.get_or_init(make))
    }

    /// The name of a part of this BMC's.
    pub fn part(&self, part: String) -> String {
        part_of(&self.name, !self.is_first, part)
    }
}

/// The name of a part of the BMC `bmc`'s: those of further ones have its
/// name before theirs.
pub fn part_of(bmc: &str, is_further: bool, part: String) -> String {
    match part.split_once('/') {
        Some((kind, name)) if is_further => format!("{kind}/{bmc} {name}"),
        _ => part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_second_bmc_are_no_others() {
        let addresses = ["/dev/ipmi0", "/dev/ipmi1"].map(|a| a.parse());
        let addresses = addresses.into_iter().collect::<Result<_, _>>();
        let none = Err("none".to_owned());
        let ways = Way::all(addresses.unwrap(), &none, &Board::default());
        assert_eq!(ways[0].part("psu/2".into()), "psu/2");
        assert_eq!(ways[1].part("psu/2".into()), "psu/bmc1 2");
        let later = "/dev/ipmi2".parse().unwrap();
        let later = Way::further(later, &Board::default());
        assert_eq!(later.part("psu/2".into()), "psu/bmc2 2");
    }
}
