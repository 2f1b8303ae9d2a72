//! For the tests of sparsedisk: directories on real file systems, and who may use them.
//!
//! A test that cannot run here says why through [`skipped`], which is an error where `SPARSEDISK_REQUIRE_ALL` is 1.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

use tempfile::TempDir;

/// One kibibyte.
pub const KIB: u64 = 1 << 10;
/// One mebibyte.
pub const MIB: u64 = 1 << 20;

/// A directory on a known file system, gone with everything in it when dropped.
#[derive(Debug)]
pub struct Place {
    /// The file system: `here`, `tmpfs`, or what it was mounted as.
    pub name: &'static str,
    dir: TempDir,
    _mount: Option<Arc<Mount>>,
}

impl Place {
    /// A name in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Itself.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// Every file system there is here.
pub fn all() -> Vec<Place> {
    let mut places = always();
    places.extend(["ext4", "xfs", "btrfs"].into_iter().filter_map(mounted));
    places
}

/// Those that need no rights.
pub fn always() -> Vec<Place> {
    let mut places = vec![Place { name: "here", dir: tempfile::tempdir().unwrap(), _mount: None }];
    match TempDir::new_in("/dev/shm") {
        Ok(dir) => places.push(Place { name: "tmpfs", dir, _mount: None }),
        Err(error) => skipped(&format!("no /dev/shm: {error}")),
    }
    places
}

/// A place on a loop-mounted file system of 512 MiB, shared by all tests that run at the time.
pub fn mounted(name: &'static str) -> Option<Place> {
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
pub fn small(name: &'static str, bytes: u64) -> Option<Place> {
    made_with(name, bytes, &[])
}

/// A place of its own, made with these options of its mkfs.
pub fn made_with(name: &'static str, bytes: u64, options: &[&str]) -> Option<Place> {
    let mount = Arc::new(Mount::new(name, bytes, options)?);
    let dir = TempDir::new_in(&mount.at).unwrap();
    Some(Place { name, dir, _mount: Some(mount) })
}

/// A mounted file system. Unmounted when dropped.
#[derive(Debug)]
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
                "exfat-fuse" => ("mkfs.exfat", &[]),
                _ => ("mke2fs", &["-q", "-F", "-t", name]),
            };
            let made = run(program, &[kind, options, &[image]].concat());
            let kind: &[&str] = if name == "exfat-fuse" { &["-t", name] } else { &[] };
            made.and_then(|()| run("mount", &[kind, &["-o", "loop", image, directory]].concat()))
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
        let at = self.at.to_str().unwrap();
        // A child of another test, between `fork` and `exec`, may keep it busy for that moment.
        let busy = (0..1000).all(|_| run("umount", &[at]).is_err());
        if busy && let Err(why) = run("umount", &["--lazy", at]) {
            eprintln!("{at}: {why}");
        }
    }
}

/// Runs a program to its end.
pub fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    output(program, arguments).map(drop)
}

/// What a program printed.
pub fn output(program: &str, arguments: &[&str]) -> Result<String, String> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let done = Command::new(program).args(arguments).env("PATH", path).output();
    let done = done.map_err(|error| format!("{program}: {error}"))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&done.stderr).trim()))
}

/// Where [`again_as_nobody`] tells the test's second run about a file of root's.
pub const FILE_OF_ROOT: &str = "SPARSEDISK_TEST_FILE";

/// Runs a test of this program again as a user to whom permissions apply, from where that user can read it.
pub fn again_as_nobody(test: &str, file: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let everybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir.path(), everybody.clone()).unwrap();
    let program = dir.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::fs::set_permissions(&program, everybody).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--clear-groups"]).arg(program).args(["--exact", test]).env(FILE_OF_ROOT, file);
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
}

/// Says that a test, or a part of it, does not run here.
pub fn skipped(why: &str) {
    assert!(std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_none_or(|all| all != "1"), "required, but {why}");
    eprintln!("skipped: {why}");
}
