//! Failures on purpose.

use alloc::vec::Vec;

use crate::{ClusterStore, Status, Volume};

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// [`Volume::create`].
    Create,
    /// [`Volume::close`].
    Close,
    /// [`Volume::set_disposition`].
    Delete,
    /// [`Volume::read`].
    Read,
    /// [`Volume::write`].
    Write,
    /// [`Volume::set_end_of_file`].
    SetEndOfFile,
    /// [`Volume::set_allocation`].
    SetAllocation,
    /// [`Volume::set_valid_data_length`].
    SetValidDataLength,
    /// [`Volume::flush`], and the flush at the end of a zeroing through a write-through open.
    Flush,
    /// [`Volume::lock`].
    Lock,
    /// [`Volume::unlock`].
    Unlock,
    /// The queries about a file.
    Query,
    /// [`Volume::control`] with this code.
    Control(u32),
    /// One range of a trim on its way to the device.
    DeviceTrim,
}

#[derive(Clone, Debug)]
struct Failure {
    kind: OperationKind,
    /// Operations of the kind until it strikes; 1 is the next.
    countdown: u64,
    status: Status,
}

/// The failures still to come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schedule {
    failures: Vec<Failure>,
}

impl Schedule {
    /// Counts one operation of `kind`; called before anything else of it happens.
    pub(crate) fn strike(&mut self, kind: OperationKind) -> Result<(), Status> {
        if self.failures.is_empty() {
            return Ok(());
        }
        for failure in self.failures.iter_mut().filter(|failure| failure.kind == kind) {
            failure.countdown -= 1;
        }
        let due = self.failures.iter().find(|failure| failure.countdown == 0).map(|failure| failure.status);
        // Two that were due at the same operation are both spent.
        self.failures.retain(|failure| failure.countdown > 0);
        due.map_or(Ok(()), Err)
    }
}

impl<S: ClusterStore> Volume<S> {
    /// The `nth` operation of `kind` from now on (1 is the next) fails with `status` and does nothing. Once.
    ///
    /// Where several are due at one operation, the first that was asked for is the answer.
    pub fn fail_nth(&mut self, kind: OperationKind, nth: u64, status: Status) {
        self.schedule.failures.push(Failure { kind, countdown: nth.max(1), status });
    }

    /// Forgets the failures that have not struck.
    pub fn clear_failures(&mut self) {
        self.schedule.failures.clear();
    }

    /// From now on the volume counts as full once `clusters` are in use; `None` gives the whole capacity back.
    pub fn fill_at(&mut self, clusters: Option<u64>) {
        self.disk.space.set_full_at(clusters);
    }
}
