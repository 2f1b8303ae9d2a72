use alloc::vec::Vec;
use std::sync::PoisonError;

use disk_types::{ByteRange, Error, ErrorKind, Result, ZeroEffect, ZeroMode};

use crate::sync::Mutex;
use crate::{Disk, Durability, Layer};

/// Fails on a schedule, so that tests see what a failing host does to everyone above it.
#[derive(Debug)]
pub struct Faulty {
    disk: Disk,
    schedule: Mutex<Schedule>,
}

/// Which requests fail, and how.
#[derive(Debug, Default)]
pub struct Schedule {
    pending: Vec<(Operation, u64, Fault)>,
    seen: [u64; 5],
}

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Operation {
    Read,
    Write,
    Flush,
    Discard,
    WriteZeroes,
}

/// How a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// With an error of this kind, nothing done.
    Fail(ErrorKind),
    /// A write does its first half, to the block, and then fails with [`ErrorKind::Io`]. Others fail at once.
    Tear,
}

impl Schedule {
    /// The `nth` request of this kind to reach the layer, counted from 1, fails.
    #[must_use]
    pub fn then(mut self, operation: Operation, nth: u64, fault: Fault) -> Self {
        self.pending.push((operation, nth, fault));
        self
    }

    fn next(&mut self, operation: Operation) -> Option<Fault> {
        let seen = &mut self.seen[operation as usize];
        *seen += 1;
        let seen = *seen;
        self.pending.iter().find(|(what, nth, _)| *what == operation && *nth == seen).map(|(_, _, fault)| *fault)
    }
}

impl Faulty {
    /// The same disk, failing as `schedule` says.
    #[must_use]
    pub fn new(disk: Disk, schedule: Schedule) -> Self {
        Self { disk, schedule: Mutex::new(schedule) }
    }

    fn fault(&self, operation: Operation) -> Option<Fault> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner).next(operation)
    }

    fn pass(&self, operation: Operation, name: &'static str) -> Result<()> {
        match self.fault(operation) {
            None => Ok(()),
            Some(Fault::Fail(kind)) => Err(Error::new(kind, name).because("a fault was injected")),
            Some(Fault::Tear) => Err(Error::new(ErrorKind::Io, name).because("a fault was injected")),
        }
    }
}

impl Layer for Faulty {
    fn below(&self) -> &Disk {
        &self.disk
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.pass(Operation::Read, "read")?;
        self.disk.read(offset, buffer)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        match self.fault(Operation::Write) {
            None => self.disk.write(offset, data, Durability::Cached),
            Some(Fault::Fail(kind)) => Err(Error::new(kind, "write").at_offset(offset).because("a fault was injected")),
            Some(Fault::Tear) => {
                let block = usize::try_from(self.geometry().logical_block.bytes()).expect("at most 65536");
                let half = data.len() / 2 / block * block;
                self.disk.write(offset, &data[..half], Durability::Cached)?;
                Err(Error::new(ErrorKind::Io, "write").at_offset(offset).because("a torn write was injected"))
            }
        }
    }

    fn flush(&self) -> Result<()> {
        self.pass(Operation::Flush, "flush")?;
        self.disk.flush()
    }

    fn discard(&self, range: ByteRange) -> Result<()> {
        self.pass(Operation::Discard, "discard")?;
        self.disk.discard(range.start(), range.len())
    }

    fn write_zeroes(&self, range: ByteRange, mode: ZeroMode) -> Result<ZeroEffect> {
        self.pass(Operation::WriteZeroes, "zero")?;
        self.disk.write_zeroes(range.start(), range.len(), mode, Durability::Cached)
    }
}
