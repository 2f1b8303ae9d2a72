//! Spans of time as people write and read them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The units, the largest first: their seconds, how they are written, how they are shown.
const UNITS: [(u64, &str, &str); 4] = [(86_400, "d", "d"), (3_600, "h", "h"), (60, "m", "min"), (1, "s", "s")];

/// The longest span that can be written, in seconds: far more than a server runs.
const MAX_SECONDS: u64 = 366 * 86_400;

/// A span of time: written as `30s`, `15m`, `1h` or `1d`, at least a second and at most a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval(pub(crate) Duration);

impl Interval {
    /// A span in milliseconds.
    pub(crate) const fn of_ms(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }
}

impl FromStr for Interval {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let unit = UNITS.iter().find(|(_, written, shown)| unit == *written || unit == *shown);
        let Some((unit_seconds, ..)) = unit.filter(|_| !digits.is_empty()) else {
            return Err("a number and a unit are wanted, such as 30s, 15m, 1h or 1d");
        };
        match digits.parse::<u64>().ok().and_then(|count| count.checked_mul(*unit_seconds)) {
            Some(seconds @ 1..=MAX_SECONDS) => Ok(Self(Duration::from_secs(seconds))),
            _ => Err("it is at least 1s and at most 366d"),
        }
    }
}

impl fmt::Display for Interval {
    /// In its two largest units: `1 h 30 min`; below ten seconds as `1.5 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        if seconds < 10 {
            return match self.0.subsec_millis() / 100 {
                0 => write!(f, "{seconds} s"),
                tenths => write!(f, "{seconds}.{tenths} s"),
            };
        }
        let largest = UNITS.iter().position(|&(unit, ..)| seconds >= unit).unwrap_or(UNITS.len() - 1);
        let (unit, _, name) = UNITS[largest];
        write!(f, "{} {name}", seconds / unit)?;
        match UNITS.get(largest + 1) {
            Some(&(smaller, _, name)) if seconds % unit >= smaller => {
                write!(f, " {} {name}", seconds % unit / smaller)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_shown() {
        for (text, seconds, shown) in [
            ("1s", 1, "1 s"),
            ("90s", 90, "1 min 30 s"),
            ("15m", 900, "15 min"),
            (" 15min ", 900, "15 min"),
            ("1h", 3600, "1 h"),
            ("25h", 90_000, "1 d 1 h"),
            ("366d", MAX_SECONDS, "366 d"),
        ] {
            let interval: Interval = text.parse().unwrap();
            assert_eq!((interval.0.as_secs(), interval.to_string().as_str()), (seconds, shown), "{text}");
        }
        assert_eq!(Interval::of_ms(1_549).to_string(), "1.5 s");
        assert_eq!(Interval::of_ms(90_061_000).to_string(), "1 d 1 h");
        assert_eq!(Interval::of_ms(86_401_000).to_string(), "1 d");
    }

    #[test]
    fn what_is_no_span_says_why() {
        for text in ["", "1", "h", "-1h", "1.5h", "1 h", "1w", "1H", "0s", "367d", "99999999999999999999d"] {
            assert!(text.parse::<Interval>().is_err(), "{text}");
        }
    }
}
