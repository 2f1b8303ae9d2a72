//! Disks to give space back from, and observers that stop.
#![allow(dead_code, unreachable_pub, reason = "a module of several test crates, each of which uses its part")]

use std::ops::ControlFlow;

use block_device::{
    BlockDevice, ByteRange, Discard, DiscardEffect, Disk, Durability, Error, ErrorKind, Extent, ExtentKind, Geometry,
    MemoryDisk, Result, ZeroEffect, ZeroMode,
};
use reclaim::{Observer, Phase, Plan};

/// The granule of a [`MemoryDisk`].
pub const GRANULE: u64 = 4096;

pub fn range(start: u64, end: u64) -> ByteRange {
    ByteRange::new(start, end).unwrap()
}

pub fn memory(len_bytes: u64) -> Disk {
    Disk::new(MemoryDisk::new(len_bytes)).unwrap()
}

pub fn write(disk: &Disk, offset: u64, bytes: &[u8]) {
    disk.write(offset, bytes, Durability::Cached).unwrap();
}

pub fn content(disk: &Disk) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(disk.len_bytes()).unwrap()];
    disk.read(0, &mut bytes).unwrap();
    bytes
}

pub fn allocated(disk: &Disk) -> Vec<ByteRange> {
    let mut ranges = Vec::new();
    disk.extents(0, disk.len_bytes(), &mut |extent| {
        if extent.kind.is_allocated() {
            ranges.push(extent.range);
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    ranges
}

pub fn plan_with(disk: &Disk, free: &[ByteRange]) -> Plan {
    reclaim::plan_with(disk, &mut free.iter().copied().map(Ok), &mut ()).unwrap()
}

pub fn covers(ranges: &[ByteRange], byte: u64) -> bool {
    ranges.iter().any(|range| (range.start()..range.end()).contains(&byte))
}

/// Panics unless both read the same outside `except`.
pub fn assert_same_outside(before: &[u8], after: &[u8], except: &[ByteRange]) {
    let differs = (0..before.len()).find(|&at| before[at] != after[at] && !covers(except, at as u64));
    assert_eq!((before.len(), differs), (after.len(), None), "law 1: byte changed");
}

/// Stops at the `nth` question, counted from 1, and records the progress.
pub struct StopAt {
    pub nth: u64,
    pub asked: u64,
    pub progress: Vec<(Phase, u64, u64)>,
}

impl StopAt {
    pub fn new(nth: u64) -> Self {
        Self { nth, asked: 0, progress: Vec::new() }
    }

    pub fn never() -> Self {
        Self::new(u64::MAX)
    }
}

impl Observer for StopAt {
    fn progress(&mut self, phase: Phase, done_bytes: u64, total_bytes: u64) {
        self.progress.push((phase, done_bytes, total_bytes));
    }

    fn may_continue(&mut self) -> Result<()> {
        self.asked += 1;
        if self.asked == self.nth { Err(Error::new(ErrorKind::Interrupted, "go on")) } else { Ok(()) }
    }
}

/// A disk that declares, and maps, what a [`MemoryDisk`] does not.
pub struct Odd {
    pub disk: Disk,
    pub granularity_bytes: u64,
    pub effect: DiscardEffect,
    /// Pages of zeroes with odd numbers are said to be unwritten.
    pub unwritten: bool,
    /// Zeroed ranges stay allocated.
    pub keeps_zeroes: bool,
}

impl Odd {
    pub fn new(disk: Disk) -> Self {
        let effect = DiscardEffect::Zeroes;
        Self { disk, granularity_bytes: GRANULE, effect, unwritten: false, keeps_zeroes: false }
    }

    pub fn wrap(self) -> Disk {
        Disk::new(self).unwrap()
    }
}

impl BlockDevice for Odd {
    fn geometry(&self) -> Geometry {
        let discard = Discard { granularity_bytes: self.granularity_bytes, effect: self.effect };
        Geometry { discard, ..self.disk.geometry() }
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.disk.read(offset, buffer)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.disk.write(offset, data, Durability::Cached)
    }

    fn flush(&self) -> Result<()> {
        self.disk.flush()
    }

    /// Leaves rubbish where it promised nothing.
    fn discard(&self, range: ByteRange) -> Result<()> {
        if self.effect == DiscardEffect::Unspecified {
            let rubbish = vec![0xEE; usize::try_from(range.len()).unwrap()];
            return self.disk.write(range.start(), &rubbish, Durability::Cached);
        }
        self.disk.discard(range.start(), range.len())
    }

    fn write_zeroes(&self, range: ByteRange, mut mode: ZeroMode) -> Result<ZeroEffect> {
        if self.keeps_zeroes {
            mode = ZeroMode::default();
        }
        self.disk.write_zeroes(range.start(), range.len(), mode, Durability::Cached)
    }

    fn extents(&self, range: ByteRange, visit: &mut dyn FnMut(Extent) -> ControlFlow<()>) -> Result<()> {
        let mut page = vec![0; GRANULE as usize];
        self.disk.extents(range.start(), range.len(), &mut |extent| {
            let whole = extent.range.len() == GRANULE && extent.range.start().is_multiple_of(GRANULE);
            if self.unwritten
                && whole
                && extent.kind == ExtentKind::Data
                && !(extent.range.start() / GRANULE).is_multiple_of(2)
            {
                self.disk.read(extent.range.start(), &mut page).unwrap();
                if page.iter().all(|&byte| byte == 0) {
                    return visit(Extent { kind: ExtentKind::Unwritten, ..extent });
                }
            }
            visit(extent)
        })
    }

    fn allocated_bytes(&self) -> Result<u64> {
        self.disk.allocated_bytes()
    }
}
