//! Giving space back and taking it: what each call leaves behind.

use sparse_file::{Ability, ErrorKind, ExtentKind, ZeroEffect, ZeroMode, is_zero};

use crate::files::{Files, range};
use test_places as places;
use test_places::{KIB, MIB};

const KEEP: ZeroMode = ZeroMode { may_unmap: false, fast_only: false };
const FREE: ZeroMode = ZeroMode { may_unmap: true, fast_only: false };
const FAST: ZeroMode = ZeroMode { may_unmap: false, fast_only: true };

fn filled(place: &places::Place, len_bytes: u64) -> sparse_file::SparseFile {
    let file = place.file("image", len_bytes);
    file.write_at(0, &vec![7; usize::try_from(len_bytes).unwrap()]).unwrap();
    file.sync().unwrap();
    file
}

fn content(file: &sparse_file::SparseFile) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.len_bytes()).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_punch_frees_whole_blocks_and_zeroes_the_edges() {
    for place in places::all() {
        let file = filled(&place, MIB);
        let before = file.allocated_bytes().unwrap();
        file.punch(range(100, 512 * KIB + 100)).unwrap();
        let freed = before - file.allocated_bytes().unwrap();
        assert!((500 * KIB..=512 * KIB).contains(&freed), "{}: {freed}", place.name);
        let bytes = content(&file);
        let (edge, far) = (100, 512 * 1024 + 100);
        assert!(bytes[..edge].iter().chain(&bytes[far..]).all(|&byte| byte == 7), "{}", place.name);
        assert!(is_zero(&bytes[edge..far]), "{}", place.name);
    }
}

#[test]
fn law3_zeroes_that_may_not_unmap_stay_allocated_and_say_how() {
    for place in places::all() {
        let file = filled(&place, MIB);
        let support = file.support().unwrap();
        let allocated = file.allocated_bytes().unwrap();
        let whole = range(0, MIB);
        if support.zero_range == Ability::Yes {
            assert_eq!(file.zero(whole, FAST).unwrap(), ZeroEffect::Marked, "{}", place.name);
        } else {
            assert_eq!(file.zero(whole, FAST).unwrap_err().kind(), ErrorKind::Unsupported, "{}", place.name);
            assert!(content(&file).iter().all(|&byte| byte == 7), "{}: a refusal changes nothing", place.name);
            assert_eq!(file.zero(whole, KEEP).unwrap(), ZeroEffect::Written, "{}", place.name);
        }
        assert!(is_zero(&content(&file)), "{}", place.name);
        file.sync().unwrap();
        assert!(file.allocated_bytes().unwrap() >= allocated.min(MIB), "{}", place.name);
        assert_eq!(file.zero(whole, FREE).unwrap(), ZeroEffect::Deallocated, "{}", place.name);
        assert!(file.allocated_bytes().unwrap() <= 64 * KIB, "{}", place.name);
    }
}

#[test]
fn law3_zeroes_that_may_not_unmap_allocate_a_hole() {
    for place in places::all() {
        let file = place.hole("image", MIB);
        file.zero(range(0, MIB), KEEP).unwrap();
        file.sync().unwrap();
        assert!(file.allocated_bytes().unwrap() >= MIB, "{}", place.name);
        assert!(is_zero(&content(&file)), "{}", place.name);
    }
}

#[test]
fn clearing_sparse_allocates_every_hole_and_changes_no_content() {
    for place in places::all() {
        let file = place.hole("image", 4 * MIB);
        file.write_at(MIB + 5, b"kept").unwrap();
        file.set_sparse(true).unwrap();
        assert!(file.is_marked_sparse().unwrap(), "{}", place.name);
        let before = content(&file);
        file.set_sparse(false).unwrap();
        assert!(!file.is_marked_sparse().unwrap(), "{}", place.name);
        assert!(file.allocated_bytes().unwrap() >= 4 * MIB, "{}", place.name);
        assert_eq!(content(&file), before, "{}", place.name);
    }
}

#[test]
fn an_allocated_part_is_told_from_data_where_the_map_can() {
    for place in places::all() {
        let file = place.hole("image", MIB);
        file.allocate(range(256 * KIB, 512 * KIB)).unwrap();
        let kinds: Vec<_> = file.extents(range(0, MIB)).map(|extent| extent.unwrap().kind).collect();
        match file.support().unwrap().map {
            sparse_file::MapKind::Fiemap => {
                assert_eq!(kinds, [ExtentKind::Hole, ExtentKind::Unwritten, ExtentKind::Hole], "{}", place.name);
                let ledger = file.ledger().unwrap();
                assert_eq!((ledger.unwritten_bytes, ledger.extents), (256 * KIB, 1), "{}", place.name);
            }
            _ => assert_eq!(kinds, [ExtentKind::Hole], "{}", place.name),
        }
    }
}

#[test]
fn law6_the_ledger_adds_up_and_is_the_systems_own() {
    for place in places::all() {
        let file = place.hole("image", 10 * MIB);
        for at in [0, 3 * MIB, 3 * MIB + 8 * KIB, 9 * MIB] {
            file.write_at(at, &[1; 4096]).unwrap();
        }
        file.sync().unwrap();
        let ledger = file.ledger().unwrap();
        assert_eq!(ledger.apparent_bytes, ledger.data_bytes + ledger.hole_bytes, "{}", place.name);
        assert_eq!((ledger.data_bytes, ledger.extents), (4 * 4096, 4), "{}", place.name);
        let blocks = places::output("stat", &["-c", "%b", file.path().to_str().unwrap()]).unwrap();
        assert_eq!(ledger.allocated_bytes, blocks.trim().parse::<u64>().unwrap() * 512, "{}", place.name);
        assert_eq!(ledger.source, "st_blocks");
    }
}

#[test]
fn a_device_trim_says_that_linux_has_none() {
    let place = &places::always()[0];
    let error = place.file("image", MIB).device_trim(range(0, MIB)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("fstrim"), "{error}");
}

#[test]
fn a_file_system_that_cannot_mark_or_allocate_says_so_and_zeroes_by_writing() {
    // ext2, as the ext4 driver mounts it: holes can be punched, nothing can be preallocated.
    let Some(place) = places::mounted("ext2") else { return };
    let file = filled(&place, MIB);
    let support = file.support().unwrap();
    assert_eq!((support.zero_range, support.allocate), (Ability::No, Ability::No), "{support:?}");
    assert_eq!(file.zero(range(0, MIB), FAST).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(file.zero(range(0, 2 * KIB), KEEP).unwrap(), ZeroEffect::Written);
    assert_eq!(file.allocate(range(0, MIB)).unwrap_err().kind(), ErrorKind::Unsupported);
    let dense = sparse_file::SparseFile::create(&place.path("dense"), MIB, sparse_file::Allocation::Dense).unwrap();
    assert!(dense.allocated_bytes().unwrap() >= MIB);
}
