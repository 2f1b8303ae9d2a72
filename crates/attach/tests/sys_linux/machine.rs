//! What the tests arrange with: an image that cleans up after itself, somebody else's loop device, the machine.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use attach::{AttachOptions, Attached, attach, detach, find};
use disk_types::{Error, ErrorKind, Result};
use rustix::fs::FlockOperation;
use tempfile::TempDir;

pub(crate) const MIB: u64 = 1 << 20;

/// An image in a directory of its own; what is attached of it is detached at the end, and nothing else.
pub(crate) struct Image {
    pub(crate) directory: TempDir,
    pub(crate) path: PathBuf,
}

impl Image {
    pub(crate) fn new(len_bytes: u64) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("disk.img");
        File::create_new(&path).and_then(|file| file.set_len(len_bytes)).expect("an image");
        Self { directory, path }
    }

    pub(crate) fn formatted(len_bytes: u64, program: &str, arguments: &[&str]) -> Self {
        let image = Self::new(len_bytes);
        run(Command::new(program).args(arguments).arg(&image.path));
        image
    }

    pub(crate) fn ext4(len_bytes: u64) -> Self {
        Self::formatted(len_bytes, "mke2fs", &["-q", "-F", "-t", "ext4"])
    }

    /// An empty directory beside the image.
    pub(crate) fn mount_point(&self, name: &str) -> PathBuf {
        let path = fs::canonicalize(self.directory.path()).expect("the directory").join(name);
        fs::create_dir(&path).expect("a mount point");
        path
    }

    pub(crate) fn open(&self) -> File {
        OpenOptions::new().read(true).write(true).open(&self.path).expect("the image")
    }

    /// Locks as sparse-file does, attaches, and lets go of the file.
    pub(crate) fn attach(&self, options: &AttachOptions) -> Result<Attached> {
        let file = if options.read_only { File::open(&self.path).expect("the image") } else { self.open() };
        lock(&file, options.read_only).expect("the image's lock");
        attach(&self.path, &file, options)
    }

    pub(crate) fn attach_at(&self, directory: &Path) -> Attached {
        let options = AttachOptions { mount_at: Some(directory.to_owned()), ..AttachOptions::default() };
        self.attach(&options).expect("attach")
    }

    pub(crate) fn allocated_bytes(&self) -> u64 {
        fs::metadata(&self.path).expect("the image").blocks() * 512
    }

    /// Nothing of an attach is left: no device, no mount below the image's directory, no lock.
    pub(crate) fn assert_untouched(&self) {
        assert_eq!(find(&self.path).expect("find"), None);
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        assert!(!mounts.contains(self.directory.path().to_str().expect("an ordinary name")));
        wait_until("the lock is gone", || lock(&self.open(), false).is_ok());
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = detach(&self.path);
    }
}

/// Somebody else's loop device.
pub(crate) struct Losetup {
    pub(crate) device: PathBuf,
}

impl Losetup {
    pub(crate) fn of(image: &Path) -> Self {
        let output = run(Command::new("losetup").args(["--find", "--show"]).arg(image));
        Self { device: PathBuf::from(output.trim()) }
    }
}

impl Drop for Losetup {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("-d").arg(&self.device).status();
    }
}

/// Takes the lock that sparse-file takes, if it is free.
pub(crate) fn lock(file: &File, shared: bool) -> rustix::io::Result<()> {
    let kind = if shared { FlockOperation::NonBlockingLockShared } else { FlockOperation::NonBlockingLockExclusive };
    rustix::fs::flock(file, kind)
}

/// What this machine must have, or the test is skipped.
pub(crate) fn machine_has(programs: &[&str]) -> bool {
    let missing = if !rustix::process::geteuid().is_root() {
        Some("not root".to_owned())
    } else if !Path::new("/dev/loop-control").exists() {
        Some("no loop devices".to_owned())
    } else {
        programs.iter().find(|program| Command::new(program).arg("-V").output().is_err()).map(|p| format!("no {p}"))
    };
    skip_unless(missing)
}

/// A driver in the kernel or a module of it.
pub(crate) fn kernel_has(file_system: &str) -> bool {
    let known = fs::read_to_string("/proc/filesystems").expect("/proc/filesystems");
    known.lines().any(|line| line.trim_start_matches("nodev").trim() == file_system)
}

pub(crate) fn skip_unless(missing: Option<String>) -> bool {
    let Some(why) = missing else { return true };
    assert!(std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_none_or(|value| value != "1"), "required, but {why}");
    eprintln!("skipped: {why}");
    false
}

pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Waits for a fact; the bound is only there so that a failure ends.
pub(crate) fn wait_until(fact: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "in vain: {fact}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn attribute(device: &Path, name: &str) -> String {
    let path = Path::new("/sys/block").join(device.file_name().expect("a device")).join(name);
    fs::read_to_string(path).expect("an attribute").trim_end().to_owned()
}

pub(crate) fn write_junk(path: &Path, len_bytes: u64) {
    let mut file = File::create(path).expect("a file");
    file.write_all(&vec![0xA5; len_bytes as usize]).expect("room");
    file.sync_all().expect("sync");
}

#[track_caller]
pub(crate) fn assert_error<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind, words: &[&str]) -> Error {
    let error = result.expect_err("an error");
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    error
}
