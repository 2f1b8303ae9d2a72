//! The seam to the system: processes, and what they took.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;

#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(not(target_os = "linux"))]
pub(crate) use other::*;

use std::time::Duration;

/// A process that has ended.
pub(crate) struct Ended {
    /// What it ended with, for a person; `None` after exit code 0.
    pub(crate) failure: Option<String>,
    /// User and system time of all its threads, and of those of its children that it waited for.
    pub(crate) processor: Duration,
    /// The most it had in memory at once, mapped pages of files among it. Never less than what this program had when it started
    /// that process, some MiB.
    pub(crate) peak_rss_bytes: u64,
}
