//! Who else has a file: `/proc/locks`, the loop devices, and the open files of every process we may look at.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use super::Identity;
use crate::holder::{Hold, Holder};

/// Somebody else who has the file: whoever locks it, else the loop device it backs, else whoever has it open.
pub(crate) fn holder(file: &File) -> Option<Holder> {
    let search = Search::new(file)?;
    search.by_lock(&["FLOCK", "LEASE"]).or_else(|| search.by_loop_device()).or_else(|| search.by_open_file())
}

/// Somebody else who may write to the file: a loop device that it backs, else whoever has it open for writing.
pub(crate) fn writer(file: &File) -> Option<Holder> {
    let search = Search { writers_only: true, ..Search::new(file)? };
    search.by_loop_device().or_else(|| search.by_open_file())
}

/// Whether we may look at the open files of every process: root may.
pub(crate) fn sees_everybody() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whoever holds a lease on the file, found without opening it: opening would break the lease.
pub(super) fn lease_holder(file: &File) -> Option<Holder> {
    Search::new(file)?.by_lock(&["LEASE"])
}

struct Search {
    file: Identity,
    our_descriptor: i32,
    our_pid: u32,
    writers_only: bool,
}

impl Search {
    fn new(file: &File) -> Option<Self> {
        let (our_descriptor, our_pid) = (file.as_raw_fd(), std::process::id());
        Some(Self { file: Identity::of_file(file).ok()?, our_descriptor, our_pid, writers_only: false })
    }

    fn by_lock(&self, kinds: &[&str]) -> Option<Holder> {
        let locks = fs::read_to_string("/proc/locks").ok()?;
        let held = locks.lines().filter_map(Lock::parse).filter(|lock| kinds.contains(&lock.kind));
        let mut found = held.filter(|lock| lock.inode == self.file.inode).filter(|lock| {
            // The device in /proc/locks is not the one of stat(2) on btrfs, and the process may have left its lock to a
            // loop device: its open files decide, where we may look at them.
            self.opened_by(lock.pid).unwrap_or(lock.device == self.file.device)
        });
        found.find_map(|lock| self.process(lock.pid, Hold::Lock))
    }

    fn by_loop_device(&self) -> Option<Holder> {
        let mut devices: Vec<_> = fs::read_dir("/sys/block").ok()?.flatten().map(|entry| entry.path()).collect();
        devices.sort();
        devices.into_iter().find_map(|device| {
            let backing = fs::read_to_string(device.join("loop/backing_file")).ok()?;
            let same = Identity::at(Path::new(backing.trim_end_matches('\n')))? == self.file;
            let read_only = || fs::read_to_string(device.join("ro")).is_ok_and(|ro| ro.trim() == "1");
            let same = same && !(self.writers_only && read_only());
            let name = Path::new("/dev").join(device.file_name()?).display().to_string();
            same.then_some(Holder { pid: None, name, how: Hold::Device })
        })
    }

    fn by_open_file(&self) -> Option<Holder> {
        let processes = fs::read_dir("/proc").ok()?.flatten();
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.find_map(|pid| {
            self.descriptors(pid)?.find_map(|descriptor| {
                let details =
                    fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", descriptor.file_name()?.to_str()?)).ok();
                if self.writers_only && !details.as_deref().is_none_or(may_write) {
                    return None;
                }
                // A lock taken by a process that has ended lives on in whoever inherited the open file.
                let locked = details.is_some_and(|details| details.contains("FLOCK"));
                self.process(pid, if locked { Hold::Lock } else { Hold::Open })
            })
        })
    }

    /// Whether a process has the file open, by another descriptor than ours; `None` where we may not look.
    fn opened_by(&self, pid: u32) -> Option<bool> {
        Some(self.descriptors(pid)?.next().is_some())
    }

    /// The descriptors by which a process has the file open, ours left out; `None` where we may not look.
    fn descriptors(&self, pid: u32) -> Option<impl Iterator<Item = PathBuf>> {
        let found = match fs::read_dir(format!("/proc/{pid}/fd")) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(_) => return None,
        };
        let ours = (pid == self.our_pid).then(|| PathBuf::from(format!("/proc/{pid}/fd/{}", self.our_descriptor)));
        let file = self.file;
        let others = found.into_iter().flatten().flatten().map(|entry| entry.path());
        Some(others.filter(move |path| Some(path) != ours.as_ref() && Identity::at(path) == Some(file)))
    }

    fn process(&self, pid: u32, how: Hold) -> Option<Holder> {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned();
        Some(Holder { pid: Some(pid), name, how })
    }
}

/// Whether a file is open for writing, by its `fdinfo`.
fn may_write(details: &str) -> bool {
    let flags = details.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
    flags.is_none_or(|flags| flags & libc::O_ACCMODE != libc::O_RDONLY && flags & libc::O_PATH == 0)
}

/// A line of `/proc/locks`: `1: FLOCK  ADVISORY  WRITE 708 00:13:9564 0 EOF`.
struct Lock<'a> {
    kind: &'a str,
    pid: u32,
    device: u64,
    inode: u64,
}

impl<'a> Lock<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_whitespace().skip(1);
        // A waiter is marked with an arrow, and holds nothing.
        let kind = words.next().filter(|&word| word != "->")?;
        let mut words = words.skip(2);
        let pid = words.next()?.parse().ok()?;
        let mut place = words.next()?.split(':');
        let mut hexadecimal = || u32::from_str_radix(place.next()?, 16).ok();
        let device = rustix::fs::makedev(hexadecimal()?, hexadecimal()?);
        Some(Self { kind, pid, device, inode: place.next()?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::{Lock, may_write};

    #[test]
    fn a_line_of_proc_locks_gives_kind_process_and_file() {
        let lock = Lock::parse("12: FLOCK  ADVISORY  WRITE 708 fd:01:9564 0 EOF").unwrap();
        assert_eq!((lock.kind, lock.pid, lock.inode), ("FLOCK", 708, 9564));
        assert_eq!(lock.device, rustix::fs::makedev(0xfd, 1));
    }

    #[test]
    fn fdinfo_tells_who_may_write() {
        let details = |flags| format!("pos:\t0\nflags:\t{flags}\nmnt_id:\t29\n");
        assert!(may_write(&details("0100002")) && may_write(&details("01")) && may_write("torn"));
        assert!(!may_write(&details("0100000")) && !may_write(&details("012000002")), "a reader, and a mere name");
    }

    #[test]
    fn a_waiter_and_a_torn_line_hold_nothing() {
        for line in
            ["12: -> FLOCK  ADVISORY  WRITE 708 fd:01:9564 0 EOF", "", "1: FLOCK ADVISORY WRITE", "1: FLOCK A W x y"]
        {
            assert!(Lock::parse(line).is_none(), "{line}");
        }
    }
}
