//! What a sensor says now, of the answer to Get Sensor Reading (IPMI 2.0
//! 35.14): a value, the thresholds it has crossed or the states that hold;
//! or why that is not known.

use super::sensor::{Conversion, Sensor};
use super::states;
use super::thresholds::{self, Thresholds};

/// Why there is no reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unknown {
    /// The sensor's scanning is switched off (bit 6 is 0).
    ScanningDisabled,
    /// The BMC has none yet, or its entity is not there (bit 5).
    ReadingUnavailable,
    /// C0h: the BMC has no time; ask again soon.
    Busy,
    /// C3h, D3h: who owns the sensor did not answer the BMC.
    NoAnswer,
    /// CBh: there is no such sensor.
    Absent,
    /// CEh, D5h and others of that sort: not now.
    NotNow,
    /// C1h, CDh: the sensor cannot be read at all.
    Unsupported,
    /// D4h: the session may not ask that.
    NotPermitted,
    /// D0h to D2h: the BMC starts, or is being updated.
    Updating,
    /// Another completion code.
    Refused(u8),
    /// The answer is too short to mean anything.
    Short,
    /// The sensor's formula makes no number of it: a logarithm of nought.
    NoNumber,
}

impl Unknown {
    /// The words, by place.
    pub const WORDS: [&'static str; 12] = [
        "scanning-disabled",
        "reading-unavailable",
        "busy",
        "no-answer",
        "absent",
        "not-now",
        "unsupported",
        "not-permitted",
        "updating",
        "refused",
        "short",
        "no-number",
    ];

    /// The word used everywhere.
    pub fn word(self) -> &'static str {
        let at = match self {
            Unknown::ScanningDisabled => 0,
            Unknown::ReadingUnavailable => 1,
            Unknown::Busy => 2,
            Unknown::NoAnswer => 3,
            Unknown::Absent => 4,
            Unknown::NotNow => 5,
            Unknown::Unsupported => 6,
            Unknown::NotPermitted => 7,
            Unknown::Updating => 8,
            Unknown::Refused(_) => 9,
            Unknown::Short => 10,
            Unknown::NoNumber => 11,
        };
        Unknown::WORDS[at]
    }

    /// What a completion code other than 0 means for a reading (IPMI 2.0
    /// table 5-2).
    pub fn of(completion: u8) -> Unknown {
        match completion {
            0xc0 => Unknown::Busy,
            0xc3 | 0xd3 => Unknown::NoAnswer,
            0xcb => Unknown::Absent,
            0xc1 | 0xc2 | 0xcd => Unknown::Unsupported,
            0xce | 0xcf | 0xd5 | 0xd6 => Unknown::NotNow,
            0xd0..=0xd2 => Unknown::Updating,
            0xd4 => Unknown::NotPermitted,
            other => Unknown::Refused(other),
        }
    }

    /// Whether asking again at once may help.
    pub fn is_worth_a_retry(self) -> bool {
        matches!(self, Unknown::Busy | Unknown::Short)
    }
}

/// A reading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The raw byte; means nothing where the sensor has no analog reading.
    pub raw: u8,
    /// The value, where the sensor has one.
    pub value: Option<f64>,
    /// The thresholds crossed (bits 0 to 5), or the states that hold (0 to
    /// 14); 0 is none of them.
    pub bits: u16,
    /// Whether the status bits and the value against the thresholds said
    /// different things.
    pub disputed: bool,
    /// The states by name: thresholds crossed, or states that hold; those
    /// without a name in the specification are `state-N`.
    pub states: Vec<&'static str>,
}

impl Reading {
    /// How bad the crossed thresholds are, 0 to 3; meaningless for others.
    pub fn level(&self) -> u8 {
        thresholds::level(self.bits as u8)
    }
}

impl Sensor {
    /// Whether the sensor's part is there, if it is one that tells.
    pub fn presence(&self, reading: &Reading) -> Option<bool> {
        let bit = states::presence(self.kind, self.reading_type)?;
        (self.mask & bit != 0).then_some(reading.bits & bit != 0)
    }
}

