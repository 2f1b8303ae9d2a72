//! What each layer adds to the contract.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;

use block_device::{
    BlockDevice, ByteRange, Discard, DiscardEffect, Disk, Durability, ErrorKind, Extent, Fault, Faulty, Geometry,
    LogicalBlock, MAX_OFFSET, MemoryDisk, Operation, RangeLocked, ReadOnly, Result, Schedule, Stats, Window,
    ZeroDetect, ZeroEffect, ZeroMode,
};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

fn memory(len_bytes: u64) -> Disk {
    Disk::new(MemoryDisk::new(len_bytes)).unwrap()
}

#[test]
fn law2_a_failed_flush_stays_failed_for_everyone() {
    let schedule = Schedule::default().then(Operation::Flush, 2, Fault::Fail(ErrorKind::Io));
    let disk = Disk::new(Faulty::new(memory(MIB), schedule)).unwrap();
    let other = disk.clone();
    disk.flush().unwrap();
    assert_eq!(disk.flush().unwrap_err().kind(), ErrorKind::Io);
    // The device would succeed now; nobody may be told so.
    assert_eq!(other.flush().unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(disk.write(0, &[1; 512], Durability::ForceUnitAccess).unwrap_err().kind(), ErrorKind::Io);
    disk.write(0, &[1; 512], Durability::Cached).unwrap();
}

#[test]
fn law9_a_forced_write_without_space_is_no_failed_flush() {
    let disk = Disk::new(MemoryDisk::with_capacity(MIB, 4096)).unwrap();
    disk.write(0, &[1; 4096], Durability::Cached).unwrap();
    assert_eq!(disk.write(8192, &[1; 512], Durability::ForceUnitAccess).unwrap_err().kind(), ErrorKind::NoSpace);
    disk.write(0, &[2; 4096], Durability::ForceUnitAccess).unwrap();
    disk.discard(0, 4096).unwrap();
    disk.write(8192, &[3; 512], Durability::Cached).unwrap();
    disk.flush().unwrap();
}

/// A disk that lies in a file, at another offset.
struct InFile(MemoryDisk, std::fs::File);

impl BlockDevice for InFile {
    fn geometry(&self) -> Geometry {
        self.0.geometry()
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.0.read(offset, buffer)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.0.write(offset, data)
    }

    fn flush(&self) -> Result<()> {
        self.0.flush()
    }

    fn discard(&self, range: ByteRange) -> Result<()> {
        self.0.discard(range)
    }

    fn write_zeroes(&self, range: ByteRange, mode: ZeroMode) -> Result<ZeroEffect> {
        self.0.write_zeroes(range, mode)
    }

    fn extents(&self, range: ByteRange, visit: &mut dyn FnMut(Extent) -> ControlFlow<()>) -> Result<()> {
        self.0.extents(range, visit)
    }

    fn allocated_bytes(&self) -> Result<u64> {
        self.0.allocated_bytes()
    }

    fn file_range(&self, range: ByteRange) -> Option<(&std::fs::File, u64)> {
        Some((&self.1, 1000 + range.start()))
    }
}

#[test]
fn where_a_range_lies_in_a_file_passes_through_layers_that_read_what_is_there() {
    let bottom =
        Disk::new(InFile(MemoryDisk::new(MIB), std::fs::File::open(std::env::current_exe().unwrap()).unwrap()))
            .unwrap();
    let place = |disk: &Disk, offset, len_bytes| disk.file_range(offset, len_bytes).map(|(_, at)| at);
    let window = Window::new(bottom.clone(), ByteRange::new(8192, 65536).unwrap()).unwrap();
    let window = Disk::new(window).unwrap();
    assert_eq!(place(&window, 4096, 512), Some(1000 + 8192 + 4096));
    assert_eq!(place(&window, 0, 65536), None, "beyond its end");
    let stats = Stats::new(Disk::new(ReadOnly::new(window)).unwrap());
    let counters = stats.counters();
    let disk = Disk::new(RangeLocked::new(Disk::new(ZeroDetect::new(Disk::new(stats).unwrap())).unwrap())).unwrap();
    assert_eq!(place(&disk, 512, 1024), Some(1000 + 8192 + 512));
    assert_eq!((counters.reads.load(Relaxed), counters.read_bytes.load(Relaxed)), (1, 1024), "asking is reading");
    assert_eq!((counters.begun.load(Relaxed), counters.ended()), (1, 1), "and it has ended");
    assert_eq!((place(&disk, 1, 512), place(&disk, 0, 0)), (None, None), "no request, no place");
    let faulty = Disk::new(Faulty::new(bottom, Schedule::default())).unwrap();
    assert_eq!(place(&faulty, 0, 512), None, "a fault must be felt");
}

#[test]
fn law3_read_only_ignores_discards_and_refuses_every_change() {
    let below = memory(MIB);
    below.write(0, &[5; 4096], Durability::Cached).unwrap();
    let disk = Disk::new(ReadOnly::new(below)).unwrap();
    assert_eq!(disk.geometry().discard.effect, DiscardEffect::Ignored);
    assert_eq!(disk.write(0, &[0; 512], Durability::Cached).unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(disk.discard(0, 4096).unwrap_err().kind(), ErrorKind::ReadOnly);
    let zeroing = disk.write_zeroes(0, 4096, ZeroMode::default(), Durability::Cached);
    assert_eq!(zeroing.unwrap_err().kind(), ErrorKind::ReadOnly);
    disk.flush().unwrap();
    let mut bytes = [0; 4096];
    disk.read(0, &mut bytes).unwrap();
    assert_eq!(bytes, [5; 4096]);
}

#[test]
fn law3_a_window_off_the_granule_grid_promises_less() {
    let on = Window::new(memory(2 * MIB), ByteRange::at(4096, MIB).unwrap()).unwrap();
    let off = Window::new(memory(2 * MIB), ByteRange::at(512, MIB).unwrap()).unwrap();
    assert_eq!(on.geometry().discard.effect, DiscardEffect::Zeroes);
    assert_eq!(off.geometry().discard.effect, DiscardEffect::Unspecified);
}

#[test]
fn law5_a_window_lies_inside_and_on_blocks() {
    let refused = |range: ByteRange| Window::new(memory(MIB), range).unwrap_err().kind();
    assert_eq!(refused(ByteRange::at(0, MIB + 512).unwrap()), ErrorKind::OutOfBounds);
    assert_eq!(refused(ByteRange::at(MAX_OFFSET - 512, 512).unwrap()), ErrorKind::OutOfBounds);
    assert_eq!(refused(ByteRange::at(100, 512).unwrap()), ErrorKind::InvalidInput);
}

#[test]
fn a_guest_that_writes_zeroes_allocates_nothing() {
    let below = memory(64 * MIB);
    let disk = Disk::new(ZeroDetect::new(below.clone())).unwrap();
    let mut data = vec![0; 2 * 1024 * 1024];
    disk.write(512, &data, Durability::Cached).unwrap();
    // The two granules it only touches may be written, the whole ones may not.
    assert!(below.allocated_bytes().unwrap() <= 2 * 4096);
    data[100_000] = 1;
    disk.write(8 * MIB, &data, Durability::Cached).unwrap();
    assert!(below.allocated_bytes().unwrap() <= 3 * 4096);
}

#[test]
fn law1_zeroes_written_over_data_free_it() {
    let below = memory(MIB);
    let disk = Disk::new(ZeroDetect::new(below.clone())).unwrap();
    disk.write(0, &[1; 65536], Durability::Cached).unwrap();
    disk.write(0, &[0; 65536], Durability::Cached).unwrap();
    assert_eq!(below.allocated_bytes().unwrap(), 0);
}

#[test]
fn stats_count_requests_bytes_and_errors() {
    let faults = Schedule::default().then(Operation::Read, 2, Fault::Fail(ErrorKind::Io));
    let stats = Stats::new(Disk::new(Faulty::new(memory(MIB), faults)).unwrap());
    let counters = stats.counters();
    let disk = Disk::new(stats).unwrap();
    disk.write(0, &[1; 1024], Durability::Cached).unwrap();
    disk.read(0, &mut [0; 512]).unwrap();
    disk.read(0, &mut [0; 512]).unwrap_err();
    disk.discard(0, 8192).unwrap();
    disk.flush().unwrap();
    assert_eq!(counters.written_bytes.load(Relaxed), 1024);
    assert_eq!((counters.reads.load(Relaxed), counters.read_bytes.load(Relaxed)), (2, 512));
    assert_eq!(counters.discarded_bytes.load(Relaxed), 8192);
    assert_eq!((counters.flushes.load(Relaxed), counters.errors.load(Relaxed)), (1, 1));
    assert_eq!(counters.begun.load(Relaxed), counters.ended());
}

#[test]
fn a_torn_write_does_its_first_half_and_fails() {
    let schedule = Schedule::default().then(Operation::Write, 1, Fault::Tear);
    let disk = Disk::new(Faulty::new(memory(MIB), schedule)).unwrap();
    assert_eq!(disk.write(0, &[9; 2048], Durability::Cached).unwrap_err().kind(), ErrorKind::Io);
    let mut bytes = [0; 2048];
    disk.read(0, &mut bytes).unwrap();
    assert_eq!((bytes[1023], bytes[1024]), (9, 0));
}

#[test]
fn a_torn_read_is_short_and_torn_zeroes_end_half_way() {
    let schedule = Schedule::default()
        .then(Operation::Read, 1, Fault::Tear)
        .then(Operation::WriteZeroes, 1, Fault::Tear)
        .then(Operation::Discard, 1, Fault::Tear);
    let below = memory(MIB);
    below.write(0, &[9; 65536], Durability::Cached).unwrap();
    let disk = Disk::new(Faulty::new(below.clone(), schedule)).unwrap();
    let mut bytes = [7; 2048];
    assert_eq!(disk.read(0, &mut bytes).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!((bytes[1023], bytes[1024]), (9, 7));
    disk.write_zeroes(0, 2048, ZeroMode::default(), Durability::Cached).unwrap_err();
    below.read(0, &mut bytes).unwrap();
    assert_eq!((bytes[1023], bytes[1024]), (0, 9));
    disk.discard(32768, 3 * 4096).unwrap_err();
    let mut granules = [7; 8192];
    below.read(32768, &mut granules).unwrap();
    assert_eq!((granules[4095], granules[4096]), (0, 9));
}

#[test]
fn law2_what_was_flushed_is_not_lost_and_what_was_not_is() {
    let schedule = (1..=3).fold(Schedule::default(), |all, nth| all.then(Operation::Write, nth, Fault::Lose));
    let schedule =
        schedule.then(Operation::Flush, 2, Fault::Fail(ErrorKind::Io)).then(Operation::Discard, 1, Fault::Lose);
    let below = memory(MIB);
    let faulty = Faulty::new(below.clone(), schedule);
    let unflushed = faulty.unflushed();
    let disk = Disk::new(faulty).unwrap();
    let first = |disk: &Disk| {
        let mut bytes = [7; 512];
        disk.read(0, &mut bytes).unwrap();
        bytes[0]
    };
    disk.write(0, &[1; 4096], Durability::Cached).unwrap();
    disk.flush().unwrap();
    disk.write(0, &[2; 4096], Durability::Cached).unwrap();
    disk.flush().unwrap_err();
    disk.write(0, &[3; 4096], Durability::Cached).unwrap();
    disk.discard(0, 4096).unwrap();
    assert_eq!(first(&disk), 0, "acknowledged, and seen");
    unflushed.lose().unwrap();
    assert_eq!(first(&below), 1, "the last that a flush made durable");
    unflushed.lose().unwrap();
    assert_eq!(first(&below), 1, "nothing is lost twice");
}

#[test]
fn a_delayed_request_is_done() {
    let delay = Fault::Delay(std::time::Duration::ZERO);
    let schedule = Schedule::default().then(Operation::Write, 1, delay).then(Operation::Flush, 1, delay);
    let below = memory(MIB);
    let disk = Disk::new(Faulty::new(below.clone(), schedule)).unwrap();
    disk.write(0, &[1; 4096], Durability::ForceUnitAccess).unwrap();
    assert_eq!(below.allocated_bytes().unwrap(), 4096);
}

/// A disk whose writes wait until the test lets them go, so that an order can be observed without a clock.
struct Gate {
    disk: Disk,
    arrived: mpsc::SyncSender<u64>,
    go: std::sync::Mutex<mpsc::Receiver<()>>,
}

impl BlockDevice for Gate {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.disk.read(offset, buffer)
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.arrived.send(offset).unwrap();
        if offset == 0 {
            self.go.lock().unwrap().recv().unwrap();
        }
        self.disk.write(offset, data, Durability::Cached)
    }
    fn flush(&self) -> Result<()> {
        self.disk.flush()
    }
    fn discard(&self, range: ByteRange) -> Result<()> {
        self.arrived.send(u64::MAX).unwrap();
        self.disk.discard(range.start(), range.len())
    }
    fn write_zeroes(&self, range: ByteRange, mode: ZeroMode) -> Result<ZeroEffect> {
        self.disk.write_zeroes(range.start(), range.len(), mode, Durability::Cached)
    }
    fn extents(&self, range: ByteRange, visit: &mut dyn FnMut(Extent) -> ControlFlow<()>) -> Result<()> {
        self.disk.extents(range.start(), range.len(), visit)
    }
    fn allocated_bytes(&self) -> Result<u64> {
        self.disk.allocated_bytes()
    }
}

#[test]
fn law4_a_discard_waits_for_the_write_it_overlaps_and_for_no_other() {
    let (arrived, arrivals) = mpsc::sync_channel(8);
    let (go, gate) = mpsc::channel();
    let gated = Gate { disk: memory(MIB), arrived, go: std::sync::Mutex::new(gate) };
    let disk = Disk::new(RangeLocked::new(Disk::new(gated).unwrap())).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| disk.write(0, &[1; 8192], Durability::Cached).unwrap());
        assert_eq!(arrivals.recv().unwrap(), 0, "the first write is inside, and held there");
        scope.spawn(|| disk.discard(4096, 8192).unwrap());
        // A write elsewhere passes while the first is held, whether or not the discard is waiting already.
        scope.spawn(|| disk.write(65536, &[2; 512], Durability::Cached).unwrap());
        assert_eq!(arrivals.recv().unwrap(), 65536, "the discard overtook the write it overlaps");
        go.send(()).unwrap();
        assert_eq!(arrivals.recv().unwrap(), u64::MAX);
    });
    let mut bytes = [7; 4096];
    disk.read(4096, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 4096], "the discard came after the write");
}

