//! Compaction: what it keeps, what it refuses, and what a kill at any system call leaves.
#![cfg(target_os = "linux")]

#[path = "../linux/files.rs"]
#[allow(dead_code, reason = "each test program uses a part of this")]
mod files;
mod killed;
#[path = "../copy/layout.rs"]
mod layout;
mod moved;
mod newcomers;

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use files::open_again;
use layout::{KIB, Layout, MIB, Part};
use proptest::prelude::*;
use sparse_file::{
    Access, CompactReport, CopyObserver, Error, ErrorKind, Result, SparseFile, compact, compact_estimate,
};
use test_places::{Place, again_as_nobody, mounted, skipped, small};

/// A layout in which every kind of run is found.
pub(crate) fn mixed() -> Layout {
    Layout(vec![
        Part::Data(MIB),
        Part::Zeroes(MIB),
        Part::Hole(4 * MIB),
        Part::Data(64 * KIB + 17),
        Part::Unwritten(MIB),
        Part::Zeroes(64 * KIB),
        Part::Data(100),
        Part::Hole(1000),
    ])
}

/// Opens, makes sure of being alone, and compacts.
pub(crate) fn compact_at(path: &Path) -> Result<CompactReport> {
    compact_watched(path, &mut ())
}

pub(crate) fn compact_watched(path: &Path, observer: &mut dyn CopyObserver) -> Result<CompactReport> {
    let file = open_again(path, Access::ReadWrite);
    let alone = file.sole_opener()?;
    compact(&file, &alone, observer)
}

/// The names in a directory.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn adds_up(report: &CompactReport) -> bool {
    report.apparent_bytes == report.data_bytes + report.zeroes_left_out_bytes + report.holes_kept_bytes
}

/// ext2 allocates only what is written.
pub(crate) fn without_what_it_lacks(place: &Place, layout: Layout) -> Layout {
    let part = |part| match part {
        Part::Unwritten(len) if place.name == "ext2" => Part::Hole(len),
        part => part,
    };
    Layout(layout.0.into_iter().map(part).collect())
}

/// Compacts random layouts, and compares the content with its twin.
fn compacts_faithfully(place: &Place) {
    let config = ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let path = place.path("disk.img");
    runner
        .run(&layout::any(), |layout| {
            let _ = fs::remove_file(&path);
            without_what_it_lacks(place, layout).write(&path);
            let twin = fs::read(&path).unwrap();
            let estimate = compact_estimate(&open_again(&path, Access::ReadOnly), &mut ()).unwrap();
            let report = compact_at(&path).map_err(|error| TestCaseError::fail(format!("{}: {error}", place.name)))?;
            prop_assert!(fs::read(&path).unwrap() == twin, "{}: the content changed", place.name);
            prop_assert!(adds_up(&report), "{report:?}");
            prop_assert_eq!(
                (report.data_bytes, report.zeroes_left_out_bytes, report.holes_kept_bytes),
                (estimate.data_bytes, estimate.zeroes_left_out_bytes, estimate.holes_kept_bytes)
            );
            let file = open_again(&path, Access::ReadOnly);
            prop_assert_eq!(report.allocated_after_bytes, file.allocated_bytes().unwrap(), "law 6");
            let granule = file.granularity_bytes().clamp(4096, 65536);
            prop_assert_eq!(layout::zero_granules_in_data(&file, granule), 0, "{}", place.name);
            prop_assert_eq!(names(place.dir()), ["disk.img"]);
            Ok(())
        })
        .unwrap();
}

#[test]
fn law1_random_layouts_read_the_same_and_no_zero_granule_is_left() {
    for place in test_places::all() {
        compacts_faithfully(&place);
    }
}

/// It allocates only what is written, and knows no preallocated parts.
#[test]
fn law1_a_file_system_without_extents_is_compacted_too() {
    if let Some(place) = small("ext2", 64 * MIB) {
        compacts_faithfully(&place);
    }
}

#[test]
fn a_file_in_many_pieces_lies_in_few_afterwards() {
    let Some(place) = mounted("ext4") else { return };
    let (path, other) = (place.path("disk.img"), place.path("other"));
    let (file, other) = (File::create_new(&path).unwrap(), File::create_new(other).unwrap());
    for block in 0..256 {
        for file in [&file, &other] {
            file.write_all_at(&[block as u8 | 1; 4096], block * 4096).unwrap();
            file.sync_data().unwrap();
        }
    }
    drop(file);
    let report = compact_at(&path).unwrap();
    let (before, after) = (report.fragments_before.unwrap(), report.fragments_after.unwrap());
    eprintln!("fragments: {before} before, {after} after");
    assert!(before > 4 * after, "{report:?}");
}

