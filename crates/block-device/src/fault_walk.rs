//! Every step of an operation fails in turn.

use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use disk_types::ErrorKind;

use crate::{Disk, Fault, Faulty, Injected, Operation, Schedule, Unflushed};

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
    injected: Arc<Injected>,
}

impl FaultStep {
    /// Whether the operation came so far as to meet the fault.
    #[must_use]
    pub fn has_struck(&self) -> bool {
        self.injected.count() > 0
    }

    /// The kind of the error that the operation must end with; `None` if it did not meet the fault, or one that only
    /// delays or loses.
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

/// Calls `act` with a disk of `make` whose `nth` request of one kind meets one fault, for every kind of request, every
/// fault (EIO, no space, a short transfer, a delay, a loss) and every `nth`, until it meets the fault no more. Each time
/// the faults are ended then, and `check` gets the result and the same disk. Gives the number of faults met.
pub fn fault_walk<T>(
    make: &dyn Fn() -> Disk,
    act: &mut dyn FnMut(&Disk) -> T,
    check: &mut dyn FnMut(&FaultStep, T, &Disk),
) -> u64 {
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
                let (unflushed, injected) = (faulty.unflushed(), faulty.injected());
                let step = FaultStep { operation, nth, fault, beneath, unflushed, injected };
                let disk = Disk::new(faulty).expect("the geometry of a disk");
                let result = act(&disk);
                step.injected.end();
                check(&step, result, &disk);
                if !step.has_struck() {
                    break;
                }
                met += 1;
            }
        }
    }
    met
}
