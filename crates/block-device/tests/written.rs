//! What the map of changes remembers.

use std::collections::BTreeSet;

use block_device::{
    ByteRange, Disk, Durability, ErrorKind, Fault, Faulty, MAX_OFFSET, MemoryDisk, Operation, Schedule, Written,
    WrittenMap, ZeroMode,
};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

fn set(map: &WrittenMap) -> Vec<u64> {
    let mut chunks = Vec::new();
    let mut next = 0;
    while let Some(chunk) = map.next_set(next) {
        chunks.push(chunk);
        next = chunk + 1;
    }
    chunks
}

fn take_all(map: &WrittenMap) {
    for chunk in 0..map.chunks() {
        let _ = map.take(chunk);
    }
    assert_eq!((map.count_set(), map.next_set(0)), (0, None));
}

#[test]
fn at_first_all_of_a_disk_counts_as_changed() {
    let map = WrittenMap::new(100 * MIB + 512, 4096);
    assert_eq!((map.chunks(), map.count_set(), map.next_clear(0)), (101, 101, None));
    assert_eq!(map.range_of(100), Some(ByteRange::new(100 * MIB, 100 * MIB + 512).unwrap()));
    assert_eq!(map.range_of(101), None);
    assert!(!map.is_set(101) && !map.take(101));
}

#[test]
fn a_flag_is_taken_once() {
    let map = WrittenMap::new(3 * MIB, 4096);
    assert!(map.is_set(1) && map.take(1));
    assert!(!map.is_set(1) && !map.take(1));
    assert_eq!(set(&map), [0, 2]);
}

#[test]
fn whatever_changes_data_is_remembered_and_what_does_not_is_not() {
    let layer = Written::new(Disk::new(MemoryDisk::new(8 * MIB)).unwrap());
    let map = layer.map();
    let disk = Disk::new(layer).unwrap();
    take_all(&map);
    disk.read(0, &mut [0; 512]).unwrap();
    disk.flush().unwrap();
    assert_eq!(map.count_set(), 0);
    disk.write(2 * MIB - 512, &[1; 1024], Durability::Cached).unwrap();
    disk.discard(4 * MIB, 4096).unwrap();
    disk.write_zeroes(6 * MIB, MIB, ZeroMode::default(), Durability::Cached).unwrap();
    assert_eq!(set(&map), [1, 2, 4, 6]);
}

#[test]
fn a_change_that_failed_half_way_is_remembered() {
    let faults = Schedule::default()
        .then(Operation::Write, 1, Fault::Tear)
        .then(Operation::Discard, 1, Fault::Fail(ErrorKind::Io))
        .then(Operation::WriteZeroes, 1, Fault::Fail(ErrorKind::NoSpace));
    let layer = Written::new(Disk::new(Faulty::new(Disk::new(MemoryDisk::new(4 * MIB)).unwrap(), faults)).unwrap());
    let map = layer.map();
    let disk = Disk::new(layer).unwrap();
    take_all(&map);
    disk.write(0, &[1; 8192], Durability::Cached).unwrap_err();
    disk.discard(MIB, MIB).unwrap_err();
    disk.write_zeroes(2 * MIB, MIB, ZeroMode::default(), Durability::Cached).unwrap_err();
    assert_eq!(set(&map), [0, 1, 2]);
}

#[test]
fn law5_the_map_of_any_disk_is_small_and_its_chunks_are_whole_granules() {
    for len_bytes in [512, MIB, 16 << 40, (16 << 40) + 512, 1 << 50, MAX_OFFSET - MAX_OFFSET % 512] {
        for granularity in [512, 4096, 65536, 3 * 512, 2 * MIB] {
            let map = WrittenMap::new(len_bytes, granularity);
            assert!(map.chunks() <= WrittenMap::MAX_BYTES * 8, "{len_bytes} in chunks of {}", map.chunk_bytes());
            assert!(map.chunk_bytes().is_multiple_of(granularity) && map.chunk_bytes() >= WrittenMap::CHUNK_BYTES);
            assert_eq!(map.range_of(map.chunks() - 1).unwrap().end(), len_bytes);
            map.mark(ByteRange::whole(len_bytes).unwrap());
            map.mark(ByteRange::at(MAX_OFFSET - 1, 1).unwrap());
            assert_eq!(map.count_set(), map.chunks());
        }
    }
}

proptest! {
    #[test]
    fn it_agrees_with_a_set_of_chunks(
        len_bytes in 1u64..20_000,
        chunk_bytes in 1u64..64,
        steps in prop::collection::vec((0u64..20_000, 1u64..5_000, any::<bool>()), 1..40)
    ) {
        let map = WrittenMap::with_chunks_of(chunk_bytes, len_bytes);
        let mut twin: BTreeSet<u64> = (0..len_bytes.div_ceil(chunk_bytes)).collect();
        for (start, len, mark) in steps {
            let range = ByteRange::at(start, len).unwrap();
            for chunk in (start / chunk_bytes..=(range.end() - 1) / chunk_bytes).filter(|chunk| *chunk < map.chunks()) {
                if mark {
                    twin.insert(chunk);
                } else {
                    prop_assert_eq!(map.take(chunk), twin.remove(&chunk));
                }
            }
            if mark {
                map.mark(range);
            }
            prop_assert_eq!(set(&map), twin.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(map.count_set(), twin.len() as u64);
            let from = start / chunk_bytes;
            prop_assert_eq!(map.next_clear(from), (from..map.chunks()).find(|chunk| !twin.contains(chunk)));
        }
    }
}
