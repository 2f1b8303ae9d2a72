use std::time::{Duration, SystemTime};

use block_device::ErrorKind;

/// What the passes over a disk have done since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The bytes that were read to be judged.
    pub looked_at_bytes: u64,
    /// The bytes of the disk that were freed.
    pub freed_bytes: u64,
    /// The passes that went through all of the disk.
    pub passes: u64,
    /// The passes that were stopped on the way.
    pub stopped_passes: u64,
    /// The pass that is running now, if one is.
    pub running: Option<Running>,
    /// The pass that ended last, if one has.
    pub last: Option<LastPass>,
}

/// A pass on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// When it began.
    pub since: SystemTime,
    /// How many bytes of changed chunks it is done with.
    pub done_bytes: u64,
    /// How many there are, as far as is known.
    pub total_bytes: u64,
    /// The bytes that it has freed.
    pub freed_bytes: u64,
}

/// A pass that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastPass {
    /// When it ended.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// The bytes that it read to judge them.
    pub looked_at_bytes: u64,
    /// The bytes that it freed.
    pub freed_bytes: u64,
    /// What stopped it on the way; `None` if it went through all of the disk.
    pub stopped: Option<ErrorKind>,
}
