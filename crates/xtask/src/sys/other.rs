use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Ended;

/// Whether this system can measure.
pub(crate) const MEASURES: bool = false;

fn unsupported<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this is measured on Linux only"))
}

/// Makes a daemon a child of this process once its parent has ended, so that [`wait`] can wait for it.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    unsupported()
}

/// Ends a child at once, without anything that it would still do.
pub(crate) fn kill(_pid: u32) -> io::Result<()> {
    unsupported()
}

/// Starts a process. What this one had in memory at most does not count as the other's own, see [`Ended::peak_rss_bytes`].
pub(crate) fn spawn(_command: &mut Command) -> io::Result<u32> {
    unsupported()
}

/// Waits for a child to end.
pub(crate) fn wait(_pid: u32) -> io::Result<Ended> {
    unsupported()
}

/// User and system time of a process so far, to the nanosecond, without its children.
pub(crate) fn processor_time(_pid: u32) -> io::Result<Duration> {
    unsupported()
}

/// What the file system has allocated for a file.
pub(crate) fn allocated_bytes(_file: &Path) -> io::Result<u64> {
    unsupported()
}

/// Writes a range of a file, whatever its position is.
pub(crate) fn write_at(_file: &File, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
    unsupported()
}

/// Flushes a file, and takes it out of the system's cache.
pub(crate) fn forget_cached(_file: &Path) -> io::Result<()> {
    unsupported()
}

/// Writes everything that the file system of `directory` still has to write.
pub(crate) fn settle(_directory: &Path) -> io::Result<()> {
    unsupported()
}

/// Connects to a UNIX socket.
pub(crate) fn connect(_socket: &Path) -> io::Result<TcpStream> {
    unsupported()
}
