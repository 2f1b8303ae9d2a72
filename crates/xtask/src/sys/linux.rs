#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::Ended;

/// Whether this system can measure.
pub(crate) const MEASURES: bool = true;

/// Makes a daemon a child of this process once its parent has ended, so that [`wait`] can wait for it.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

fn pid_of(pid: u32) -> io::Result<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::other(format!("no process: {pid}")))
}

/// Ends a child at once, without anything that it would still do.
pub(crate) fn kill(pid: u32) -> io::Result<()> {
    Ok(rustix::process::kill_process(pid_of(pid)?, Signal::KILL)?)
}

/// Starts a process. What this one had in memory at most does not count as the other's own, see [`Ended::peak_rss_bytes`].
pub(crate) fn spawn(command: &mut Command) -> io::Result<u32> {
    // Without something to do in between, the child would begin in this process's memory (vfork), and the system would count the
    // most that this one ever had as the child's. So it is what this one has now, and few of that are copied.
    // SAFETY: between fork and exec nothing is done.
    let command = unsafe { command.pre_exec(|| Ok(())) };
    Ok(command.spawn()?.id())
}

/// Waits for a child to end.
pub(crate) fn wait(pid: u32) -> io::Result<Ended> {
    let pid = pid_of(pid)?.as_raw_nonzero().get();
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to places of the right type that live until the call returns.
        let ended = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
        if ended == pid {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: all zeroes is a valid `rusage`, and the call filled it.
    let usage = unsafe { usage.assume_init() };
    let time = |time: libc::timeval| Duration::from_micros(time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64);
    let failure = match (libc::WIFEXITED(status), libc::WEXITSTATUS(status)) {
        (true, 0) => None,
        (true, code) => Some(format!("exit code {code}")),
        (false, _) => Some(format!("signal {}", libc::WTERMSIG(status))),
    };
    Ok(Ended {
        failure,
        processor: time(usage.ru_utime) + time(usage.ru_stime),
        // In KiB, getrusage(2).
        peak_rss_bytes: usage.ru_maxrss as u64 * 1024,
    })
}

/// User and system time of a process so far, to the nanosecond, without its children.
pub(crate) fn processor_time(pid: u32) -> io::Result<Duration> {
    let pid = pid_of(pid)?.as_raw_nonzero().get();
    let mut clock = 0;
    // SAFETY: the pointer is to a place of the right type that lives until the call returns.
    let error = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a place of the right type that lives until the call returns.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// What the file system has allocated for a file.
pub(crate) fn allocated_bytes(file: &Path) -> io::Result<u64> {
    // In units of 512 bytes, stat(3type).
    Ok(std::fs::metadata(file)?.blocks() * 512)
}

/// Writes a range of a file, whatever its position is.
pub(crate) fn write_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

/// Flushes a file, and takes it out of the system's cache.
pub(crate) fn forget_cached(file: &Path) -> io::Result<()> {
    let file = File::open(file)?;
    file.sync_all()?;
    Ok(rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?)
}

/// Writes everything that the file system of `directory` still has to write.
pub(crate) fn settle(directory: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(directory)?)?)
}

/// Connects to a UNIX socket.
pub(crate) fn connect(socket: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(socket)
}
