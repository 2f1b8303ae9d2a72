//! The volume: its parts, and how an operation finds what it works on.

use alloc::collections::BTreeMap;

use crate::disk::Disk;
use crate::journal::{Journal, notify};
use crate::namespace::{File, Tree};
use crate::open::{Attributes, Open, OpenId};
use crate::schedule::Schedule;
use crate::space::Space;
use crate::stream::Stream;
use crate::{ClusterStore, InvalidOptions, Kind, MemoryStore, Options, Status};

/// An object store in memory that answers as NTFS does.
///
/// Every operation is one call; nothing happens in between, and the same calls bring the same answers and the same
/// clusters. It may be cloned where its store can be.
#[derive(Clone, Debug)]
pub struct Volume<S: ClusterStore = MemoryStore> {
    pub(crate) options: Options,
    pub(crate) disk: Disk<S>,
    pub(crate) tree: Tree,
    pub(crate) opens: BTreeMap<OpenId, Open>,
    pub(crate) next_open: u64,
    pub(crate) journal: Journal,
    pub(crate) schedule: Schedule,
    /// Counts the changes: the time of this world.
    pub(crate) clock: u64,
}

/// What `GetVolumeInformation` and `GetDiskFreeSpace` tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeInformation {
    /// `NTFS`, `FAT32` or `exFAT`.
    pub file_system: &'static str,
    /// [`volume_flags`] bits.
    pub flags: u32,
    /// The longest name in UTF-16 units.
    pub max_name_units: u32,
    /// Bytes of a cluster.
    pub cluster_bytes: u64,
    /// Bytes of a logical sector.
    pub sector_bytes: u64,
    /// All clusters.
    pub total_clusters: u64,
    /// Clusters that can still be allocated.
    pub free_clusters: u64,
    /// The largest size of a stream.
    pub max_file_bytes: u64,
}

/// Flags of a file system, \[MS-FSCC\] 2.5.1.
pub mod volume_flags {
    /// Names keep their case.
    pub const CASE_PRESERVED_NAMES: u32 = 0x2;
    /// Names are Unicode.
    pub const UNICODE_ON_DISK: u32 = 0x4;
    /// There are access control lists.
    pub const PERSISTENT_ACLS: u32 = 0x8;
    /// Files can be compressed.
    pub const FILE_COMPRESSION: u32 = 0x10;
    /// Streams can have holes.
    pub const SUPPORTS_SPARSE_FILES: u32 = 0x40;
    /// Files can be encrypted.
    pub const SUPPORTS_ENCRYPTION: u32 = 0x2_0000;
    /// Files can have named streams.
    pub const NAMED_STREAMS: u32 = 0x4_0000;
    /// Nothing can be changed.
    pub const READ_ONLY_VOLUME: u32 = 0x8_0000;
    /// There can be a USN journal.
    pub const SUPPORTS_USN_JOURNAL: u32 = 0x0200_0000;
}

impl Volume {
    /// An empty volume that keeps its clusters in memory.
    ///
    /// # Errors
    /// [`InvalidOptions`] for sizes that no volume has.
    pub fn new(options: Options) -> Result<Self, InvalidOptions> {
        let store = MemoryStore::new(options.cluster_bytes);
        Self::with_store(options, store)
    }
}

impl<S: ClusterStore> Volume<S> {
    /// An empty volume that keeps its clusters in `store`.
    ///
    /// # Errors
    /// [`InvalidOptions`] for sizes that no volume has.
    pub fn with_store(options: Options, store: S) -> Result<Self, InvalidOptions> {
        options.check()?;
        let disk = Disk {
            store,
            space: Space::new(options.capacity_clusters),
            cluster_bytes: options.cluster_bytes,
            extent_budget: options.extent_budget.unwrap_or(u64::MAX),
        };
        let tree = Tree::new();
        let (opens, journal, schedule) = (BTreeMap::new(), Journal::default(), Schedule::default());
        Ok(Self { options, disk, tree, opens, next_open: 1, journal, schedule, clock: 0 })
    }

