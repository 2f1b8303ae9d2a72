//! A host without space (law 9).

use std::fs::{self, File};
use std::io::Write;

use sparse_file::{Access, Allocation, ErrorKind, SparseFile, ZeroMode};

use crate::files::{Files, open_again, range};
use test_places as places;
use test_places::{MIB, Place};

/// File systems small enough to fill. xfs and btrfs are never as small as this; xfs has 300 MiB at least.
fn small_places() -> Vec<Place> {
    [("tmpfs", 16 * MIB), ("ext4", 32 * MIB), ("xfs", 320 * MIB), ("btrfs", 256 * MIB)]
        .into_iter()
        .filter_map(|(name, bytes)| places::small(name, bytes))
        .collect()
}

/// Takes all the space there is.
fn fill(place: &Place) -> File {
    let mut filler = File::create(place.path("filler")).unwrap();
    for piece in [1 << 20, 64 << 10, 4096] {
        while filler.write(&vec![1; piece]).is_ok_and(|written| written > 0) {}
        let _ = filler.sync_all();
    }
    filler
}

#[test]
fn law9_a_full_host_fails_the_write_names_the_byte_and_keeps_what_was_acknowledged() {
    for place in small_places() {
        let file = place.file("image", 1 << 30);
        file.write_at(0, &[1; 65536]).unwrap();
        file.sync().unwrap();
        let filler = fill(&place);
        let failed = (0..1024).map(|at| MIB + at * MIB).find_map(|at| {
            let failed = file.write_at(at, &vec![2; 1 << 20]).err();
            // Where allocation is delayed, it is the flush that learns of it.
            failed.map(|error| (at, error))
        });
        let (at, error) = failed.unwrap_or_else(|| panic!("{}: never full", place.name));
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{}: {error}", place.name);
        assert!((at..at + MIB).contains(&error.offset().unwrap()), "{}: {error}", place.name);
        let mut bytes = [0; 65536];
        file.read_at(0, &mut bytes).unwrap();
        assert!(bytes.iter().all(|&byte| byte == 1), "{}", place.name);
        if place.name != "btrfs" {
            // btrfs writes elsewhere even to overwrite, and needs space for it.
            file.write_at(0, &[3; 65536]).unwrap_or_else(|error| panic!("{}: {error}", place.name));
            file.sync().unwrap();
        }
        drop(filler);
        fs::remove_file(place.path("filler")).unwrap();
        file.sync().unwrap();
        file.write_at(512 * MIB, &[4; 65536]).unwrap_or_else(|error| panic!("{}: {error}", place.name));
        file.sync().unwrap();
    }
}

#[test]
fn law9_a_dense_file_that_does_not_fit_is_refused_before_the_host_is_full_and_leaves_nothing() {
    for place in small_places() {
        let path = place.path("image");
        let error = SparseFile::create(&path, 1 << 30, Allocation::Dense).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{}: {error}", place.name);
        assert!(error.to_string().contains("free"), "{}: {error}", place.name);
        assert!(!path.exists(), "{}", place.name);
    }
}

#[test]
fn law6_no_limit_is_not_no_space() {
    // tmpfs without a size answers zero blocks, zero of them free.
    let Some(place) = places::small("tmpfs", 0) else { return };
    let file = SparseFile::create(&place.path("image"), MIB, Allocation::Dense).unwrap();
    assert_eq!(file.allocated_bytes().unwrap(), MIB);
    assert_eq!(file.host_free_bytes().unwrap(), u64::MAX);
}

#[test]
fn law9_a_sparse_file_on_a_full_host_is_refused_and_leaves_nothing() {
    for place in [("tmpfs", MIB), ("ext4", 16 * MIB)].into_iter().filter_map(|(name, bytes)| places::small(name, bytes))
    {
        let _filler = fill(&place);
        let path = place.path("image");
        match SparseFile::create(&path, 1 << 30, Allocation::Sparse) {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{}: {error}", place.name);
                assert!(!path.exists(), "{}", place.name);
            }
            // The file system had kept a block for the last sector.
            Ok(file) => assert!(file.allocated_bytes().unwrap() <= 65536, "{}", place.name),
        }
    }
}

#[test]
fn fsa_2_1_5_10_38_clearing_sparse_on_a_full_volume_keeps_what_it_allocated() {
    // Larger than the pieces in which holes are allocated, so that some fit and one does not.
    for (name, bytes) in [("tmpfs", 100 * MIB), ("ext4", 128 * MIB), ("xfs", 320 * MIB)] {
        let Some(place) = places::small(name, bytes) else { continue };
        let file = place.file("image", 1 << 30);
        file.write_at(5, b"kept").unwrap();
        file.sync().unwrap();
        let before = file.allocated_bytes().unwrap();
        let error = file.set_sparse(false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{name}: {error}");
        assert!(file.allocated_bytes().unwrap() >= before + 60 * MIB, "{name}: rolled back");
        assert!(file.is_marked_sparse().unwrap(), "{name}");
        let mut kept = [0; 4];
        file.read_at(5, &mut kept).unwrap();
        assert_eq!(&kept, b"kept", "{name}");
        // And it recovers: the space comes back with a punch.
        file.punch(range(4096, 1 << 30)).unwrap();
        file.write_at(MIB, &[1; 65536]).unwrap();
    }
}

#[test]
fn law9_zeroes_that_may_not_unmap_report_a_full_host() {
    let Some(place) = places::small("ext4", 32 * MIB) else { return };
    let path = place.file("image", 1 << 30).path().to_owned();
    let _filler = fill(&place);
    let file = open_again(&path, Access::ReadWrite);
    let error = file.zero(range(0, 512 * MIB), ZeroMode::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert_eq!(error.offset(), Some(0));
}
