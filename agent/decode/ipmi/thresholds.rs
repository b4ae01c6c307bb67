//! Thresholds of an analog sensor: which there are, where they are, and
//! which a reading has crossed.

/// One threshold, in the order of the bits that tell of it (IPMI 2.0 table
/// 35-15 "Get Sensor Reading": bit 0 lower non-critical to bit 5 upper
/// non-recoverable).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Threshold {
    /// Bit 0.
    LowerNonCritical,
    /// Bit 1.
    LowerCritical,
    /// Bit 2.
    LowerNonRecoverable,
    /// Bit 3.
    UpperNonCritical,
    /// Bit 4.
    UpperCritical,
    /// Bit 5.
    UpperNonRecoverable,
}

/// The bits that mean a threshold; BMCs set the two above as well.
pub const ALL_BITS: u8 = 0x3f;

impl Threshold {
    /// Each of them.
    pub const ALL: [Threshold; 6] = [
        Threshold::LowerNonCritical,
        Threshold::LowerCritical,
        Threshold::LowerNonRecoverable,
        Threshold::UpperNonCritical,
        Threshold::UpperCritical,
        Threshold::UpperNonRecoverable,
    ];

    /// Its bit.
    pub fn bit(self) -> u8 {
        1 << self as u8
    }

    /// Whether readings above it are wrong, and not those below.
    pub fn is_upper(self) -> bool {
        self >= Threshold::UpperNonCritical
    }

    /// Its name, as a state of a sensor that has crossed it.
    pub fn word(self) -> &'static str {
        WORDS[self as usize]
    }
}

/// The states of a sensor with thresholds, by bit.
pub const WORDS: [&str; 6] = [
    "lower-non-critical",
    "lower-critical",
    "lower-non-recoverable",
    "upper-non-critical",
    "upper-critical",
    "upper-non-recoverable",
];

/// Something for each threshold that there is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Thresholds<T>([Option<T>; 6]);

impl<T: Copy> Thresholds<T> {
    /// The threshold's, if there is one.
    pub fn get(&self, threshold: Threshold) -> Option<T> {
        self.0[threshold as usize]
    }

    /// Sets it.
    pub fn set(&mut self, threshold: Threshold, value: T) {
        self.0[threshold as usize] = Some(value);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Those that there are.
    pub fn iter(&self) -> impl Iterator<Item = (Threshold, T)> + '_ {
        let all = Threshold::ALL.into_iter();
        all.filter_map(|t| self.get(t).map(|value| (t, value)))
    }

    /// Each made into something else, or into none.
    pub fn filter_map<U: Copy>(
        &self,
        f: impl Fn(T) -> Option<U>,
    ) -> Thresholds<U> {
        Thresholds(self.0.map(|value| value.and_then(&f)))
    }
}

impl Thresholds<u8> {
    /// Of the answer to Get Sensor Thresholds (IPMI 2.0 35.9), without its
    /// completion code: a mask of what is readable, then lower and upper
    /// thresholds from the inside out. `None` where it is cut short.
    pub fn from_response(data: &[u8]) -> Option<Thresholds<u8>> {
        let (mask, values) = data.split_first()?;
        let mut thresholds = Thresholds::default();
        for threshold in Threshold::ALL {
            if mask & threshold.bit() != 0 {
                thresholds.set(threshold, *values.get(threshold as usize)?);
            }
        }
        Some(thresholds)
    }

    /// Of a full sensor record: `values` are bytes 37 to 42, upper and lower
    /// thresholds from the outside in.
    pub(super) fn of_record(mask: u8, values: &[u8]) -> Thresholds<u8> {
        const ORDER: [Threshold; 6] = [
            Threshold::UpperNonRecoverable,
            Threshold::UpperCritical,
            Threshold::UpperNonCritical,
            Threshold::LowerNonRecoverable,
            Threshold::LowerCritical,
            Threshold::LowerNonCritical,
        ];
        let mut thresholds = Thresholds::default();
        for (threshold, value) in ORDER.into_iter().zip(values) {
            if mask & threshold.bit() != 0 {
                thresholds.set(threshold, *value);
            }
        }
        thresholds
    }
}

