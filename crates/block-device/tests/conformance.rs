//! Every disk and layer of this crate keeps the laws.

use std::sync::Arc;

use block_device::conformance::Fixture;
use block_device::{
    ByteRange, Discard, DiscardEffect, Disk, Error, ErrorKind, Faulty, Geometry, Layer, LogicalBlock, MemoryDisk,
    RangeLocked, Schedule, SpaceGuard, Stats, Window, Written, ZeroDetect,
};

fn memory(len_bytes: u64) -> Disk {
    Disk::new(MemoryDisk::new(len_bytes)).unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "what the suite asks for")]
fn fixture(disk: Disk) -> Option<Fixture> {
    Some(Fixture { disk, keep: Box::new(()) })
}

block_device::conformance_suite!(memory_disk, |len| fixture(memory(len)));
block_device::conformance_suite!(zero_detect, |len| fixture(Disk::new(ZeroDetect::new(memory(len))).unwrap()));
block_device::conformance_suite!(range_locked, |len| fixture(Disk::new(RangeLocked::new(memory(len))).unwrap()));
block_device::conformance_suite!(stats, |len| fixture(Disk::new(Stats::new(memory(len))).unwrap()));
block_device::conformance_suite!(faulty_without_faults, |len| {
    fixture(Disk::new(Faulty::new(memory(len), Schedule::default())).unwrap())
});
block_device::conformance_suite!(written, |len| fixture(Disk::new(Written::new(memory(len))).unwrap()));
block_device::conformance_suite!(space_guard, |len| {
    let guard = SpaceGuard::new(memory(len), 1 << 30, || Ok(1 << 40), |_| {});
    fixture(Disk::new(guard).unwrap())
});
block_device::conformance_suite!(space_guard_on_a_host_that_cannot_say, |len| {
    let silent = || Err(Error::new(ErrorKind::Io, "ask for free space"));
    fixture(Disk::new(SpaceGuard::new(memory(len), 1 << 30, silent, |_| {})).unwrap())
});
block_device::conformance_suite!(window_on_the_grid, |len: u64| {
    let range = ByteRange::at(1 << 20, len).unwrap();
    fixture(Disk::new(Window::new(memory(len + (2 << 20)), range).unwrap()).unwrap())
});
block_device::conformance_suite!(window_off_the_grid, |len: u64| {
    let range = ByteRange::at(63 * 512, len).unwrap();
    fixture(Disk::new(Window::new(memory(len + (2 << 20)), range).unwrap()).unwrap())
});
/// A disk of large blocks.
struct Blocks64K(Disk);

impl Layer for Blocks64K {
    fn below(&self) -> &Disk {
        &self.0
    }
    fn geometry(&self) -> Geometry {
        let logical_block = LogicalBlock::new(65536).unwrap();
        let discard = Discard { granularity_bytes: 65536, effect: DiscardEffect::Zeroes };
        Geometry { logical_block, physical_block: logical_block, discard, ..self.0.geometry() }
    }
}

block_device::conformance_suite!(blocks_of_64_kib, |len| fixture(Disk::new(Blocks64K(memory(len))).unwrap()));
block_device::conformance_suite!(all_layers, |len| {
    let guarded = Disk::new(SpaceGuard::new(memory(len), 1 << 30, || Ok(2 << 30), |_| {})).unwrap();
    let detecting = Disk::new(ZeroDetect::new(guarded)).unwrap();
    let written = Disk::new(Written::new(detecting)).unwrap();
    let locked = Disk::new(RangeLocked::new(written)).unwrap();
    let stats = Stats::new(locked);
    let counters: Arc<_> = stats.counters();
    Some(Fixture { disk: Disk::new(stats).unwrap(), keep: Box::new(counters) })
});
