//! Making and opening, and everything that is refused.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use sparse_file::{Access, Allocation, Error, ErrorKind, MAX_OFFSET, SparseFile, decompress};

use crate::files::{Files, open_again, range};
use test_places as places;
use test_places::{KIB, MIB, again_as_nobody, output, run, skipped};

fn create(path: &Path, len_bytes: u64) -> Result<SparseFile, Error> {
    SparseFile::create(path, len_bytes, Allocation::Sparse)
}

fn assert_refused<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind, words: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{error}");
    assert!(error.path().is_some(), "{error}");
}

#[test]
fn a_new_file_is_a_hole_but_for_its_last_sector() {
    for place in places::all() {
        let file = place.file("image", 100 * MIB);
        let mut bytes = vec![1; 64 * 1024];
        file.read_at(100 * MIB - bytes.len() as u64, &mut bytes).unwrap();
        assert!(bytes.iter().all(|&byte| byte == 0), "{}", place.name);
        let ledger = file.ledger().unwrap();
        assert_eq!(ledger.apparent_bytes, 100 * MIB, "{}", place.name);
        assert!(ledger.allocated_bytes <= 64 * KIB, "{}: {ledger:?}", place.name);
        assert!(file.is_marked_sparse().unwrap(), "{}", place.name);
        assert_eq!(fs::metadata(file.path()).unwrap().len(), 100 * MIB);
    }
}

#[test]
fn a_dense_file_is_allocated_and_reads_as_zero() {
    for place in places::all() {
        let file = SparseFile::create(&place.path("image"), 8 * MIB, Allocation::Dense).unwrap();
        assert!(file.allocated_bytes().unwrap() >= 8 * MIB, "{}", place.name);
        assert!(!file.is_marked_sparse().unwrap(), "{}", place.name);
        let mut bytes = vec![1; 8 << 20];
        file.read_at(0, &mut bytes).unwrap();
        assert!(sparse_file::is_zero(&bytes), "{}", place.name);
    }
}

#[test]
fn create_never_touches_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (there, link) = (dir.path().join("there"), dir.path().join("link"));
    fs::write(&there, "precious").unwrap();
    symlink("nowhere", &link).unwrap();
    assert_refused(create(&there, MIB), ErrorKind::AlreadyExists, "never overwritten");
    assert_refused(create(dir.path(), MIB), ErrorKind::AlreadyExists, "exists");
    assert_refused(create(&link, MIB), ErrorKind::AlreadyExists, "link to nowhere");
    assert_eq!(fs::read(&there).unwrap(), b"precious");
    assert!(!dir.path().join("nowhere").exists());
}

#[test]
fn create_refuses_impossible_sizes_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    assert_refused(create(&path, 0), ErrorKind::InvalidInput, "zero");
    assert_refused(create(&path, 513), ErrorKind::InvalidInput, "512");
    assert_refused(create(&path, MAX_OFFSET + 1), ErrorKind::TooLarge, "signed 64-bit");
    assert_refused(create(&path, u64::MAX), ErrorKind::TooLarge, "signed 64-bit");
    assert_refused(create(&dir.path().join("missing/image"), MIB), ErrorKind::NotFound, "directory does not exist");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn create_beyond_the_file_systems_limit_names_the_limit_and_leaves_nothing() {
    for place in places::all() {
        let largest = place.file("probe", MIB).support().unwrap().max_file_bytes;
        assert!(largest >= 1 << 40, "{}: {largest}", place.name);
        let Some(beyond) = (largest + 1).checked_next_multiple_of(512).filter(|&bytes| bytes <= MAX_OFFSET) else {
            continue;
        };
        let path = place.path("image");
        assert_refused(create(&path, beyond), ErrorKind::TooLarge, &largest.to_string());
        assert!(!path.exists(), "{}", place.name);
    }
}

