//! Names of files: as Win32 has them, as the kernel has them, and which file is meant.
//!
//! The kernel's path of a file is made from the open file itself (`GetFinalPathNameByHandleW`), so that whatever a person
//! wrote (relative, with `..`, through a directory link, with or without `\\?\`) names the same file to the driver.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::path::{Path, PathBuf};

use disk_types::{Error, ErrorKind, Result};
use driver_abi::{MAX_PATH_BYTES, NtPath};
use windows_sys::Win32::Storage::FileSystem as fs;

/// What stands before a path that Win32 hands to the kernel as it is.
const VERBATIM: &str = r"\\?\";
/// The same for the kernel.
const KERNEL: &str = r"\??\";
/// What `\\?\` leads to for a name of the kernel that Win32 has no other word for.
const GLOBAL_ROOT: &str = r"\\?\GLOBALROOT";

/// `text` with the zero that Win32 wants at its end.
pub(super) fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}

/// The full path of an open file, verbatim: `\\?\C:\disk.img`. By its drive letter, or else by its volume; where the system
/// tells neither (Wine beyond 260 characters, some network drives) as it was `named`, made absolute.
pub(super) fn final_path(file: &File, named: &Path) -> io::Result<PathBuf> {
    let by_letter = query_final_path(file, fs::VOLUME_NAME_DOS);
    let by_volume = |_| query_final_path(file, fs::VOLUME_NAME_GUID);
    by_letter.or_else(by_volume).or_else(|_| absolute(named))
}

fn absolute(named: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(named)?.into_os_string();
    let units: Vec<u16> = path.encode_wide().collect();
    let verbatim = |prefix: &str, rest: &[u16]| {
        let units: Vec<u16> = prefix.encode_utf16().chain(rest.iter().copied()).collect();
        OsString::from_wide(&units).into()
    };
    Ok(match (strip(&units, VERBATIM), strip(&units, r"\\")) {
        (Some(_), _) => path.into(),
        (None, Some(rest)) => verbatim(r"\\?\UNC\", rest),
        (None, None) => verbatim(VERBATIM, &units),
    })
}

fn query_final_path(file: &File, volume_name: u32) -> io::Result<PathBuf> {
    let mut buffer = vec![0_u16; 512];
    loop {
        let room = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let flags = fs::FILE_NAME_NORMALIZED | volume_name;
        // SAFETY: the handle is open while the file is borrowed, and the buffer is as long as said.
        #[allow(unsafe_code)]
        let len = unsafe { fs::GetFinalPathNameByHandleW(file.as_raw_handle(), buffer.as_mut_ptr(), room, flags) };
        match len as usize {
            0 => return Err(io::Error::last_os_error()),
            // Too short: the length needed, with its zero.
            needed if needed >= buffer.len() => buffer.resize(needed + 1, 0),
            len => return Ok(OsString::from_wide(&buffer[..len]).into()),
        }
    }
}

/// The kernel's name of a file, from its [`final_path`]: UTF-16 as bytes, for the driver.
///
/// # Errors
/// `Refused` for a file on another machine; `InvalidInput` for a name that the kernel cannot have.
pub(super) fn nt_path(path: &Path) -> Result<Vec<u8>> {
    let units: Vec<u16> = path.as_os_str().encode_wide().collect();
    let error = |kind| Error::new(kind, "attach");
    let Some(rest) = strip(&units, VERBATIM) else {
        return Err(error(ErrorKind::InvalidInput).because("its path is not a full one"));
    };
    if strip(rest, r"UNC\").is_some() {
        return Err(error(ErrorKind::Refused)
            .because("it lies on another machine: a network that stops would stop this one")
            .advise("copy it to a volume of this machine, or use `sparsedisk serve` over there"));
    }
    let kernel = KERNEL.encode_utf16().chain(rest.iter().copied());
    let bytes: Vec<u8> = kernel.flat_map(u16::to_le_bytes).collect();
    match NtPath::new(&bytes) {
        Ok(_) => Ok(bytes),
        Err(_) if bytes.len() > MAX_PATH_BYTES => {
            Err(error(ErrorKind::InvalidInput).because("its path is longer than 32,767 characters"))
        }
        Err(_) => Err(error(ErrorKind::InvalidInput).because("its path is none that the kernel could have")),
    }
}

/// A file's name for people and for Win32, from the kernel's: `C:\disk.img` of `\??\C:\disk.img`.
pub(super) fn win32_path(kernel: &[u16]) -> PathBuf {
    let named = |prefix: &str, rest: &[u16]| {
        let name: Vec<u16> = prefix.encode_utf16().chain(rest.iter().copied()).collect();
        PathBuf::from(OsString::from_wide(&name))
    };
    match strip(kernel, KERNEL) {
        // The standard library adds what a long path needs by itself.
        Some(rest) if is_on_letter(rest) => named("", rest),
        Some(rest) => named(VERBATIM, rest),
        None => named(GLOBAL_ROOT, kernel),
    }
}

/// As [`win32_path`], of a full path in verbatim form.
pub(super) fn plain_path(path: &Path) -> PathBuf {
    let units: Vec<u16> = path.as_os_str().encode_wide().collect();
    match strip(&units, VERBATIM) {
        Some(rest) if is_on_letter(rest) => OsString::from_wide(rest).into(),
        _ => path.to_owned(),
    }
}

/// The driver's device of that number, as Win32 opens it without a letter.
pub(super) fn device_path(disk: u32) -> PathBuf {
    format!("{GLOBAL_ROOT}{}", device_name(disk)).into()
}

/// The driver's device of that number, as the kernel names it.
pub(super) fn device_name(disk: u32) -> String {
    format!(r"\Device\SparseDisk{disk}")
}

/// The number of the driver's device that `text` names, with or without what Win32 wants before it.
pub(super) fn device_number(text: &str) -> Option<u32> {
    let name = text.strip_prefix(GLOBAL_ROOT).unwrap_or(text);
    name.strip_prefix(r"\Device\SparseDisk")?.parse().ok()
}

fn is_on_letter(path: &[u16]) -> bool {
    path.get(1) == Some(&u16::from(b':'))
}

fn strip<'a>(units: &'a [u16], prefix: &str) -> Option<&'a [u16]> {
    let prefix: Vec<u16> = prefix.encode_utf16().collect();
    units.strip_prefix(prefix.as_slice())
}

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    volume: u32,
    index: u64,
}

