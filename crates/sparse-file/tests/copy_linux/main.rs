//! Copies between file systems, mounted for the purpose.
#![cfg(target_os = "linux")]

#[path = "../linux/files.rs"]
#[allow(dead_code, reason = "each test program uses a part of this")]
mod files;
#[path = "../copy/layout.rs"]
mod layout;

use std::path::Path;

use files::open_again;
use layout::{KIB, Layout, MIB, Part, assert_same_content, holes};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sparse_file::{Access, CopyMethod, CopyOptions, CopyReport, Error, ErrorKind, copy};
use test_places::{Place, always, mounted, small};

const GIB: u64 = 1 << 30;

/// Copies, and waits while a child between `fork` and `exec`, started by another test, still has the lock of a file that
/// was just written.
fn copy_quietly(source: &Path, destination: &Path, options: CopyOptions) -> Result<CopyReport, Error> {
    loop {
        match copy(source, destination, &options, &mut ()) {
            Err(error) if error.kind() == ErrorKind::InUse => std::thread::yield_now(),
            done => return done,
        }
    }
}

/// Copies random layouts from one place to the other, and compares content and holes.
fn copies_faithfully(from: &Place, to: &Place, expected: CopyMethod) {
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() });
    runner
        .run(&layout::any(), |layout| {
            let (source, destination) = (from.path("source.img"), to.path("copy.img"));
            layout.write(&source);
            let zeroes = layout::zeroes_by_map(&source);
            let report = copy_quietly(&source, &destination, CopyOptions { verify: true, ..CopyOptions::default() });
            let report =
                report.map_err(|error| TestCaseError::fail(format!("{} to {}: {error}", from.name, to.name)))?;
            assert_same_content(&source, &destination);
            if layout.len_bytes() > 0 {
                prop_assert_eq!(report.method, expected, "{} to {}", from.name, to.name);
            }
            if report.method == CopyMethod::Extents {
                prop_assert_eq!(holes(&destination), zeroes, "{} to {}", from.name, to.name);
            }
            std::fs::remove_file(&source).unwrap();
            std::fs::remove_file(&destination).unwrap();
            Ok(())
        })
        .unwrap();
}

#[test]
fn law1_copies_between_file_systems_keep_content_and_holes() {
    let places = always();
    for from in &places {
        for to in places.iter().filter(|to| to.name != from.name) {
            copies_faithfully(from, to, CopyMethod::Extents);
        }
    }
    let mounts: Vec<_> = ["ext4", "xfs"].into_iter().filter_map(mounted).collect();
    for mount in &mounts {
        copies_faithfully(&places[0], mount, CopyMethod::Extents);
        copies_faithfully(mount, &places[0], CopyMethod::Extents);
    }
    if let Some(ext4) = mounted("ext4") {
        copies_faithfully(&ext4, &ext4, CopyMethod::Extents);
    }
}

#[test]
fn two_hundred_thousand_extents_are_copied_one_by_one() {
    // In memory: a file system that passes deletions to its device takes minutes to forget such a file.
    let Some(place) = always().into_iter().find(|place| place.name == "tmpfs") else { return };
    let (source, destination) = (place.path("source.img"), place.path("copy.img"));
    let file = std::fs::File::create_new(&source).unwrap();
    file.set_len(200_000 * 8192).unwrap();
    for n in 0..200_000u64 {
        let mut block = [0x55; 4096];
        block[..8].copy_from_slice(&n.to_le_bytes());
        layout::write_at(&file, n * 8192, &block);
    }
    drop(file);
    let report = copy_quietly(&source, &destination, CopyOptions { verify: true, ..CopyOptions::default() }).unwrap();
    assert_eq!((report.method, report.bytes_copied), (CopyMethod::Extents, 200_000 * 4096));
    assert_eq!(open_again(&destination, Access::ReadOnly).ledger().unwrap().extents, 200_000);
}

#[test]
fn law1_a_clone_reads_the_same_and_moves_nothing() {
    for place in ["xfs", "btrfs"].into_iter().filter_map(mounted) {
        copies_faithfully(&place, &place, CopyMethod::Clone);
        let (source, destination) = (place.path("large.img"), place.path("clone.img"));
        Layout(vec![Part::Data(64 * MIB), Part::Hole(64 * MIB), Part::Data(MIB), Part::Hole(100)]).write(&source);
        let report = copy_quietly(&source, &destination, CopyOptions::default()).unwrap();
        assert_eq!(report.method, CopyMethod::Clone, "{}", place.name);
        assert_eq!((report.bytes_copied, report.apparent_bytes), (0, 129 * MIB + 100));
        // The tail of a hole may belong to a block of data.
        assert_eq!((report.bytes_shared, report.holes_kept_bytes), (65 * MIB, 64 * MIB + 100), "{}", place.name);
        assert_same_content(&source, &destination);
        // What is written to the one does not show in the other.
        open_again(&source, Access::ReadWrite).write_at(0, &[0; 4096]).unwrap();
        let mut first = [0; 1];
        open_again(&destination, Access::ReadOnly).read_at(0, &mut first).unwrap();
        assert_ne!(first, [0]);
    }
}

