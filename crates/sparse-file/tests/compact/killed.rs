//! Killed at every system call, by strace: what is left is the old file or the new one, whole, and the next run cleans up.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{compact_at, mixed, names, without_what_it_lacks};
use test_places::{MIB, Place, skipped, small};

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

#[test]
fn law2_a_kill_at_any_call_leaves_the_old_file_or_the_new_one() {
    if let Some(path) = std::env::var_os(INSIDE) {
        compact_at(Path::new(&path)).unwrap();
        return;
    }
    if Command::new("strace").arg("-V").output().is_err() {
        return skipped("no strace");
    }
    let mut places = test_places::always();
    // Where names are linked and not exchanged.
    places.extend(small("ext2", 16 * MIB));
    for place in &places {
        kill_at_every_call(place);
    }
}

fn kill_at_every_call(place: &Place) {
    let path = place.path("disk.img");
    without_what_it_lacks(place, mixed()).write(&path);
    let twin = fs::read(&path).unwrap();
    let (mut kills, mut left) = (0, 0);
    for call in CALLS {
        for nth in 1.. {
            let killed = run_killed(&path, call, nth);
            assert!(fs::read(&path).unwrap() == twin, "{}: {call} {nth}: the image is neither", place.name);
            for name in names(place.dir()) {
                let known = ["disk.img", "disk.img.compacting", "disk.img.before-compacting"];
                assert!(known.contains(&name.as_str()), "{}: {call} {nth} left {name}", place.name);
            }
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
    eprintln!("{}: killed {kills} times, {left} times something was left", place.name);
    assert!(kills > 20 && left > 3, "{}: {kills} kills, {left} leftovers", place.name);
    compact_at(&path).unwrap();
    assert_eq!(names(place.dir()), ["disk.img"]);
    assert!(fs::read(&path).unwrap() == twin);
}

/// Runs the compaction in a process that is killed when it enters the `nth` such call. `false`: it ran to its end.
fn run_killed(path: &Path, call: &str, nth: u32) -> bool {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    command.args(["-e", &format!("inject={call}:signal=KILL:when={nth}")]);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", NAME, "--nocapture"]).env(INSIDE, path);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{call} {nth}: {said}");
    !output.status.success()
}
