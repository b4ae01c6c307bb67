//! Software RAID: the arrays in `/proc/mdstat`, their members as sysfs shows
//! them (Documentation/admin-guide/md.rst).
//!
//! The kernel tells of changes: the list polls as POLLPRI (drivers/md/md.c,
//! `mdstat_poll`); members' error counts are looked at at intervals.

use std::io::ErrorKind;
use std::time::Duration;

use super::looking::{Look, run as look_at};
use super::mdstat::{Array, MDSTAT_MAX, Member, parse};
use super::owned::{Fields, Owned};
use super::recent::Recent;
use super::{Context, End, Failure, Poll};
use crate::observation::Source;
use crate::signal::SourceId;
use crate::tree::Tree;

/// Where the arrays are listed.
const MDSTAT: &str = "proc/mdstat";

/// The window of a member's errors.
const DAY: Duration = Duration::from_secs(86_400);

/// Looks at the arrays until told to stop.
///
/// # Errors
/// When the ledger is gone, or this boot has no id.
pub fn run(options: &Poll, context: &mut Context) -> Result<End, Failure> {
    let position = context.positions.get(&SourceId::from("raid"));
    let boot = options.boot_id()?;
    let mut errors = Recent::resume(position, &boot, DAY);
    let amend = move |seen: &mut Vec<Fields>, now| {
        for fields in seen {
            let text = |wanted: &str| {
                fields.iter().find_map(|(name, value)| match value {
                    Owned::Text(text) if *name == wanted => Some(text.as_str()),
                    _ => None,
                })
            };
            let names = text("array").zip(text("member"));
            let Some((array, member)) = names else { continue };
            let name = format!("{array}/{member}");
            let of_errors = |(name, _): &(&str, Owned)| *name == "errors";
            let Some(at) = fields.iter().position(of_errors) else { continue };
            let (_, Owned::Number(total)) = fields.swap_remove(at) else {
                continue;
            };
            let day = errors.read(&name, total as u64, now);
            fields.push(("errors_day", Owned::Number(day as f64)));
        }
        errors.done(now)
    };
    look_at(Source::Raid, options, Some(MDSTAT), context, look, amend)
}

/// All arrays and members. A member's count of errors is under `errors`,
/// which is no field: it becomes `errors_day`.
///
/// # Errors
/// Why there are none here.
pub fn look(tree: &Tree) -> Look {
    let text = match tree.bytes(MDSTAT, MDSTAT_MAX) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Err("the kernel's md driver is not loaded".to_owned());
        }
        Err(e) => {
            // There are arrays or not: nobody knows.
            tree.refuses(MDSTAT, e.to_string());
            return Err(format!("failed to read /{MDSTAT}: {e}"));
        }
    };
    let text = String::from_utf8_lossy(&text);
    // The kernel always begins so (md_seq_show).
    if !text.starts_with("Personalities :") {
        tree.garbled(MDSTAT, &text);
    }
    let arrays = parse(&text);
    let mut seen = Vec::new();
    for array in &arrays {
        seen.push(of_array(array));
        let members = array.members.iter();
        seen.extend(members.map(|member| of_member(tree, array, member)));
    }
    Ok(seen)
}

fn named(array: &Array, kind: &'static str) -> Fields {
    let mut fields = vec![
        ("kind", Owned::Word(kind)),
        ("array", Owned::Text(array.name.clone())),
    ];
    fields.extend(array.level.clone().map(|l| ("level", Owned::Text(l))));
    fields
}

fn of_array(array: &Array) -> Fields {
    let mut fields = named(array, "array");
    let number = |n: u32| ("missing", Owned::Number(f64::from(n)));
    fields.extend(array.missing().map(number));
    fields.extend(array.is_bare().map(|is| ("bare", Owned::Flag(is))));
    fields.extend(array.failed().map(|is| ("failed", Owned::Flag(is))));
    fields.extend(array.runs().map(|is| ("running", Owned::Flag(is))));
    fields
}

