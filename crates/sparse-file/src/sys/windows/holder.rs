//! Who else has a file: `FileProcessIdsUsingFileInformation`, \[MS-FSCC\] 2.4.35, and the names of those processes.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::Path;

use windows_sys::Wdk::Storage::FileSystem::{FileProcessIdsUsingFileInformation, NtQueryInformationFile};
use windows_sys::Win32::Foundation::STATUS_INFO_LENGTH_MISMATCH;
use windows_sys::Win32::Storage::FileSystem as fs;
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;
use windows_sys::Win32::System::Threading::{
    OpenProcess, PROCESS_NAME_WIN32, PROCESS_QUERY_LIMITED_INFORMATION, QueryFullProcessImageNameW,
};

use super::control::handle;
use crate::holder::{Hold, Holder};

/// More processes than that are not told.
const LARGEST_WORDS: usize = 1 << 16;

/// Somebody else who has the file open. `None` also where the file system does not tell.
pub(crate) fn holder(file: &File) -> Option<Holder> {
    let ours = std::process::id();
    users(file).into_iter().find(|&pid| pid != ours).map(|pid| named(pid, Hold::Open))
}

/// Nobody: our share mode keeps others from writing.
pub(crate) fn writer(_file: &File) -> Option<Holder> {
    None
}

/// Whoever keeps us from opening `path`: this process, where nobody else has it.
pub(super) fn holder_at(path: &Path) -> Option<Holder> {
    // To look at attributes is no access that anybody can keep others from.
    let file = OpenOptions::new()
        .access_mode(fs::FILE_READ_ATTRIBUTES)
        .share_mode(fs::FILE_SHARE_READ | fs::FILE_SHARE_WRITE | fs::FILE_SHARE_DELETE)
        .custom_flags(fs::FILE_FLAG_BACKUP_SEMANTICS)
        .open(path)
        .ok()?;
    let (ours, users) = (std::process::id(), users(&file));
    let other = users.iter().copied().find(|&pid| pid != ours);
    other.or(users.first().copied()).map(|pid| named(pid, Hold::Lock))
}

/// The processes that have the file open, this one included.
fn users(file: &File) -> Vec<u32> {
    let mut words = vec![0usize; 64];
    loop {
        let mut block = IO_STATUS_BLOCK::default();
        let size = u32::try_from(size_of_val(words.as_slice())).expect("a small buffer");
        // SAFETY: the handle is open and synchronous; the system writes the block and at most `size` bytes into the
        // buffer, which is aligned for the structure and made of integers.
        let status = unsafe {
            NtQueryInformationFile(
                handle(file),
                &raw mut block,
                words.as_mut_ptr().cast(),
                size,
                FileProcessIdsUsingFileInformation,
            )
        };
        if status == STATUS_INFO_LENGTH_MISMATCH && words.len() < LARGEST_WORDS {
            let len = words.len();
            words.resize(len * 4, 0);
            continue;
        }
        return if status < 0 { Vec::new() } else { listed(&words) };
    }
}

/// A count of 32 bits, padded to a word, and as many process numbers of a word each.
fn listed(words: &[usize]) -> Vec<u32> {
    let Some((&first, pids)) = words.split_first() else { return Vec::new() };
    let count = first & u32::MAX as usize;
    pids.iter().take(count).filter_map(|&pid| u32::try_from(pid).ok()).collect()
}

fn named(pid: u32, how: Hold) -> Holder {
    Holder { pid: Some(pid), name: name_of(pid).unwrap_or_else(|| "its name is kept from this user".to_owned()), how }
}

/// The name of a process's program, without its directory.
fn name_of(pid: u32) -> Option<String> {
    // SAFETY: takes numbers, and gives a handle of ours or null.
    let process = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid) };
    if process.is_null() {
        return None;
    }
    // SAFETY: the handle was just given to us, and to nobody else.
    let process = unsafe { OwnedHandle::from_raw_handle(process.cast()) };
    let mut name = [0u16; 1024];
    let mut units = name.len() as u32;
    // SAFETY: the handle is open, the buffer has as many units as said, and their number is written back.
    let done = unsafe {
        QueryFullProcessImageNameW(
            process.as_raw_handle().cast(),
            PROCESS_NAME_WIN32,
            name.as_mut_ptr(),
            &raw mut units,
        )
    };
    if done == 0 {
        return None;
    }
    let path = String::from_utf16_lossy(name.get(..units as usize)?);
    Some(path.rsplit(['\\', '/']).next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_processes_ends_where_its_count_does() {
        assert_eq!(listed(&[]), []);
        assert_eq!(listed(&[2, 7, 9, 11]), [7, 9]);
        assert_eq!(listed(&[5, 7]), [7]);
        #[cfg(target_pointer_width = "64")]
        assert_eq!(listed(&[0xFFFF_FFFF_0000_0001, 4, 5]), [4], "what pads the count means nothing");
    }

    #[test]
    fn our_own_process_has_a_name() {
        let name = name_of(std::process::id()).expect("we may look at ourselves");
        let ours = std::env::current_exe().unwrap();
        assert_eq!(name.as_str(), ours.file_name().unwrap().to_str().unwrap());
    }
}