#[test]
fn owner_rights_times_and_attributes_are_kept() {
    use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
    for place in test_places::all() {
        let path = place.path("disk.img");
        mixed().write(&path);
        let file = File::options().write(true).open(&path).unwrap();
        let root = rustix::process::geteuid().is_root();
        if root {
            chown(&path, Some(1234), Some(2345)).unwrap();
        }
        file.set_permissions(Permissions::from_mode(0o2750)).unwrap();
        let attribute = fsetxattr(&file, "user.sparsedisk.test", b"value\0\xff", XattrFlags::empty()).is_ok();
        // For user 77: read and write; the mask lets both through.
        let list = test_places::output("setfacl", &["-m", "u:77:rw", path.to_str().unwrap()]);
        let list = list.map_err(|why| skipped(&format!("{}: {why}", place.name))).is_ok();
        let (accessed, modified) = (past(1000), past(2000));
        file.set_times(FileTimes::new().set_accessed(accessed).set_modified(modified)).unwrap();
        drop(file);
        let before = fs::metadata(&path).unwrap();
        compact_at(&path).unwrap();
        let after = fs::metadata(&path).unwrap();
        assert_ne!(before.ino(), after.ino(), "{}: another file", place.name);
        let kept = |found: &fs::Metadata| {
            (found.mode(), found.uid(), found.gid(), found.mtime(), found.mtime_nsec(), found.atime())
        };
        assert_eq!(kept(&before), kept(&after), "{}", place.name);
        assert_eq!(after.modified().unwrap(), modified);
        if attribute {
            let mut value = vec![0; 64];
            let file = File::open(&path).unwrap();
            let len = fgetxattr(&file, "user.sparsedisk.test", value.as_mut_slice()).unwrap();
            assert_eq!(&value[..len], b"value\0\xff", "{}", place.name);
        }
        if list {
            let said = test_places::output("getfacl", &["-cn", path.to_str().unwrap()]).unwrap();
            assert!(said.contains("user:77:rw-"), "{}: {said}", place.name);
        }
    }
}

fn past(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000 + seconds, 123_456_000)
}

#[test]
fn law10_a_file_with_several_names_is_refused_because_they_would_part() {
    let place = &test_places::always()[0];
    let path = place.path("disk.img");
    mixed().write(&path);
    fs::hard_link(&path, place.path("second.img")).unwrap();
    let estimate = compact_estimate(&open_again(&path, Access::ReadOnly), &mut ());
    for error in [compact_at(&path).unwrap_err(), estimate.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        assert!(error.to_string().contains("2 names"), "{error}");
    }
    assert_eq!(names(place.dir()), ["disk.img", "second.img"]);
}

#[test]
fn a_link_stays_a_link_and_the_file_it_leads_to_is_compacted_where_it_is() {
    let place = &test_places::always()[0];
    let directory = place.path("elsewhere");
    fs::create_dir(&directory).unwrap();
    let (real, link) = (directory.join("real.img"), place.path("disk.img"));
    mixed().write(&real);
    let twin = fs::read(&real).unwrap();
    std::os::unix::fs::symlink("elsewhere/real.img", &link).unwrap();
    compact_at(&link).unwrap();
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("elsewhere/real.img"));
    assert!(fs::symlink_metadata(&real).unwrap().is_file());
    assert!(fs::read(&link).unwrap() == twin);
    assert_eq!(
        (names(place.dir()), names(&directory)),
        (vec!["disk.img".into(), "elsewhere".into()], vec!["real.img".into()])
    );
}

#[test]
fn an_empty_file_and_one_that_is_all_zero_are_no_trouble() {
    let place = &test_places::always()[0];
    let path = place.path("disk.img");
    File::create_new(&path).unwrap();
    assert_eq!(compact_at(&path).unwrap().apparent_bytes, 0);
    fs::remove_file(&path).unwrap();
    Layout(vec![Part::Zeroes(4 * MIB)]).write(&path);
    let report = compact_at(&path).unwrap();
    assert_eq!((report.data_bytes, report.zeroes_left_out_bytes), (0, 4 * MIB));
    assert!(report.allocated_after_bytes <= 4096, "{report:?}");
    assert_eq!(fs::metadata(&path).unwrap().len(), 4 * MIB);
}

