//! A server with two sockets, two power supplies and everything about its
//! sensors that is odd on purpose, written as commands of `ipmi_sim`.
//!
//! What is odd: two sensors of one name; two's complement, a negative slope,
//! an offset, a square root, a percentage; a sensor on another logical unit,
//! one behind another controller; one record for four drive bays; records of
//! sensors that do not exist, and of some that only make events.

use std::fmt::Write as _;
use std::path::Path;

/// The BMC's address, and that of the controller behind it.
const BMC: u8 = 0x20;
const SATELLITE: u8 = 0x30;

/// Unit codes.
const NONE: u8 = 0;
const CELSIUS: u8 = 1;
const VOLTS: u8 = 4;
const WATTS: u8 = 6;
const CFM: u8 = 17;
const RPM: u8 = 18;

/// In the order of their bits.
const LNC: usize = 0;
const LC: usize = 1;
const LNR: usize = 2;
const UNC: usize = 3;
const UC: usize = 4;
const UNR: usize = 5;

/// Raw limits by bit.
type Limits = [Option<u8>; 6];

fn limits(some: &[(usize, u8)]) -> Limits {
    let mut all = [None; 6];
    for (bit, raw) in some {
        all[*bit] = Some(*raw);
    }
    all
}

/// A sensor with a value.
#[derive(Clone)]
struct Analog {
    owner: u8,
    lun: u8,
    number: u8,
    name: String,
    kind: u8,
    entity: (u8, u8),
    unit: u8,
    percent: bool,
    signed: bool,
    raw: u8,
    m: i16,
    b: i16,
    /// Of B, of the result.
    exponents: (i8, i8),
    function: u8,
    limits: Limits,
}

impl Analog {
    fn new(number: u8, name: &str, kind: u8, unit: u8, raw: u8) -> Analog {
        Analog {
            owner: BMC,
            lun: 0,
            number,
            name: name.to_owned(),
            kind,
            entity: (7, 1),
            unit,
            percent: false,
            signed: false,
            raw,
            m: 1,
            b: 0,
            exponents: (0, 0),
            function: 0,
            limits: [None; 6],
        }
    }

    fn of(mut self, id: u8, instance: u8) -> Analog {
        self.entity = (id, instance);
        self
    }

    fn within(mut self, some: &[(usize, u8)]) -> Analog {
        self.limits = limits(some);
        self
    }

    fn factors(mut self, m: i16, b: i16, exponents: (i8, i8)) -> Analog {
        (self.m, self.b, self.exponents) = (m, b, exponents);
        self
    }

    fn record(&self) -> Vec<u8> {
        let there = |bit: usize| u8::from(self.limits[bit].is_some());
        let mask = (0..6).fold(0, |mask, bit| mask | there(bit) << bit);
        let events = self.events();
        let lower = events | u16::from(mask & 7) << 12;
        let upper = events | u16::from(mask >> 3) << 12;
        let units = u8::from(self.percent) | u8::from(self.signed) << 7;
        let ten = |n: i16| {
            let bits = (n as u16) & 0x3FF;
            [bits as u8, ((bits >> 8) << 6) as u8]
        };
        let four = |n: i8| (n as u8) & 0x0F;
        let access = if mask == 0 { 0x40 } else { 0x44 };
        let mut body = vec![self.owner, self.lun, self.number];
        body.extend([self.entity.0, self.entity.1, 0x7F, access]);
        body.extend([self.kind, 0x01]);
        body.extend(lower.to_le_bytes());
        body.extend(upper.to_le_bytes());
        body.extend([mask, 0, units, self.unit, 0, self.function]);
        body.extend(ten(self.m));
        body.extend(ten(self.b));
        body.push(0);
        body.push(four(self.exponents.1) << 4 | four(self.exponents.0));
        let (most, least) = if self.signed { (0x7F, 0x80) } else { (0xFF, 0) };
        body.extend([0x07, self.raw, most, least, most, least]);
        for bit in [UNR, UC, UNC, LNR, LC, LNC] {
            body.push(self.limits[bit].unwrap_or(0));
        }
        body.extend([0; 5]);
        named(body, &self.name, 0x01)
    }

    /// Which of the twelve events it makes: falling under a lower limit,
    /// rising over an upper one.
    fn events(&self) -> u16 {
        (0..6)
            .filter(|bit| self.limits[*bit].is_some())
            .map(|bit| 1 << (2 * bit + usize::from(bit >= UNC)))
            .sum()
    }

