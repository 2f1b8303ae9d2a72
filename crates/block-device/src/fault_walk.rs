//! Every step of an operation fails in turn.

use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;

use disk_types::ErrorKind;

use crate::{Disk, Fault, Faulty, Operation, Schedule, Unflushed};

/// One fault of a [`fault_walk`].
#[derive(Debug)]
pub struct FaultStep {
    /// The kind of request that it strikes.
    pub operation: Operation,
    /// The number of the request among those of its kind, from 1.
    pub nth: u64,
    /// What happens to it.
    pub fault: Fault,
    /// The disk beneath the faults.
    pub beneath: Disk,
    /// What [`Fault::Lose`] may still undo.
    pub unflushed: Arc<Unflushed>,
    struck: Arc<AtomicU64>,
}

impl FaultStep {
    /// Whether the operation came so far as to meet the fault.
    #[must_use]
    pub fn has_struck(&self) -> bool {
        self.struck.load(Relaxed) > 0
    }

    /// The kind of the error that the fault has caused so far; `None` if it did not strike, or only delays or loses.
    #[must_use]
    pub fn error_kind(&self) -> Option<ErrorKind> {
        match self.fault {
            Fault::Fail(kind) if self.has_struck() => Some(kind),
            Fault::Tear if self.has_struck() => Some(ErrorKind::Io),
            Fault::Fail(_) | Fault::Tear | Fault::Delay(_) | Fault::Lose => None,
        }
    }
}

impl fmt::Display for FaultStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}: {:?}", self.operation, self.nth, self.fault)
    }
}

/// Calls `run` with a disk of `make` whose `nth` request of one kind meets one fault, for every kind of request, every
/// fault (EIO, no space, a short transfer, a delay, a loss) and every `nth`, until a run meets the fault no more. Gives
/// the number of faults met.
pub fn fault_walk(make: &dyn Fn() -> Disk, run: &mut dyn FnMut(&FaultStep, &Disk)) -> u64 {
    use Operation::{Discard, Flush, Read, Write, WriteZeroes};
    let mut met = 0;
    for operation in [Read, Write, Flush, Discard, WriteZeroes] {
        for fault in [
            Fault::Fail(ErrorKind::Io),
            Fault::Fail(ErrorKind::NoSpace),
            Fault::Tear,
            Fault::Delay(Duration::from_micros(50)),
            Fault::Lose,
        ] {
            for nth in 1.. {
                let beneath = make();
                let faulty = Faulty::new(beneath.clone(), Schedule::default().then(operation, nth, fault));
                let (unflushed, struck) = (faulty.unflushed(), faulty.struck());
                let step = FaultStep { operation, nth, fault, beneath, unflushed, struck };
                run(&step, &Disk::new(faulty).expect("the geometry of a disk"));
                if !step.has_struck() {
                    break;
                }
                met += 1;
            }
        }
    }
    met
}
