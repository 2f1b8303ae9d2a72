//! Write leases: `fcntl(2)`, `F_SETLEASE`.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

/// Which signal tells of a newcomer; from `asm-generic/fcntl.h`, as `libc` lacks it.
const F_SETSIG: libc::c_int = 10;

/// How long, and how often, to wait for holders that are about to go.
const PATIENCE: Duration = Duration::from_millis(10);
const PATIENCE_TRIES: u32 = 20;

/// A write lease on a file. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease<'a> {
    file: &'a File,
}

/// Takes a write lease. `None`: somebody has the file open, ourselves by a second descriptor included.
///
/// [`io::ErrorKind::Unsupported`] where the file system has no leases; [`io::ErrorKind::PermissionDenied`] where the file
/// belongs to another user.
pub(crate) fn lease(file: &File) -> io::Result<Option<Lease<'_>>> {
    // A process that is just being started has a copy of every file its parent had open, closed ones included, until it
    // runs its program: that holder is gone in a moment.
    for _ in 0..PATIENCE_TRIES {
        if let Some(lease) = take(file)? {
            return Ok(Some(lease));
        }
        thread::sleep(PATIENCE);
    }
    take(file)
}

fn take(file: &File) -> io::Result<Option<Lease<'_>>> {
    // Ignored unless a program asks for it. The signal sent otherwise, SIGIO, would end the process.
    fcntl(file, F_SETSIG, libc::SIGURG)?;
    match fcntl(file, libc::F_SETLEASE, libc::F_WRLCK) {
        Ok(_) => Ok(Some(Lease { file })),
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN) => Ok(None),
            Some(libc::EINVAL | libc::ENOLCK | libc::EOPNOTSUPP | libc::ENOSYS) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, error))
            }
            _ => Err(error),
        },
    }
}

impl Lease<'_> {
    /// Whether nobody waits to open the file. While somebody does, the kernel shows the lease as what it is about to be.
    pub(crate) fn is_unbroken(&self) -> io::Result<bool> {
        Ok(fcntl(self.file, libc::F_GETLEASE, 0)? == libc::F_WRLCK)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        // Fails only where the kernel took the lease away already.
        let _ = fcntl(self.file, libc::F_SETLEASE, libc::F_UNLCK);
    }
}

fn fcntl(file: &File, command: libc::c_int, argument: libc::c_int) -> io::Result<libc::c_int> {
    // SAFETY: the descriptor is open for as long as `file` is borrowed, and the three commands used here take an
    // integer and touch no memory of ours.
    let answer = unsafe { libc::fcntl(file.as_raw_fd(), command, argument) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}