/// Status byte: scanning is enabled.
const SCANNING: u8 = 1 << 6;
/// Status byte: the reading is not to be used.
const UNAVAILABLE: u8 = 1 << 5;

impl Sensor {
    /// What the answer to Get Sensor Reading says: its completion code, and
    /// what follows that. `limits` are the thresholds in force, raw: those
    /// that the BMC told, else the record's.
    ///
    /// # Errors
    /// Why nothing is known.
    pub fn reading(
        &self,
        completion: u8,
        data: &[u8],
        limits: &Thresholds<u8>,
    ) -> Result<Reading, Unknown> {
        if completion != 0 {
            return Err(Unknown::of(completion));
        }
        let [raw, status, rest @ ..] = data else {
            return Err(Unknown::Short);
        };
        if status & SCANNING == 0 {
            return Err(Unknown::ScanningDisabled);
        }
        if status & UNAVAILABLE != 0 {
            return Err(Unknown::ReadingUnavailable);
        }
        let value = self.conversion.as_ref().and_then(|c| c.value(*raw));
        let is_number = |c: &Conversion| value.is_some() || c.needs_factors();
        if !self.conversion.as_ref().is_none_or(is_number) {
            return Err(Unknown::NoNumber);
        }
        if self.has_thresholds() {
            return Ok(self.analog(*raw, value, rest.first(), limits));
        }
        let [low, high @ ..] = rest else { return Err(Unknown::Short) };
        // Bit 15 is reserved and always 1.
        let high = high.first().map_or(0, |high| high & 0x7f);
        let told = u16::from_le_bytes([*low, high]);
        let bits = told & self.mask;
        let states = states::words(self.kind, self.reading_type, bits);
        Ok(Reading { raw: *raw, value, bits, disputed: false, states })
    }

    /// Of a sensor with thresholds. Where the value can be held against
    /// them it decides, since BMCs set stray status bits; within the
    /// hysteresis of a threshold, and where there is nothing to compare, the
    /// status bits do.
    fn analog(
        &self,
        raw: u8,
        value: Option<f64>,
        status: Option<&u8>,
        limits: &Thresholds<u8>,
    ) -> Reading {
        let told = status.map(|s| s & thresholds::ALL_BITS & self.mask as u8);
        let values = self.values_of(&self.believed(limits));
        let compared = value
            .filter(|_| values.are_in_order() && !values.is_empty())
            .map(|value| values.crossed(value));
        let bits = match (compared, told) {
            (None, told) => told.unwrap_or(0),
            (Some(compared), None) => compared,
            (Some(compared), Some(told)) => {
                let known: u8 = values.iter().map(|(t, _)| t.bit()).sum();
                let held = self.held(raw, limits);
                compared | told & (held | !known)
            }
        };
        Reading {
            raw,
            value,
            bits: bits.into(),
            disputed: told.is_some_and(|told| told != bits),
            states: thresholds::words(bits),
        }
    }

    /// The thresholds that a value can be held against. One at nought or at
    /// an end of the scale is where records have it that nobody filled in: a
    /// reading can hardly be beyond it, or always is. The BMC's own status
    /// bit decides there.
    fn believed(&self, limits: &Thresholds<u8>) -> Thresholds<u8> {
        let Some(conversion) = &self.conversion else { return *limits };
        limits.filter_map(|raw| {
            let number = conversion.format.number(raw);
            let is_end = conversion.format.is_end(raw);
            (number != 0 && !is_end).then_some(raw)
        })
    }

    /// The thresholds that the reading has left, by no more than their
    /// hysteresis: the BMC may still hold their states.
    fn held(&self, raw: u8, limits: &Thresholds<u8>) -> u8 {
        let Some(conversion) = &self.conversion else { return 0 };
        let number = |raw| conversion.format.number(raw);
        let mut held = 0;
        for (threshold, at) in limits.iter() {
            let slack = if threshold.is_upper() {
                self.hysteresis_upper
            } else {
                self.hysteresis_lower
            };
            if number(raw).abs_diff(number(at)) <= u16::from(slack) {
                held |= threshold.bit();
            }
        }
        held
    }
}
