//! Which socket a memory controller of EDAC's is in, and so what a machine
//! check calls its modules and channels (`decode/mce/place.rs` makes those
//! names of registers).

use crate::parts::ids::PartId;

/// A memory controller, by what its driver calls it (`mc_name`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Controller {
    /// The socket, as the kernel numbers it.
    socket: u32,
    /// Which of the socket's; `None` where each channel is one (AMD).
    number: Option<u32>,
}

impl Controller {
    /// Reads `Intel_10nm Socket#0 IMC#1` (skx_common.c), `Haswell
    /// SrcID#1_Ha#0` (sb_edac.c) or, where there is one for each of
    /// `sockets`, AMD's family: its controllers are numbered as its sockets.
    pub fn of(
        mc_name: &str,
        mc: u32,
        sockets: usize,
        mcs: usize,
    ) -> Option<Self> {
        let pairs = [("Socket#", " IMC#"), ("SrcID#", "_Ha#")];
        let intel = pairs.iter().find_map(|(socket, own)| {
            let (socket, rest) = number_after(mc_name, socket)?;
            let (number, _) = number_after(rest.strip_prefix(own)?, "")?;
            Some(Controller { socket, number: Some(number) })
        });
        let is_alone = super::has_row_pairs(mc_name) && sockets == mcs;
        intel.or_else(|| {
            is_alone.then_some(Controller { socket: mc, number: None })
        })
    }

    /// The names of a module in a slot of a channel. `alone`: there is no
    /// other module in the channel, so that naming the channel names it.
    pub fn names(
        self,
        (channel, slot): (u16, u16),
        alone: bool,
    ) -> Vec<PartId> {
        let socket = self.socket;
        let channel = match self.number {
            Some(mc) => format!("socket{socket}-mc{mc}-ch{channel}"),
            None => format!("socket{socket}-umc{channel}"),
        };
        let mut names =
            vec![PartId::new(&format!("dimm/{channel}-slot{slot}"))];
        if alone {
            names.push(PartId::new(&format!("channel/{channel}")));
        }
        names
    }
}

/// The number behind a word, and what follows it.
fn number_after<'a>(text: &'a str, word: &str) -> Option<(u32, &'a str)> {
    let at = text.find(word)? + word.len();
    let rest = &text[at..];
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some((rest[..end].parse().ok()?, &rest[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controllers_name_tells_its_socket() {
        let of = |name| Controller::of(name, 1, 2, 2);
        let known = |socket, number| Some(Controller { socket, number });
        assert_eq!(of("Intel_10nm Socket#1 IMC#3"), known(1, Some(3)));
        assert_eq!(of("Skylake Socket#0 IMC#1"), known(0, Some(1)));
        assert_eq!(of("Haswell SrcID#1_Ha#0"), known(1, Some(0)));
        assert_eq!(of("F19h_M10h"), known(1, None));
        for other in ["ie31200", "Socket#x IMC#1", "Socket#1", "ghes_edac"] {
            assert_eq!(of(other), None, "{other}");
        }
        // Four controllers in two sockets: which is whose is not told.
        assert_eq!(Controller::of("F17h", 1, 2, 8), None);
    }
}
