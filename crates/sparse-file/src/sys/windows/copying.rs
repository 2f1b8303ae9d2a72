//! What a copy needs: sharing extents where ReFS can, a witness of change, attributes, and a name that replaces nothing.

use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::AsRawHandle;
use std::path::Path;

use windows_sys::Win32::Storage::FileSystem as fs;
use windows_sys::Win32::System::SystemServices::FILE_SUPPORTS_BLOCK_REFCOUNTING;

use super::control::{Device, information, set_information};
use super::volume::Volume;
use super::{is_marked_sparse, set_sparse};
use crate::fsctl;
use crate::streams::stream_of;
use crate::{ByteRange, ErrorKind};

/// The largest cluster of ReFS. Clusters are shared whole, and a length off this grid is copied instead.
const CLUSTER_BYTES: u64 = 64 << 10;
/// Shared in one call: the size must stay below 4 GiB.
const CLONE_BYTES: u64 = 1 << 30;

/// Makes `destination`, which is empty, share the extents of `source`. Where that fails it is empty again.
pub(crate) fn clone_file(source: &File, destination: &File) -> io::Result<()> {
    let len_bytes = source.metadata()?.len();
    let can = Volume::of(destination)?.flags & FILE_SUPPORTS_BLOCK_REFCOUNTING != 0;
    if !can || !len_bytes.is_multiple_of(CLUSTER_BYTES) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let marked = is_marked_sparse(destination, 0)?;
    share(source, destination, len_bytes).inspect_err(|_| {
        // The copy that follows makes the file anew; what fails here fails there again, with a reason.
        let _ = destination.set_len(0);
        let _ = set_sparse(destination, marked, 0);
    })
}

fn share(source: &File, destination: &File, len_bytes: u64) -> io::Result<()> {
    // Both are sparse, or both are not.
    set_sparse(destination, is_marked_sparse(source, len_bytes)?, 0)?;
    destination.set_len(len_bytes)?;
    let handle = source.as_raw_handle() as u64;
    for piece in ByteRange::whole(len_bytes).into_iter().flat_map(|whole| whole.chunks(CLONE_BYTES)) {
        let shared = fsctl::duplicate_extents(&Device(destination), handle, piece.start(), piece.start(), piece.len());
        shared.map_err(|status| match status.kind() {
            // Another volume, another layout: many ways of saying "not here".
            ErrorKind::InvalidInput | ErrorKind::Io => io::Error::new(io::ErrorKind::Unsupported, status),
            _ => status.into(),
        })?;
    }
    Ok(())
}

/// Windows copies whole files inside the kernel, not ranges.
pub(crate) fn copy_range(_: &File, _: u64, _: &File, _: u64, _: u64) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Changes whenever the file is written, lengthened, shortened or its attributes are changed: length, and the times of
/// writing and change in units of 100 nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    len_bytes: u64,
    written: i64,
    changed: i64,
}

/// The stamp of a file now.
pub(crate) fn stamp(file: &File) -> io::Result<Stamp> {
    let found: fs::FILE_BASIC_INFO = information(file, fs::FileBasicInfo)?;
    let len_bytes = file.metadata()?.len();
    Ok(Stamp { len_bytes, written: found.LastWriteTime, changed: found.ChangeTime })
}

/// Gives `destination` the read-only attribute if `source` has it. Rights come from the directory.
pub(crate) fn copy_mode(source: &File, destination: &File) -> io::Result<()> {
    let mut permissions = destination.metadata()?.permissions();
    permissions.set_readonly(source.metadata()?.permissions().readonly());
    destination.set_permissions(permissions)
}

/// Renames the open file to `new`, unless there is something of that name. The file stays open, and ours, throughout.
pub(crate) fn rename_new(file: &File, _path: &Path, new: &Path) -> io::Result<()> {
    let name: Vec<u16> = match stream_of(new) {
        // A stream gets its new name alone: it stays in its file.
        Some(stream) => format!(":{stream}").encode_utf16().collect(),
        None => std::path::absolute(new)?.as_os_str().encode_wide().collect(),
    };
    set_information(file, fs::FileRenameInfo, &rename_info(&name))
}

/// `FILE_RENAME_INFO` with its name, "replace" being off, in words that keep its alignment.
fn rename_info(name: &[u16]) -> Vec<u64> {
    let mut bytes = vec![0; offset_of!(fs::FILE_RENAME_INFO, FileName)];
    let name_bytes = u32::try_from(name.len() * 2).unwrap_or(u32::MAX);
    let length_at = offset_of!(fs::FILE_RENAME_INFO, FileNameLength);
    bytes[length_at..length_at + 4].copy_from_slice(&name_bytes.to_ne_bytes());
    // With a zero at its end, which the length does not count.
    bytes.extend(name.iter().chain(&[0]).flat_map(|unit| unit.to_ne_bytes()));
    bytes.resize(bytes.len().next_multiple_of(8).max(size_of::<fs::FILE_RENAME_INFO>()), 0);
    bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().expect("eight bytes"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_holds_its_name_where_the_structure_has_it_and_does_not_replace() {
        let words = rename_info(&"C:\\a.img".encode_utf16().collect::<Vec<_>>());
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(bytes[0], 0);
        let at = offset_of!(fs::FILE_RENAME_INFO, FileNameLength);
        assert_eq!(bytes[at..at + 4], 16_u32.to_ne_bytes());
        assert_eq!(&bytes[at + 4..at + 8], b"C\0:\0");
    }
}
