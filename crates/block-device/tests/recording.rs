//! What is replayed of a recorded disk, and what is not.
#![cfg(not(shuttle))]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use block_device::{
    ByteRange, Discard, DiscardEffect, Disk, Durability, ErrorKind, Fault, Faulty, Geometry, Layer, Left, MemoryDisk,
    Operation, RangeLocked, Replay, Result, Schedule, ZeroMode, fault_walk, record,
};

const BLOCK: u64 = 512;

fn memory() -> Disk {
    Disk::new(MemoryDisk::new(64 * BLOCK)).unwrap()
}

fn write(disk: &Disk, block: u64, blocks: usize, byte: u8) {
    disk.write(block * BLOCK, &vec![byte; blocks * BLOCK as usize], Durability::Cached).unwrap();
}

/// The first byte of each of the first blocks.
fn blocks<const N: usize>(disk: &Disk) -> [u8; N] {
    let mut bytes = vec![0; N * BLOCK as usize];
    disk.read(0, &mut bytes).unwrap();
    bytes.chunks(BLOCK as usize).for_each(|block| assert!(block.iter().all(|byte| *byte == block[0]), "a whole block"));
    std::array::from_fn(|nth| bytes[nth * BLOCK as usize])
}

#[test]
fn law2_what_was_flushed_is_there_and_of_the_rest_any_part() {
    let (log, ()) = record(&memory(), |disk| {
        write(disk, 0, 1, 1);
        disk.flush().unwrap();
        write(disk, 1, 1, 2);
        write(disk, 2, 1, 3);
        write(disk, 1, 1, 4);
    });
    assert_eq!((log.changes(), log.flushes(), log.moment()), (4, 1, 10));
    let mut seen = BTreeSet::new();
    let counts = log.replay(&Replay { torn: 0, ..Replay::default() }, &memory, &mut |crash, disk| {
        let now = blocks::<3>(disk);
        assert_eq!(now[0] == 1, crash.flushes == 1 || now != [0; 3], "{crash}");
        seen.insert(now);
    });
    let expected = [0, 2, 4].into_iter().flat_map(|second| [[1, second, 0], [1, second, 3]]);
    assert_eq!(seen, expected.chain([[0; 3]]).collect());
    assert_eq!((counts.prefixes, counts.subsets, counts.torn), (5, 2 + 8, 0));
}

#[test]
fn a_request_may_come_half_way_block_by_block() {
    let (log, ()) = record(&memory(), |disk| write(disk, 0, 3, 7));
    let mut seen = BTreeSet::new();
    log.replay(&Replay::default(), &memory, &mut |_, disk| {
        seen.insert(blocks::<3>(disk));
    });
    assert_eq!(seen.len(), 8, "{seen:?}");
}

#[test]
fn law2_a_flush_that_failed_and_a_write_that_failed_promise_nothing() {
    let schedule = Schedule::default().then(Operation::Flush, 1, Fault::Fail(ErrorKind::Io));
    let schedule = schedule.then(Operation::Write, 2, Fault::Fail(ErrorKind::Io));
    let faulty = Disk::new(Faulty::new(memory(), schedule)).unwrap();
    let (log, ()) = record(&faulty, |disk| {
        write(disk, 0, 1, 1);
        disk.write(BLOCK, &[2; 512], Durability::Cached).unwrap_err();
        disk.flush().unwrap_err();
    });
    let mut seen = BTreeSet::new();
    log.replay(&Replay::default(), &memory, &mut |_, disk| {
        seen.insert(blocks::<2>(disk));
    });
    assert_eq!(seen, [[0, 0], [0, 2], [1, 0], [1, 2]].into());
}

#[test]
fn law2_a_flush_speaks_only_for_what_had_returned_when_it_began() {
    /// Flushes while a write is under way.
    struct FlushesInside(Disk, Arc<Mutex<Option<Disk>>>);
    impl Layer for FlushesInside {
        fn below(&self) -> &Disk {
            &self.0
        }
        fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
            let above = self.1.lock().unwrap().take();
            above.map_or(Ok(()), |above| above.flush())?;
            self.0.write(offset, data, Durability::Cached)
        }
    }
    let above = Arc::<Mutex<Option<Disk>>>::default();
    let (log, ()) = record(&Disk::new(FlushesInside(memory(), Arc::clone(&above))).unwrap(), |disk| {
        write(disk, 0, 1, 1);
        *above.lock().unwrap() = Some(disk.clone());
        write(disk, 1, 1, 2);
    });
    assert_eq!(log.flushes(), 1);
    let mut after = BTreeSet::new();
    log.replay(&Replay::default(), &memory, &mut |crash, disk| {
        if crash.flushes == 1 {
            after.insert(blocks::<2>(disk));
        }
    });
    assert_eq!(after, [[1, 0], [1, 2]].into());
}

