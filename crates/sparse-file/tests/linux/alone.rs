//! Locks, holders, and being the only one (laws 4 and 7).

use std::fs::{File, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use sparse_file::{Access, ErrorKind, Hold, SparseFile};

use crate::files::open_again;
use test_places as places;
use test_places::{MIB, again_as_nobody, output, run, skipped};

/// Another process that has a file open until it is told to stop.
struct Stranger {
    child: Child,
    stop: Option<ChildStdin>,
}

impl Stranger {
    /// Starts a shell that opens `path`, with `flock(1)` around it if `locked`.
    fn opens(path: &Path, locked: bool) -> Self {
        let lock = if locked { "flock -n 9 || exit 1;" } else { "" };
        let script = format!("exec 9<>\"$1\"; {lock} echo ready; read _");
        let mut child = Command::new("bash")
            .args(["-c", &script, "bash"])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        Self { stop: child.stdin.take(), child }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.child.wait();
    }
}

fn image(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("image");
    File::create(&path).unwrap().set_len(MIB).unwrap();
    path
}

#[test]
fn law4_who_may_write_beside_us_is_found_and_who_reads_is_not() {
    let place = &places::always()[0];
    let path = image(place.dir());
    let file = open_again(&path, Access::ReadWrite);
    let _reader = File::open(&path).unwrap();
    assert_eq!(file.writer(), None);
    let stranger = Stranger::opens(&path, false);
    let writer = file.writer().expect("somebody may write");
    assert_eq!((writer.pid, writer.how), (Some(stranger.child.id()), Hold::Open));
    drop(stranger);
    assert_eq!(file.writer(), None);
}

#[test]
fn law7_a_second_writer_is_told_which_process_has_it() {
    for place in places::all() {
        let path = image(place.dir());
        let stranger = Stranger::opens(&path, true);
        for access in [Access::ReadWrite, Access::ReadOnly] {
            let error = SparseFile::open(&path, access).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InUse, "{}", place.name);
            let expected = format!("in use by process {} (bash)", stranger.child.id());
            assert!(error.to_string().contains(&expected), "{}: {error}", place.name);
        }
        let looking = SparseFile::open(&path, Access::Inspect).unwrap();
        let holder = looking.holder().unwrap();
        assert_eq!((holder.pid, holder.how), (Some(stranger.child.id()), Hold::Lock), "{}", place.name);
    }
}

#[test]
fn law7_readers_share_and_a_writer_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = image(dir.path());
    let first = open_again(&path, Access::ReadOnly);
    let _second = SparseFile::open(&path, Access::ReadOnly).unwrap();
    let error = SparseFile::open(&path, Access::ReadWrite).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse);
    assert!(error.to_string().contains("this process has it open"), "{error}");
    assert_eq!(first.holder().unwrap().pid, Some(std::process::id()));
}

#[test]
fn law7_the_lock_ends_with_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = image(dir.path());
    drop(open_again(&path, Access::ReadWrite));
    drop(open_again(&path, Access::ReadWrite));
}

#[test]
fn law7_a_loop_device_that_was_given_the_file_keeps_the_lock_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = image(dir.path());
    let Ok(device) = output("losetup", &["--find", "--show", path.to_str().unwrap()]) else {
        return skipped("no loop device to be had");
    };
    let device = device.trim();
    let looking = SparseFile::open(&path, Access::Inspect).unwrap();
    let (holder, alone) = (looking.holder(), looking.sole_opener().map(drop));
    run("losetup", &["--detach", device]).unwrap();
    assert_eq!(holder.unwrap().to_string(), device);
    let error = alone.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse);
    assert!(error.to_string().contains(device), "{error}");
}

#[test]
fn law4_the_sole_opener_is_refused_while_anybody_at_all_has_the_file_open() {
    for place in places::all() {
        let path = image(place.dir());
        let file = open_again(&path, Access::ReadWrite);
        let stranger = Stranger::opens(&path, false);
        let error = file.sole_opener().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse, "{}", place.name);
        assert!(error.to_string().contains(&format!("process {} (bash)", stranger.child.id())), "{error}");
        drop(stranger);
        let alone = file.sole_opener().unwrap();
        assert!(alone.is_enforced() && alone.is_alone().unwrap(), "{}", place.name);
    }
}

#[test]
fn law4_a_newcomer_waits_until_the_sole_opener_lets_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = image(dir.path());
    let file = open_again(&path, Access::ReadWrite);
    let alone = file.sole_opener().unwrap();
    let mut newcomer = Command::new("cat").arg(&path).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    while alone.is_alone().unwrap() {
        std::thread::yield_now();
    }
    assert!(newcomer.try_wait().unwrap().is_none(), "it waits");
    file.write_at(0, b"in time").unwrap();
    drop(alone);
    let mut seen = Vec::new();
    newcomer.stdout.take().unwrap().read_to_end(&mut seen).unwrap();
    assert!(newcomer.wait().unwrap().success());
    assert_eq!(&seen[..7], b"in time");
    assert!(file.sole_opener().is_ok_and(|alone| alone.is_alone().unwrap()), "and can be had again");
}

#[test]
fn law7_opening_what_is_held_alone_is_refused_at_once_and_disturbs_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = image(dir.path());
    let file = open_again(&path, Access::ReadWrite);
    let alone = file.sole_opener().unwrap();
    for access in [Access::ReadOnly, Access::ReadWrite] {
        assert_eq!(SparseFile::open(&path, access).unwrap_err().kind(), ErrorKind::InUse);
    }
    assert!(alone.is_alone().unwrap());
    drop(alone);
    assert!(SparseFile::open(&path, Access::Inspect).is_ok());
}

#[test]
fn law4_to_inspect_is_worth_waiting_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = image(dir.path());
    let file = open_again(&path, Access::ReadWrite);
    std::thread::scope(|threads| {
        let alone = file.sole_opener().unwrap();
        let looking = threads.spawn(|| SparseFile::open(&path, Access::Inspect).map(drop));
        while alone.is_alone().unwrap() {
            std::thread::yield_now();
        }
        drop(alone);
        looking.join().unwrap().unwrap();
    });
}

#[test]
fn the_lock_is_one_that_other_programs_see() {
    let dir = tempfile::tempdir().unwrap();
    let path = image(dir.path());
    let _file = open_again(&path, Access::ReadWrite);
    match Command::new("flock").arg("-n").arg(&path).arg("true").status() {
        Ok(status) => assert!(!status.success()),
        Err(error) => skipped(&format!("flock: {error}")),
    }
}

#[test]
fn law4_who_does_not_own_a_file_cannot_be_sure_to_be_alone() {
    if let Some(image) = std::env::var_os(places::FILE_OF_ROOT) {
        let error = open_again(Path::new(&image), Access::ReadWrite).sole_opener().map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        return assert!(error.to_string().contains("belongs to another user"), "{error}");
    }
    if !rustix::process::geteuid().is_root() {
        return skipped("only root can leave a file to others");
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    drop(SparseFile::create(&image, MIB, sparse_file::Allocation::Sparse).unwrap());
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&image, Permissions::from_mode(0o666)).unwrap();
    // Open here, where the other user cannot look.
    let _open = File::options().read(true).write(true).open(&image).unwrap();
    again_as_nobody("alone::law4_who_does_not_own_a_file_cannot_be_sure_to_be_alone", &image);
}
