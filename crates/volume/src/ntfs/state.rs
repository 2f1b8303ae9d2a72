//! What says that a volume is to be left alone, besides its log: the flags of `$Volume`, shadow copies, hibernation.

use block_device::{Disk, Result};

use super::mft::{Mft, VOLUME};
use super::record::{Body, VOLUME_INFORMATION, VOLUME_NAME};
use super::{corrupt, refused, u16_at, u64_at};
use crate::disk_cursor::read_at;

/// The flags of `$Volume`, with what they mean. With any of them, drivers other than Windows' do not write to the volume.
const FLAGS: [(u16, &str); 7] = [
    (0x0001, "it was not unmounted cleanly"),
    (0x0002, "$LogFile is to be resized"),
    (0x0004, "it is to be upgraded at the next mount"),
    (0x0010, "the change journal is being deleted"),
    (0x0020, "object identifiers are to be repaired"),
    (0x4000, "chkdsk is at work"),
    (0x8000, "chkdsk has changed it, and Windows has not seen it since"),
];
/// Mounted by Windows NT 4 once: of no matter.
const MOUNTED_ON_NT4: u16 = 0x0008;

/// Checks the version and the flags in `$Volume`.
///
/// # Errors
/// `Refused` with what the flags say; `Corrupt` where `$Volume` cannot be read. Those of reading.
pub(super) fn check_volume_flags(mft: &Mft) -> Result<()> {
    let (major, minor, flags) = mft.with_record(VOLUME, |record| {
        let attribute = record.find(VOLUME_INFORMATION, &[], 0)?;
        match attribute.map(|attribute| attribute.body) {
            Some(Body::Resident(value)) if value.len() >= 12 => Ok((value[8], value[9], u16_at(value, 10))),
            _ => Err(corrupt("$Volume says nothing about the volume")),
        }
    })?;
    let repair = "let Windows mount and unmount it, or repair it with chkdsk /f";
    if let Some((_, why)) = FLAGS.iter().find(|(flag, _)| flags & flag != 0) {
        return Err(refused(format!("$Volume says that {why}")).advise(repair));
    }
    if flags & !MOUNTED_ON_NT4 != 0 {
        return Err(refused(format!("$Volume has the flags {flags:#06x}, some of them unknown")).advise(repair));
    }
    if !matches!((major, minor), (1, 2) | (3, 0 | 1)) {
        return Err(refused(format!("it is of NTFS version {major}.{minor}, which is not known")));
    }
    Ok(())
}

/// The label; `None` if it has none.
///
/// # Errors
/// `Corrupt` where `$Volume` cannot be read. Those of reading.
pub(super) fn label(mft: &Mft) -> Result<Option<String>> {
    mft.with_record(VOLUME, |record| {
        let Some(attribute) = record.find(VOLUME_NAME, &[], 0)? else { return Ok(None) };
        let Body::Resident(value) = attribute.body else { return Ok(None) };
        let units: Vec<u16> = value.chunks_exact(2).map(|unit| u16_at(unit, 0)).collect();
        Ok(Some(String::from_utf16_lossy(&units)).filter(|label| !label.is_empty()))
    })
}

/// Where Windows notes that a volume has shadow copies: behind the code that starts it, in `$Boot`.
const SHADOW_COPIES_AT: u64 = 0x1E00;
/// 3808876b-c176-4e48-b7ae-04046e6cc752.
const SHADOW_COPIES: [u8; 16] =
    [0x6B, 0x87, 0x08, 0x38, 0x76, 0xC1, 0x48, 0x4E, 0xB7, 0xAE, 0x04, 0x04, 0x6E, 0x6C, 0xC7, 0x52];
const SHADOW_FILE: &str = "{3808876b-c176-4e48-b7ae-04046e6cc752}";

/// Checks that the volume has no catalogue of shadow copies, here or on another volume. A shadow copy reads what the volume has not changed since
/// from where it lies, clusters that are free by now among them.
///
/// # Errors
/// `Refused` where it has one. Those of reading.
pub(super) fn check_shadow_copies(disk: &Disk) -> Result<()> {
    let mut header = [0; 512];
    if disk.len_bytes() < SHADOW_COPIES_AT + header.len() as u64 {
        return Ok(());
    }
    read_at(disk, SHADOW_COPIES_AT, &mut header)?;
    let (volume, store) = (&header[64..80], &header[80..96]);
    let has_catalogue = u64_at(&header, 48) != 0 || *store != [0; 16] && store != volume;
    if header[..16] == SHADOW_COPIES && has_catalogue { Err(shadow_copies()) } else { Ok(()) }
}

fn shadow_copies() -> block_device::Error {
    refused("it has shadow copies (restore points), which need what is free now")
        .advise("delete them (vssadmin delete shadows /all) and turn system protection off for it")
}

/// A file that its name makes suspicious.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suspect {
    /// What Windows writes the memory to when it hibernates, in the root directory.
    HibernationFile,
}

/// Judges a `$FILE_NAME`; `in_root` if that directory is the root.
///
/// # Errors
/// `Refused` for the file that a shadow copy is kept in.
pub(super) fn judge_name(name: &[u8], in_root: bool) -> Result<Option<Suspect>> {
    let is = |expected: &str, part: &[u8]| {
        part.len() == 2 * expected.len()
            && part
                .chunks_exact(2)
                .zip(expected.bytes())
                .all(|(unit, byte)| unit[1] == 0 && unit[0].eq_ignore_ascii_case(&byte))
    };
    // The catalogue itself has the second GUID alone for a name.
    let behind_a_guid = name.len().checked_sub(2 * SHADOW_FILE.len()).filter(|&guid| guid > 0);
    if behind_a_guid.is_some_and(|at| is(SHADOW_FILE, &name[at..])) {
        return Err(shadow_copies());
    }
    Ok((in_root && is("hiberfil.sys", name)).then_some(Suspect::HibernationFile))
}

/// Checks that the hibernation file with this record holds no memory to come back to.
///
/// # Errors
/// `Refused` where it does, or may; `Corrupt` where it cannot be read. Those of reading.
pub(super) fn check_hibernation_file(mft: &Mft, number: u64) -> Result<()> {
    let advice = "start Windows and shut it down fully (shutdown /s /t 0), or turn hibernation off (powercfg /h off)";
    let unreadable = |error| refused("the header of hiberfil.sys cannot be read").advise(advice).caused_by(error);
    let file = mft.stream(number).map_err(|error| match error.kind() {
        block_device::ErrorKind::Corrupt => unreadable(error),
        _ => error,
    })?;
    let mut header = [0; 4096];
    if file.initialized_bytes == 0 {
        // Nothing has been written to it yet.
        return Ok(());
    }
    if file.data_bytes.min(file.initialized_bytes) < header.len() as u64 {
        return Err(refused("hiberfil.sys is shorter than its header").advise(advice));
    }
    file.file.read(0, &mut header)?;
    let magic = header[..4].to_ascii_lowercase();
    if magic == *b"wake" || header.iter().all(|&byte| byte == 0) {
        return Ok(());
    }
    let why = if magic == *b"hibr" {
        "Windows is hibernated on it, or was shut down with fast startup"
    } else {
        "hiberfil.sys does not say that Windows has come back from it"
    };
    Err(refused(why).advise(advice))
}
