//! Registers as a person types them, and as they are shown again.

use serde::Serialize;

use crate::decode::mce::{Decoded, Model, Registers, Vendor};

/// One register that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    name: Name,
    value: Value,
    /// The bank that the name told: `MC13_STATUS`.
    bank: Option<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Number(u64),
    Vendor(Vendor),
}

/// What can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Status,
    Addr,
    Misc,
    Synd,
    Ipid,
    Mcgstatus,
    Mcgcap,
    Tsc,
    Ppin,
    Cpuid,
    Microcode,
    Bank,
    Cpu,
    Socket,
    Family,
    Model,
    Stepping,
    Vendor,
}

/// Every name, as it is written.
const NAMES: [(&str, Name); 18] = [
    ("status", Name::Status),
    ("addr", Name::Addr),
    ("misc", Name::Misc),
    ("synd", Name::Synd),
    ("ipid", Name::Ipid),
    ("mcgstatus", Name::Mcgstatus),
    ("mcgcap", Name::Mcgcap),
    ("tsc", Name::Tsc),
    ("ppin", Name::Ppin),
    ("cpuid", Name::Cpuid),
    ("microcode", Name::Microcode),
    ("bank", Name::Bank),
    ("cpu", Name::Cpu),
    ("socket", Name::Socket),
    ("family", Name::Family),
    ("model", Name::Model),
    ("stepping", Name::Stepping),
    ("vendor", Name::Vendor),
];

/// The same, as options.
#[derive(Debug, Default, clap::Args)]
pub struct Flags {
    /// Its maker: intel, amd, hygon, zhaoxin or centaur
    #[arg(long, value_name = "VALUE", value_parser = of_name(Name::Vendor))]
    vendor: Option<Given>,
    /// Its CPU family
    #[arg(long, value_name = "VALUE", value_parser = of_name(Name::Family))]
    family: Option<Given>,
    /// Its CPU model
    #[arg(long, value_name = "VALUE", value_parser = of_name(Name::Model))]
    model: Option<Given>,
    /// Its CPU stepping
    #[arg(long, value_name = "VALUE", value_parser = of_name(Name::Stepping))]
    stepping: Option<Given>,
    /// CPUID(1).EAX, instead of those three
    #[arg(long, value_name = "VALUE", value_parser = of_name(Name::Cpuid))]
    cpuid: Option<Given>,
    /// The bank's number
    #[arg(long, value_name = "VALUE", value_parser = of_name(Name::Bank))]
    bank: Option<Given>,
    /// MCi_STATUS
    #[arg(long, value_name = "VALUE", value_parser = of_name(Name::Status))]
    status: Option<Given>,
    /// MCi_ADDR
    #[arg(long, value_name = "VALUE", value_parser = of_name(Name::Addr))]
    addr: Option<Given>,
    /// MCi_MISC
    #[arg(long, value_name = "VALUE", value_parser = of_name(Name::Misc))]
    misc: Option<Given>,
    /// MCG_STATUS
    #[arg(long, value_name = "VALUE", value_parser = of_name(Name::Mcgstatus))]
    mcgstatus: Option<Given>,
    /// MCG_CAP
    #[arg(long, value_name = "VALUE", value_parser = of_name(Name::Mcgcap))]
    mcgcap: Option<Given>,
    /// MCA_IPID (AMD)
    #[arg(long, value_name = "VALUE", value_parser = of_name(Name::Ipid))]
    ipid: Option<Given>,
    /// MCA_SYND (AMD)
    #[arg(long, value_name = "VALUE", value_parser = of_name(Name::Synd))]
    synd: Option<Given>,
    /// The time stamp counter; 0 if a poll found it
    #[arg(long, value_name = "VALUE", value_parser = of_name(Name::Tsc))]
    tsc: Option<Given>,
    /// The Linux CPU that read the bank
    #[arg(long, value_name = "VALUE", value_parser = of_name(Name::Cpu))]
    cpu: Option<Given>,
    /// The socket of that CPU
    #[arg(long, value_name = "VALUE", value_parser = of_name(Name::Socket))]
    cpu_socket: Option<Given>,
}