#[test]
fn law5_a_disk_that_contradicts_itself_is_refused() {
    struct Odd(Geometry);
    impl BlockDevice for Odd {
        fn geometry(&self) -> Geometry {
            self.0
        }
        fn read(&self, _: u64, _: &mut [u8]) -> Result<()> {
            Ok(())
        }
        fn write(&self, _: u64, _: &[u8]) -> Result<()> {
            Ok(())
        }
        fn flush(&self) -> Result<()> {
            Ok(())
        }
        fn discard(&self, _: ByteRange) -> Result<()> {
            Ok(())
        }
        fn write_zeroes(&self, _: ByteRange, _: ZeroMode) -> Result<ZeroEffect> {
            Ok(ZeroEffect::Written)
        }
        fn extents(&self, _: ByteRange, _: &mut dyn FnMut(Extent) -> ControlFlow<()>) -> Result<()> {
            Ok(())
        }
        fn allocated_bytes(&self) -> Result<u64> {
            Ok(0)
        }
    }
    let good = MemoryDisk::new(MIB).geometry();
    let discard = |granularity_bytes| Discard { granularity_bytes, effect: DiscardEffect::Zeroes };
    let odd = [
        Geometry { len_bytes: 0, ..good },
        Geometry { len_bytes: MIB + 1, ..good },
        Geometry { len_bytes: u64::MAX - 511, ..good },
        Geometry { discard: discard(0), ..good },
        Geometry { discard: discard(513), ..good },
        Geometry { logical_block: LogicalBlock::new(65536).unwrap(), ..good },
    ];
    assert!(Disk::new(Odd(good)).is_ok());
    for geometry in odd {
        assert_eq!(Disk::new(Odd(geometry)).unwrap_err().kind(), ErrorKind::InvalidInput, "{geometry:?}");
    }
}

