//! Sizes as people write them, and as they read them.
//!
//! | written | means |
//! | --- | --- |
//! | `4096`, `4096B` | bytes |
//! | `512K`, `512KiB`, `512M`, `10G`, `1T`, `2P` | powers of 1024, with or without `iB` |
//! | `10KB`, `10MB`, `10GB`, `1TB` | powers of 1000 |
//! | `1.5G`, `0.25TB` | a fraction of a unit, rounded down to a multiple of 512 bytes |
//!
//! That is the convention of GNU's tools. Upper and lower case are the same; a space before the unit is allowed.

use std::fmt;
use std::str::FromStr;

use disk_types::MAX_OFFSET;

/// The line of help about sizes, followed by more, for every verb that takes one.
macro_rules! help_with_sizes {
    ($more:literal) => {
        concat!(
            "Sizes: 4096 (bytes); 512K, 1.5G, 10GiB (powers of 1024); 10GB, 1TB (powers of 1000). A fraction is rounded \
             down to a multiple of 512 bytes.\n\n",
            $more
        )
    };
}
pub(crate) use help_with_sizes;

const IEC: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// A number of bytes given on the command line, at most the largest file offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// Why a size was not understood: one line, with what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadSize(String);

impl fmt::Display for BadSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadSize {}

impl FromStr for Size {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, BadSize> {
        let text = text.trim();
        let bad = |why: &str| Err(BadSize(why.to_owned()));
        if text.is_empty() {
            return bad("a size is missing; write for example 10GiB");
        }
        if text.starts_with("--") {
            return bad("a size is missing before the next option; write for example 10GiB");
        }
        if text.starts_with('-') {
            return bad("a size cannot be negative");
        }
        let (digits, unit) = split_digits(text);
        if digits.is_empty() {
            return bad("a size starts with a number; write for example 10GiB");
        }
        let (fraction, unit) = match unit.strip_prefix('.') {
            Some(rest) => match split_digits(rest) {
                ("", _) => return bad("after the point comes a fraction; write for example 1.5GiB"),
                (fraction, unit) => (fraction, unit),
            },
            None if unit.starts_with(',') => return bad("a fraction is written with a point, such as 1.5GiB"),
            None => ("", unit),
        };
        let Some(unit_bytes) = unit_bytes(unit.trim_start()) else {
            return bad(
                "the unit is not known; use K, M, G, T, P, E or KiB to EiB (powers of 1024), or KB to EB (powers of 1000)",
            );
        };
        if !fraction.is_empty() && unit_bytes == 1 {
            return bad("a byte has no fraction; write a unit, such as 1.5GiB");
        }
        match bytes_of(digits, fraction, unit_bytes) {
            Some(bytes) if bytes <= MAX_OFFSET => Ok(Self(bytes)),
            _ => bad("that is more than the largest file, one byte less than 8EiB"),
        }
    }
}

/// The digits at the start, and the rest.
fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// `digits.fraction` times the unit. With a fraction it is rounded down to a whole sector, because no disk has less.
fn bytes_of(digits: &str, fraction: &str, unit_bytes: u64) -> Option<u64> {
    const SECTOR_BYTES: u64 = 512;
    let whole = digits.parse::<u64>().ok()?.checked_mul(unit_bytes)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    // The first 18 digits are as fine as any unit here: a part in 10^18 of an exabyte is a byte.
    let fraction = &fraction[..fraction.len().min(18)];
    let parts = u128::from(fraction.parse::<u64>().ok()?) * u128::from(unit_bytes);
    let part = u64::try_from(parts / 10u128.pow(u32::try_from(fraction.len()).ok()?)).ok()?;
    let bytes = whole.checked_add(part)?;
    Some(bytes - bytes % SECTOR_BYTES)
}

fn unit_bytes(unit: &str) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    if matches!(unit.as_str(), "" | "b") {
        return Some(1);
    }
    let power = u32::try_from("kmgtpe".find(unit.chars().next()?)?).ok()? + 1;
    match &unit[1..] {
        "" | "ib" => Some(1024u64.pow(power)),
        "b" => Some(1000u64.pow(power)),
        _ => None,
    }
}