#[test]
fn beyond_the_limit_of_this_process_is_an_error_and_not_its_end() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
    if limit.is_none_or(|bytes| bytes > 16 * MIB) {
        // The limit holds for a whole process, so the test runs itself again in one that has it.
        let name = "opening::beyond_the_limit_of_this_process_is_an_error_and_not_its_end";
        let script = r#"ulimit -f 2048 && LARGE="$2" exec "$0" --exact "$1""#;
        let (this, dir) = (std::env::current_exe().unwrap(), tempfile::tempdir().unwrap());
        let large = dir.path().join("large");
        File::create(&large).unwrap().set_len(64 * MIB).unwrap();
        let said = output("bash", &["-c", script, this.to_str().unwrap(), name, large.to_str().unwrap()]).unwrap();
        return assert!(said.contains("1 passed"), "{said}");
    }
    let dir = tempfile::tempdir().unwrap();
    let new = dir.path().join("new");
    assert_refused(create(&new, 64 * MIB), ErrorKind::TooLarge, &limit.unwrap().to_string());
    assert!(!new.exists());
    let large = std::path::PathBuf::from(std::env::var_os("LARGE").unwrap());
    assert_refused(SparseFile::open(&large, Access::ReadWrite), ErrorKind::TooLarge, "ulimit");
    assert!(SparseFile::open(&large, Access::ReadOnly).is_ok());
    // What is found by trying is tried within the limit.
    let small = create(&new, MIB).unwrap();
    assert_eq!(small.support().unwrap().punch, sparse_file::Ability::Yes);
    assert_eq!(small.ledger().unwrap().apparent_bytes, MIB);
}

#[test]
fn law10_what_is_not_a_regular_file_is_refused_without_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let (fifo, socket) = (dir.path().join("fifo"), dir.path().join("socket"));
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for access in [Access::Inspect, Access::ReadOnly, Access::ReadWrite] {
        assert_refused(SparseFile::open(&fifo, access), ErrorKind::Refused, "FIFO");
        assert_refused(SparseFile::open(&socket, access), ErrorKind::Refused, "socket");
        assert_refused(SparseFile::open(dir.path(), access), ErrorKind::Refused, "directory");
        assert_refused(SparseFile::open(Path::new("/dev/null"), access), ErrorKind::Refused, "character device");
        if Path::new("/dev/loop0").exists() {
            assert_refused(SparseFile::open(Path::new("/dev/loop0"), access), ErrorKind::Refused, "block device");
        }
    }
}

#[test]
fn what_is_missing_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let (link, circle) = (dir.path().join("link"), dir.path().join("circle"));
    symlink("nowhere", &link).unwrap();
    symlink("circle", &circle).unwrap();
    assert_refused(SparseFile::open(&link, Access::ReadWrite), ErrorKind::NotFound, "link to nowhere");
    assert_refused(SparseFile::open(&circle, Access::ReadWrite), ErrorKind::NotFound, "circle");
    assert_refused(SparseFile::open(&dir.path().join("x"), Access::Inspect), ErrorKind::NotFound, "no such file");
}

#[test]
fn a_link_to_an_image_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (image, link) = (dir.path().join("image"), dir.path().join("link"));
    drop(create(&image, MIB).unwrap());
    symlink("image", &link).unwrap();
    assert_eq!(open_again(&link, Access::ReadWrite).len_bytes(), MIB);
}

#[test]
fn law10_attributes_that_forbid_writing_are_named_and_reading_goes_on() {
    let Some(place) = places::mounted("ext4") else { return };
    for (flag, word) in [("i", "immutable"), ("a", "append-only")] {
        let path = place.path(word);
        drop(create(&path, MIB).unwrap());
        let path_text = path.to_str().unwrap();
        if let Err(why) = run("chattr", &[&format!("+{flag}"), path_text]) {
            return skipped(&why);
        }
        let refused = SparseFile::open(&path, Access::ReadWrite);
        let looked = SparseFile::open(&path, Access::Inspect).unwrap().support().unwrap();
        run("chattr", &[&format!("-{flag}"), path_text]).unwrap();
        assert_refused(refused, ErrorKind::Refused, word);
        assert_eq!(looked.forbidding, [word]);
    }
}

