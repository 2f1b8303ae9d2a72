//! Named streams: their names, by the open file.

use std::fs::File;
use std::io;

use windows_sys::Win32::Foundation::ERROR_HANDLE_EOF;
use windows_sys::Win32::Storage::FileSystem as fs;

use super::control::long_information;
use super::volume::Volume;
use crate::fsctl::Status;
use crate::ntfs::StreamName;
use crate::ntfs::streams::parse;
use windows_sys::Win32::System::SystemServices::FILE_NAMED_STREAMS;

/// The named data streams of the file. None where its file system has no such thing.
pub(crate) fn stream_names(file: &File) -> io::Result<Vec<StreamName>> {
    if Volume::of(file)?.flags & FILE_NAMED_STREAMS == 0 {
        return Ok(Vec::new());
    }
    match long_information(file, fs::FileStreamInfo) {
        Ok(words) => {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            Ok(parse(&bytes)?)
        }
        // No stream at all, not even the unnamed one.
        Err(error) if Status::of(&error) == Some(Status(ERROR_HANDLE_EOF)) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
