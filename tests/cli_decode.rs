//! `faultline decode`: registers as arguments, and the kernel's lines on
//! standard input.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cli_support;

use cli_support::{Ran, run, run_with};
use serde_json::Value;

fn decode(args: &[&str]) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &[&["decode"], args].concat())
}

fn paste(args: &[&str], lines: &str) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let args = [&["decode"], args].concat();
    run_with(dir.path(), &args, lines.as_bytes())
}

fn fixture(name: &str) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    std::fs::read_to_string(format!("{root}/fixtures/mce/{name}")).unwrap()
}

const SKYLAKE: [&str; 8] = [
    "vendor=intel",
    "family=6",
    "model=0x55",
    "stepping=4",
    "socket=1",
    "bank=13",
    "MCi_STATUS=0x8c00004000010090",
    "misc=0x200000c020002086",
];

#[test]
fn registers_of_a_known_model_are_told_with_their_place() {
    let ran = decode(&SKYLAKE);
    assert_eq!((ran.status, &ran.err[..]), (0, ""));
    insta::assert_snapshot!(ran.out);
}

#[test]
fn options_and_words_mean_the_same() {
    let options = decode(&[
        "--vendor",
        "intel",
        "--family",
        "6",
        "--model",
        "85",
        "--stepping",
        "4",
        "--cpu-socket",
        "1",
        "--bank",
        "13",
        "--status",
        "8c00004000010090",
        "--misc",
        "200000c020002086",
    ]);
    assert_eq!(options.status, 0, "{options:?}");
    assert_eq!(options.out, decode(&SKYLAKE).out);
}

#[test]
fn a_bare_status_is_told_as_far_as_every_processor_shares_it() {
    let ran = decode(&["be00000000800400"]);
    assert_eq!((ran.status, &ran.err[..]), (0, ""));
    insta::assert_snapshot!(ran.out);
}

#[test]
fn what_an_atom_kept_of_a_reset_is_nothing_to_do() {
    let ran =
        decode(&["a600000000020408", "vendor=intel", "cpuid=506c9", "tsc=0"]);
    assert!(ran.out.contains("earlier reset"), "{}", ran.out);
    assert!(ran.out.contains("Nothing, unless"), "{}", ran.out);
}

#[test]
fn a_pasted_block_of_print_mce_is_told() {
    let ran = paste(&[], &fixture("skylake.dmesg"));
    assert_eq!((ran.status, &ran.err[..]), (0, ""));
    insta::assert_snapshot!(ran.out);
}

#[test]
fn pasted_blocks_of_amds_decoder_are_told_and_what_is_cut_off_is_said() {
    let ran = paste(&[], &fixture("rome.dmesg"));
    assert_eq!((ran.status, &ran.err[..]), (0, ""));
    insta::assert_snapshot!(ran.out);
}

#[test]
fn machines_get_the_same_in_json() {
    let ran = paste(&["--json"], &fixture("rome.dmesg"));
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    let checks = json["machine_checks"].as_array().unwrap();
    assert_eq!(checks.len(), 2);
    let [umc, ls] = &checks[..] else { panic!() };
    assert_eq!(umc["registers"]["status"], "0xdc2040000000011b");
    assert_eq!(umc["registers"]["bank"], 18);
    assert_eq!(umc["decoded"]["severity"], "corrected");
    assert_eq!(umc["decoded"]["unit"], "memory");
    assert_eq!(umc["decoded"]["parts"][0], "channel/cpu2-umc1");
    assert_eq!(umc["decoded"]["place"]["channel"], 1);
    assert_eq!(umc["decoded"]["overflow"], true);
    assert_eq!(umc["whole"], true);
    assert_eq!(ls["decoded"]["severity"], "srar");
    assert_eq!(ls["decoded"]["poison"], true);
    assert_eq!(ls["whole"], false);
    // Arguments have no block that could be cut off.
    let ran = decode(&["--json", "8c00004000010090"]);
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["machine_checks"][0].get("whole"), None);
}

