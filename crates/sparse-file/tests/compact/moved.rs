//! Whoever renames, links or mounts the file while it is compacted, without opening it.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::layout::{Layout, MIB, Part};
use crate::newcomers::{AtTheEnd, appender};
use crate::{compact_at, compact_watched, mixed, names};
use sparse_file::{CompactReport, ErrorKind, Result};
use test_places::skipped;

/// Compacts, and does something when nothing is left but to exchange the names.
fn meanwhile(path: &Path, act: &mut dyn FnMut()) -> Result<CompactReport> {
    compact_watched(path, &mut AtTheEnd::new(act))
}

#[test]
fn law4_another_file_that_took_the_name_in_the_last_moment_is_not_lost() {
    for place in &test_places::always() {
        let (path, other) = (place.path("disk.img"), place.path("other.img"));
        mixed().write(&path);
        fs::write(&other, b"the other").unwrap();
        let error = meanwhile(&path, &mut || fs::rename(&other, &path).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Changed, "{}: {error}", place.name);
        assert_eq!(fs::read(&path).unwrap(), b"the other", "{}", place.name);
        assert_eq!(names(place.dir()), ["disk.img"], "{}", place.name);
    }
}

#[test]
fn law4_a_second_name_given_in_the_last_moment_goes_on_leading_to_the_image() {
    for place in &test_places::always() {
        let (path, second) = (place.path("disk.img"), place.path("second.img"));
        mixed().write(&path);
        let inode = fs::metadata(&path).unwrap().ino();
        let error = meanwhile(&path, &mut || fs::hard_link(&path, &second).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Changed, "{}: {error}", place.name);
        assert_eq!(names(place.dir()), ["disk.img", "second.img"], "{}", place.name);
        assert_eq!([&path, &second].map(|path| fs::metadata(path).unwrap().ino()), [inode, inode]);
    }
}

#[test]
fn law4_a_file_renamed_in_the_last_moment_stays_where_it_was_put() {
    for place in &test_places::always() {
        let (path, elsewhere) = (place.path("disk.img"), place.path("elsewhere.img"));
        mixed().write(&path);
        let twin = fs::read(&path).unwrap();
        let error = meanwhile(&path, &mut || fs::rename(&path, &elsewhere).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{}: {error}", place.name);
        assert_eq!(names(place.dir()), ["elsewhere.img"], "{}", place.name);
        assert!(fs::read(&elsewhere).unwrap() == twin);
    }
}

#[test]
fn law10_a_file_that_is_mounted_by_itself_is_refused_because_the_mount_would_keep_the_old_one() {
    if !rustix::process::geteuid().is_root() {
        return skipped("only root mounts");
    }
    let place = &test_places::always()[0];
    let (path, mounted) = (place.path("disk img"), place.path("mounted"));
    mixed().write(&path);
    File::create(&mounted).unwrap();
    if let Err(why) = test_places::run("mount", &["--bind", path.to_str().unwrap(), mounted.to_str().unwrap()]) {
        return skipped(&why);
    }
    let errors = [&path, &mounted].map(|path| compact_at(path).unwrap_err());
    test_places::run("umount", &[mounted.to_str().unwrap()]).unwrap();
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        assert!(error.to_string().contains(&format!("mounted by itself at {}", mounted.display())), "{error}");
    }
    compact_at(&path).unwrap();
    assert_eq!(names(place.dir()), ["disk img", "mounted"]);
}

#[test]
fn attributes_that_say_how_it_is_stored_are_kept() {
    let Some(place) = test_places::mounted("ext4") else { return };
    let path = place.path("disk.img");
    Layout(vec![Part::Data(MIB), Part::Zeroes(MIB)]).write(&path);
    if let Err(why) = test_places::run("chattr", &["+SdA", path.to_str().unwrap()]) {
        return skipped(&why);
    }
    // A right that root in a container may lack (CAP_SYS_RESOURCE).
    let journalled = test_places::run("chattr", &["+j", path.to_str().unwrap()]).is_ok();
    compact_at(&path).unwrap();
    let said = test_places::output("lsattr", &[path.to_str().unwrap()]).unwrap();
    let flags = said.split_whitespace().next().unwrap_or_default();
    let expected = if journalled { "SdAj" } else { "SdA" };
    assert!(expected.chars().all(|flag| flags.contains(flag)), "{said}");
}

/// A run is killed just after the exchange, while somebody waits inside open(2) for the old file: they have it then, and
/// what they write is in no file that the next run removes.
#[test]
fn law4_what_is_written_to_the_old_file_after_a_kill_is_not_removed_by_the_next_run() {
    const INSIDE: &str = "SPARSEDISK_TEST_KILLED_AFTER_EXCHANGE";
    const NAME: &str = "moved::law4_what_is_written_to_the_old_file_after_a_kill_is_not_removed_by_the_next_run";
    if let Some(path) = std::env::var_os(INSIDE) {
        panic!("not killed: {:?}", compact_at(Path::new(&path)));
    }
    if Command::new("strace").arg("-V").output().is_err() {
        return skipped("no strace");
    }
    let place = &test_places::always()[0];
    let (path, left) = (place.path("disk.img"), place.path("disk.img.before-compacting"));
    // The moment is not ours to choose: it is done again until the newcomer came before the exchange.
    for _ in 0..20 {
        Layout(vec![Part::Data(MIB), Part::Zeroes(MIB)]).write(&path);
        let mut command = Command::new("strace");
        command.args(["-qq", "-f", "-o", "/dev/null", "-e", "trace=renameat2,fsync"]);
        // The first renames the new file, the second exchanges; the first flushes the new file, the second the directory.
        command.args(["-e", "inject=renameat2:delay_enter=200000:when=2", "-e", "inject=fsync:signal=KILL:when=2"]);
        command.arg(std::env::current_exe().unwrap()).args(["--exact", NAME, "--nocapture"]).env(INSIDE, &path);
        let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while !left.exists() && run.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let mut newcomer = appender(&path);
        assert!(!run.wait().unwrap().success() && newcomer.wait().unwrap().success());
        if !fs::read(&left).unwrap().starts_with(b"newcomer") {
            fs::remove_file(&path).unwrap();
            fs::remove_file(&left).unwrap();
            continue;
        }
        let error = compact_at(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        assert!(error.to_string().contains("written after the image"), "{error}");
        assert!(fs::read(&left).unwrap().starts_with(b"newcomer"));
        return;
    }
    panic!("the newcomer was always too late");
}