impl Flags {
    fn all(&self) -> impl Iterator<Item = &Given> {
        [
            &self.vendor,
            &self.family,
            &self.model,
            &self.stepping,
            &self.cpuid,
            &self.bank,
            &self.status,
            &self.addr,
            &self.misc,
            &self.mcgstatus,
            &self.mcgcap,
            &self.ipid,
            &self.synd,
            &self.tsc,
            &self.cpu,
            &self.cpu_socket,
        ]
        .into_iter()
        .flatten()
    }
}

fn of_name(
    name: Name,
) -> impl Fn(&str) -> Result<Given, String> + Clone + Send + Sync + 'static {
    move |text| parse(name, text)
}

/// Takes `NAME=VALUE`, or a bare number for the status.
///
/// # Errors
/// The name or the value is none.
pub fn given(text: &str) -> Result<Given, String> {
    let Some((name, value)) = text.split_once('=') else {
        return parse(Name::Status, text).map_err(|why| {
            match why.contains("cut off") {
                true => why,
                false => {
                    format!("`{text}` is neither NAME=VALUE nor a status")
                }
            }
        });
    };
    let plain = name.trim().to_ascii_lowercase();
    let known = |name: &str| {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, name)| *name)
    };
    // `MCi_STATUS`, `MC7_ADDR`, `MCA_SYND`, `IA32_MC4_STATUS`, `MCG_CAP`.
    let short = plain.strip_prefix("ia32_").unwrap_or(&plain);
    let joined = short.replace('_', "");
    let after = short.rsplit('_').next().unwrap_or(short);
    let found = known(short).or_else(|| known(&joined));
    let found = found
        .or_else(|| short.starts_with("mc").then(|| known(after)).flatten());
    let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
    let name = found.ok_or_else(|| {
        format!(
            "no register is called `{name}`; there are {}",
            names.join(", ")
        )
    })?;
    let mut given = parse(name, value)?;
    let bank = short.strip_prefix("mc").and_then(|rest| rest.split_once('_'));
    let bank = bank.filter(|(digits, _)| digits_of(digits, 10).is_some());
    if let Some((digits, _)) = bank {
        let bank = digits.parse();
        let bank = bank.map_err(|_| format!("there is no bank {digits}"))?;
        given.bank = Some(bank);
    }
    Ok(given)
}

/// So many digits of a status are rather the rest of one whose first digits,
/// which say the most, were lost in pasting.
const CUT_OFF: std::ops::RangeInclusive<usize> = 9..=15;

fn parse(name: Name, text: &str) -> Result<Given, String> {
    let text = text.trim();
    if name == Name::Vendor {
        let vendor = vendor(&text.to_ascii_lowercase());
        let vendor = vendor.ok_or_else(|| {
            format!(
                "`{text}` is no maker: intel, amd, hygon, zhaoxin or centaur"
            )
        })?;
        let value = Value::Vendor(vendor);
        return Ok(Given { name, value, bank: None });
    }
    let decimal = matches!(
        name,
        Name::Bank
            | Name::Cpu
            | Name::Socket
            | Name::Family
            | Name::Model
            | Name::Stepping
    );
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let number = match hex {
        Some(digits) => digits_of(digits, 16),
        None if decimal => digits_of(text, 10),
        // As the kernel prints them.
        None => digits_of(text, 16),
    };
    let number = number.ok_or_else(|| format!("`{text}` is no number"))?;
    let digits = hex.unwrap_or(text).len();
    if name == Name::Status && CUT_OFF.contains(&digits) {
        return Err(format!(
            "`{text}` has {digits} of 16 digits: was it cut off? If not, \
             write its leading zeros"
        ));
    }
    let most = match name {
        Name::Bank | Name::Family | Name::Model => u64::from(u8::MAX),
        Name::Stepping => 15,
        Name::Cpu | Name::Socket | Name::Cpuid | Name::Microcode => {
            u64::from(u32::MAX)
        }
        _ => u64::MAX,
    };
    if number > most {
        return Err(format!("{text} is more than 0x{most:x}"));
    }
    Ok(Given { name, value: Value::Number(number), bank: None })
}

fn digits_of(digits: &str, radix: u32) -> Option<u64> {
    let plain = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    plain.then(|| u64::from_str_radix(digits, radix).ok()).flatten()
}

