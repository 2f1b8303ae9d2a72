//! Progress out, permission to go on in.

use block_device::Result;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Looking for what can be freed ([`plan`](crate::plan)).
    Scanning,
    /// Hashing the content ([`fingerprint`](crate::fingerprint)).
    Verifying,
    /// Freeing ([`carry_out`](crate::carry_out)).
    Freeing,
}

/// Watches a long operation, and may stop it.
///
/// `()` watches nothing and never stops.
pub trait Observer {
    /// `done_bytes` of `total_bytes` are done. Both count allocated bytes: holes cost nothing. Within one call of this
    /// crate `done_bytes` never falls and ends at `total_bytes`, unless the operation stops early.
    fn progress(&mut self, phase: Phase, done_bytes: u64, total_bytes: u64) {
        let _ = (phase, done_bytes, total_bytes);
    }

    /// Asked often: every few mebibytes, and before each range is freed. An error stops the operation without harm.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`](block_device::ErrorKind::Interrupted) when the user wants to stop,
    /// [`ErrorKind::InUse`](block_device::ErrorKind::InUse) when somebody else wants the disk.
    fn may_continue(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Observer for () {}

/// Passes a long walk on to an observer, often enough to be stopped quickly and seldom enough to cost nothing.
pub(crate) struct Watch<'a> {
    observer: &'a mut dyn Observer,
    phase: Phase,
    done_bytes: u64,
    total_bytes: u64,
    unreported_bytes: u64,
    unreported_steps: u32,
}

impl<'a> Watch<'a> {
    /// Bytes, and steps, between two calls of the observer.
    const BYTES: u64 = 4 << 20;
    const STEPS: u32 = 256;

    /// Starts `phase`; `total_bytes` is an estimate that grows if more turns up.
    pub(crate) fn start(observer: &'a mut dyn Observer, phase: Phase, total_bytes: u64) -> Result<Self> {
        observer.may_continue()?;
        observer.progress(phase, 0, total_bytes);
        Ok(Self { observer, phase, done_bytes: 0, total_bytes, unreported_bytes: 0, unreported_steps: 0 })
    }

    /// Counts `bytes` as done, and asks whether to go on when it is time.
    pub(crate) fn step(&mut self, bytes: u64) -> Result<()> {
        self.done_bytes += bytes;
        self.unreported_bytes += bytes;
        self.unreported_steps += 1;
        if self.unreported_bytes < Self::BYTES && self.unreported_steps < Self::STEPS {
            return Ok(());
        }
        (self.unreported_bytes, self.unreported_steps) = (0, 0);
        self.total_bytes = self.total_bytes.max(self.done_bytes);
        self.observer.progress(self.phase, self.done_bytes, self.total_bytes);
        self.observer.may_continue()
    }

    /// Asks whether to go on, out of turn.
    pub(crate) fn may_continue(&mut self) -> Result<()> {
        self.observer.may_continue()
    }

    /// All is done.
    pub(crate) fn finish(self) {
        let total_bytes = self.total_bytes.max(self.done_bytes);
        self.observer.progress(self.phase, total_bytes, total_bytes);
    }
}
