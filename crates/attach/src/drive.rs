//! What only a Windows drive can be told: its letter, its sectors, what it does with zeroes.

use std::fmt;
use std::str::FromStr;

use disk_types::{Error, ErrorKind, Result};

/// Who makes the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Via {
    /// The kernel driver of sparsedisk (Windows).
    Driver,
    /// The kernel's loop driver (Linux).
    Loop,
}

impl Via {
    /// The name, as the command line spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::Loop => "loop",
        }
    }
}

/// A drive letter, `A` to `Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DriveLetter(u8);

impl DriveLetter {
    /// The letter of `character`, upper or lower case.
    #[must_use]
    pub const fn new(character: char) -> Option<Self> {
        if character.is_ascii_alphabetic() { Some(Self((character as u8).to_ascii_uppercase())) } else { None }
    }

    /// The letter, in upper case.
    #[must_use]
    pub const fn as_char(self) -> char {
        self.0 as char
    }
}

impl fmt::Display for DriveLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.as_char())
    }
}

impl FromStr for DriveLetter {
    type Err = Error;

    /// Reads `X:`, `x` or `X:\`.
    fn from_str(text: &str) -> Result<Self> {
        let letter = text.strip_suffix(['\\', '/']).unwrap_or(text);
        let letter = letter.strip_suffix(':').unwrap_or(letter);
        let mut characters = letter.chars();
        match (characters.next().and_then(Self::new), characters.next()) {
            (Some(letter), None) => Ok(letter),
            _ => Err(Error::new(ErrorKind::InvalidInput, "use as a drive letter")
                .at_path(text)
                .because("a drive letter is one of A: to Z:")),
        }
    }
}

/// How a drive behaves that is made by the Windows driver. Elsewhere everything but the default is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveOptions {
    /// The letter wanted. Without it the first free one from `D:` on.
    pub letter: Option<DriveLetter>,
    /// Windows treats the drive as a removable one.
    pub removable: bool,
    /// Bytes of a sector: 512 or 4096. Without it 512.
    pub sector_bytes: Option<u32>,
    /// A file system without holes beneath the image is no reason to refuse it, and the image is not marked sparse.
    pub dense: bool,
    /// Zeroes written in whole units become holes. On unless switched off.
    pub zero_detection: bool,
    /// Bytes that stay free on the volume beneath the image: new space is refused below that, and what is allocated
    /// can still be written (law 9). Without it 256 MiB.
    pub keep_free_bytes: Option<u64>,
}

impl Default for DriveOptions {
    fn default() -> Self {
        Self {
            letter: None,
            removable: false,
            sector_bytes: None,
            dense: false,
            zero_detection: true,
            keep_free_bytes: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_read_as_people_write_it_and_nothing_else_is_one() {
        for text in ["X:", "x:", "X", "x", "X:\\", "x:/"] {
            assert_eq!(text.parse::<DriveLetter>().unwrap().to_string(), "X:", "{text}");
        }
        for wrong in ["", ":", "XY:", "1:", "X:\\dir", "\u{e4}:", "X::", "\\\\.\\X:"] {
            assert_eq!(wrong.parse::<DriveLetter>().unwrap_err().kind(), ErrorKind::InvalidInput, "{wrong}");
        }
    }
}