#[test]
fn lines_of_edac_drivers_and_bare_lines_are_taken_too() {
    let ran = paste(
        &["--json"],
        "EDAC sbridge MC1: CPU 6: Machine Check Event: 0 Bank 9: 8c00004e000800c1\n\
         EDAC sbridge MC1: TSC 0\n\
         EDAC sbridge MC1: ADDR 19b6f1c0\n\
         EDAC sbridge MC1: MISC 2140448c86\n\
         EDAC sbridge MC1: PROCESSOR 0:306f2 TIME 1378 SOCKET 1 APIC 20\n\
         CPU 6: Machine Check Exception: 0 Bank 9: 8c00004e000800c1\n",
    );
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    let parts: Vec<&Value> = json["machine_checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| &check["decoded"]["parts"][0])
        .collect();
    assert_eq!(parts, ["channel/socket1-mc0-ch1", "channel/cpu6-bank9-ch1"]);
}

#[test]
fn nothing_to_decode_is_3_and_no_register_is_64() {
    let ran = paste(&[], "eth0: link is up\n");
    assert_eq!((ran.status, &ran.out[..]), (3, ""));
    assert!(ran.err.contains("no machine check in the input"), "{ran:?}");
    let ran = decode(&["bank=3"]);
    assert_eq!(ran.status, 3);
    assert!(ran.err.contains("MCi_STATUS is missing"), "{ran:?}");
    for wrong in ["stats=1", "bank=256", "addr=zz", "vendor=via"] {
        let ran = decode(&[wrong]);
        assert_eq!((ran.status, &ran.out[..]), (64, ""), "{wrong}");
    }
}

#[test]
fn any_bytes_on_standard_input_are_decoded_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes =
        b"[Hardware Error]: CPU 1: Machine Check: 0 Bank 1: ".to_vec();
    bytes.extend((0..=255u8).cycle().take(100_000));
    let ran = run_with(dir.path(), &["decode"], &bytes);
    assert_eq!(ran.status, 3, "{ran:?}");
}

const DECODED: &str = r#"
version: 1
component: cpu
patterns:
  - name: mine-decoded
    summary: "{error}"
    severity: fatal
    source: mce
    where: { severity: fatal }
    part: "cpu/socket{socket}"
    clear: [{ reboot: 24h }]
    advice: "Look."
    examples:
      - observation: { severity: fatal, socket: 1 }
        gives: { part: cpu/socket1 }
      - observation: { severity: srao, socket: 1 }
        gives: nothing
"#;

/// `pattern part count` of every fault of a replay.
fn faults(args: &[&str], log: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let args = [&["replay", "--json"], args].concat();
    let ran = run_with(dir.path(), &args, log.as_bytes());
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    let shown = json["faults"].as_array().unwrap().iter().map(|f| {
        let text = |name: &str| f[name].as_str().unwrap().to_owned();
        format!("{} {} {}", text("pattern"), text("part"), f["count"])
    });
    shown.collect()
}

#[test]
fn a_replayed_machine_check_is_one_fault() {
    let log = fixture("skylake.dmesg")
        .replace("8c00004000010090", "be00000000800400");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine.yaml"), DECODED).unwrap();
    let mine = ["--patterns", dir.path().to_str().unwrap()];
    let of_checks = |all: Vec<String>| -> Vec<String> {
        let about = |f: &String| f.contains("mce") || f.contains("mine");
        all.into_iter().filter(about).collect()
    };
    let got = of_checks(faults(&mine, &log));
    assert!(got.contains(&"mine-decoded cpu/socket1 1".to_owned()), "{got:?}");
    let by_text = |f: &&String| f.starts_with("cpu-mce-uncorrected");
    assert_eq!(got.iter().filter(by_text).count(), 0, "{got:?}");
    // Twice is two.
    let twice = format!("{log}{log}");
    let got = of_checks(faults(&mine, &twice));
    assert!(got.contains(&"mine-decoded cpu/socket1 2".to_owned()), "{got:?}");
}

/// A consumed memory error of a server, in the kernel's own code, as a report
/// quotes it: indented, and without times.
const USED: &str = "\
  core: [Hardware Error]: CPU 296: Machine Check Exception: f Bank 1: bd80000000100134
  core: [Hardware Error]: RIP 10:<ffffffff821b9776> {get_user+0x6/0x20}
  core: [Hardware Error]: TSC 411a93533ed ADDR 346a8730040 MISC 86
  core: [Hardware Error]: PROCESSOR 0:606a6 TIME 1706000767 SOCKET 1 APIC 211 microcode 80001490
  core: [Hardware Error]: Machine check: Processor context corrupt
  Kernel panic - not syncing: Fatal local machine check
";

#[test]
fn who_used_lost_data_is_not_who_lost_it_however_the_lines_are_quoted() {
    let broadcast = USED.replace("  core: ", " kernel:");
    for lines in [USED, &broadcast] {
        let ran = paste(&["--json"], lines);
        assert_eq!((ran.status, &ran.err[..]), (0, ""));
        let checks: Value = serde_json::from_str(&ran.out).unwrap();
        let decoded = &checks["machine_checks"][0]["decoded"];
        assert_eq!(decoded["severity"], "fatal", "{decoded}");
        assert_eq!(decoded["parts"][0], "memory/system", "{decoded}");
        assert_eq!(decoded["code"]["operation"], "data-read", "{decoded}");
    }
    // The reason and the panic are of the block, not faults beside it.
    let log: Vec<&str> = USED.lines().map(str::trim_start).collect();
    let got = faults(&[], &log.join("\n"));
    assert_eq!(got, ["mce-memory-uncorrected memory/system 1"]);
}