/// The identity of the file at `path`. Works for a file that somebody has open for himself alone.
pub(super) fn identity(path: &Path) -> io::Result<Identity> {
    // Neither to read nor to write: nobody's share mode minds.
    let share = fs::FILE_SHARE_READ | fs::FILE_SHARE_WRITE | fs::FILE_SHARE_DELETE;
    let file = OpenOptions::new()
        .access_mode(fs::FILE_READ_ATTRIBUTES)
        .share_mode(share)
        .custom_flags(fs::FILE_FLAG_BACKUP_SEMANTICS)
        .open(path)?;
    let mut found = fs::BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open, and the structure is the one that the call fills.
    #[allow(unsafe_code)]
    let done = unsafe { fs::GetFileInformationByHandle(file.as_raw_handle(), &raw mut found) };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    let index = u64::from(found.nFileIndexHigh) << 32 | u64::from(found.nFileIndexLow);
    Ok(Identity { volume: found.dwVolumeSerialNumber, index })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(path: &str) -> String {
        let bytes = nt_path(Path::new(path)).expect("a path");
        String::from_utf16(&units(&bytes)).expect("text")
    }

    fn units(bytes: &[u8]) -> Vec<u16> {
        bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect()
    }

    #[test]
    fn a_path_goes_to_the_kernel_and_back() {
        for (win32, nt, people) in [
            (r"\\?\C:\disk.img", r"\??\C:\disk.img", r"C:\disk.img"),
            (r"\\?\c:\a b\dir\disk.img:stream", r"\??\c:\a b\dir\disk.img:stream", r"c:\a b\dir\disk.img:stream"),
            (r"\\?\Volume{1-2}\disk.img", r"\??\Volume{1-2}\disk.img", r"\\?\Volume{1-2}\disk.img"),
        ] {
            assert_eq!(kernel(win32), nt);
            let units: Vec<u16> = nt.encode_utf16().collect();
            assert_eq!(win32_path(&units), Path::new(people));
            assert_eq!(plain_path(Path::new(win32)), Path::new(people));
        }
        let device: Vec<u16> = r"\Device\HarddiskVolume3\disk.img".encode_utf16().collect();
        assert_eq!(win32_path(&device), Path::new(r"\\?\GLOBALROOT\Device\HarddiskVolume3\disk.img"));
    }

    #[test]
    fn law10_a_file_on_another_machine_and_names_that_cannot_be_are_refused() {
        let refused = nt_path(Path::new(r"\\?\UNC\server\share\disk.img")).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Refused);
        assert!(refused.to_string().contains("another machine"), "{refused}");
        for wrong in [r"C:\disk.img", r"disk.img", r"\\server\share\disk.img"] {
            assert_eq!(nt_path(Path::new(wrong)).unwrap_err().kind(), ErrorKind::InvalidInput, "{wrong}");
        }
        let long = |characters: usize| nt_path(Path::new(&format!(r"\\?\C:\{}", "x".repeat(characters))));
        assert_eq!(long(32_760).expect("the longest").len(), MAX_PATH_BYTES);
        assert!(long(32_761).unwrap_err().to_string().contains("32,767"));
    }

    #[test]
    fn an_open_file_tells_its_full_path_however_it_was_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let name = directory.path().join("d\u{e4}sk.img");
        std::fs::write(&name, "x").expect("a file");
        let crooked = directory.path().join("inner").join("..").join("d\u{e4}sk.img");
        std::fs::create_dir(directory.path().join("inner")).expect("a directory");
        let path = |name: &Path| final_path(&File::open(name).expect("the file"), name).expect("a path");
        assert_eq!(path(&name), path(&crooked));
        let text = path(&name).to_str().expect("text").to_owned();
        assert!(text.starts_with(VERBATIM) && text.ends_with("\\d\u{e4}sk.img"), "{text}");
        assert!(!text.contains(".."), "{text}");
    }

    #[test]
    fn a_path_longer_than_260_characters_is_a_path_like_any_other() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut deep = directory.path().canonicalize().expect("a path");
        for _ in 0..6 {
            deep.push("d".repeat(100));
            std::fs::create_dir(&deep).expect("a directory");
        }
        let name = deep.join("disk.img");
        std::fs::write(&name, "x").expect("a file");
        let path = final_path(&File::open(&name).expect("the file"), &name).expect("a path");
        assert!(path.as_os_str().len() > 600, "{}", path.display());
        assert_eq!(win32_path(&units(&nt_path(&path).expect("a path"))), plain_path(&path));
    }

    #[test]
    fn a_name_made_absolute_is_verbatim_too() {
        let path = |named: &str| absolute(Path::new(named)).expect("a path");
        assert_eq!(path(r"C:\a\..\disk.img"), Path::new(r"\\?\C:\disk.img"));
        assert_eq!(path(r"\\?\C:\disk.img"), Path::new(r"\\?\C:\disk.img"));
        assert_eq!(path(r"\\server\share\disk.img"), Path::new(r"\\?\UNC\server\share\disk.img"));
    }

    #[test]
    fn a_file_is_the_same_under_two_names_and_while_somebody_has_it_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let (name, alias) = (directory.path().join("disk.img"), directory.path().join("alias.img"));
        let _alone = OpenOptions::new().write(true).create_new(true).share_mode(0).open(&name).expect("a file");
        std::fs::write(directory.path().join("other"), "").expect("a file");
        let one = identity(&name).expect("the file");
        assert_ne!(one, identity(&directory.path().join("other")).expect("the file"));
        // Where there are no hard links, the first name is all there is to compare.
        if std::fs::hard_link(&name, &alias).is_ok() {
            assert_eq!(one, identity(&alias).expect("the file"));
        }
    }

    #[test]
    fn a_device_is_named_with_and_without_the_global_root() {
        assert_eq!(device_path(7), Path::new(r"\\?\GLOBALROOT\Device\SparseDisk7"));
        assert_eq!(device_number(r"\\?\GLOBALROOT\Device\SparseDisk7"), Some(7));
        assert_eq!(device_number(r"\Device\SparseDisk12"), Some(12));
        for wrong in [r"\Device\SparseDisk", r"\Device\SparseDiskControl", r"\Device\SparseDisk7\file", "SparseDisk7"] {
            assert_eq!(device_number(wrong), None, "{wrong}");
        }
    }
}
