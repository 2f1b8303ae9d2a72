//! The map against `SEEK_DATA` and `SEEK_HOLE`, and against `filefrag`.

use std::os::unix::fs::FileExt;

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use sparse_file::{ByteRange, Extent, ExtentKind, SparseFile};

use crate::files::{Files, range};
use test_places as places;
use test_places::{KIB, MIB, skipped};

/// Data and holes, as `lseek(2)` tells them.
fn by_seek(file: &SparseFile) -> Vec<(bool, ByteRange)> {
    let (file, len) = (file.as_file().unwrap(), file.len_bytes());
    let seek = |to| match rustix::fs::seek(file, to) {
        Err(Errno::NXIO) => len,
        offset => offset.unwrap().min(len),
    };
    let (mut found, mut at) = (Vec::new(), 0);
    while at < len {
        let data = seek(SeekFrom::Data(at));
        found.extend(ByteRange::new(at, data).map(|hole| (false, hole)));
        if data == len {
            break;
        }
        at = seek(SeekFrom::Hole(data));
        found.push((true, range(data, at)));
    }
    found
}

/// Data and holes, as our map tells them: what is allocated and never written reads like a hole.
fn by_map(file: &SparseFile) -> Vec<(bool, ByteRange)> {
    let mut found: Vec<(bool, ByteRange)> = Vec::new();
    for extent in file.extents(range(0, file.len_bytes())) {
        let Extent { range: part, kind } = extent.unwrap();
        match found.last_mut() {
            Some((data, last)) if *data != kind.reads_as_zero() && last.end() == part.start() => {
                *last = range(last.start(), part.end());
            }
            _ => found.push((!kind.reads_as_zero(), part)),
        }
    }
    found
}

fn kinds(file: &SparseFile) -> Vec<(u64, ExtentKind)> {
    let whole = range(0, file.len_bytes());
    file.extents(whole).map(Result::unwrap).map(|extent| (extent.range.end(), extent.kind)).collect()
}

#[test]
fn the_map_agrees_with_seek_data_on_every_file_system() {
    for place in places::all() {
        let file = place.hole("image", 16 * MIB);
        assert_eq!(by_map(&file), [(false, range(0, 16 * MIB))], "{}", place.name);
        for (at, len) in [(0, 1), (MIB - 1, 2), (3 * MIB, 64 << 10), (5 * MIB + 100, 4096), (16 * MIB - 1, 1)] {
            file.write_at(at, &vec![1; len]).unwrap();
        }
        assert_eq!(by_map(&file), by_seek(&file), "{}: not flushed", place.name);
        file.sync().unwrap();
        assert_eq!(by_map(&file), by_seek(&file), "{}: flushed", place.name);
        file.allocate(range(6 * MIB, 8 * MIB)).unwrap();
        file.punch(range(3 * MIB + 4096, 3 * MIB + 8192)).unwrap();
        assert_eq!(by_map(&file), by_seek(&file), "{}: allocated and punched", place.name);
    }
}

#[test]
fn law1_a_write_into_an_unwritten_part_is_data_before_it_is_flushed() {
    for place in places::all() {
        let file = place.hole("image", 4 * MIB);
        file.allocate(range(0, 4 * MIB)).unwrap();
        file.write_at(MIB, &[1; 8192]).unwrap();
        file.write_at(2 * MIB, &[1; 4096]).unwrap();
        let wrong: Vec<_> = file
            .extents(range(MIB, MIB + 8192))
            .chain(file.extents(range(2 * MIB, 2 * MIB + 4096)))
            .map(Result::unwrap)
            .filter(|extent| extent.kind.reads_as_zero())
            .collect();
        assert_eq!(wrong, [], "{}: {:?}", place.name, kinds(&file));
        assert_eq!(by_map(&file), by_seek(&file), "{}", place.name);
    }
}

#[test]
fn law1_a_write_while_the_map_is_being_read_is_data_in_what_is_read_later() {
    for place in places::all() {
        // More parts than the first batch holds, so that the map is read in two ways.
        let file = place.hole("image", 16 * MIB);
        for at in (0..8 * MIB).step_by(8 << 10) {
            file.write_at(at, &[1; 4096]).unwrap();
        }
        file.allocate(range(8 * MIB, 12 * MIB)).unwrap();
        file.sync().unwrap();
        let mut map = file.extents(range(0, 16 * MIB));
        let first = map.next().unwrap().unwrap();
        assert_eq!(first.range, range(0, 4096), "{}", place.name);
        let late = [9 * MIB, 14 * MIB];
        for at in late {
            file.write_at(at, &[2; 4096]).unwrap();
        }
        for extent in map.map(Result::unwrap).filter(|extent| extent.kind.reads_as_zero()) {
            for at in late {
                assert_eq!(extent.range.intersect(range(at, at + 4096)), None, "{}: {extent:?}", place.name);
            }
        }
    }
}

#[test]
fn law1_a_write_into_a_hole_of_a_cloned_file_is_data_before_it_is_flushed() {
    for place in ["xfs", "btrfs"].into_iter().filter_map(places::mounted) {
        let source = place.hole("source", 4 * MIB);
        for at in (0..4 * MIB).step_by(128 << 10) {
            source.write_at(at, &[1; 4096]).unwrap();
        }
        source.sync().unwrap();
        let clone = place.hole("clone", 4 * MIB);
        rustix::fs::ioctl_ficlone(clone.as_file().unwrap(), source.as_file().unwrap()).unwrap();
        // The first write of each pair makes xfs reserve a run in its copy-on-write fork that covers the hole beside it.
        for at in (0..4 * MIB).step_by(128 << 10) {
            clone.write_at(at, &[2; 4096]).unwrap();
            clone.write_at(at + 8192, &[3; 4096]).unwrap();
        }
        for at in (0..4 * MIB).step_by(128 << 10) {
            for part in clone.extents(range(at + 8192, at + 12288)) {
                assert!(!part.unwrap().kind.reads_as_zero(), "{}: byte {}", place.name, at + 8192);
            }
        }
        assert_eq!(by_map(&clone), by_seek(&clone), "{}", place.name);
    }
}

