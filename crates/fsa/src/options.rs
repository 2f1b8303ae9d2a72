//! What a volume is made of.

use core::fmt;

/// The file system a volume plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Everything this crate knows.
    Ntfs,
    /// No holes, no named streams, no journal; files below 4 GiB.
    Fat32,
    /// No holes, no named streams, no journal.
    ExFat,
}

/// The largest capacity: NTFS numbers clusters with 32 bits.
pub const MAX_CAPACITY_CLUSTERS: u64 = u32::MAX as u64;

/// How a volume is formatted and mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The file system.
    pub kind: Kind,
    /// Bytes of a cluster: a power of two from 512 (and at least a sector) to 2 MiB.
    pub cluster_bytes: u64,
    /// Clusters of the volume, at most [`MAX_CAPACITY_CLUSTERS`]. Files occupy all of them; the file system's own
    /// structures occupy none.
    pub capacity_clusters: u64,
    /// Bytes of a logical sector: a power of two from 512 to 4096.
    pub sector_bytes: u64,
    /// Nothing can be changed.
    pub read_only: bool,
    /// A USN journal is active (NTFS only).
    pub usn_journal: bool,
    /// The largest size of a stream; `None` is the file system's own limit.
    pub max_file_bytes: Option<u64>,
    /// The most allocated runs one stream may have. What would need more fails with
    /// [`FILE_SYSTEM_LIMITATION`](crate::Status::FILE_SYSTEM_LIMITATION) and allocates and frees nothing, but for the
    /// steps that a zeroing or a clearing of the sparse mark has done by then. On NTFS it is what an
    /// attribute list of 256 KiB can name, and depends on how the runs lie.
    pub extent_budget: Option<u64>,
    /// Compression is turned off for the system.
    pub compression_disabled: bool,
}

impl Default for Options {
    /// An NTFS volume of 1 GiB with clusters of 4 KiB and a journal.
    fn default() -> Self {
        Self {
            kind: Kind::Ntfs,
            cluster_bytes: 4096,
            capacity_clusters: 1 << 18,
            sector_bytes: 512,
            read_only: false,
            usn_journal: true,
            max_file_bytes: None,
            extent_budget: None,
            compression_disabled: false,
        }
    }
}

impl Options {
    /// The largest size of a stream in bytes.
    ///
    /// NTFS since Windows 8.1 and Server 2012 R2: 2^32 clusters less 64 KiB (\[MS-FSA\] note 181). FAT32: 4 GiB less a
    /// byte. exFAT: what an offset can name.
    #[must_use]
    pub fn max_file_bytes(&self) -> u64 {
        let of_kind = match self.kind {
            Kind::Ntfs => (self.cluster_bytes << 32) - 64 * 1024,
            Kind::Fat32 => u64::from(u32::MAX),
            Kind::ExFat => i64::MAX as u64,
        };
        self.max_file_bytes.map_or(of_kind, |bytes| bytes.min(of_kind))
    }

    pub(crate) fn check(&self) -> Result<(), InvalidOptions> {
        let power = |bytes: u64, from: u64, to: u64| bytes.is_power_of_two() && (from..=to).contains(&bytes);
        if !power(self.sector_bytes, 512, 4096) {
            return Err(InvalidOptions("a sector has 512, 1024, 2048 or 4096 bytes"));
        }
        if !power(self.cluster_bytes, self.sector_bytes, 2 << 20) {
            return Err(InvalidOptions("a cluster is a power of two of bytes, from a sector to 2 MiB"));
        }
        if self.capacity_clusters > MAX_CAPACITY_CLUSTERS {
            return Err(InvalidOptions("a volume has fewer than 2^32 clusters"));
        }
        Ok(())
    }
}

/// No volume can be made with these options; the words say why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidOptions(pub &'static str);

impl fmt::Display for InvalidOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl core::error::Error for InvalidOptions {}