    fn commands(&self, out: &mut String) {
        let Analog { owner, lun, number, kind, .. } = self;
        let who = format!("{owner:#x} {lun} {number}");
        line(out, format!("sensor_add {who} {kind:#x} 0x01"));
        if self.limits.iter().any(Option::is_some) {
            let order = [UNR, UC, UNC, LNR, LC, LNC];
            let mask: String = order
                .iter()
                .map(|b| if self.limits[*b].is_some() { '1' } else { '0' })
                .collect();
            let values: Vec<String> = order
                .iter()
                .map(|b| self.limits[*b].unwrap_or(0).to_string())
                .collect();
            let values = values.join(" ");
            line(
                out,
                format!("sensor_set_threshold {who} readable {mask} {values}"),
            );
        }
        let events = format!("{:015b}", self.events());
        events_of(out, &who, [&events, &events]);
        line(out, format!("sensor_set_value {who} {} 0", self.raw));
    }
}

/// A sensor with states.
struct Discrete {
    number: u8,
    name: &'static str,
    kind: u8,
    code: u8,
    states: &'static [u8],
    on: Option<u8>,
    entity: (u8, u8),
    /// How many share the record.
    share: u8,
    exists: bool,
}

impl Discrete {
    fn new(
        number: u8,
        name: &'static str,
        kind: u8,
        states: &'static [u8],
        entity: (u8, u8),
    ) -> Discrete {
        let (code, on, share, exists) = (0x6F, None, 1, true);
        Discrete { number, name, kind, code, states, on, entity, share, exists }
    }

    fn on(mut self, state: u8) -> Discrete {
        self.on = Some(state);
        self
    }

    /// Redundancy, in the generic states.
    fn generic(mut self, code: u8) -> Discrete {
        self.code = code;
        self
    }

    fn mask(&self) -> u16 {
        self.states.iter().map(|state| 1 << state).sum()
    }

    fn record(&self) -> Vec<u8> {
        let mut body = vec![BMC, 0, self.number, self.entity.0];
        body.extend([self.entity.1, 0x67, 0x40, self.kind, self.code]);
        for _ in 0..3 {
            body.extend(self.mask().to_le_bytes());
        }
        body.extend([0xC0, NONE, 0, self.share]);
        body.push(if self.share > 1 { 0x80 } else { 0 });
        body.extend([0; 6]);
        named(body, self.name, 0x02)
    }

    fn commands(&self, out: &mut String) {
        for number in self.number..self.number + self.share {
            let who = format!("{BMC:#x} 0 {number}");
            let (kind, code) = (self.kind, self.code);
            line(out, format!("sensor_add {who} {kind:#x} {code:#x}"));
            let mask = format!("{:015b}", self.mask());
            events_of(out, &who, [&mask, &mask]);
            let (state, value) = match self.on {
                Some(state) => (state, 1),
                None => (self.states[0], 0),
            };
            line(out, format!("sensor_set_bit {who} {state} {value} 0"));
        }
    }
}

fn line(out: &mut String, text: impl std::fmt::Display) {
    writeln!(out, "{text}").unwrap();
}

/// What a sensor can assert, and deassert.
fn events_of(out: &mut String, who: &str, [up, down]: [&str; 2]) {
    line(
        out,
        format!(
            "sensor_set_event_support {who} enable scanning per-state \
             {up} {down} {up} {down}"
        ),
    );
}

/// A record of this type around the body, with a name at its end.
fn named(mut body: Vec<u8>, name: &str, kind: u8) -> Vec<u8> {
    body.push(0xC0 | name.len() as u8);
    body.extend(name.bytes());
    let mut record = vec![0, 0, 0x51, kind, body.len() as u8];
    record.extend(body);
    record
}