#[test]
fn what_was_refused_did_nothing() {
    let before = || {
        let disk = memory();
        write(&disk, 0, 1, 1);
        disk
    };
    let (log, ()) = record(&before(), |disk| {
        let mode = ZeroMode { may_unmap: false, fast_only: true };
        assert!(disk.write_zeroes(0, BLOCK, mode, Durability::Cached).is_err());
        disk.flush().unwrap();
    });
    log.replay(&Replay::default(), &before, &mut |crash, disk| {
        assert!(crash.left == Left::Prefix && crash.moment == 1 || blocks::<1>(disk) == [1], "{crash}");
    });
}

#[test]
fn samples_are_bounded_and_the_same_for_the_same_seed() {
    let (log, ()) = record(&memory(), |disk| (0..60).for_each(|block| write(disk, block, 1, 9)));
    let run = |seed| {
        let mut seen = Vec::new();
        let options = Replay { seed, subsets: 300, torn: 20 };
        let counts = log.replay(&options, &memory, &mut |_, disk| seen.push(blocks::<60>(disk)));
        assert_eq!((counts.prefixes, counts.subsets, counts.torn), (61, 300, 20));
        assert_eq!(counts.total(), seen.len() as u64);
        seen
    };
    let first = run(1);
    assert!(first == run(1) && first != run(2));
    let missing =
        |count| first.iter().filter(|blocks| blocks.iter().filter(|byte| **byte == 0).count() == count).count();
    assert!(missing(1) >= 60 && missing(59) >= 60, "one missing, one alone");
}

#[test]
fn discards_leave_what_the_disk_replayed_on_promises() {
    struct Rubbish(Disk);
    impl Layer for Rubbish {
        fn below(&self) -> &Disk {
            &self.0
        }
        fn geometry(&self) -> Geometry {
            let discard = Discard { granularity_bytes: 4 * BLOCK, effect: DiscardEffect::Unspecified };
            Geometry { discard, ..self.0.geometry() }
        }
        fn discard(&self, range: ByteRange) -> Result<()> {
            self.0.write(range.start(), &vec![0xEE; usize::try_from(range.len()).unwrap()], Durability::Cached)
        }
    }
    let before = || Disk::new(Rubbish(memory())).unwrap();
    let (log, ()) = record(&before(), |disk| disk.discard(0, 8 * BLOCK).unwrap());
    let mut seen = BTreeSet::new();
    log.replay(&Replay::default(), &before, &mut |_, disk| {
        seen.insert(blocks::<8>(disk).map(|byte| byte == 0xEE));
    });
    let halves = |first, second| std::array::from_fn(|nth| if nth < 4 { first } else { second });
    assert_eq!(seen, [[false; 8], [true; 8], halves(true, false), halves(false, true)].into());
}

#[test]
fn a_copy_in_memory_is_another_disk_with_the_same_content() {
    let original = Disk::new(MemoryDisk::new(8192 + 512)).unwrap();
    write(&original, 8, 1, 5);
    write(&original, 16, 1, 6);
    let copy = MemoryDisk::copy_of(&original).unwrap();
    let [first, second] = [copy.clone(), copy].map(|disk| Disk::new(disk).unwrap());
    write(&first, 8, 1, 7);
    write(&original, 16, 1, 8);
    let [of_first, of_second] = [first, second].map(|disk| blocks::<17>(&disk));
    assert_eq!((of_first[8], of_first[16], of_second[8], of_second[16]), (7, 6, 5, 6));
}

#[test]
fn a_walk_meets_every_request_with_every_fault() {
    let mut kinds = Vec::new();
    let mut act = |disk: &Disk| {
        let disk = Disk::new(RangeLocked::new(disk.clone())).unwrap();
        disk.write(0, &[1; 1024], Durability::Cached)?;
        disk.write(0, &[2; 512], Durability::Cached)?;
        disk.flush()
    };
    let met = fault_walk(&memory, &mut act, &mut |step, result, disk| {
        assert_eq!(result.map_err(|error| error.kind()).err(), step.error_kind(), "{step}");
        kinds.push(step.error_kind());
        step.unflushed.lose().unwrap();
        if step.error_kind().is_none() {
            assert_eq!(blocks::<2>(&step.beneath), [2, 1], "{step}: flushed");
        }
        // There are no faults any more.
        write(disk, 0, 1, 3);
    });
    assert_eq!(met, 2 * 5 + 5, "two writes, one flush");
    assert_eq!(kinds.iter().filter(|kind| kind.is_some()).count(), 2 * 3 + 3);
}

block_device::conformance_suite!(recorded, |len_bytes| {
    let disk = Disk::new(block_device::Recording::new(Disk::new(MemoryDisk::new(len_bytes)).unwrap())).unwrap();
    Some(block_device::conformance::Fixture { keep: Box::new(()), disk })
});
