//! Machine checks as mcelog and rasdaemon log them: registers out of their
//! words (mcelog.c, dump_mce; rasdaemon's ras-mce-handler.c,
//! report_mce_event). Pure; what the programs think of the error is left
//! aside, for the registers say it all.

use super::mce::{Model, Registers, Vendor};

/// No line of theirs is longer; the rest is not looked at.
const LINE_MAX: usize = 2_048;

/// So many lines of a block between two with registers end it; mcelog prints
/// a dozen words about one error.
const WORDS_MAX: u32 = 40;

/// Reads the log of either, line by line.
#[derive(Debug, Default)]
pub struct Reader {
    open: Option<Registers>,
    /// Lines without registers since.
    words: u32,
}

/// A block that has begun, but has no status yet: 0 is no machine check's.
const UNTOLD: u64 = 0;

impl Reader {
    /// Takes a line; a machine check whose last line this is, or that it
    /// cuts off.
    pub fn line(&mut self, text: &[u8]) -> Option<Registers> {
        let text = &text[..text.len().min(LINE_MAX)];
        let text = String::from_utf8_lossy(text);
        if let Some((_, told)) = text.split_once("mce_record:") {
            return rasdaemon(told);
        }
        let line = match text.split_once("mcelog") {
            // Behind a syslog header: `mcelog: `, `mcelog[12]: `.
            Some((_, rest)) => rest.split_once(": ").map_or("", |(_, l)| l),
            None => &text,
        };
        self.mcelog(line.trim())
    }

    /// No more will come: what has been told of the last one.
    pub fn end(&mut self) -> Option<Registers> {
        self.words = 0;
        self.open.take().filter(|r| r.status != UNTOLD)
    }

    fn mcelog(&mut self, line: &str) -> Option<Registers> {
        let begins = line.starts_with("Hardware event. This is not a software")
            || line.starts_with("HARDWARE ERROR. This is *NOT* a software");
        if begins {
            let before = self.end();
            self.open = Some(Registers::default());
            return before;
        }
        let registers = self.open.as_mut()?;
        if let Some(processor) = line.strip_prefix("CPUID Vendor ") {
            (registers.vendor, registers.cpuid) = cpuid(processor);
            return self.end();
        }
        if pairs(line, registers) {
            self.words = 0;
        } else {
            self.words += 1;
            if self.words > WORDS_MAX {
                return self.end();
            }
        }
        None
    }
}

/// `CPU 0 BANK 1 TSC 12`, `MISC 8c ADDR 12345000`, `TIME 1795340938 Sun …`,
/// `STATUS 9c… MCGSTATUS 0`: pairs of a name and a number, from the line's
/// beginning to the first word that is neither.
fn pairs(line: &str, registers: &mut Registers) -> bool {
    let mut words = line.split_ascii_whitespace();
    let mut any = false;
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        let hex = || u64::from_str_radix(value, 16).ok();
        let decimal = || value.parse().ok();
        match name {
            "CPU" => registers.cpu = decimal(),
            "BANK" => registers.bank = value.parse().ok(),
            "TSC" => registers.tsc = hex(),
            "MISC" => registers.misc = hex(),
            "ADDR" => registers.addr = hex(),
            "SYND" => registers.synd = hex(),
            "IPID" => registers.ipid = hex(),
            "TIME" => registers.time = value.parse().ok(),
            "STATUS" => registers.status = status(value).unwrap_or(UNTOLD),
            "MCGSTATUS" => registers.mcgstatus = hex(),
            "MCGCAP" => registers.mcgcap = hex(),
            "APICID" => registers.apicid = narrow(hex()),
            "SOCKETID" | "SOCKET" => registers.socket = decimal(),
            "PPIN" => registers.ppin = hex(),
            "MICROCODE" => registers.microcode = narrow(hex()),
            _ => return any,
        }
        any = true;
        if name == "TIME" {
            break; // its words follow
        }
    }
    any
}

fn narrow(number: Option<u64>) -> Option<u32> {
    number.and_then(|n| u32::try_from(n).ok())
}

