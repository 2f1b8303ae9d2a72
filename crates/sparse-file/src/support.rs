//! What a file's file system can do.

use std::fmt;

/// File systems of this system that have holes, in words for advice: `ext4, xfs, btrfs or tmpfs`, `NTFS or ReFS`.
pub const WITH_HOLES: &str = crate::sys::WITH_HOLES;

/// Whether something can be done here, as found by trying it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ability {
    /// It was tried, and worked.
    Yes,
    /// It was tried, and the file system has no such thing.
    No,
    /// It could not be tried: the file is open for reading only, and its directory takes no scratch file.
    Unknown,
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        })
    }
}

/// Where the map of a file comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapKind {
    /// Linux `FIEMAP`, every zero confirmed by `SEEK_DATA`. Tells unwritten and delayed parts apart.
    Fiemap,
    /// Linux `SEEK_DATA` and `SEEK_HOLE`. Parts allocated and never written appear as holes.
    SeekData,
    /// Windows `FSCTL_QUERY_ALLOCATED_RANGES`.
    AllocatedRanges,
    /// There is none: everything appears as data.
    None,
}

impl fmt::Display for MapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fiemap => "FIEMAP",
            Self::SeekData => "SEEK_DATA",
            Self::AllocatedRanges => "FSCTL_QUERY_ALLOCATED_RANGES",
            Self::None => "none",
        })
    }
}

/// What the file system beneath a file can do, found by trying and not by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Support {
    /// The file system's name, as the system gives it: `ext4`, `xfs`, `NTFS`.
    pub file_system: String,
    /// Whether parts can be given back.
    pub punch: Ability,
    /// Whether a range can be made zero and stay allocated without being written.
    pub zero_range: Ability,
    /// Whether holes can be allocated without being written.
    pub allocate: Ability,
    /// Whether a file can be copied by sharing its extents.
    pub clone: Ability,
    /// Where the map comes from.
    pub map: MapKind,
    /// The unit in which space is given back, in bytes.
    pub granularity_bytes: u64,
    /// The largest length of a file here, in bytes.
    pub max_file_bytes: u64,
    /// Attributes of this file that forbid changing it, or holes in it, in the system's words. Usually empty.
    pub forbidding: Vec<&'static str>,
}