#[test]
fn law9_a_full_host_is_told_before_anything_is_written() {
    for place in [small("ext4", 32 * MIB), small("tmpfs", 16 * MIB)].into_iter().flatten() {
        let path = place.path("disk.img");
        Layout(vec![Part::Data(10 * MIB), Part::Zeroes(MIB)]).write(&path);
        let twin = fs::read(&path).unwrap();
        let filler = fill_to(&place, 4 * MIB);
        let error = compact_at(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{}: {error}", place.name);
        assert!(error.to_string().contains("needs 10485760 bytes"), "{}: {error}", place.name);
        assert!(fs::read(&path).unwrap() == twin, "{}", place.name);
        // What the map calls data would not fit; what it holds does.
        fs::remove_file(&path).unwrap();
        Layout(vec![Part::Data(MIB), Part::Zeroes(9 * MIB)]).write(&path);
        let twin = fs::read(&path).unwrap();
        let report = compact_at(&path).unwrap();
        assert_eq!(report.data_bytes, MIB);
        assert!(fs::read(&path).unwrap() == twin, "{}", place.name);
        fs::remove_file(filler).unwrap();
        assert_eq!(names(place.dir()), ["disk.img"]);
    }
}

/// Leaves about so many bytes free.
fn fill_to(place: &Place, free_bytes: u64) -> PathBuf {
    let path = place.path("filler");
    let file = SparseFile::create(&path, MIB, sparse_file::Allocation::Sparse).unwrap();
    let take = file.host_free_bytes().unwrap() - free_bytes;
    drop(file);
    let file = File::options().write(true).open(&path).unwrap();
    for at in (0..take).step_by(MIB as usize) {
        file.write_all_at(&vec![1; MIB as usize], at).unwrap();
    }
    file.sync_all().unwrap();
    path
}

/// Fills the host once the first bytes are written.
struct FillHost<'a> {
    place: &'a Place,
    filler: Option<PathBuf>,
}

impl CopyObserver for FillHost<'_> {
    fn progress(&mut self, _: u64, _: u64) {
        if self.filler.is_none() {
            let path = self.place.path("filler");
            let file = File::create_new(&path).unwrap();
            let filled = (0..).find(|at| file.write_all_at(&[1; 4096], at * 4096).is_err());
            assert!(filled.is_some());
            self.filler = Some(path);
        }
    }

    fn may_continue(&mut self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn law9_a_host_that_fills_up_meanwhile_leaves_the_old_file_and_nothing_else() {
    let Some(place) = small("tmpfs", 64 * MIB) else { return };
    let path = place.path("disk.img");
    Layout(vec![Part::Data(24 * MIB)]).write(&path);
    let twin = fs::read(&path).unwrap();
    let mut observer = FillHost { place: &place, filler: None };
    let error = compact_watched(&path, &mut observer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    fs::remove_file(observer.filler.unwrap()).unwrap();
    assert_eq!(names(place.dir()), ["disk.img"]);
    assert!(fs::read(&path).unwrap() == twin);
    compact_at(&path).unwrap();
}

/// Ends it at the n-th question.
struct StopAt(u32);

impl CopyObserver for StopAt {
    fn progress(&mut self, _: u64, _: u64) {}

    fn may_continue(&mut self) -> Result<()> {
        self.0 = self.0.saturating_sub(1);
        if self.0 == 0 { Err(Error::new(ErrorKind::Interrupted, "compact")) } else { Ok(()) }
    }
}

#[test]
fn law1_an_interrupt_at_any_question_leaves_the_old_file_and_nothing_else() {
    let place = &test_places::always()[0];
    let path = place.path("disk.img");
    Layout(vec![Part::Data(9 * MIB), Part::Zeroes(MIB)]).write(&path);
    let (twin, inode) = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().ino());
    for question in 1.. {
        match compact_watched(&path, &mut StopAt(question)) {
            Ok(_) => {
                assert!(question > 6, "it was asked {question} times");
                break;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted),
        }
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
        assert!(fs::read(&path).unwrap() == twin);
        assert_eq!(names(place.dir()), ["disk.img"]);
    }
    assert!(fs::read(&path).unwrap() == twin);
}

/// Writes to the file through nobody's eyes once it is being read.
struct WriteTo<'a>(Option<&'a SparseFile>);

