//! Bytes of a file on their way to a socket, by reference: splice(2).

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::net::SendFlags;
use rustix::pipe::{PipeFlags, SpliceFlags};

use super::Socket;

/// A pipe that takes pages of a file's cache and gives them to a socket. Nothing is copied but by the receiver.
///
/// Unlike with sendfile(2) it is known how many bytes there are before any of them is sent.
pub(crate) struct FilePipe {
    output: OwnedFd,
    input: OwnedFd,
    held_bytes: usize,
}

impl FilePipe {
    /// The most bytes it takes, on page boundaries: half of what the system allows for one pipe, and so much that the pipes of
    /// as many clients as there are by default are half of what it allows for all pipes of a user.
    pub(crate) const CAPACITY_BYTES: usize = 512 << 10;

    /// A pipe of that capacity.
    ///
    /// # Errors
    /// The process has too many files open, or its user too many pages in pipes.
    pub(crate) fn new() -> io::Result<Self> {
        let (output, input) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        rustix::pipe::fcntl_setpipe_size(&input, Self::CAPACITY_BYTES)?;
        Ok(Self { output, input, held_bytes: 0 })
    }

    /// Takes `len_bytes` of `file` from `offset` on, reading them into the system's cache if need be. Returns how many it
    /// holds: fewer where the file ends, cannot be read or does not do this, or where the pipe is full.
    pub(crate) fn take(&mut self, file: &File, mut offset: u64, len_bytes: usize) -> usize {
        while self.held_bytes < len_bytes {
            let wanted = len_bytes - self.held_bytes;
            // It never waits for room in the pipe, which only we could make.
            match rustix::pipe::splice(file, Some(&mut offset), &self.input, None, wanted, SpliceFlags::NONBLOCK) {
                Ok(0) => break,
                Ok(count) => self.held_bytes += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
        self.held_bytes
    }

    /// Sends `before` and then everything it holds.
    pub(crate) fn send(&mut self, mut before: &[u8], socket: &Socket) -> io::Result<()> {
        while !before.is_empty() {
            match rustix::net::send(socket, before, SendFlags::MORE | SendFlags::NOSIGNAL) {
                Ok(count) => before = &before[count..],
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        while self.held_bytes > 0 {
            match rustix::pipe::splice(&self.output, None, socket, None, self.held_bytes, SpliceFlags::empty()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.held_bytes -= count,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
