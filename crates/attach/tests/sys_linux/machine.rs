//! What the tests arrange with: an image that cleans up after itself, somebody else's loop device, the machine.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use attach::{AttachOptions, Attached, attach, find};
use disk_types::{Error, ErrorKind, Result};
use rustix::fs::FlockOperation;
use rustix::mount::{MountFlags, UnmountFlags};
use tempfile::TempDir;

pub(crate) const MIB: u64 = 1 << 20;

/// Held shared by every test, and alone by one that makes a mount namespace: that copies the mounts of all others,
/// which cannot be detached as long as it lives.
static TURN: RwLock<()> = RwLock::new(());

/// Held alone from fork to exec: until then a child has a copy of every descriptor of this process, of files on a
/// mount and of locks that are about to go.
static FORK: RwLock<()> = RwLock::new(());

/// The right to run, until it is dropped.
pub(crate) enum Turn {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

/// An image in a directory of its own; what is attached of it is detached at the end, and nothing else.
pub(crate) struct Image {
    pub(crate) directory: TempDir,
    pub(crate) path: PathBuf,
}

impl Image {
    pub(crate) fn new(len_bytes: u64) -> Self {
        Self::new_in(&std::env::temp_dir(), len_bytes)
    }

    pub(crate) fn new_in(parent: &Path, len_bytes: u64) -> Self {
        let directory = tempfile::tempdir_in(parent).expect("a temporary directory");
        let path = directory.path().join("disk.img");
        File::create_new(&path).and_then(|file| file.set_len(len_bytes)).expect("an image");
        Self { directory, path }
    }

    pub(crate) fn formatted(len_bytes: u64, program: &str, arguments: &[&str]) -> Self {
        let image = Self::new(len_bytes);
        image.format(program, arguments);
        image
    }

    pub(crate) fn format(&self, program: &str, arguments: &[&str]) {
        run(Command::new(program).args(arguments).arg(&self.path));
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
        // A child may hold the previous lock until it execs.
        wait_until("the image's lock", || lock(&file, options.read_only).is_ok());
        attach(&self.path, file, options)
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
        // Whatever is mounted by others may have any name.
        let mounts = fs::read("/proc/self/mountinfo").expect("mountinfo");
        let name = self.directory.path().to_str().expect("an ordinary name");
        assert!(!String::from_utf8_lossy(&mounts).contains(name));
        wait_until("the lock is gone", || lock(&self.open(), false).is_ok());
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let began = Instant::now();
        // Somebody who looks at every new device (udev) may have it open for a moment.
        while let Err(error) = detach(&self.path) {
            match error.kind() {
                ErrorKind::NotFound | ErrorKind::Refused => return,
                _ if began.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(10)),
                _ => {
                    eprintln!("left behind: {error}");
                    assert!(std::thread::panicking(), "a device was left behind: {error}");
                    return;
                }
            }
        }
    }
}

/// A file system in memory, gone with everything in it at the end.
pub(crate) struct Tmpfs {
    pub(crate) path: PathBuf,
}

impl Tmpfs {
    /// Over what is at `path`, with as many bytes.
    pub(crate) fn over(path: &Path, len_bytes: u64) -> Self {
        let size = CString::new(format!("size={len_bytes}")).expect("text");
        rustix::mount::mount("none", path, "tmpfs", MountFlags::empty(), Some(size.as_c_str())).expect("mount");
        Self { path: path.to_owned() }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        if let Err(error) = rustix::mount::unmount(&self.path, UnmountFlags::DETACH) {
            eprintln!("left behind: {}: {error}", self.path.display());
        }
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
        run(Command::new("losetup").arg("-d").arg(&self.device));
    }
}

/// Takes the lock that sparse-file takes, if it is free.
pub(crate) fn lock(file: &File, shared: bool) -> rustix::io::Result<()> {
    let kind = if shared { FlockOperation::NonBlockingLockShared } else { FlockOperation::NonBlockingLockExclusive };
    rustix::fs::flock(file, kind)
}

/// [`attach::detach`] while no child of this process is about to start.
pub(crate) fn detach(target: &Path) -> Result<Attached> {
    let _no_fork = FORK.read().unwrap_or_else(PoisonError::into_inner);
    attach::detach(target)
}

/// What this machine must have, or the test is skipped.
pub(crate) fn machine_has(programs: &[&str]) -> Option<Turn> {
    has(programs).then(|| Turn::Shared { _guard: TURN.read().unwrap_or_else(PoisonError::into_inner) })
}

/// The same for a test that disturbs others.
pub(crate) fn machine_alone_has(programs: &[&str]) -> Option<Turn> {
    has(programs).then(|| Turn::Alone { _guard: TURN.write().unwrap_or_else(PoisonError::into_inner) })
}

fn has(programs: &[&str]) -> bool {
    let missing = if !rustix::process::geteuid().is_root() {
        Some("not root".to_owned())
    } else if !Path::new("/dev/loop-control").exists() {
        Some("no loop devices".to_owned())
    } else {
        programs.iter().find(|program| output(Command::new(program).arg("-V")).is_err()).map(|p| format!("no {p}"))
    };
    skip_unless(missing)
}

/// A driver in the kernel or a module of it.
pub(crate) fn kernel_has(file_system: &str) -> bool {
    // Only a loaded module is in the list. Without modprobe there are no modules.
    let _ = output(Command::new("modprobe").args(["-q", file_system]));
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
    let output = output(command).expect("the program runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

pub(crate) fn output(command: &mut Command) -> io::Result<Output> {
    spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))?.wait_with_output()
}

pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    let _until_exec = FORK.write().unwrap_or_else(PoisonError::into_inner);
    command.spawn()
}

/// How long a fact is waited for. The bound is only there so that a failure ends.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for a fact.
pub(crate) fn wait_until(fact: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "in vain: {fact}");
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