#[test]
fn law10_a_compressing_directory_is_refused_and_left_empty() {
    let Some(place) = places::mounted("btrfs") else { return };
    let dir = place.path("compressing");
    fs::create_dir(&dir).unwrap();
    if let Err(why) = run("chattr", &["+c", dir.to_str().unwrap()]) {
        return skipped(&why);
    }
    assert_refused(create(&dir.join("image"), MIB), ErrorKind::Refused, "compressed");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    let other = dir.join("by-others");
    File::create(&other).unwrap().set_len(MIB).unwrap();
    assert_refused(SparseFile::open(&other, Access::ReadWrite), ErrorKind::Refused, "compressed");
    let reader = SparseFile::open(&other, Access::ReadOnly).unwrap();
    // The way out: nobody else has it, and afterwards it is written to.
    assert_refused(decompress(&other), ErrorKind::InUse, "open already");
    drop(reader);
    assert!(decompress(&other).unwrap());
    assert!(!decompress(&other).unwrap());
    open_again(&other, Access::ReadWrite).punch(range(0, MIB)).unwrap();
}

#[test]
fn law10_an_image_on_a_file_system_without_holes_is_refused_unless_dense() {
    let Some(place) = places::small("exfat-fuse", 64 * MIB) else { return };
    let path = place.path("image");
    assert_refused(create(&path, 8 * MIB), ErrorKind::Refused, "has no holes");
    assert!(!path.exists());
    let dense = SparseFile::create(&path, 8 * MIB, Allocation::Dense).unwrap();
    assert!(dense.allocated_bytes().unwrap() >= 8 * MIB);
}

#[test]
fn a_read_only_file_system_says_so() {
    let Some(place) = places::small("ext4", 16 * MIB) else { return };
    let (image, at) = (place.path("image"), place.dir().parent().unwrap().to_owned());
    drop(create(&image, MIB).unwrap());
    let at = at.to_str().unwrap();
    run("mount", &["-o", "remount,ro", at]).unwrap();
    let (opened, made) = (SparseFile::open(&image, Access::ReadWrite), create(&place.path("new"), MIB));
    let read = SparseFile::open(&image, Access::ReadOnly).map(drop);
    run("mount", &["-o", "remount,rw", at]).unwrap();
    assert_refused(opened, ErrorKind::ReadOnly, "mounted read-only");
    assert_refused(made, ErrorKind::ReadOnly, "mounted read-only");
    read.unwrap();
}

#[test]
fn a_file_this_user_may_not_write_can_still_be_read() {
    if rustix::process::geteuid().is_root() {
        return again_as_nobody("opening::a_file_this_user_may_not_write_can_still_be_read", Path::new(""));
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    drop(create(&path, MIB).unwrap());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    assert_refused(SparseFile::open(&path, Access::ReadWrite), ErrorKind::PermissionDenied, "right to write");
    assert_eq!(open_again(&path, Access::ReadOnly).support().unwrap().punch, sparse_file::Ability::Yes);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    assert_refused(SparseFile::open(&path, Access::Inspect), ErrorKind::PermissionDenied, "right to read");
    let locked = dir.path().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o300)).unwrap();
    drop(create(&locked.join("image"), MIB).unwrap());
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o500)).unwrap();
    assert_refused(create(&locked.join("another"), MIB), ErrorKind::PermissionDenied, "another");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn law7_the_lock_ends_with_the_file_though_a_process_being_started_has_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let file = create(&dir.path().join(format!("{access:?}")), MIB).unwrap();
        let path = file.path().to_owned();
        let copy_before_exec = file.as_file().unwrap().try_clone().unwrap();
        drop(file);
        SparseFile::open(&path, access).unwrap();
        SparseFile::open(&path, Access::ReadWrite).unwrap();
        drop(copy_before_exec);
    }
}

#[test]
fn law7_a_lock_that_was_left_stays_with_the_copy_of_the_open_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = create(&dir.path().join("image"), MIB).unwrap();
    let path = file.path().to_owned();
    let with_the_device = file.as_file().unwrap().try_clone().unwrap();
    file.leave_locked();
    drop(file);
    assert_refused(SparseFile::open(&path, Access::ReadOnly), ErrorKind::InUse, "open");
    drop(with_the_device);
    SparseFile::open(&path, Access::ReadWrite).unwrap();
}