/// A number of bytes for reading: `1.5 GiB`, `10 GiB`, `512 B`, cut to two decimals.
///
/// Cut, not rounded: a file that lacks one byte of 1 GiB is not shown as 1 GiB.
#[derive(Clone, Copy)]
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let power = (1..IEC.len()).rev().find(|&power| self.0 >> (10 * power) > 0).unwrap_or(0);
        let whole = self.0 >> (10 * power);
        let rest = self.0 - (whole << (10 * power));
        let hundredths = (u128::from(rest) * 100) >> (10 * power);
        let text = match (hundredths, hundredths % 10) {
            (0, _) => format!("{whole} {}", IEC[power]),
            (_, 0) => format!("{whole}.{} {}", hundredths / 10, IEC[power]),
            _ => format!("{whole}.{hundredths:02} {}", IEC[power]),
        };
        f.pad(&text)
    }
}

/// A number of bytes for reading, followed by the exact number where that says more.
pub(crate) struct Exact(pub(crate) u64);

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1024 {
            write!(f, "{}", Bytes(self.0))
        } else {
            write!(f, "{} ({} bytes)", Bytes(self.0), Count(self.0))
        }
    }
}

/// A number with a comma at every third digit.
#[derive(Clone, Copy)]
pub(crate) struct Count(pub(crate) u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::with_capacity(digits.len() * 4 / 3);
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

/// So many of something: `1 extent`, `1,204 extents`.
pub(crate) struct Many(pub(crate) u64, pub(crate) &'static str);

impl fmt::Display for Many {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", Count(self.0), self.1, if self.0 == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_without_b_and_with_ib_are_binary_and_with_b_decimal() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("4096B", 4096),
            ("512K", 512 << 10),
            ("512M", 512 << 20),
            ("10GiB", 10 << 30),
            ("10 gib", 10 << 30),
            (" 1t ", 1 << 40),
            ("2P", 2 << 50),
            ("7EiB", 7 << 60),
            ("1KB", 1000),
            ("1.5G", 1536 << 20),
            ("1.50 GiB", 1536 << 20),
            ("0.25T", 1 << 38),
            ("1.0000000000000000000001K", 1024),
            ("0.3K", 0),
            ("1.7K", 1536),
            ("1.5KB", 1024),
            ("0.1GB", 99_999_744),
            ("7.999999999999999999EiB", MAX_OFFSET - 511),
            ("10GB", 10_000_000_000),
            ("9223372036854775807", MAX_OFFSET),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
    }

    #[test]
    fn a_size_that_does_not_parse_says_why() {
        for (text, word) in [
            ("", "missing"),
            ("  ", "missing"),
            ("-1", "negative"),
            ("--json", "missing"),
            ("-10GiB", "negative"),
            ("1.5", "a byte has no fraction"),
            ("1.G", "fraction"),
            ("1.-5G", "fraction"),
            ("1.5.5G", "unit"),
            (".5G", "starts with a number"),
            ("8.5EiB", "8EiB"),
            ("1,5G", "point"),
            ("G", "starts with a number"),
            ("+1", "starts with a number"),
            ("ten", "starts with a number"),
            ("10X", "unit"),
            ("10KiBs", "unit"),
            ("10 G B", "unit"),
            ("1e3", "unit"),
            ("0x10", "unit"),
            ("10\u{b5}", "unit"),
            ("8EiB", "8EiB"),
            ("9223372036854775808", "8EiB"),
            ("18446744073709551616", "8EiB"),
            ("99999999999999999999999999T", "8EiB"),
        ] {
            let error = text.parse::<Size>().expect_err(text).to_string();
            assert!(error.contains(word), "{text:?}: {error}");
        }
    }

    #[test]
    fn sizes_for_reading_are_cut_to_two_decimals() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (1024 + 11, "1.01 KiB"),
            ((1 << 30) - 1, "1023.99 MiB"),
            (1 << 40, "1 TiB"),
            (u64::MAX, "15.99 EiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
        assert_eq!(format!("[{:>8}]", Bytes(1024)), "[   1 KiB]");
    }

    #[test]
    fn exact_sizes_show_the_bytes_once() {
        assert_eq!(Exact(512).to_string(), "512 B");
        assert_eq!(Exact(10 << 20).to_string(), "10 MiB (10,485,760 bytes)");
        assert_eq!(Count(999).to_string(), "999");
        assert_eq!(Count(1000).to_string(), "1,000");
        assert_eq!(
            (Many(1, "extent").to_string(), Many(0, "extent").to_string()),
            ("1 extent".into(), "0 extents".into())
        );
    }
}
