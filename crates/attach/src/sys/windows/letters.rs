//! Drive letters: which are free, and whether a drive is there.

use std::fs::OpenOptions;
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use disk_types::{Error, ErrorKind, Result};
use windows_sys::Win32::Storage::FileSystem::{GetLogicalDrives, QueryDosDeviceW};
use windows_sys::Win32::System::Registry::{HKEY_CURRENT_USER, KEY_READ, RegCloseKey, RegOpenKeyExW};

use super::names::wide;
use crate::DriveLetter;

/// Mount Manager and file system may take a moment to make a drive of a device; longer than this is a failure.
const PATIENCE: Duration = Duration::from_secs(10);

/// The letter wanted, if it is free; else every free one from `D:` on. `A:` and `B:` are for floppies, `C:` for Windows.
///
/// # Errors
/// `InUse` if there is none.
pub(super) fn candidates(wanted: Option<DriveLetter>) -> Result<Vec<DriveLetter>> {
    // SAFETY: no arguments, and it touches nothing of ours.
    #[allow(unsafe_code)]
    let drives = unsafe { GetLogicalDrives() };
    let taken = |letter: DriveLetter| {
        let bit = u32::from(letter.as_char()) - u32::from('A');
        // A letter can lead somewhere without being a drive of this session.
        drives >> bit & 1 == 1 || target(letter).is_some()
    };
    match wanted {
        Some(letter) if taken(letter) => Err(in_use(letter)),
        Some(letter) => Ok(vec![letter]),
        None => {
            let letters = ('D'..='Z').filter_map(DriveLetter::new);
            let free: Vec<_> = letters.filter(|&letter| !taken(letter) && !is_remembered(letter)).collect();
            if free.is_empty() {
                return Err(Error::new(ErrorKind::InUse, "attach")
                    .because("every drive letter from D: to Z: is taken")
                    .advise("detach a disk, or disconnect a network drive with `net use X: /delete`"));
            }
            Ok(free)
        }
    }
}

/// The error for a letter that is taken.
pub(super) fn in_use(letter: DriveLetter) -> Error {
    let taken = Error::new(ErrorKind::InUse, "attach");
    let leads = target(letter).map(|target| format!(": it leads to {target}")).unwrap_or_default();
    taken
        .because(format!("the drive letter {letter} is taken{leads}"))
        .advise("choose another letter, or leave --letter out")
}

/// A network drive that this user connects at logon has this letter, connected now or not.
fn is_remembered(letter: DriveLetter) -> bool {
    let name = wide(format!(r"Network\{}", letter.as_char()));
    let mut key = null_mut();
    // SAFETY: the name ends with a zero, and the key is written before it is read.
    #[allow(unsafe_code)]
    let status = unsafe { RegOpenKeyExW(HKEY_CURRENT_USER, name.as_ptr(), 0, KEY_READ, &raw mut key) };
    if status != 0 {
        return false;
    }
    // SAFETY: the key was opened above and is used no more.
    #[allow(unsafe_code)]
    let _ = unsafe { RegCloseKey(key) };
    true
}

/// The kernel's name of what a letter leads to, if it leads anywhere.
pub(super) fn target(letter: DriveLetter) -> Option<String> {
    let name = wide(letter.to_string());
    let mut found = [0_u16; 1024];
    let room = u32::try_from(found.len()).unwrap_or(0);
    // SAFETY: the name ends with a zero, and the buffer is as long as said.
    #[allow(unsafe_code)]
    let len = unsafe { QueryDosDeviceW(name.as_ptr(), found.as_mut_ptr(), room) };
    // Earlier definitions of the letter, which this one hides, come after it.
    let first = found.get(..len as usize)?.split(|&unit| unit == 0).next()?;
    if first.is_empty() { None } else { Some(String::from_utf16_lossy(first)) }
}

/// Waits until `letter` leads to the device and opens.
///
/// # Errors
/// `Io` if it does not within some seconds, with what stood in the way last.
pub(super) fn wait_until_there(letter: DriveLetter, device: &str) -> Result<()> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        let missing = match (target(letter), open(letter)) {
            (Some(target), Ok(())) if target == device => return Ok(()),
            (Some(target), _) if target != device => format!("{letter} leads to {target}"),
            (None, _) => format!("{letter} leads nowhere"),
            (_, Err(error)) => format!("{letter} does not open: {error}"),
            (_, Ok(())) => unreachable!("the target was compared above"),
        };
        if start.elapsed() > PATIENCE {
            return Err(Error::new(ErrorKind::Io, "attach").because(format!("the drive does not appear: {missing}")));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Opens the drive and closes it, for neither reading nor writing: that mounts nothing.
fn open(letter: DriveLetter) -> io::Result<()> {
    OpenOptions::new().access_mode(0).share_mode(7).open(format!(r"\\.\{letter}")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drive_of_windows_is_taken_and_says_where_it_leads() {
        let c = DriveLetter::new('C').expect("a letter");
        let error = candidates(Some(c)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse);
        assert!(error.to_string().contains("C: is taken: it leads to \\"), "{error}");
        let free = candidates(None).expect("free letters");
        assert!(!free.contains(&c));
        assert!(free.is_sorted());
        assert_eq!(candidates(Some(free[0])).expect("free"), [free[0]]);
    }
}