#[test]
fn a_file_opened_for_reading_is_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    drop(create(&path, MIB).unwrap());
    for access in [Access::Inspect, Access::ReadOnly] {
        let file = open_again(&path, access);
        let whole = range(0, MIB);
        assert_refused(file.write_at(0, &[1]), ErrorKind::ReadOnly, "opened for reading");
        assert_refused(file.punch(whole), ErrorKind::ReadOnly, "opened for reading");
        assert_refused(file.zero(whole, Default::default()), ErrorKind::ReadOnly, "opened for reading");
        assert_refused(file.allocate(whole), ErrorKind::ReadOnly, "opened for reading");
        assert_refused(file.set_sparse(false), ErrorKind::ReadOnly, "opened for reading");
    }
}

#[test]
fn law5_no_request_beyond_the_length_has_any_effect() {
    for place in places::all() {
        let file = place.file("image", MIB);
        let before = file.ledger().unwrap();
        for offset in [MIB - 1, MIB, MIB + 1, MAX_OFFSET - 1, MAX_OFFSET, u64::MAX] {
            assert_refused(file.write_at(offset, &[1, 2]), ErrorKind::OutOfBounds, "1048576");
            assert_refused(file.read_at(offset, &mut [0, 0]), ErrorKind::OutOfBounds, "1048576");
        }
        for beyond in [range(0, MIB + 1), range(MIB - 1, MAX_OFFSET), range(MAX_OFFSET - 1, MAX_OFFSET)] {
            assert_refused(file.punch(beyond), ErrorKind::OutOfBounds, "1048576");
            assert_refused(file.zero(beyond, Default::default()), ErrorKind::OutOfBounds, "1048576");
            assert_refused(file.allocate(beyond), ErrorKind::OutOfBounds, "1048576");
            assert_refused(file.extents(beyond).next().unwrap(), ErrorKind::OutOfBounds, "1048576");
        }
        file.write_at(MIB, &[]).unwrap();
        assert_refused(file.write_at(MIB + 1, &[]), ErrorKind::OutOfBounds, "1048576");
        assert_eq!(file.ledger().unwrap(), before, "{}", place.name);
    }
}

#[test]
fn a_file_truncated_beneath_us_is_noticed_and_not_grown_again() {
    for place in places::all() {
        let file = place.file("image", MIB);
        File::options().write(true).open(file.path()).unwrap().set_len(4096).unwrap();
        let mut bytes = [0; 8192];
        assert_refused(file.read_at(0, &mut bytes), ErrorKind::Changed, "shorter");
        assert_refused(file.write_at(64 * KIB, &bytes), ErrorKind::Changed, "shorter");
        assert_refused(file.punch(range(0, MIB)), ErrorKind::Changed, "shorter");
        assert_refused(file.zero(range(0, MIB), Default::default()), ErrorKind::Changed, "shorter");
        assert_refused(file.allocate(range(0, MIB)), ErrorKind::Changed, "shorter");
        assert_refused(file.extents(range(0, MIB)).next().unwrap(), ErrorKind::Changed, "shorter");
        assert_refused(file.ledger(), ErrorKind::Changed, "shorter");
        file.read_at(0, &mut bytes[..4096]).unwrap();
        assert_eq!(fs::metadata(file.path()).unwrap().len(), 4096, "{}", place.name);
    }
}

#[test]
fn support_says_what_was_tried() {
    for place in places::all() {
        let path = place.path("image");
        drop(place.file("image", MIB));
        for access in [Access::Inspect, Access::ReadWrite] {
            let support = open_again(&path, access).support().unwrap();
            eprintln!("{}: {support:?}", place.name);
            assert_eq!(support.punch, sparse_file::Ability::Yes, "{}", place.name);
            assert_eq!(support.granularity_bytes, 4096, "{}", place.name);
            assert!(place.name == "here" || place.name == support.file_system, "{support:?}");
            assert!(support.forbidding.is_empty(), "{support:?}");
        }
        assert_eq!(fs::read_dir(place.dir()).unwrap().count(), 1, "{}", place.name);
    }
}