/// Anything, and often something near the disk and its blocks.
fn offsets() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0..2 * MIB, (0..4096u64).prop_map(|block| block * 512), MAX_OFFSET - 4096..MAX_OFFSET]
}

proptest! {
    #[test]
    fn law5_any_offset_and_length_is_done_or_refused(offset in offsets(), len_bytes in offsets()) {
        let disk = memory(MIB);
        let inside = offset.checked_add(len_bytes).is_some_and(|end| end <= MIB);
        let aligned = offset.is_multiple_of(512) && len_bytes.is_multiple_of(512);
        prop_assert_eq!(disk.discard(offset, len_bytes).is_ok(), inside && aligned);
        let mode = ZeroMode { may_unmap: true, fast_only: false };
        prop_assert_eq!(disk.write_zeroes(offset, len_bytes, mode, Durability::Cached).is_ok(), inside && aligned);
        prop_assert_eq!(disk.extents(offset, len_bytes, &mut |_| ControlFlow::Continue(())).is_ok(), inside && aligned);
    }
}

#[test]
fn law2_a_flush_without_space_is_a_failed_flush() {
    let schedule = Schedule::default().then(Operation::Flush, 1, Fault::Fail(ErrorKind::NoSpace));
    let disk = Disk::new(Faulty::new(memory(MIB), schedule)).unwrap();
    assert_eq!(disk.flush().unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(disk.flush().unwrap_err().kind(), ErrorKind::Io);
}

/// A disk whose first flush waits until a second has been asked for, and then fails; the second would succeed.
struct OneErrorForTwo {
    disk: Disk,
    arrived: mpsc::SyncSender<()>,
    go: std::sync::Mutex<mpsc::Receiver<()>>,
    failed: std::sync::atomic::AtomicBool,
}

impl block_device::Layer for OneErrorForTwo {
    fn below(&self) -> &Disk {
        &self.disk
    }
    fn flush(&self) -> Result<()> {
        if self.failed.swap(true, Relaxed) {
            return Ok(());
        }
        self.arrived.send(()).unwrap();
        self.go.lock().unwrap().recv().unwrap();
        Err(block_device::Error::new(ErrorKind::Io, "flush"))
    }
}

#[test]
fn law2_of_two_flushes_at_once_neither_is_told_that_all_is_well() {
    let (arrived, arrivals) = mpsc::sync_channel(1);
    let (go, gate) = mpsc::channel();
    let failed = std::sync::atomic::AtomicBool::new(false);
    let disk = OneErrorForTwo { disk: memory(MIB), arrived, go: std::sync::Mutex::new(gate), failed };
    let disk = Disk::new(disk).unwrap();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| disk.flush());
        arrivals.recv().unwrap();
        let second = scope.spawn(|| {
            go.send(()).unwrap();
            disk.flush()
        });
        assert!(first.join().unwrap().is_err());
        assert!(second.join().unwrap().is_err());
    });
}