impl CopyObserver for WriteTo<'_> {
    fn progress(&mut self, _: u64, _: u64) {
        if let Some(file) = self.0.take() {
            file.write_at(0, b"changed").unwrap();
        }
    }

    fn may_continue(&mut self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn law4_a_file_that_is_written_meanwhile_is_left_alone() {
    let place = &test_places::always()[0];
    let path = place.path("disk.img");
    Layout(vec![Part::Data(2 * MIB)]).write(&path);
    let file = open_again(&path, Access::ReadWrite);
    let alone = file.sole_opener().unwrap();
    let error = compact(&file, &alone, &mut WriteTo(Some(&file))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Changed, "{error}");
    drop(alone);
    assert_eq!(&fs::read(&path).unwrap()[..7], b"changed");
    assert_eq!(names(place.dir()), ["disk.img"]);
}

#[test]
fn what_is_no_leftover_is_in_the_way_and_stays() {
    let place = &test_places::always()[0];
    let path = place.path("disk.img");
    mixed().write(&path);
    for name in ["disk.img.compacting", "disk.img.before-compacting"] {
        let other = place.path(name);
        fs::write(&other, "somebody's").unwrap();
        let error = compact_at(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        assert!(error.to_string().contains(name) && error.to_string().contains("in the way"), "{error}");
        assert_eq!(fs::read(&other).unwrap(), b"somebody's");
        fs::remove_file(&other).unwrap();
        fs::create_dir(&other).unwrap();
        assert_eq!(compact_at(&path).unwrap_err().kind(), ErrorKind::Refused);
        fs::remove_dir(&other).unwrap();
        std::os::unix::fs::symlink("disk.img", &other).unwrap();
        assert_eq!(compact_at(&path).unwrap_err().kind(), ErrorKind::Refused);
        fs::remove_file(&other).unwrap();
    }
    assert_eq!(names(place.dir()), ["disk.img"]);
}

#[test]
fn leftovers_of_every_kind_are_removed_and_counted() {
    let place = &test_places::always()[0];
    let path = place.path("disk.img");
    mixed().write(&path);
    let len = mixed().len_bytes();
    // Killed before it had a length; before it was whole; after the exchange.
    File::create_new(place.path("disk.img.compacting")).unwrap();
    let old = File::create_new(place.path("disk.img.before-compacting")).unwrap();
    old.set_len(len).unwrap();
    old.write_all_at(&[7; 64 << 10], 0).unwrap();
    old.set_times(FileTimes::new().set_modified(past(0))).unwrap();
    old.sync_all().unwrap();
    drop(old);
    let report = compact_at(&path).unwrap();
    assert_eq!(report.leftovers_removed_bytes, 64 * KIB);
    assert_eq!(names(place.dir()), ["disk.img"]);
    // Killed between the second name of the old file and the swap.
    fs::hard_link(&path, place.path("disk.img.before-compacting")).unwrap();
    compact_at(&path).unwrap();
    assert_eq!(names(place.dir()), ["disk.img"]);
    // A leftover that somebody looks at.
    let looked_at = File::create_new(place.path("disk.img.compacting")).unwrap();
    assert_eq!(compact_at(&path).unwrap_err().kind(), ErrorKind::InUse);
    drop(looked_at);
    compact_at(&path).unwrap();
}

#[test]
fn law10_a_file_system_without_holes_is_refused() {
    let Some(place) = small("exfat-fuse", 64 * MIB) else { return };
    let path = place.path("disk.img");
    fs::write(&path, vec![0; MIB as usize]).unwrap();
    let error = compact_at(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(error.to_string().contains("has no holes"), "{error}");
    assert_eq!(names(place.dir()), ["disk.img"]);
}

#[test]
fn law10_who_may_not_keep_the_owner_is_refused_before_a_byte_is_written() {
    if let Some(image) = std::env::var_os(test_places::FILE_OF_ROOT) {
        let file = open_again(Path::new(&image), Access::ReadWrite);
        let alone = file.sole_opener().unwrap();
        let error = compact(&file, &alone, &mut ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        return assert!(error.to_string().contains("owner and group"), "{error}");
    }
    if !rustix::process::geteuid().is_root() {
        return skipped("only root can give a file away");
    }
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
    let path = directory.path().join("disk.img");
    mixed().write(&path);
    let twin = fs::read(&path).unwrap();
    // Theirs, with a group that is not theirs.
    chown(&path, Some(65534), Some(2345)).unwrap();
    again_as_nobody("law10_who_may_not_keep_the_owner_is_refused_before_a_byte_is_written", &path);
    assert!(fs::read(&path).unwrap() == twin);
    assert_eq!(names(directory.path()), ["disk.img"]);
}

#[test]
fn a_name_as_long_as_a_name_may_be_is_compacted_too() {
    let place = &test_places::always()[0];
    let path = place.path(&"n".repeat(255));
    mixed().write(&path);
    let twin = fs::read(&path).unwrap();
    compact_at(&path).unwrap();
    assert!(fs::read(&path).unwrap() == twin);
    assert_eq!(names(place.dir()).len(), 1);
}