fn vendor(word: &str) -> Option<Vendor> {
    Some(match word {
        "intel" => Vendor::Intel,
        "amd" => Vendor::Amd,
        "hygon" => Vendor::Hygon,
        "zhaoxin" => Vendor::Zhaoxin,
        "centaur" => Vendor::Centaur,
        _ => return None,
    })
}

/// The registers that were given; `None` if none were.
///
/// # Errors
/// They do not make one machine check.
pub fn of(words: &[Given], flags: &Flags) -> anyhow::Result<Option<Registers>> {
    let mut registers = Registers::default();
    let (mut family, mut model, mut stepping) = (None, None, 0);
    let (mut any, mut status, mut named) = (false, false, None);
    for Given { name, value, bank } in words.iter().chain(flags.all()) {
        any = true;
        if let Some(bank) = bank {
            if named.is_some_and(|other| other != *bank) {
                anyhow::bail!("these are registers of different banks");
            }
            named = Some(*bank);
        }
        let number = match value {
            Value::Vendor(vendor) => {
                registers.vendor = Some(*vendor);
                continue;
            }
            Value::Number(number) => *number,
        };
        // `parse` has refused what is larger.
        let (byte, word) = (number as u8, number as u32);
        match name {
            Name::Status => (registers.status, status) = (number, true),
            Name::Addr => registers.addr = Some(number),
            Name::Misc => registers.misc = Some(number),
            Name::Synd => registers.synd = Some(number),
            Name::Ipid => registers.ipid = Some(number),
            Name::Mcgstatus => registers.mcgstatus = Some(number),
            Name::Mcgcap => registers.mcgcap = Some(number),
            Name::Tsc => registers.tsc = Some(number),
            Name::Ppin => registers.ppin = Some(number),
            Name::Cpuid => registers.cpuid = Some(word),
            Name::Microcode => registers.microcode = Some(word),
            Name::Bank => registers.bank = Some(byte),
            Name::Cpu => registers.cpu = Some(word),
            Name::Socket => registers.socket = Some(word),
            Name::Family => family = Some(byte),
            Name::Model => model = Some(byte),
            Name::Stepping => stepping = byte,
            Name::Vendor => {}
        }
    }
    if !any {
        return Ok(None);
    }
    if !status {
        anyhow::bail!("MCi_STATUS is missing: give it as status=0x…");
    }
    if named.is_some_and(|named| registers.bank.is_some_and(|b| b != named)) {
        anyhow::bail!("a register's name tells another bank than bank=");
    }
    registers.bank = registers.bank.or(named);
    match (family, model) {
        (Some(family), Some(model)) => {
            let model = Model { family, model, stepping };
            registers.cpuid = Some(model.to_cpuid());
        }
        (None, None) => {}
        _ => anyhow::bail!("family and model go together"),
    }
    Ok(Some(registers))
}

/// Registers in JSON: numbers of 64 bits as text, since JSON's are shorter.
#[derive(Debug, Serialize)]
pub struct Shown(serde_json::Map<String, serde_json::Value>);

impl Shown {
    /// Those that are known.
    pub fn of(registers: &Registers) -> Shown {
        let r = registers;
        let hex = [
            ("status", Some(r.status)),
            ("addr", r.addr),
            ("misc", r.misc),
            ("synd", r.synd),
            ("ipid", r.ipid),
            ("mcgstatus", r.mcgstatus),
            ("mcgcap", r.mcgcap),
            ("tsc", r.tsc),
            ("ip", r.ip),
            ("cs", r.cs.map(u64::from)),
            ("ppin", r.ppin),
            ("cpuid", r.cpuid.map(u64::from)),
            ("microcode", r.microcode.map(u64::from)),
        ];
        let plain = [
            ("bank", r.bank.map(u64::from)),
            ("cpu", r.cpu.map(u64::from)),
            ("socket", r.socket.map(u64::from)),
            ("apicid", r.apicid.map(u64::from)),
            ("time", r.time),
        ];
        let hex = hex.into_iter().filter_map(|(name, value)| {
            Some((name.to_owned(), format!("0x{:x}", value?).into()))
        });
        let plain = plain
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
        Shown(hex.chain(plain).collect())
    }
}

