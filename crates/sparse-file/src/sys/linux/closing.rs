//! What close(2) has to tell.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::IntoRawFd;

/// Tells what closing the file would tell, which [`File`] keeps to itself. Nothing is made durable by it: on a local disk it does
/// nothing. A file server (NFS) is sent what was written, and may answer that there is no space for it.
pub(crate) fn hand_over(file: &File) -> io::Result<()> {
    let another = file.try_clone()?.into_raw_fd();
    // SAFETY: the descriptor was just made, and nobody else has it. It is closed even where this fails.
    let closed = unsafe { libc::close(another) };
    if closed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
