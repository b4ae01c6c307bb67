//! `/proc/mdstat` (drivers/md/md.c, `md_seq_show` and `status_unused`; each
//! personality's `status`): the arrays and their members. Pure.

/// The largest list that is read: an array takes some 200 bytes.
pub const MDSTAT_MAX: u64 = 1 << 20;

/// An array.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Array {
    /// Its name, such as md0.
    pub name: String,
    /// Its level, such as raid1; none of one that does not run.
    pub level: Option<String>,
    /// What is said of it first: active, inactive, broken.
    pub state: String,
    /// How many members it should have, and how many work; none where the
    /// level has no redundancy.
    pub disks: Option<(u32, u32)>,
    /// Of each place whether a working member holds it.
    pub places: Vec<bool>,
    /// How many neighbours hold the same data (raid10).
    pub copies: Option<usize>,
    /// Whether data is being rebuilt on a member.
    pub rebuilding: bool,
    /// Whether it is what firmware made, whose volumes are arrays of their
    /// own: it never runs.
    pub container: bool,
    /// Its members.
    pub members: Vec<Member>,
}

/// A member of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its block device, such as sda1.
    pub device: String,
    /// The letters that follow it: F faulty, S spare, R replacement,
    /// J journal, W to be written mostly.
    pub flags: String,
}

impl Array {
    /// How many of its members are out of it.
    pub fn missing(&self) -> Option<u32> {
        self.disks.map(|(wanted, working)| wanted.saturating_sub(working))
    }

    /// Whether it could once do without two members and now can without none:
    /// one more failure loses the data.
    pub fn is_bare(&self) -> Option<bool> {
        let (_, working) = self.disks?;
        let lost = self.missing()?;
        match self.level.as_deref()? {
            "raid6" => Some(lost == 2),
            "raid1" => Some(lost >= 2 && working == 1),
            _ => None,
        }
    }

    /// Whether the kernel runs it; none of what is not meant to run.
    pub fn runs(&self) -> Option<bool> {
        (!self.container).then_some(self.state != "inactive")
    }

    /// Whether it has lost more than its level can do without; none where
    /// that can't be told.
    pub fn failed(&self) -> Option<bool> {
        if self.state != "active" {
            return (self.state == "broken").then_some(true);
        }
        let missing = self.missing();
        let (level, missing) = (self.level.as_deref()?, missing.unwrap_or(0));
        let working = self.disks.map_or(0, |(_, working)| working);
        match level {
            "raid1" => Some(working == 0),
            "raid4" | "raid5" => Some(missing > 1),
            "raid6" => Some(missing > 2),
            "raid10" => match self.copies {
                Some(n) if n > 0 && self.places.len().is_multiple_of(n) => {
                    let mut sets = self.places.chunks(n);
                    Some(sets.any(|set| set.iter().all(|here| !here)))
                }
                _ if missing == 0 => Some(false),
                _ => None,
            },
            // Without redundancy; the kernel calls them broken by itself.
            _ => Some(false),
        }
    }
}

/// The arrays that the text lists.
pub fn parse(text: &str) -> Vec<Array> {
    let mut arrays: Vec<Array> = Vec::new();
    for line in text.lines() {
        if let Some(array) = head(line) {
            arrays.push(array);
        } else if line.starts_with(' ')
            && let Some(array) = arrays.last_mut()
        {
            detail(array, line);
        }
    }
    arrays
}

/// `md0 : active (read-only) raid1 sdb1[1](F) sda1[0]`
fn head(line: &str) -> Option<Array> {
    let (name, rest) = line.split_once(" : ")?;
    if !name.starts_with("md") || name.contains(char::is_whitespace) {
        return None;
    }
    let mut words = rest.split_ascii_whitespace();
    let mut array = Array {
        name: name.to_owned(),
        state: words.next()?.to_owned(),
        ..Array::default()
    };
    let mut words = words.skip_while(|word| word.starts_with('(')).peekable();
    if let Some(level) = words.next_if(|word| !word.contains('[')) {
        array.level = Some(level.to_owned());
    }
    for word in words {
        if let Some((device, rest)) = word.split_once('[') {
            let flags = rest.chars().filter(char::is_ascii_uppercase);
            let device = device.to_owned();
            array.members.push(Member { device, flags: flags.collect() });
        }
    }
    Some(array)
}