fn analogs(extra: usize) -> Vec<Analog> {
    let hot = [(UNC, 80), (UC, 90), (UNR, 100)];
    let temp = |n, name: &str, raw| Analog::new(n, name, 1, CELSIUS, raw);
    let volts = |n, name: &str, raw, m| {
        Analog::new(n, name, 2, VOLTS, raw).factors(m, 0, (0, -3))
    };
    let mut all = vec![
        temp(1, "Inlet Temp", 24).of(0x37, 1).within(&[
            (LC, 3),
            (LNC, 5),
            (UNC, 38),
            (UC, 42),
        ]),
        temp(2, "Exhaust Temp", 163)
            .factors(1, -128, (0, 0))
            .within(&[(UNC, 198), (UC, 203)]),
        temp(3, "Temp", 45).of(3, 1).within(&hot),
        temp(4, "Temp", 47).of(3, 2).within(&hot),
        Analog { signed: true, ..temp(5, "P1 Therm Margin", 235).of(3, 1) },
        temp(6, "GPU1 Temp", 0).of(11, 1).within(&hot),
        volts(0x20, "P12V", 203, 59).within(&[
            (LC, 181),
            (LNC, 185),
            (UNC, 221),
            (UC, 225),
        ]),
        volts(0x21, "P5V", 208, 24).within(&[
            (LC, 186),
            (LNC, 190),
            (UNC, 226),
            (UC, 230),
        ]),
        volts(0x22, "P3V3", 206, 16).within(&[
            (LC, 185),
            (LNC, 189),
            (UNC, 224),
            (UC, 228),
        ]),
        volts(0x23, "VBAT", 190, 16).within(&[(LC, 125), (LNC, 144)]),
        volts(0x24, "P1V8 Inv", 100, -10).factors(-10, 28, (2, -3)),
        Analog {
            function: 0x0A,
            ..Analog::new(0x25, "Airflow", 0x0B, CFM, 144)
        },
        Analog {
            percent: true,
            ..Analog::new(0x19, "FAN PWM", 4, NONE, 40).of(0x1D, 7)
        },
        Analog { lun: 1, ..temp(1, "LUN1 Temp", 77).of(7, 2) },
        Analog { owner: SATELLITE, ..temp(1, "SAT Temp", 55).of(7, 3) },
    ];
    for n in 1..=6 {
        let fan = Analog::new(0x0F + n, &format!("FAN{n}"), 4, RPM, 84);
        let low = [(LNR, 3), (LC, 5), (LNC, 8)];
        all.push(fan.of(0x1D, n).factors(100, 0, (0, 0)).within(&low));
    }
    for n in 1..=2 {
        let name = format!("PSU{n} Input");
        let input = Analog::new(0x34 + n, &name, 0x0B, WATTS, 70);
        all.push(input.of(10, n).factors(5, 0, (0, 0)));
    }
    for n in 0..extra {
        // What is free; FreeIPMI reads thresholds of other units wrongly.
        let number = match n {
            0..0x8E => 0x71 + n,
            n => 7 + n - 0x8E,
        };
        let name = format!("Aux Temp {n}");
        let raw = 30 + (n % 20) as u8;
        let sensor = temp(number as u8, &name, raw).within(&hot);
        all.push(sensor.of(7, 0x10 + (n % 0x40) as u8));
    }
    all
}

fn discretes() -> Vec<Discrete> {
    const PSU: &[u8] = &[0, 1, 2, 3, 4, 5, 6];
    const CPU: &[u8] = &[0, 1, 5, 7, 8, 10, 11, 12];
    const DIMM: &[u8] = &[0, 1, 4, 5, 6, 7, 9, 10];
    const DRIVE: &[u8] = &[0, 1, 2, 4, 5, 6, 7, 8];
    let new = Discrete::new;
    vec![
        new(0x18, "Fan Redundancy", 4, &[0, 1, 2, 5], (0x1D, 0x60))
            .generic(0x0B)
            .on(0),
        new(0x31, "PSU1 Status", 8, PSU, (10, 1)).on(0),
        new(0x32, "PSU2 Status", 8, PSU, (10, 2)).on(0),
        new(0x37, "PS Redundancy", 8, &[0, 1, 2, 3, 5], (10, 0x60))
            .generic(0x0B)
            .on(0),
        new(0x38, "Power Unit", 9, &[0, 1, 4, 5, 6], (0x13, 1)),
        new(0x41, "CPU1 Status", 7, CPU, (3, 1)).on(7),
        new(0x42, "CPU2 Status", 7, CPU, (3, 2)).on(7),
        new(0x48, "Memory ECC", 0x0C, &[0, 1, 2, 3, 5], (0x20, 0x60)),
        new(0x49, "DIMM_A1", 0x0C, DIMM, (0x20, 1)).on(6),
        new(0x4A, "DIMM_B1", 0x0C, DIMM, (0x20, 2)).on(6),
        Discrete { share: 4, ..new(0x50, "Drive ", 0x0D, DRIVE, (4, 1)).on(0) },
        new(0x60, "Intrusion", 5, &[0, 4], (0x17, 1)),
        new(0x61, "SEL Fullness", 0x10, &[2, 4, 5], (6, 1)),
        new(0x62, "CMOS Battery", 0x29, &[0, 1, 2], (0x28, 1)).on(2),
        new(0x63, "PCIe Errors", 0x13, &[0, 4, 5, 7, 8, 10], (7, 1)),
        Discrete {
            exists: false,
            ..new(0x64, "Absent Sensor", 0x0D, &[0, 1], (4, 9))
        },
    ]
}

