//! Looking at files: \[MS-FSA\] 2.1.5.12.

use alloc::string::String;
use alloc::vec::Vec;

use crate::open::{Access, Attributes, Open, OpenId};
use crate::{ClusterStore, OperationKind, Status, Volume};

/// `FileStandardInformation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandardInformation {
    /// `AllocationSize`: nominal, with the holes of a sparse stream. 0 for a directory.
    pub allocation_bytes: u64,
    /// `EndOfFile`. 0 for a directory.
    pub size_bytes: u64,
    /// Goes away with its last open.
    pub delete_pending: bool,
    /// A directory.
    pub is_directory: bool,
}

/// `FileNetworkOpenInformation`: times, sizes and attributes in one. The times are counts of changes to the volume:
/// there is no clock here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkOpenInformation {
    /// When the file was created.
    pub created: u64,
    /// When its data was changed last.
    pub modified: u64,
    /// When anything of it was changed last.
    pub changed: u64,
    /// As in [`StandardInformation`].
    pub allocation_bytes: u64,
    /// As in [`StandardInformation`].
    pub size_bytes: u64,
    /// Sparse, compressed and encrypted are those of the stream that is open.
    pub attributes: Attributes,
}

/// `FileBasicInformation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasicInformation {
    /// When the file was created, in counts of changes to the volume.
    pub created: u64,
    /// When its data was changed last.
    pub modified: u64,
    /// When anything of it was changed last.
    pub changed: u64,
    /// Attributes of the file; sparse when one of its streams is.
    pub attributes: Attributes,
}

/// One entry of `FileStreamInformation`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInformation {
    /// `:name:$DATA`, `::$DATA` for the default stream.
    pub name: String,
    /// Bytes of the stream.
    pub size_bytes: u64,
    /// As in [`StandardInformation`].
    pub allocation_bytes: u64,
}

/// What a stream is made of: for tools and tests, beyond what Windows tells in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamDetails {
    /// Bytes of the stream.
    pub size_bytes: u64,
    /// The valid data length.
    pub valid_bytes: u64,
    /// Bytes that the stream occupies on the volume: what `GetCompressedFileSize` tells of a sparse file.
    pub allocated_bytes: u64,
    /// Allocated runs: what counts against the extent budget.
    pub extents: u64,
    /// Bytes of the unit in which the stream is allocated and freed.
    pub unit_bytes: u64,
    /// `IsSparse`.
    pub is_sparse: bool,
    /// `IsCompressed`.
    pub is_compressed: bool,
    /// `IsEncrypted`.
    pub is_encrypted: bool,
}

/// An allocated run of a stream, in clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The first cluster in the stream.
    pub vcn: u64,
    /// The first cluster on the volume.
    pub lcn: u64,
    /// How many.
    pub clusters: u64,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The name as it was created.
    pub name: String,
    /// Attributes of the file.
    pub attributes: Attributes,
    /// Size of the default stream; 0 for a directory.
    pub size_bytes: u64,
}

impl<S: ClusterStore> Volume<S> {
    /// Sizes and whether it is about to go.
    ///
    /// # Errors
    /// [`Status::INVALID_HANDLE`].
    pub fn standard_information(&mut self, id: OpenId) -> Result<StandardInformation, Status> {
        let open = self.query(id)?;
        let file = self.file_at(open)?;
        let (allocation_bytes, size_bytes, stream_pending) = self.sizes(open)?;
        let delete_pending = if open.is_primary { file.delete_pending } else { stream_pending };
        Ok(StandardInformation { allocation_bytes, size_bytes, delete_pending, is_directory: open.stream.is_none() })
    }

    /// Times and attributes of the file.
    ///
    /// # Errors
    /// [`Status::INVALID_HANDLE`]; [`Status::ACCESS_DENIED`] without `FILE_READ_ATTRIBUTES`.
    pub fn basic_information(&mut self, id: OpenId) -> Result<BasicInformation, Status> {
        let open = self.query_attributes(id)?;
        let file = self.file_at(open)?;
        let attributes = file.reported_attributes();
        Ok(BasicInformation { created: file.created, modified: file.modified, changed: file.changed, attributes })
    }

    /// Times, sizes and attributes.
    ///
    /// # Errors
    /// [`Status::INVALID_HANDLE`]; [`Status::ACCESS_DENIED`] without `FILE_READ_ATTRIBUTES`.
    pub fn network_open_information(&mut self, id: OpenId) -> Result<NetworkOpenInformation, Status> {
        let open = self.query_attributes(id)?;
        let file = self.file_at(open)?;
        let (allocation_bytes, size_bytes, _) = self.sizes(open)?;
        let of_stream = Attributes::SPARSE_FILE | Attributes::COMPRESSED | Attributes::ENCRYPTED | Attributes::NORMAL;
        let mut attributes = file.reported_attributes();
        if open.stream.is_some() {
            let stream = self.stream_at(open)?;
            attributes = Attributes(attributes.0 & !of_stream.0);
            for (is, bit) in [
                (stream.is_sparse, Attributes::SPARSE_FILE),
                (stream.is_compressed, Attributes::COMPRESSED),
                (stream.is_encrypted, Attributes::ENCRYPTED),
            ] {
                attributes = if is { attributes | bit } else { attributes };
            }
        }
        if attributes == Attributes::NONE {
            attributes = Attributes::NORMAL;
        }
        let (created, modified, changed) = (file.created, file.modified, file.changed);
        Ok(NetworkOpenInformation { created, modified, changed, allocation_bytes, size_bytes, attributes })
    }