#[test]
fn what_a_clone_would_not_give_is_copied_instead() {
    let Some(place) = mounted("xfs") else { return };
    let source = place.path("source.img");
    Layout(vec![Part::Data(MIB), Part::Zeroes(MIB), Part::Hole(MIB)]).write(&source);
    let scan = CopyOptions { detect_zeroes: true, ..CopyOptions::default() };
    let report = copy_quietly(&source, &place.path("scanned.img"), scan).unwrap();
    assert_eq!((report.method, report.zeroes_left_out_bytes), (CopyMethod::Scan, MIB));
    assert_eq!(holes(&place.path("scanned.img")), [files::range(MIB, 3 * MIB)]);
    let dense = CopyOptions { dense: true, ..CopyOptions::default() };
    let report = copy_quietly(&source, &place.path("dense.img"), dense).unwrap();
    assert_eq!((report.method, report.holes_filled_bytes), (CopyMethod::Extents, MIB));
    assert_eq!(holes(&place.path("dense.img")), []);
}

#[test]
fn law9_a_full_disk_ends_the_copy_with_no_space_and_the_size_of_what_is_left() {
    for place in [small("ext4", 24 * MIB), small("tmpfs", 8 * MIB)].into_iter().flatten() {
        let home = tempfile::tempdir().unwrap();
        let (source, destination) = (home.path().join("source.img"), place.path("copy.img"));
        Layout(vec![Part::Hole(GIB), Part::Data(32 * MIB)]).write(&source);
        for options in [CopyOptions::default(), CopyOptions { detect_zeroes: true, ..CopyOptions::default() }] {
            let error = copy_quietly(&source, &destination, options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{}: {error}", place.name);
            let advice = error.advice().unwrap();
            assert!(advice.contains("copy.img.partial") && advice.contains("bytes of space"), "{error}");
            assert!(!destination.exists());
            std::fs::remove_file(place.path("copy.img.partial")).unwrap();
        }
        // Where it can be known beforehand, nothing is begun.
        let dense = CopyOptions { dense: true, ..CopyOptions::default() };
        assert_eq!(copy_quietly(&source, &destination, dense).unwrap_err().kind(), ErrorKind::NoSpace);
        assert!(!place.path("copy.img.partial").exists());
    }
}

#[test]
fn law10_a_file_system_without_holes_is_refused_unless_dense() {
    let Some(place) = small("exfat-fuse", 64 * MIB) else { return };
    let home = tempfile::tempdir().unwrap();
    let (source, destination) = (home.path().join("source.img"), place.path("copy.img"));
    Layout(vec![Part::Data(MIB), Part::Hole(8 * MIB), Part::Data(4 * KIB + 7)]).write(&source);
    let error = copy_quietly(&source, &destination, CopyOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("has no holes") && error.advice().unwrap().contains("dense"), "{error}");
    assert!(!destination.exists() && !place.path("copy.img.partial").exists());

    let dense = CopyOptions { dense: true, verify: true, ..CopyOptions::default() };
    let report = copy_quietly(&source, &destination, dense).unwrap();
    assert_eq!((report.holes_kept_bytes, report.holes_filled_bytes), (0, 8 * MIB));
    assert_same_content(&source, &destination);
}

#[test]
fn a_source_too_large_for_the_destination_is_refused_at_once() {
    // Its small blocks end a file at 16 GiB.
    let Some(place) = small("ext2", 64 * MIB) else { return };
    let home = tempfile::tempdir().unwrap();
    let source = home.path().join("source.img");
    Layout(vec![Part::Hole(20 * GIB)]).write(&source);
    let dense = CopyOptions { dense: true, ..CopyOptions::default() };
    let error = copy_quietly(&source, &place.path("copy.img"), dense).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert!(!place.path("copy.img.partial").exists());
}

#[test]
fn what_is_in_the_way_is_not_overwritten_links_included() {
    let home = tempfile::tempdir().unwrap();
    let (source, destination) = (home.path().join("source.img"), home.path().join("copy.img"));
    Layout(vec![Part::Data(4096)]).write(&source);
    std::os::unix::fs::symlink("nowhere", &destination).unwrap();
    let error = copy_quietly(&source, &destination, CopyOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "a dangling link");
    std::fs::remove_file(&destination).unwrap();
    std::os::unix::fs::symlink(&source, &destination).unwrap();
    let error = copy_quietly(&source, &destination, CopyOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "a link to the source");
    assert_eq!(
        copy_quietly(Path::new("/dev/null"), &destination, CopyOptions::default()).unwrap_err().kind(),
        ErrorKind::Refused
    );
}

#[test]
fn nobody_reads_in_the_copy_who_may_not_read_the_source() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let (source, destination) = (home.path().join("source.img"), home.path().join("copy.img"));
    Layout(vec![Part::Data(4096)]).write(&source);
    std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o4640)).unwrap();
    copy_quietly(&source, &destination, CopyOptions::default()).unwrap();
    assert_eq!(std::fs::metadata(&destination).unwrap().permissions().mode() & 0o7777, 0o640);
}
