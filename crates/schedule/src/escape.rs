//! A path as a name of plain characters, and back: the escaping of `systemd.unit(5)`, used on every system.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::sys;

/// `/srv/my disk.img` as `srv-my\x20disk.img`: without the first slash, slashes as dashes, and whatever is neither a letter,
/// a digit nor one of `:_.` as `\x` and two digits. `None` for a path that has no bytes (unpaired surrogates on Windows).
#[must_use]
pub fn escape_path(path: &Path) -> Option<String> {
    let bytes = sys::bytes_of_path(path)?;
    let bytes = bytes.strip_prefix(b"/").unwrap_or(&bytes);
    let mut name = String::with_capacity(bytes.len());
    for (index, &byte) in bytes.iter().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if index == 0 => name.push_str("\\x2e"),
            b'.' | b':' | b'_' => name.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => name.push(byte.into()),
            _ => write!(name, "\\x{byte:02x}").expect("a String takes everything"),
        }
    }
    Some(name)
}

/// The path of a name that [`escape_path`] made. `None` for any other.
#[must_use]
pub fn unescape_path(name: &str) -> Option<PathBuf> {
    let mut bytes = Vec::with_capacity(name.len() + 1);
    let mut rest = name.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'-' => bytes.push(b'/'),
            b'\\' => {
                let digits = after.strip_prefix(b"x")?.get(..2)?;
                bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
                rest = &after[3..];
            }
            &byte => bytes.push(byte),
        }
    }
    let path = sys::path_of_bytes(bytes)?;
    (escape_path(&path)? == name).then_some(path)
}