/// A valid status has its highest bit set, and so 16 digits; a cut one would
/// say something else.
fn status(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}

/// `Intel Family 6 Model 85 Step 4`
fn cpuid(text: &str) -> (Option<Vendor>, Option<u32>) {
    let mut words = text.split_ascii_whitespace();
    let vendor = match words.next() {
        Some("Intel") => Some(Vendor::Intel),
        Some("AMD") => Some(Vendor::Amd),
        Some("Hygon") => Some(Vendor::Hygon),
        Some("Zhaoxin") => Some(Vendor::Zhaoxin),
        Some("Centaur") => Some(Vendor::Centaur),
        _ => None,
    };
    let (mut family, mut model, mut stepping) = (None, None, 0);
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        match name {
            "Family" => family = value.parse().ok(),
            "Model" => model = value.parse().ok(),
            "Step" => stepping = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    let known = family.zip(model);
    let known = known.map(|(family, model)| Model { family, model, stepping });
    (vendor, known.map(Model::to_cpuid))
}

/// `2026-11-22 10:00:00 +0000 bank=1, status= 9c…, …, cpu= 0, addr= …`
fn rasdaemon(text: &str) -> Option<Registers> {
    let mut registers = Registers::default();
    for piece in text.split(',') {
        let Some((name, value)) = piece.split_once('=') else {
            // `… bus_name (bank=4)` has been split; a place is a word.
            continue;
        };
        let name = name.rsplit([' ', '(']).next().unwrap_or(name);
        let value = value.trim().trim_end_matches(')');
        let value = value.split(' ').next().unwrap_or(value);
        let hex = || u64::from_str_radix(value, 16).ok();
        match name {
            // With the bank's name in front it is decimal, alone hexadecimal.
            "bank" if piece.contains('(') => {
                registers.bank = value.parse().ok();
            }
            "bank" => registers.bank = u8::from_str_radix(value, 16).ok(),
            "status" => registers.status = status(value)?,
            "cpu" => registers.cpu = value.parse().ok(),
            "socketid" => registers.socket = value.parse().ok(),
            "misc" => registers.misc = hex(),
            "addr" => registers.addr = hex(),
            "synd" => registers.synd = hex(),
            "ipid" => registers.ipid = hex(),
            "mcgstatus" => registers.mcgstatus = hex(),
            "mcgcap" => registers.mcgcap = hex(),
            "apicid" => registers.apicid = narrow(hex()),
            "cpu_type" => {
                registers.vendor = vendor(piece);
                registers.cpuid = server(piece).map(Model::to_cpuid);
            }
            _ => {}
        }
    }
    (registers.status != UNTOLD).then_some(registers)
}

/// The servers whose banks are known here, by what rasdaemon calls them
/// (cputype_name, ras-mce-handler.c). It tells no stepping: that of the
/// first one sold.
fn server(named: &str) -> Option<Model> {
    const SERVERS: [(&str, u8, u8); 6] = [
        ("Haswell) EP", 0x3f, 2),
        ("Broadwell) EP", 0x4f, 1),
        ("Skylake server", 0x55, 4),
        ("Icelake server", 0x6a, 6),
        ("Icelake Server", 0x6a, 6),
        ("Sapphirerapids server", 0x8f, 8),
    ];
    let known = SERVERS.iter().find(|(name, ..)| named.contains(name));
    let (_, model, stepping) = *known?;
    Some(Model { family: 6, model, stepping })
}

/// From what rasdaemon calls the processor, as far as it tells.
fn vendor(named: &str) -> Option<Vendor> {
    let has = |word: &str| named.contains(word);
    match () {
        () if has("AMD") => Some(Vendor::Amd),
        () if has("Hygon") || has("HYGON") => Some(Vendor::Hygon),
        () if has("Intel") || has("Xeon") || has("Core") => Some(Vendor::Intel),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MCELOG: &str = "\
Hardware event. This is not a software error.
MCE 0
CPU 3 BANK 8 TSC 1eef782aae
MISC 140041586 ADDR 67a2f5c000
TIME 1700000000 Tue Nov 14 22:13:20 2023
MCG status:
MCi status:
Corrected error
MCi_MISC register valid
MCA: MEMORY CONTROLLER RD_CHANNEL1_ERR
Transaction: Memory read error
STATUS 8c00004000010091 MCGSTATUS 0
MCGCAP 1000c16 APICID 20 SOCKETID 1
MICROCODE 1
CPUID Vendor Intel Family 6 Model 85 Step 4
";

    fn read(text: &str) -> Vec<Registers> {
        let mut reader = Reader::default();
        let mut found: Vec<Registers> = text
            .lines()
            .filter_map(|line| reader.line(line.as_bytes()))
            .collect();
        found.extend(reader.end());
        found
    }

    #[test]
    fn a_block_of_mcelog_is_one_machine_check_with_all_its_registers() {
        let expected = Registers {
            status: 0x8c00_0040_0001_0091,
            bank: Some(8),
            addr: Some(0x67_a2f5_c000),
            misc: Some(0x1_4004_1586),
            mcgstatus: Some(0),
            mcgcap: Some(0x100_0c16),
            cpu: Some(3),
            socket: Some(1),
            apicid: Some(0x20),
            tsc: Some(0x1e_ef78_2aae),
            time: Some(1_700_000_000),
            vendor: Some(Vendor::Intel),
            cpuid: Some(0x50654),
            microcode: Some(1),
            ..Registers::default()
        };
        let one = std::slice::from_ref(&expected);
        assert_eq!(read(MCELOG), one);
        let header =
            |line: &str| format!("Nov 14 22:13:20 h mcelog[7]: {line}\n");
        let syslog: String = MCELOG.lines().map(header).collect();
        assert_eq!(read(&syslog), one);
        assert_eq!(read(&MCELOG.repeat(3)).len(), 3);
        // Its end got lost: what is known of it, and the next is whole.
        let (cut, _) = MCELOG.split_once("MCGCAP").unwrap();
        let both = read(&format!("{cut}{MCELOG}"));
        assert_eq!(both.len(), 2);
        assert_eq!((both[0].bank, both[0].socket), (Some(8), None));
        assert_eq!(both[1], expected);
    }

    #[test]
    fn a_block_without_its_status_is_none() {
        let without: String = MCELOG
            .lines()
            .filter(|line| !line.starts_with("STATUS"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(read(&without), []);
        let torn = MCELOG.replace("8c00004000010091", "8c000040000100");
        assert_eq!(read(&torn), []);
    }

    #[test]
    fn a_line_of_rasdaemon_is_one_machine_check() {
        let line = "          <idle>-0     [000]     0.000123: mce_record:  \
            2026-11-22 10:00:00 +0000 bank=1, status= 9c00000000000000, \
            Corrected error, no action required., mci=Error_enabled, \
            mca=No Error, cpu_type= Intel Skylake server, cpu= 0, \
            socketid= 1, misc= 8c, addr= 12345000, mcgstatus= 0, \
            mcgcap= 90010a, apicid= 2";
        let [found] = &read(line)[..] else { panic!() };
        assert_eq!(found.status, 0x9c00_0000_0000_0000);
        assert_eq!((found.bank, found.cpu), (Some(1), Some(0)));
        assert_eq!((found.socket, found.apicid), (Some(1), Some(2)));
        assert_eq!(found.addr, Some(0x1234_5000));
        assert_eq!(found.vendor, Some(Vendor::Intel));
        assert_eq!(found.cpuid, Some(0x50654));
        let named = line.replace("bank=1,", "Memory Controller (bank=18),");
        assert_eq!(read(&named)[0].bank, Some(18));
        let cut = line.replace("9c00000000000000", "9c00");
        assert_eq!(read(&cut), []);
    }

    proptest! {
        #[test]
        fn any_lines_are_survived(
            text in "((CPU|BANK|STATUS|TIME|mce_record:|bank=|status=|\
                mcelog|CPUID Vendor|[0-9a-f]{1,17}|[ =,:\n]){0,60})",
        ) {
            read(&format!("Hardware event. This is not a software\n{text}"));
        }
    }
}
