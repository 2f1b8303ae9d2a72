//! Places to test in: directories on real file systems.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

use sparse_file::{Access, Allocation, ByteRange, ErrorKind, SparseFile};
use tempfile::TempDir;

/// One kibibyte.
pub(crate) const KIB: u64 = 1 << 10;
/// One mebibyte.
pub(crate) const MIB: u64 = 1 << 20;

/// A directory on a known file system, gone with everything in it when dropped.
pub(crate) struct Place {
    pub(crate) name: &'static str,
    dir: TempDir,
    _mount: Option<Arc<Mount>>,
}

impl Place {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A new sparse file, whose last sector was written.
    pub(crate) fn file(&self, name: &str, len_bytes: u64) -> SparseFile {
        let made = SparseFile::create(&self.path(name), len_bytes, Allocation::Sparse);
        made.unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// A file that is one hole.
    pub(crate) fn hole(&self, name: &str, len_bytes: u64) -> SparseFile {
        let file = self.file(name, len_bytes);
        if !["ext2", "fuse"].contains(&self.name) {
            file.punch(range(0, len_bytes)).unwrap();
        }
        file
    }
}

/// Every file system there is here.
pub(crate) fn all() -> Vec<Place> {
    let mut places = always();
    places.extend(["ext4", "xfs", "btrfs"].into_iter().filter_map(mounted));
    places
}

/// Those that need no rights.
pub(crate) fn always() -> Vec<Place> {
    let mut places = vec![Place { name: "here", dir: tempfile::tempdir().unwrap(), _mount: None }];
    match TempDir::new_in("/dev/shm") {
        Ok(dir) => places.push(Place { name: "tmpfs", dir, _mount: None }),
        Err(error) => skipped(&format!("no /dev/shm: {error}")),
    }
    places
}

/// A place on a loop-mounted file system of 512 MiB, shared by all tests that run at the time.
pub(crate) fn mounted(name: &'static str) -> Option<Place> {
    static SHARED: Mutex<Vec<(&str, Weak<Mount>)>> = Mutex::new(Vec::new());
    let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let known = shared.iter().find(|(of, _)| *of == name).and_then(|(_, mount)| mount.upgrade());
    let mount = match known {
        Some(mount) => mount,
        None => {
            let mount = Arc::new(Mount::new(name, 512 * MIB, &[])?);
            shared.retain(|(of, _)| *of != name);
            shared.push((name, Arc::downgrade(&mount)));
            mount
        }
    };
    let dir = TempDir::new_in(&mount.at).unwrap();
    Some(Place { name, dir, _mount: Some(mount) })
}

/// A place of its own, small enough to fill.
pub(crate) fn small(name: &'static str, bytes: u64) -> Option<Place> {
    made_with(name, bytes, &[])
}

/// A place of its own, made with these options of its mkfs.
pub(crate) fn made_with(name: &'static str, bytes: u64, options: &[&str]) -> Option<Place> {
    let mount = Arc::new(Mount::new(name, bytes, options)?);
    let dir = TempDir::new_in(&mount.at).unwrap();
    Some(Place { name, dir, _mount: Some(mount) })
}

/// A mounted file system. Unmounted when dropped.
struct Mount {
    at: PathBuf,
    _beneath: TempDir,
}

impl Mount {
    fn new(name: &str, bytes: u64, options: &[&str]) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skipped(&format!("mounting {name} needs root"));
            return None;
        }
        // In memory where that is possible: the disk is slow, and is not what is tested.
        let beneath = TempDir::new_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let (image, at) = (beneath.path().join("image"), beneath.path().join("mount"));
        std::fs::create_dir(&at).unwrap();
        let (image, directory) = (image.to_str().unwrap(), at.to_str().unwrap());
        let done = if name == "tmpfs" {
            run("mount", &["-t", "tmpfs", "-o", &format!("size={bytes}"), "none", directory])
        } else {
            File::create(image).unwrap().set_len(bytes).unwrap();
            let (program, kind): (_, &[&str]) = match name {
                "xfs" => ("mkfs.xfs", &["-q"]),
                "btrfs" => ("mkfs.btrfs", &["-q"]),
                "vfat" => ("mkfs.vfat", &[]),
                _ => ("mke2fs", &["-q", "-F", "-t", name]),
            };
            let made = run(program, &[kind, options, &[image]].concat());
            made.and_then(|()| run("mount", &["-o", "loop", image, directory]))
        };
        match done {
            Ok(()) => Some(Self { at, _beneath: beneath }),
            Err(why) => {
                skipped(&format!("{name} cannot be mounted here: {why}"));
                None
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(why) = run("umount", &[self.at.to_str().unwrap()]) {
            eprintln!("{}: {why}", self.at.display());
        }
    }
}

/// Runs a program to its end.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    output(program, arguments).map(drop)
}

/// What a program printed.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Result<String, String> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let done = Command::new(program).args(arguments).env("PATH", path).output();
    let done = done.map_err(|error| format!("{program}: {error}"))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&done.stderr).trim()))
}

/// Says that a test, or a part of it, does not run here.
pub(crate) fn skipped(why: &str) {
    assert!(std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_none_or(|all| all != "1"), "required, but {why}");
    eprintln!("skipped: {why}");
}

/// The bytes from `start` to `end`.
pub(crate) fn range(start: u64, end: u64) -> ByteRange {
    ByteRange::new(start, end).unwrap()
}

/// Opens a file that this process had open a moment ago. A child between `fork` and `exec`, started by another test,
/// may keep the old lock for that moment.
pub(crate) fn open_again(path: &Path, access: Access) -> SparseFile {
    loop {
        match SparseFile::open(path, access) {
            Err(error) if error.kind() == ErrorKind::InUse => std::thread::yield_now(),
            done => return done.unwrap(),
        }
    }
}