impl Thresholds<f64> {
    /// Whether a value can be held against them: they stand in their order,
    /// from lower non-recoverable up to upper non-recoverable. BMCs have
    /// records with nothing but zeroes, or with a lower threshold above an
    /// upper one.
    pub fn are_in_order(&self) -> bool {
        const ORDER: [Threshold; 6] = [
            Threshold::LowerNonRecoverable,
            Threshold::LowerCritical,
            Threshold::LowerNonCritical,
            Threshold::UpperNonCritical,
            Threshold::UpperCritical,
            Threshold::UpperNonRecoverable,
        ];
        let there: Vec<(Threshold, f64)> = ORDER
            .into_iter()
            .filter_map(|t| self.get(t).map(|value| (t, value)))
            .collect();
        there.windows(2).all(|pair| {
            let ((a, x), (b, y)) = (pair[0], pair[1]);
            // A lower and an upper threshold at one place leave no room for
            // a good reading.
            let apart = a.is_upper() != b.is_upper();
            if apart { x < y } else { x <= y }
        })
    }

    /// The bits of those that the value has crossed: at an upper one or
    /// above, at a lower one or below.
    pub fn crossed(&self, value: f64) -> u8 {
        let crossed = |(threshold, at): (Threshold, f64)| {
            let is =
                if threshold.is_upper() { value >= at } else { value <= at };
            if is { threshold.bit() } else { 0 }
        };
        self.iter().map(crossed).fold(0, |all, bit| all | bit)
    }
}

/// The states that these bits mean, worst last.
pub fn words(bits: u8) -> Vec<&'static str> {
    let all = Threshold::ALL.into_iter();
    all.filter(|t| bits & t.bit() != 0).map(Threshold::word).collect()
}

/// How bad crossing these is: 0 not at all, 1 non-critical, 2 critical,
/// 3 non-recoverable.
pub fn level(bits: u8) -> u8 {
    match bits & ALL_BITS {
        b if b & 0b10_0100 != 0 => 3,
        b if b & 0b01_0010 != 0 => 2,
        b if b & 0b00_1001 != 0 => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(Threshold, f64)]) -> Thresholds<f64> {
        let mut thresholds = Thresholds::default();
        for (threshold, at) in pairs {
            thresholds.set(*threshold, *at);
        }
        thresholds
    }

    #[test]
    fn a_response_tells_only_what_its_mask_has() {
        let data = [0b01_1001, 1, 2, 3, 4, 5, 6];
        let thresholds = Thresholds::from_response(&data).unwrap_or_default();
        let got: Vec<_> = thresholds.iter().collect();
        assert_eq!(
            got,
            [
                (Threshold::LowerNonCritical, 1),
                (Threshold::UpperNonCritical, 4),
                (Threshold::UpperCritical, 5)
            ]
        );
        assert_eq!(Thresholds::from_response(&[0b01_1001, 1, 2]), None);
        assert_eq!(Thresholds::from_response(&[]), None);
        let none = Thresholds::from_response(&[0]);
        assert!(none.is_some_and(|none| none.is_empty()));
    }

    #[test]
    fn a_value_at_a_threshold_has_crossed_it() {
        let fan = of(&[
            (Threshold::LowerCritical, 500.0),
            (Threshold::LowerNonCritical, 800.0),
        ]);
        assert_eq!(fan.crossed(801.0), 0);
        assert_eq!(words(fan.crossed(800.0)), ["lower-non-critical"]);
        assert_eq!(level(fan.crossed(500.0)), 2);
        let hot = of(&[(Threshold::UpperNonRecoverable, 100.0)]);
        assert_eq!(level(hot.crossed(100.0)), 3);
        assert_eq!(hot.crossed(99.0), 0);
    }

    #[test]
    fn thresholds_out_of_order_are_not_held_against_a_value() {
        use Threshold::{LowerCritical, UpperCritical, UpperNonCritical};
        assert!(
            of(&[(LowerCritical, 1.0), (UpperCritical, 2.0)]).are_in_order()
        );
        assert!(
            of(&[(UpperNonCritical, 2.0), (UpperCritical, 2.0)]).are_in_order()
        );
        assert!(
            !of(&[(LowerCritical, 0.0), (UpperCritical, 0.0)]).are_in_order()
        );
        assert!(
            !of(&[(UpperNonCritical, 3.0), (UpperCritical, 2.0)])
                .are_in_order()
        );
        assert!(of(&[]).are_in_order());
    }
}