#[test]
fn on_a_disk_that_ignores_discards_zeroes_are_written_as_they_come() {
    struct Ignores(Disk);
    impl block_device::Layer for Ignores {
        fn below(&self) -> &Disk {
            &self.0
        }
        fn geometry(&self) -> Geometry {
            let discard = Discard { granularity_bytes: 512, effect: DiscardEffect::Ignored };
            Geometry { discard, ..self.0.geometry() }
        }
    }
    let stats = Stats::new(Disk::new(Ignores(memory(MIB))).unwrap());
    let counters = stats.counters();
    let disk = Disk::new(ZeroDetect::new(Disk::new(stats).unwrap())).unwrap();
    let mut data = vec![0; 65536];
    data.chunks_mut(1024).for_each(|chunk| chunk[0] = 1);
    disk.write(0, &data, Durability::Cached).unwrap();
    assert_eq!((counters.writes.load(Relaxed), counters.zeroings.load(Relaxed)), (1, 0));
}

#[test]
fn law5_the_longest_disk_there_can_be_is_mapped_to_its_end() {
    let len_bytes = MAX_OFFSET - MAX_OFFSET % 512;
    let disk = memory(len_bytes);
    disk.write(len_bytes - 512, &[1; 512], Durability::Cached).unwrap();
    let mut end = 0;
    disk.extents(0, len_bytes, &mut |extent| {
        end = extent.range.end();
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(end, len_bytes);
}
