//! Which BMCs the configuration means, and the sources that ask them.

use crate::clock;
use crate::config::Config;
use crate::ipmi::{Board, Way, access};
use crate::parts::units::Shelf;
use crate::sources::{Setup, ipmi_sel, ipmi_sensor};

/// The sources of each BMC: two, over one link.
pub(super) fn setups(config: &Config, shelf: Shelf) -> Vec<Setup> {
    let (root, ipmi) = (&config.root, &config.sources.ipmi);
    if !ipmi.enabled {
        return Vec::new();
    }
    let addresses = match ipmi.bmcs.is_empty() {
        true => access::local(root),
        false => ipmi.bmcs.clone(),
    };
    let board = Board::with_shelf(shelf);
    let ways = Way::all(addresses, &ipmi.credentials(), &board);
    let both = |way: Way| {
        let sensors = ipmi_sensor::Options {
            way: way.clone(),
            pace: ipmi.pace(),
            root: root.clone(),
        };
        let every = ipmi.log.0;
        let (root, started) = (root.clone(), clock::now().wall);
        let log = ipmi_sel::Options { way, every, root, started };
        [Setup::IpmiSensor(sensors), Setup::IpmiSel(log)]
    };
    ways.into_iter().flat_map(both).collect()
}