    /// How the volume was made.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The store of clusters.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.disk.store
    }

    /// The store of clusters, for one that must be told something.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.disk.store
    }

    /// Write-protects the volume under the opens that are there, or ends that.
    pub fn set_read_only(&mut self, read_only: bool) {
        self.options.read_only = read_only;
    }

    /// Clusters that can still be allocated.
    #[must_use]
    pub fn free_clusters(&self) -> u64 {
        self.disk.space.available()
    }

    /// What the system tells about the volume.
    #[must_use]
    pub fn information(&self) -> VolumeInformation {
        use volume_flags as flag;
        let always = flag::CASE_PRESERVED_NAMES | flag::UNICODE_ON_DISK;
        let (file_system, mut flags) = match self.options.kind {
            Kind::Ntfs => {
                let ntfs = flag::PERSISTENT_ACLS
                    | flag::SUPPORTS_SPARSE_FILES
                    | flag::SUPPORTS_ENCRYPTION
                    | flag::NAMED_STREAMS
                    | flag::SUPPORTS_USN_JOURNAL;
                let compression = if self.options.cluster_bytes <= 4096 { flag::FILE_COMPRESSION } else { 0 };
                ("NTFS", always | ntfs | compression)
            }
            Kind::Fat32 => ("FAT32", always),
            Kind::ExFat => ("exFAT", always),
        };
        if self.options.read_only {
            flags |= flag::READ_ONLY_VOLUME;
        }
        VolumeInformation {
            file_system,
            flags,
            max_name_units: 255,
            cluster_bytes: self.options.cluster_bytes,
            sector_bytes: self.options.sector_bytes,
            total_clusters: self.disk.space.capacity(),
            free_clusters: self.free_clusters(),
            max_file_bytes: self.options.max_file_bytes(),
        }
    }

    /// The open, or that there is none.
    pub(crate) fn open_of(&self, id: OpenId) -> Result<Open, Status> {
        self.opens.get(&id).copied().ok_or(Status::INVALID_HANDLE)
    }

    /// The open and its data stream; [`Status::INVALID_PARAMETER`] for a directory.
    pub(crate) fn stream_of(&mut self, id: OpenId) -> Result<(Open, &mut Stream), Status> {
        let open = self.open_of(id)?;
        let (_, stream) = self.parts(open)?;
        Ok((open, stream))
    }

    /// The clusters and the stream of an open, to change both.
    pub(crate) fn parts(&mut self, open: Open) -> Result<(&mut Disk<S>, &mut Stream), Status> {
        let stream = open.stream.ok_or(Status::INVALID_PARAMETER)?;
        let file = self.tree.files.get_mut(&open.file).ok_or(Status::INVALID_HANDLE)?;
        Ok((&mut self.disk, file.stream_mut(stream).ok_or(Status::INVALID_HANDLE)?))
    }

    /// The stream of an open, to look at.
    pub(crate) fn stream_at(&self, open: Open) -> Result<&Stream, Status> {
        let stream = open.stream.ok_or(Status::INVALID_PARAMETER)?;
        self.file_at(open)?.stream(stream).ok_or(Status::INVALID_HANDLE)
    }

    pub(crate) fn file_at(&self, open: Open) -> Result<&File, Status> {
        self.tree.files.get(&open.file).ok_or(Status::INVALID_HANDLE)
    }

    pub(crate) fn file_at_mut(&mut self, open: Open) -> Result<&mut File, Status> {
        self.tree.files.get_mut(&open.file).ok_or(Status::INVALID_HANDLE)
    }

    /// Notes that data changed (\[MS-FSA\] 2.1.4.17), and what will be notified at close.
    pub(crate) fn note_modified(&mut self, open: Open, size_changed: bool) {
        self.clock += 1;
        let now = self.clock;
        let Some(file) = self.tree.files.get_mut(&open.file) else { return };
        (file.modified, file.changed) = (now, now);
        file.attributes = file.attributes | Attributes::ARCHIVE;
        let sized = |filter: u32| if size_changed { filter } else { 0 };
        if open.is_primary {
            file.pending_notifications |= notify::LAST_WRITE | sized(notify::SIZE);
        } else if let Some(stream) = open.stream.and_then(|id| file.stream_mut(id)) {
            stream.pending_notifications |= notify::STREAM_WRITE | sized(notify::STREAM_SIZE);
        }
    }

    /// Notes that the file changed otherwise (\[MS-FSA\] 2.1.4.18).
    pub(crate) fn note_changed(&mut self, open: Open) {
        self.clock += 1;
        let now = self.clock;
        if let Some(file) = self.tree.files.get_mut(&open.file) {
            file.changed = now;
            file.attributes = file.attributes | Attributes::ARCHIVE;
        }
    }
}