fn of_member(tree: &Tree, array: &Array, member: &Member) -> Fields {
    let mut fields = named(array, "member");
    fields.push(("member", Owned::Text(member.device.clone())));
    // A `/` in a device's name is a `!` in sysfs.
    let device = member.device.replace('/', "!");
    let own = format!("sys/block/{}/md/dev-{device}", array.name);
    let text = |file: &str| tree.text(&format!("{own}/{file}")).ok();
    let state = match (text("state"), text("slot")) {
        (Some(state), slot) => from_sysfs(&state, slot.as_deref()),
        (None, _) => from_flags(array, member),
    };
    fields.push(("state", Owned::Word(state)));
    if let Some(text) = text("errors") {
        match text.parse::<u32>() {
            Ok(n) => fields.push(("errors", Owned::Number(f64::from(n)))),
            Err(_) => tree.garbled(&format!("{own}/errors"), &text),
        }
    }
    fields
}

/// The words of md/dev-*/state, and the place that the member has.
fn from_sysfs(state: &str, slot: Option<&str>) -> &'static str {
    let has = |word: &str| state.split(',').any(|own| own.trim() == word);
    let placed = slot.is_some_and(|slot| slot != "none");
    match () {
        () if has("faulty") => "faulty",
        () if has("in_sync") => "in-sync",
        () if has("spare") && placed => "rebuilding",
        () if has("spare") => "spare",
        () => "other",
    }
}

/// The letters of /proc/mdstat, where there is no sysfs.
fn from_flags(array: &Array, member: &Member) -> &'static str {
    let has = |flag| member.flags.contains(flag);
    match () {
        () if has('F') => "faulty",
        () if has('J') || has('R') => "other",
        () if has('S') => "spare",
        // Who of them is rebuilt can't be told.
        () if array.rebuilding || array.missing() != Some(0) => "other",
        () => "in-sync",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::tree;

    fn words(fields: &Fields) -> String {
        let mut words: Vec<String> =
            fields.iter().map(|(name, value)| show(name, value)).collect();
        words.sort();
        words.join(" ")
    }

    fn show(name: &str, value: &Owned) -> String {
        match value {
            Owned::Text(text) => format!("{name}={text}"),
            Owned::Word(word) => format!("{name}={word}"),
            Owned::Number(number) => format!("{name}={number}"),
            Owned::Flag(flag) => format!("{name}={flag}"),
        }
    }

    const DEGRADED: &str = "\
Personalities : [raid1]
md0 : active raid1 sdc1[2] sdb1[1](F) sda1[0]
      468719616 blocks super 1.2 [2/1] [U_]
      [=>...................]  recovery =  5.0% (2/4) finish=1.0min speed=2K/sec
";

    #[test]
    fn a_mirror_that_is_rebuilt_shows_who_failed_and_who_is_new() {
        let at = |file: &str| format!("sys/block/md0/md/{file}");
        let host = tree(&[
            ("proc/mdstat", DEGRADED),
            (&at("dev-sda1/state"), "in_sync\n"),
            (&at("dev-sda1/slot"), "0\n"),
            (&at("dev-sda1/errors"), "3\n"),
            (&at("dev-sdb1/state"), "faulty,blocked\n"),
            (&at("dev-sdb1/slot"), "none\n"),
            (&at("dev-sdc1/state"), "spare\n"),
            (&at("dev-sdc1/slot"), "1\n"),
        ]);
        let seen = look(&host.1).unwrap();
        let shown: Vec<String> = seen.iter().map(words).collect();
        let expected = [
            "array=md0 bare=false failed=false kind=array level=raid1 \
             missing=1 running=true",
            "array=md0 kind=member level=raid1 member=sdc1 state=rebuilding",
            "array=md0 kind=member level=raid1 member=sdb1 state=faulty",
            "array=md0 errors=3 kind=member level=raid1 member=sda1 \
             state=in-sync",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn without_sysfs_the_letters_of_the_list_are_all_that_is_known() {
        let host = tree(&[("proc/mdstat", DEGRADED)]);
        let state = |fields: &Fields| {
            fields.iter().find_map(|(name, value)| {
                (*name == "state").then(|| show("", value))
            })
        };
        let seen = look(&host.1).unwrap();
        let states: Vec<String> = seen.iter().filter_map(state).collect();
        assert_eq!(states, ["=other", "=faulty", "=other"]);
        assert!(look(&tree(&[]).1).unwrap_err().contains("md driver"));
    }
}
