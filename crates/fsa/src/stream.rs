//! A stream: its sizes, its states and its runs.

use alloc::string::String;
use alloc::vec::Vec;

use crate::locks::Lock;
use crate::runs::Runs;

/// The unit in which a sparse or encrypted stream is allocated and freed, where clusters are not larger (\[MS-FSA\]
/// note 4).
pub(crate) const SPARSE_UNIT_BYTES: u64 = 64 * 1024;

/// A data stream. `valid_bytes <= size_bytes` always (\[MS-FSA\] 2.1.1.5); what lies beyond `valid_bytes` reads as
/// zeroes whatever is allocated there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    pub(crate) id: u64,
    /// Empty for the default stream.
    pub(crate) name: String,
    pub(crate) is_sparse: bool,
    pub(crate) is_compressed: bool,
    pub(crate) is_encrypted: bool,
    pub(crate) zero_on_deallocation: bool,
    pub(crate) size_bytes: u64,
    pub(crate) valid_bytes: u64,
    pub(crate) runs: Runs,
    pub(crate) locks: Vec<Lock>,
    /// `IsDeleted`: goes away with its last open. Only named streams; the default one goes with its file.
    pub(crate) delete_pending: bool,
    pub(crate) pending_notifications: u32,
}

impl Stream {
    /// Growth leaves holes, and zeroing frees: sparse or compressed.
    pub(crate) fn has_holes(&self) -> bool {
        self.is_sparse || self.is_compressed
    }

    /// The compression unit in bytes: a multiple of a cluster.
    ///
    /// \[MS-FSA\] note 4; clusters beyond 64 KiB exist since Windows 10 1709, and a unit cannot be smaller than a
    /// cluster (deduced). A stream both sparse and compressed keeps the unit of compression.
    pub(crate) fn unit_bytes(&self, cluster_bytes: u64) -> u64 {
        if self.is_compressed {
            SPARSE_UNIT_BYTES.min(16 * cluster_bytes).max(cluster_bytes)
        } else if self.is_sparse || self.is_encrypted {
            SPARSE_UNIT_BYTES.max(cluster_bytes)
        } else {
            cluster_bytes
        }
    }

    /// What allocation is rounded to: the compression unit where there can be holes, a cluster elsewhere.
    pub(crate) fn allocation_unit_bytes(&self, cluster_bytes: u64) -> u64 {
        if self.has_holes() { self.unit_bytes(cluster_bytes) } else { cluster_bytes }
    }

    /// `AllocationSize` of \[MS-FSA\]: nominal, with the holes. What is occupied is `runs.clusters()`.
    pub(crate) fn allocation_bytes(&self, cluster_bytes: u64) -> u64 {
        let allocated = self.runs.end() * cluster_bytes;
        if self.has_holes() {
            allocated.max(self.size_bytes.next_multiple_of(self.unit_bytes(cluster_bytes)))
        } else {
            allocated
        }
    }
}