#[test]
fn delayed_data_is_told_apart_where_the_map_can_and_never_called_zero() {
    for place in places::all() {
        let file = place.hole("image", MIB);
        file.write_at(512 * KIB, &[1; 4096]).unwrap();
        let kind = kinds(&file)[1].1;
        assert!(matches!(kind, ExtentKind::Data | ExtentKind::Delayed), "{}: {kind:?}", place.name);
        file.sync().unwrap();
        assert_eq!(kinds(&file)[1].1, ExtentKind::Data, "{}", place.name);
    }
}

#[test]
fn any_part_of_the_map_is_the_same_as_that_part_of_the_whole() {
    for place in places::all() {
        let file = place.hole("image", MIB);
        for at in (0..MIB).step_by(12288) {
            file.write_at(at, &[1; 4096]).unwrap();
        }
        let whole: Vec<_> = file.extents(range(0, MIB)).map(Result::unwrap).collect();
        for part in [range(0, 1), range(4095, 4097), range(5000, 700_000), range(MIB - 1, MIB)] {
            let cut: Vec<_> = whole
                .iter()
                .filter_map(|extent| Some(Extent { range: extent.range.intersect(part)?, kind: extent.kind }))
                .collect();
            let asked: Vec<_> = file.extents(part).map(Result::unwrap).collect();
            assert_eq!(asked, cut, "{}: {part:?}", place.name);
        }
    }
}

#[test]
fn law1_the_last_byte_of_the_largest_file_is_data() {
    for place in places::all() {
        let largest = place.file("probe", MIB).support().unwrap().max_file_bytes;
        let file = place.file("image", largest - largest % 512);
        file.write_at(file.len_bytes() - 1, &[1]).unwrap();
        let last = file.extents(range(file.len_bytes() - 1, file.len_bytes())).next().unwrap().unwrap();
        assert!(!last.kind.reads_as_zero(), "{}: {last:?}", place.name);
        let last = file.extents(range(0, file.len_bytes())).last().unwrap().unwrap();
        assert!(!last.kind.reads_as_zero(), "{}: {last:?}", place.name);
    }
}

/// 20,000 extents; with SPARSEDISK_REQUIRE_ALL=1 the 200,000 that the map is built for.
#[test]
fn many_extents_agree_with_seek_data() {
    let all = std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_some_and(|all| all == "1");
    let extents: u64 = if all { 200_000 } else { 20_000 };
    // The smallest blocks there are, so that less has to be written.
    let small_blocks: [(_, &[&str], usize); 4] = [
        ("tmpfs", &[], 4096),
        ("ext4", &["-b", "1024"], 1024),
        ("xfs", &["-b", "size=1024"], 1024),
        ("btrfs", &[], 4096),
    ];
    for (name, options, block) in small_blocks {
        // Much larger than what is written: a file system that could become full reserves space for the worst case, and
        // stops writing to find it (btrfs at once, xfs after most of it).
        let Some(place) = places::made_with(name, 16 << 30, options) else { continue };
        let step = 2 * block as u64;
        let file = place.hole("image", extents * step);
        for at in 0..extents {
            // Directly, because this is not what is tested.
            file.as_file().unwrap().write_all_at(&[0xA5; 4096][..block], at * step).unwrap();
        }
        let expected = by_seek(&file);
        assert_eq!(expected.len() as u64, 2 * extents, "{name}");
        assert!(by_map(&file) == expected, "{name}: not flushed");
        file.sync().unwrap();
        assert!(by_map(&file) == expected && by_seek(&file) == expected, "{name}: flushed");
        let ledger = file.ledger().unwrap();
        assert_eq!((ledger.extents, ledger.data_bytes), (extents, extents * block as u64), "{name}");
    }
}

#[test]
fn filefrag_counts_the_same_data() {
    let Some(place) = places::mounted("ext4") else { return };
    let file = place.hole("image", 64 * MIB);
    for at in (0..64 * MIB).step_by(64 << 10) {
        file.write_at(at, &[1; 8192]).unwrap();
    }
    file.sync().unwrap();
    let listing = match places::output("filefrag", &["-v", file.path().to_str().unwrap()]) {
        Ok(listing) => listing,
        Err(why) => return skipped(&why),
    };
    // `   0:        0..       1:      34304..     34305:      2:             ...`: logical first and last block.
    let judged: Vec<_> = listing
        .lines()
        .filter_map(|line| {
            let mut columns = line.split(':');
            columns.next()?.trim().parse::<u64>().ok()?;
            let (first, last) = columns.next()?.split_once("..")?;
            Some((first.trim().parse::<u64>().ok()? * 4096, (last.trim().parse::<u64>().ok()? + 1) * 4096))
        })
        .collect();
    let ours: Vec<_> = file
        .extents(range(0, 64 * MIB))
        .map(Result::unwrap)
        .filter(|extent| extent.kind.is_allocated())
        .map(|extent| (extent.range.start(), extent.range.end()))
        .collect();
    assert_eq!(ours, judged);
}
