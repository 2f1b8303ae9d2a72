//! Killed at every system call, by strace: what is left is the old file or the new one, whole, and the next run cleans up.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::layout::{Layout, MIB, Part};
use crate::{compact_at, mixed, names};
use test_places::{Place, skipped};

/// Where the second run of this program finds what it is to compact.
const INSIDE: &str = "SPARSEDISK_TEST_KILLED_COMPACTING";
const NAME: &str = "killed::law2_a_kill_at_any_call_leaves_the_old_file_or_the_new_one";

/// The calls that make or change a file, a name or a lock.
const CALLS: &[&str] = &[
    "openat",
    "flock",
    "fcntl",
    "fallocate",
    "ftruncate",
    "pwrite64",
    "fchown",
    "fchmod",
    "fsetxattr",
    "utimensat",
    "fdatasync",
    "fsync",
    "fadvise64",
    "renameat2",
    "rename",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "close",
];

/// A file system that keeps holes and can neither punch them nor exchange two names, as strace plays it: NFS is one.
pub(crate) const POOR: &[&str] = &["-e", "inject=renameat2:error=EINVAL", "-e", "inject=fallocate:error=EOPNOTSUPP"];

#[test]
fn law2_a_kill_at_any_call_leaves_the_old_file_or_the_new_one() {
    if let Some(path) = std::env::var_os(INSIDE) {
        compact_at(Path::new(&path)).unwrap();
        return;
    }
    if Command::new("strace").arg("-V").output().is_err() {
        return skipped("no strace");
    }
    for place in &test_places::always() {
        kill_at_every_call(place, &[]);
        kill_at_every_call(place, POOR);
    }
}

#[test]
fn law1_a_file_system_that_can_neither_punch_nor_exchange_names_is_compacted_too() {
    if Command::new("strace").arg("-V").output().is_err() {
        return skipped("no strace");
    }
    for place in &test_places::always() {
        let path = place.path("disk.img");
        Layout(vec![Part::Zeroes(8 * MIB), Part::Data(MIB)]).write(&path);
        let twin = fs::read(&path).unwrap();
        assert!(!run_killed(&path, POOR, "rename", 100), "{}: it runs to its end", place.name);
        assert!(fs::read(&path).unwrap() == twin, "{}", place.name);
        assert!(fs::metadata(&path).unwrap().blocks() * 512 < 2 * MIB, "{}", place.name);
        assert_eq!(names(place.dir()), ["disk.img"]);
    }
}

fn kill_at_every_call(place: &Place, injected: &[&str]) {
    let path = place.path("disk.img");
    mixed().write(&path);
    let twin = fs::read(&path).unwrap();
    let (mut kills, mut left, mut linked) = (0, 0, 0);
    // A call that fails anyway is not killed too.
    for call in CALLS.iter().filter(|call| !injected.iter().any(|word| word.contains(&format!("={call}:")))) {
        for nth in 1.. {
            let killed = run_killed(&path, injected, call, nth);
            assert!(fs::read(&path).unwrap() == twin, "{}: {call} {nth}: the image is neither", place.name);
            for name in names(place.dir()) {
                let known = ["disk.img", "disk.img.compacting", "disk.img.before-compacting"];
                assert!(known.contains(&name.as_str()), "{}: {call} {nth} left {name}", place.name);
            }
            linked += u32::from(place.path("disk.img.before-compacting").exists());
            left += u32::from(names(place.dir()).len() > 1);
            if !killed {
                break;
            }
            kills += 1;
            // The lock and the lease went with the process: the next run cleans up and completes. Not each time, so
            // that leftovers upon leftovers are met too.
            if nth % 2 == 0 {
                compact_at(&path).unwrap_or_else(|error| panic!("{}: after {call} {nth}: {error}", place.name));
                assert_eq!(names(place.dir()), ["disk.img"]);
            }
        }
    }
    assert!(injected.is_empty() || linked > 0, "{}: the second name of the old file was never left", place.name);
    eprintln!("{}: killed {kills} times, {left} times something was left", place.name);
    assert!(kills > 20 && left > 3, "{}: {kills} kills, {left} leftovers", place.name);
    compact_at(&path).unwrap();
    assert_eq!(names(place.dir()), ["disk.img"]);
    assert!(fs::read(&path).unwrap() == twin);
    fs::remove_file(&path).unwrap();
}

/// Runs the compaction in a process that is killed when it enters the `nth` such call. `false`: it ran to its end.
fn run_killed(path: &Path, injected: &[&str], call: &str, nth: u32) -> bool {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call},renameat2,fallocate")]);
    command.args(injected).args(["-e", &format!("inject={call}:signal=KILL:when={nth}")]);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", NAME, "--nocapture"]).env(INSIDE, path);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{call} {nth}: {said}");
    !output.status.success()
}
