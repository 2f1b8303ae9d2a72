//! The volume label, and the time that its directory entry carries.

use std::time::{SystemTime, UNIX_EPOCH};

use block_device::{Error, ErrorKind, Result};

/// A volume label as it is stored: upper case, padded with spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label([u8; 11]);

/// What Windows does not allow in the label of a FAT volume, beside control characters.
const FORBIDDEN: &[u8] = b"\"*+,./:;<=>?[\\]|";

impl Label {
    /// What the boot sector says where there is no label (fatgen, `BS_VolLab`).
    pub(super) const NONE: [u8; 11] = *b"NO NAME    ";

    /// Checks `text`. Empty, or the words that stand for no label, is `None`.
    pub(super) fn new(text: &str) -> Result<Option<Self>> {
        let refuse = |why: String| {
            Err(Error::new(ErrorKind::InvalidInput, "format")
                .because(format!("the label {text:?} cannot be used: {why}"))
                .advise("use up to 11 ASCII letters, digits, spaces, and - _ # $ % & ' ( ) @ ^ ` { } ~ !"))
        };
        let text = text.trim_end_matches(' ');
        if let Some(wrong) = text.chars().find(|c| !c.is_ascii()) {
            return refuse(format!("{wrong:?} is not ASCII, and FAT does not record the code page of a label"));
        }
        if let Some(wrong) = text.bytes().find(|byte| byte.is_ascii_control() || FORBIDDEN.contains(byte)) {
            return refuse(format!("FAT does not allow {:?} in a label", char::from(wrong)));
        }
        if text.starts_with(' ') {
            return refuse("it begins with a space".to_owned());
        }
        if text.len() > 11 {
            return refuse(format!("it has {} characters, and FAT holds 11", text.len()));
        }
        let mut label = [b' '; 11];
        label[..text.len()].copy_from_slice(text.to_ascii_uppercase().as_bytes());
        Ok((!text.is_empty() && label != Self::NONE).then_some(Self(label)))
    }

    /// The 11 bytes.
    pub(super) const fn as_bytes(self) -> [u8; 11] {
        self.0
    }

    /// The label without its padding.
    pub(super) fn text(self) -> String {
        String::from_utf8_lossy(&self.0).trim_end().to_owned()
    }

    /// Its entry in the root directory (fatgen, "FAT Directory Structure"), written, created and last read at `time`.
    pub(super) fn directory_entry(self, time: SystemTime) -> [u8; 32] {
        const ATTR_VOLUME_ID: u8 = 0x08;
        let (date, time) = timestamp(time);
        let mut entry = [0; 32];
        entry[..11].copy_from_slice(&self.0);
        entry[11] = ATTR_VOLUME_ID;
        for (at, value) in [(14, time), (16, date), (18, date), (22, time), (24, date)] {
            entry[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        entry
    }
}

/// The date and the time of day as FAT counts them (fatgen, "Date and Time Formats"), in UTC: FAT records no time zone.
/// Years outside 1980 to 2107 become the nearest of them.
fn timestamp(at: SystemTime) -> (u16, u16) {
    const DAY_SECONDS: u64 = 24 * 60 * 60;
    const FROM_1970_TO_1980: u64 = 3652;
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let Some(mut day) = (seconds / DAY_SECONDS).checked_sub(FROM_1970_TO_1980) else { return (0x0021, 0) };
    let leap = |year: u64| year.is_multiple_of(4) && year != 2100;
    let mut year = 1980;
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
        if year > 2107 {
            return (0xFF9F, 0xBF7D);
        }
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    let second = seconds % DAY_SECONDS;
    let date = ((year - 1980) << 9) | (month << 5) | (day + 1);
    let time = ((second / 3600) << 11) | ((second / 60 % 60) << 5) | (second % 60 / 2);
    (u16::try_from(date).expect("7, 4 and 5 bits"), u16::try_from(time).expect("5, 6 and 5 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_label_is_upper_case_and_padded() {
        assert_eq!(Label::new("My disk").unwrap().unwrap().as_bytes(), *b"MY DISK    ");
        assert_eq!(Label::new("abcdefghijk").unwrap().unwrap().text(), "ABCDEFGHIJK");
        for none in ["", "   ", "NO NAME", "no name"] {
            assert_eq!(Label::new(none).unwrap(), None, "{none:?}");
        }
    }

    #[test]
    fn law10_a_label_that_fat_cannot_hold_is_refused_with_the_reason() {
        for (text, why) in
            [("twelve chars", "12 characters"), ("a/b", "'/'"), ("Größe", "'ö'"), ("a\nb", "'\\n'"), (" a", "space")]
        {
            let error = Label::new(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.message().contains(why) && error.path().is_none(), "{error}");
        }
    }

    #[test]
    fn the_date_is_what_the_calendar_says() {
        let at = |seconds| {
            let (date, time) = timestamp(UNIX_EPOCH + Duration::from_secs(seconds));
            (1980 + (date >> 9), date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2)
        };
        assert_eq!(at(0), (1980, 1, 1, 0, 0, 0));
        assert_eq!(at(951_782_399), (2000, 2, 28, 23, 59, 58));
        assert_eq!(at(951_868_799), (2000, 2, 29, 23, 59, 58));
        assert_eq!(at(1_798_761_599), (2026, 12, 31, 23, 59, 58));
        assert_eq!(at(4_107_542_400), (2100, 3, 1, 0, 0, 0));
        assert_eq!(at(4_354_819_199), (2107, 12, 31, 23, 59, 58));
        assert_eq!(at(u64::from(u32::MAX) * 4), (2107, 12, 31, 23, 59, 58));
    }
}