/// The flags of MCi_STATUS that are set, by the names of the manuals.
pub fn flags(registers: &Registers, decoded: &Decoded) -> String {
    const COMMON: [(u32, &str); 7] = [
        (63, "VAL"),
        (62, "OVER"),
        (61, "UC"),
        (60, "EN"),
        (59, "MISCV"),
        (58, "ADDRV"),
        (57, "PCC"),
    ];
    const INTEL: [(u32, &str); 2] = [(56, "S"), (55, "AR")];
    const AMD: [(u32, &str); 7] = [
        (55, "TCC"),
        (53, "SYNDV"),
        (46, "CECC"),
        (45, "UECC"),
        (44, "DEFERRED"),
        (43, "POISON"),
        (40, "SCRUB"),
    ];
    let own: &[(u32, &str)] = match decoded.vendor {
        Some(vendor) if vendor.is_like_amd() => &AMD,
        Some(vendor) if vendor.is_like_intel() => &INTEL,
        _ => &[],
    };
    let all = COMMON.iter().chain(own);
    let set = all.filter(|(bit, _)| registers.status >> bit & 1 == 1);
    let words: Vec<&str> = set.map(|(_, word)| *word).collect();
    if words.is_empty() { "none".into() } else { words.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Registers, String> {
        let given = given(text)?;
        let status = super::given("status=8")?;
        let all = of(&[status, given], &Flags::default());
        Ok(all.map_err(|e| e.to_string())?.unwrap_or_default())
    }

    #[test]
    fn registers_are_named_in_many_ways() {
        let status = 0x8c00_004f_0008_00c2;
        for name in [
            "status",
            "STATUS",
            "MCi_STATUS",
            "mc7_status",
            "IA32_MC7_STATUS",
            "MCA_STATUS",
        ] {
            let text = format!("{name}=0x8c00004f000800c2");
            assert_eq!(one(&text).unwrap().status, status, "{name}");
        }
        assert_eq!(one("8c00004f000800c2").unwrap().status, status);
        assert_eq!(one("MCG_STATUS=5").unwrap().mcgstatus, Some(5));
        assert_eq!(one("MCG_CAP=0xc14").unwrap().mcgcap, Some(0xc14));
        assert_eq!(one("bank=13").unwrap().bank, Some(13));
        assert_eq!(one("bank=0x0d").unwrap().bank, Some(13));
        assert_eq!(one("MC13_ADDR=5").unwrap().bank, Some(13));
        assert_eq!(one("IA32_MC4_MISC=5").unwrap().bank, Some(4));
        assert_eq!(one("MCi_MISC=5").unwrap().bank, None);
        assert_eq!(one("addr=1000").unwrap().addr, Some(0x1000));
        assert_eq!(one("vendor=AMD").unwrap().vendor, Some(Vendor::Amd));
    }

    #[test]
    fn what_is_no_register_says_what_is() {
        assert!(one("stats=8").unwrap_err().contains("there are status"));
        assert!(one("bank=256").unwrap_err().contains("more than 0xff"));
        assert!(one("addr=+5").unwrap_err().contains("no number"));
        assert!(one("addr=").unwrap_err().contains("no number"));
        assert!(one("vendor=via").unwrap_err().contains("no maker"));
        assert!(one("hello").unwrap_err().contains("nor a status"));
        assert!(one("8c0000400001009").unwrap_err().contains("cut off"));
        let cut = one("status=8c0000400001009").unwrap_err();
        assert!(cut.contains("15 of 16 digits"), "{cut}");
        assert!(one("MC300_ADDR=5").unwrap_err().contains("no bank 300"));
        let of_two = [given("MC5_STATUS=8"), given("MC6_ADDR=8")];
        let of_two = of(&of_two.map(Result::unwrap), &Flags::default());
        assert!(of_two.unwrap_err().to_string().contains("different banks"));
        assert!(one("family=6").unwrap_err().contains("go together"));
        let lone = of(&[given("bank=1").unwrap()], &Flags::default());
        assert!(lone.unwrap_err().to_string().contains("is missing"));
        assert!(of(&[], &Flags::default()).unwrap().is_none());
    }
}