    /// The data streams of the file, the default one first.
    ///
    /// # Errors
    /// [`Status::INVALID_HANDLE`].
    pub fn stream_information(&mut self, id: OpenId) -> Result<Vec<StreamInformation>, Status> {
        let open = self.query(id)?;
        let cluster_bytes = self.options.cluster_bytes;
        let entry = |stream: &crate::stream::Stream| StreamInformation {
            name: alloc::format!(":{}:$DATA", stream.name),
            size_bytes: stream.size_bytes,
            allocation_bytes: stream.allocation_bytes(cluster_bytes),
        };
        Ok(self.file_at(open)?.streams.iter().map(entry).collect())
    }

    /// Everything about the stream's space.
    ///
    /// # Errors
    /// [`Status::INVALID_HANDLE`]; [`Status::INVALID_PARAMETER`] for a directory.
    pub fn stream_details(&self, id: OpenId) -> Result<StreamDetails, Status> {
        let stream = self.stream_at(self.open_of(id)?)?;
        Ok(StreamDetails {
            size_bytes: stream.size_bytes,
            valid_bytes: stream.valid_bytes,
            allocated_bytes: stream.runs.clusters() * self.options.cluster_bytes,
            extents: stream.runs.count(),
            unit_bytes: stream.allocation_unit_bytes(self.options.cluster_bytes),
            is_sparse: stream.is_sparse,
            is_compressed: stream.is_compressed,
            is_encrypted: stream.is_encrypted,
        })
    }

    /// Where the stream lies: its allocated runs, ascending.
    ///
    /// # Errors
    /// [`Status::INVALID_HANDLE`]; [`Status::INVALID_PARAMETER`] for a directory.
    pub fn extents(&self, id: OpenId) -> Result<Vec<Extent>, Status> {
        let stream = self.stream_at(self.open_of(id)?)?;
        Ok(stream.runs.iter().map(|(vcn, run)| Extent { vcn, lcn: run.lcn, clusters: run.len }).collect())
    }

    /// What is in a directory, by name.
    ///
    /// # Errors
    /// [`Status::INVALID_HANDLE`]; [`Status::INVALID_PARAMETER`] for anything but a directory.
    pub fn directory_entries(&mut self, id: OpenId) -> Result<Vec<DirectoryEntry>, Status> {
        let open = self.query(id)?;
        if open.stream.is_some() {
            return Err(Status::INVALID_PARAMETER);
        }
        let entry = |id: &u64| {
            let file = self.tree.files.get(id)?;
            let size_bytes = if file.is_directory { 0 } else { file.streams.first().map_or(0, |s| s.size_bytes) };
            Some(DirectoryEntry { name: file.name.clone(), attributes: file.reported_attributes(), size_bytes })
        };
        Ok(self.file_at(open)?.children.values().filter_map(entry).collect())
    }

    /// Sets the attributes that an application may set. The others are left as they are, and asking for them is no
    /// error (Samba's compress_set_file_attr).
    ///
    /// # Errors
    /// [`Status::ACCESS_DENIED`] without `FILE_WRITE_ATTRIBUTES`; [`Status::MEDIA_WRITE_PROTECTED`].
    pub fn set_attributes(&mut self, id: OpenId, attributes: Attributes) -> Result<(), Status> {
        let open = self.open_of(id)?;
        if !open.access.contains(Access::WRITE_ATTRIBUTES) {
            return Err(Status::ACCESS_DENIED);
        }
        if self.options.read_only {
            return Err(Status::MEDIA_WRITE_PROTECTED);
        }
        self.clock += 1;
        let now = self.clock;
        let file = self.file_at_mut(open)?;
        let kept = file.attributes.0 & !Attributes::SETTABLE.0;
        let new = Attributes(kept | attributes.0 & Attributes::SETTABLE.0);
        let changed = new != file.attributes;
        file.attributes = new;
        file.changed = now;
        if changed {
            file.pending_notifications |= crate::notify::ATTRIBUTES;
            self.post_usn(open.file, crate::usn_reason::BASIC_INFO_CHANGE);
        }
        Ok(())
    }

    fn query(&mut self, id: OpenId) -> Result<Open, Status> {
        self.schedule.strike(OperationKind::Query)?;
        self.open_of(id)
    }

    fn query_attributes(&mut self, id: OpenId) -> Result<Open, Status> {
        let open = self.query(id)?;
        if !open.access.contains(Access::READ_ATTRIBUTES) {
            return Err(Status::ACCESS_DENIED);
        }
        Ok(open)
    }

    /// Allocation, size, and whether the stream is about to go.
    fn sizes(&self, open: Open) -> Result<(u64, u64, bool), Status> {
        if open.stream.is_none() {
            return Ok((0, 0, false));
        }
        let stream = self.stream_at(open)?;
        Ok((stream.allocation_bytes(self.options.cluster_bytes), stream.size_bytes, stream.delete_pending))
    }
}
