//! How often.

use std::fmt;
use std::str::FromStr;

/// A span of time after which a clock begins again, so that it can be written as a calendar: so many minutes that divide
/// an hour, hours that divide a day, or days up to 30. A run that was missed can then be made up for, which a
/// count from the start of the machine cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Every {
    minutes: u32,
}

const HOUR: u32 = 60;
const DAY: u32 = 24 * HOUR;

impl Every {
    /// So many minutes; `None` unless they are as described above.
    #[must_use]
    pub const fn minutes(minutes: u32) -> Option<Self> {
        let divides = minutes > 0
            && (HOUR.is_multiple_of(minutes)
                || (minutes.is_multiple_of(HOUR) && DAY.is_multiple_of(minutes))
                || (minutes.is_multiple_of(DAY) && minutes / DAY <= 30));
        if divides { Some(Self { minutes }) } else { None }
    }

    /// In minutes.
    #[must_use]
    pub const fn as_minutes(self) -> u32 {
        self.minutes
    }

    /// As systemd writes calendars (`systemd.time(7)`). Several days are counted from the first of each month, so the last
    /// of a month can be followed sooner; weeks begin on Monday.
    pub(crate) fn calendar(self) -> String {
        let hours = self.minutes / HOUR;
        match self.minutes {
            minutes if minutes < HOUR => format!("*-*-* *:00/{minutes}:00"),
            HOUR => "*-*-* *:00:00".to_owned(),
            minutes if minutes < DAY => format!("*-*-* 00/{hours}:00:00"),
            DAY => "*-*-* 00:00:00".to_owned(),
            minutes if minutes == 7 * DAY => "Mon *-*-* 00:00:00".to_owned(),
            minutes => format!("*-*-01/{} 00:00:00", minutes / DAY),
        }
    }

    /// By how many seconds runs may be spread, so that all images of a machine are not trimmed at once: a tenth, at most
    /// an hour.
    pub(crate) const fn spread_seconds(self) -> u32 {
        let tenth = self.minutes * 6;
        if tenth < 3600 { tenth } else { 3600 }
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.minutes {
            minutes if minutes.is_multiple_of(DAY) => write!(f, "{}d", minutes / DAY),
            minutes if minutes.is_multiple_of(HOUR) => write!(f, "{}h", minutes / HOUR),
            minutes => write!(f, "{minutes}min"),
        }
    }
}

impl FromStr for Every {
    type Err = String;

    /// `15min` or `15m`, `6h`, `1d`, `1w`.
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit_minutes = match unit.trim() {
            "m" | "min" | "minute" | "minutes" => 1,
            "h" | "hour" | "hours" => HOUR,
            "d" | "day" | "days" => DAY,
            "w" | "week" | "weeks" => 7 * DAY,
            _ => return Err("a number and a unit, such as 30min, 6h, 1d or 1w".to_owned()),
        };
        let minutes = number.parse::<u32>().ok().and_then(|number| number.checked_mul(unit_minutes));
        minutes
            .and_then(Self::minutes)
            .ok_or_else(|| "minutes must divide an hour (15min), hours a day (6h), and days be at most 30".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_calendar_can_say_is_taken_and_nothing_else() {
        for (text, shown, calendar) in [
            ("1min", "1min", "*-*-* *:00/1:00"),
            ("30m", "30min", "*-*-* *:00/30:00"),
            ("60min", "1h", "*-*-* *:00:00"),
            ("6h", "6h", "*-*-* 00/6:00:00"),
            ("24h", "1d", "*-*-* 00:00:00"),
            ("1d", "1d", "*-*-* 00:00:00"),
            ("1w", "7d", "Mon *-*-* 00:00:00"),
            ("7d", "7d", "Mon *-*-* 00:00:00"),
            ("2 weeks", "14d", "*-*-01/14 00:00:00"),
            ("30d", "30d", "*-*-01/30 00:00:00"),
        ] {
            let every: Every = text.parse().unwrap();
            assert_eq!((every.to_string(), every.calendar()), (shown.to_owned(), calendar.to_owned()), "{text}");
            assert_eq!(every.to_string().parse::<Every>().unwrap(), every);
        }
        for text in
            ["", "1", "d", "0d", "7min", "5h", "36h", "31d", "5w", "-1d", "1.5h", "99999999999d", "4294967295w", "1s"]
        {
            assert!(text.parse::<Every>().is_err(), "{text}");
        }
    }

    #[test]
    fn runs_are_spread_by_a_tenth_and_at_most_an_hour() {
        let spread = |text: &str| text.parse::<Every>().unwrap().spread_seconds();
        assert_eq!((spread("1min"), spread("1h"), spread("6h"), spread("1d")), (6, 360, 2160, 3600));
    }
}