/// `468719616 blocks super 1.2 2 near-copies [4/3] [UUU_]`, and the line of
/// what is being done.
fn detail(array: &mut Array, line: &str) {
    let mut before = "";
    for word in line.split_ascii_whitespace() {
        let inner = word.strip_prefix('[').and_then(|w| w.strip_suffix(']'));
        let counts = inner.and_then(|inner| inner.split_once('/'));
        if let Some((wanted, working)) = counts
            && let (Ok(wanted), Ok(working)) = (wanted.parse(), working.parse())
        {
            array.disks = Some((wanted, working));
        } else if let Some(places) = inner
            && !places.is_empty()
            && places.bytes().all(|b| b == b'U' || b == b'_')
        {
            array.places = places.bytes().map(|b| b == b'U').collect();
        } else if word == "near-copies" {
            array.copies = before.parse().ok();
        } else if word.starts_with("external:") {
            array.container = array.level.is_none();
        } else if word == "recovery" || word == "reshape" {
            array.rebuilding = true;
        }
        before = word;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "\
Personalities : [raid1] [raid6] [raid5] [raid4] [raid10] [raid0]
md3 : active raid0 sdh1[1] sdg1[0]
      1953260544 blocks super 1.2 512k chunks

md2 : active raid10 sdf1[3](F) sde1[2](F) sdd1[1] sdc1[0]
      1953260544 blocks super 1.2 512K chunks 2 near-copies [4/2] [UU__]

md1 : active (auto-read-only) raid5 sdk1[4](S) sdj1[3] sdi1[0](W)
      976630272 blocks super 1.2 level 5, 512k chunk, algorithm 2 [3/2] [U_U]
      [=>...................]  recovery =  5.0% (2/4) finish=1.0min speed=2K/sec
      bitmap: 1/4 pages [4KB], 65536KB chunk

md0 : active raid1 sdb1[1] sda1[0]
      468719616 blocks super 1.2 [2/2] [UU]

md9 : inactive sdz1[0](S)
      468719616 blocks super 1.2

md8 : broken raid0 sdy1[1] sdx1[0]
      468719616 blocks super 1.2 512k chunks

unused devices: <none>
";

    #[test]
    fn arrays_of_each_level_are_read_with_what_they_have_lost() {
        let arrays = parse(TEXT);
        let shown: Vec<_> = arrays
            .iter()
            .map(|a| {
                let level = a.level.as_deref().unwrap_or("-");
                (a.name.as_str(), level, a.missing(), a.failed())
            })
            .collect();
        let expected = [
            ("md3", "raid0", None, Some(false)),
            ("md2", "raid10", Some(2), Some(true)),
            ("md1", "raid5", Some(1), Some(false)),
            ("md0", "raid1", Some(0), Some(false)),
            ("md9", "-", None, None),
            ("md8", "raid0", None, Some(true)),
        ];
        assert_eq!(shown, expected);
        assert!(arrays[2].rebuilding && !arrays[3].rebuilding);
        let flags: Vec<_> =
            arrays[2].members.iter().map(|m| m.flags.as_str()).collect();
        assert_eq!(flags, ["S", "", "W"]);
    }

    #[test]
    fn without_redundancy_is_what_had_two_to_spare() {
        let bare = |level: &str, counts: &str| {
            let text = format!(
                "md0 : active {level} sda1[0]\n      8 blocks {counts}\n"
            );
            parse(&text)[0].is_bare()
        };
        assert_eq!(bare("raid6", "[4/3]"), Some(false));
        assert_eq!(bare("raid6", "[4/2]"), Some(true));
        assert_eq!(bare("raid6", "[4/1]"), Some(false), "it has failed");
        assert_eq!(bare("raid1", "[3/1]"), Some(true));
        assert_eq!(bare("raid1", "[2/1]"), Some(false), "an ordinary mirror");
        assert_eq!(bare("raid5", "[3/2]"), None);
    }

    #[test]
    fn losing_one_of_each_pair_of_a_raid10_is_survived() {
        let text = TEXT.replace("[UU__]", "[U_U_]");
        assert_eq!(parse(&text)[1].failed(), Some(false));
        // Other layouts don't say who holds what.
        let text = TEXT.replace("near-copies", "far-copies");
        assert_eq!(parse(&text)[1].failed(), None);
    }

    #[test]
    fn an_array_that_does_not_run_is_known_from_a_firmwares_container() {
        let arrays = parse(TEXT);
        let runs: Vec<_> = arrays.iter().map(Array::runs).collect();
        assert_eq!(runs[3..], [Some(true), Some(false), Some(true)]);
        let container = "\
md127 : inactive sdb[1](S) sda[0](S)
      5488 blocks super external:imsm

md126 : active raid1 sda[1] sdb[0]
      468719616 blocks super external:/md127/0 [2/2] [UU]
";
        let arrays = parse(container);
        let runs: Vec<_> = arrays.iter().map(Array::runs).collect();
        assert_eq!(runs, [None, Some(true)]);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(
            text in "(md[0-9] : [a-z0-9 ()\\[\\]]{0,40}\n|[ -~]{0,40}\n){0,9}",
        ) {
            for array in parse(&text) {
                let _ = (array.failed(), array.missing());
            }
        }
    }
}
