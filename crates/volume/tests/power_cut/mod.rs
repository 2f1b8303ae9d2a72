//! What a power cut may leave of a run of changes: all that was flushed, and any part of what was not.

use std::sync::{Arc, Mutex};

use block_device::{ByteRange, Disk, Durability, Layer, Result, ZeroEffect, ZeroMode};

/// What was done to a disk, in order.
#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Zero(ByteRange),
    Flush,
}

impl Change {
    fn apply(&self, disk: &Disk) {
        match self {
            Self::Write(offset, bytes) => disk.write(*offset, bytes, Durability::Cached).unwrap(),
            Self::Zero(range) => {
                let mode = ZeroMode { may_unmap: true, fast_only: false };
                disk.write_zeroes(range.start(), range.len(), mode, Durability::Cached).unwrap();
            }
            Self::Flush => {}
        }
    }
}

/// Notes every change on its way down.
struct Recorder {
    disk: Disk,
    log: Arc<Mutex<Vec<Change>>>,
}

impl Layer for Recorder {
    fn below(&self) -> &Disk {
        &self.disk
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.log.lock().unwrap().push(Change::Write(offset, data.to_vec()));
        self.disk.write(offset, data, Durability::Cached)
    }

    fn flush(&self) -> Result<()> {
        self.log.lock().unwrap().push(Change::Flush);
        self.disk.flush()
    }

    fn discard(&self, range: ByteRange) -> Result<()> {
        panic!("a discard of {range:?} promises nothing, and is not thought of here")
    }

    fn write_zeroes(&self, range: ByteRange, mode: ZeroMode) -> Result<ZeroEffect> {
        self.log.lock().unwrap().push(Change::Zero(range));
        self.disk.write_zeroes(range.start(), range.len(), mode, Durability::Cached)
    }
}

/// The changes between one flush and the next.
pub(crate) struct Phases(Vec<Vec<Change>>);

/// Lets `act` change `disk`, and notes how.
pub(crate) fn record(disk: &Disk, act: impl FnOnce(&Disk)) -> Phases {
    let log = Arc::default();
    act(&Disk::new(Recorder { disk: disk.clone(), log: Arc::clone(&log) }).unwrap());
    let log: Vec<Change> = std::mem::take(&mut log.lock().unwrap());
    assert!(matches!(log.last(), Some(Change::Flush)), "the end is flushed");
    Phases(log.split(|change| matches!(change, Change::Flush)).map(<[_]>::to_vec).filter(|p| !p.is_empty()).collect())
}

impl Phases {
    /// How many flushes have changes before them.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Shows `see` every disk that a power cut can leave of the one that `before` gives, with the number of the phase
    /// it comes in: between two flushes the changes reach the disk in any order, so that any set of them is there.
    pub(crate) fn each_power_cut(&self, before: impl Fn() -> Disk, mut see: impl FnMut(usize, &Disk)) {
        for (number, phase) in self.0.iter().enumerate() {
            assert!(phase.len() <= 16, "{} changes between two flushes", phase.len());
            for subset in 0..1u32 << phase.len() {
                let disk = before();
                self.0[..number].iter().flatten().for_each(|change| change.apply(&disk));
                let there = (0..phase.len()).filter(|bit| subset >> bit & 1 == 1);
                there.for_each(|bit| phase[bit].apply(&disk));
                see(number, &disk);
            }
        }
    }
}