/// The commands that make it, with `extra` more temperatures; what they refer
/// to is left in `dir`.
pub fn commands(extra: usize, dir: &Path) -> String {
    let mut records = Vec::new();
    let mut sensors = String::new();
    let event_only = |number, name: &str, kind, entity: (u8, u8)| {
        let mut body = vec![BMC, 0, number, entity.0, entity.1, kind];
        body.extend([0x6F, 1, 0, 0, 0]);
        named(body, name, 0x03)
    };
    records.push(event_only(0, "Watchdog", 0x23, (6, 1)));
    let mc = vec![BMC, 0, 0, 0xBF, 0, 0, 0, 6, 1, 0];
    records.push(named(mc, "LabBMC", 0x12));
    for n in 1..=2 {
        let body = vec![BMC, 0x10 + n, 0x80, 0, 0, 0x10, 0, 10, n, 0];
        records.push(named(body, &format!("PSU{n} FRU"), 0x11));
    }
    let (of_satellite, of_bmc): (Vec<_>, Vec<_>) =
        analogs(extra).into_iter().partition(|s| s.owner == SATELLITE);
    for sensor in &of_bmc {
        records.push(sensor.record());
        sensor.commands(&mut sensors);
    }
    for sensor in discretes() {
        records.push(sensor.record());
        if sensor.exists {
            sensor.commands(&mut sensors);
        }
    }
    line(
        &mut sensors,
        format!(
            "mc_add {SATELLITE:#x} 2 no-device-sdrs 0x98 0x10 1 0xa0 0x1291 \
             0xf03"
        ),
    );
    for sensor in &of_satellite {
        records.push(sensor.record());
        sensor.commands(&mut sensors);
    }
    line(&mut sensors, format!("mc_enable {SATELLITE:#x}"));
    records.push(event_only(0x70, "POST Error", 0x0F, (0x22, 1)));

    let mut out = String::new();
    line(&mut out, format!("mc_setbmc {BMC:#x}"));
    line(
        &mut out,
        format!("mc_add {BMC:#x} 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02"),
    );
    line(&mut out, format!("sel_enable {BMC:#x} 1000 0x0a"));
    // The simulator wants the watchdog to be the first.
    line(&mut out, format!("sensor_add {BMC:#x} 0 0 35 0x6f event-only"));
    for record in records {
        let bytes: Vec<String> =
            record.iter().map(|b| format!("{b:#04x}")).collect();
        line(&mut out, format!("main_sdr_add {BMC:#x} {}", bytes.join(" ")));
    }
    for n in 1..=2 {
        let file = dir.join(format!("supply-{n}"));
        let inventory = supply_inventory(&format!("DTXJ8231AB{n}"));
        std::fs::write(&file, inventory).unwrap();
        line(&mut out, give_supply(n, &file));
    }
    out.push_str(&sensors);
    line(&mut out, format!("mc_enable {BMC:#x}"));
    out
}

/// The inventory of a power supply: a product area and nothing else.
pub fn supply_inventory(serial: &str) -> Vec<u8> {
    let mut product = vec![1, 0, 0];
    for text in ["Acme", "PowerBrick 800", "PB800", "1.0", serial, "", ""] {
        product.push(0xC0 | text.len() as u8);
        product.extend(text.bytes());
    }
    product.push(0xC1);
    while product.len() % 8 != 7 {
        product.push(0);
    }
    product[1] = ((product.len() + 1) / 8) as u8;
    product.push(sum(&product));
    let mut bytes = vec![1, 0, 0, 0, 1, 0, 0];
    bytes.push(sum(&bytes));
    bytes.extend(product);
    bytes.resize(256, 0);
    bytes
}

/// The command that gives supply `n` the inventory in this file.
pub fn give_supply(n: u8, file: &Path) -> String {
    let id = 0x10 + n;
    format!("mc_add_fru_data {BMC:#x} {id:#x} 256 file 0 {file:?}")
}

/// What makes all bytes sum to nothing.
fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, b| sum.wrapping_sub(*b))
}
