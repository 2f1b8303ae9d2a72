//! Whether a file becomes a disk, and which (law 10).

use disk_types::{BadBounds, DiskBounds, LogicalBlock};
use driver_abi::{AttachRequest, DiscardMode, Refusal};

use crate::DiskFacts;

const ATTRIBUTE_READ_ONLY: u32 = 0x1;
const ATTRIBUTE_DIRECTORY: u32 = 0x10;
const ATTRIBUTE_SPARSE: u32 = 0x200;
const ATTRIBUTE_REPARSE_POINT: u32 = 0x400;
const ATTRIBUTE_COMPRESSED: u32 = 0x800;
const ATTRIBUTE_ENCRYPTED: u32 = 0x4000;
/// Its data, or all of it, must be fetched from somewhere before it can be read: OFFLINE, RECALL_ON_OPEN, RECALL_ON_DATA_ACCESS.
const ATTRIBUTES_ELSEWHERE: u32 = 0x1000 | 0x4_0000 | 0x40_0000;

const DEVICE_CD_ROM: u32 = 0x02;
const DEVICE_CD_ROM_FILE_SYSTEM: u32 = 0x03;
const DEVICE_DISK: u32 = 0x07;
const DEVICE_DISK_FILE_SYSTEM: u32 = 0x08;
const DEVICE_NETWORK_FILE_SYSTEM: u32 = 0x14;
const DEVICE_VIRTUAL_DISK: u32 = 0x24;
const DEVICE_DFS: u32 = 0x35;
const DEVICE_IS_READ_ONLY: u32 = 0x2;
const DEVICE_IS_REMOTE: u32 = 0x10;

const VOLUME_SUPPORTS_SPARSE_FILES: u32 = 0x40;
const VOLUME_IS_READ_ONLY: u32 = 0x8_0000;

/// The compression unit of a sparse file, unless a cluster is larger.
const UNIT_BYTES: u32 = 65_536;
/// What is written at once without anything being read before, at most.
const MOST_PHYSICAL_BYTES: u32 = 4096;

/// What the kernel says about the opened file and its volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// FILE_ATTRIBUTE_*, from FileBasicInformation (FileAttributeTagInformation also does).
    pub attributes: u32,
    /// EndOfFile, from FileStandardInformation; negative is refused.
    pub len_bytes: i64,
    /// FILE_DEVICE_*, from FileFsDeviceInformation.
    pub device_type: u32,
    /// FILE_REMOTE_DEVICE and others, from FileFsDeviceInformation.
    pub device_characteristics: u32,
    /// FILE_SUPPORTS_SPARSE_FILES and others, from FileFsAttributeInformation.
    pub volume_flags: u32,
    /// BytesPerSector, from FileFsSizeInformation.
    pub host_sector_bytes: u32,
    /// SectorsPerAllocationUnit times BytesPerSector, from FileFsSizeInformation.
    pub cluster_bytes: u32,
    /// AlignmentRequirement, from FileAlignmentInformation: a mask.
    pub alignment_mask: u32,
    /// Whether the device below the file's volume belongs to this driver.
    pub on_own_disk: bool,
}

/// A disk that may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its length and sector.
    pub bounds: DiskBounds,
    /// What is freed at a time; 0 where the file has no holes, or is to have none.
    pub unit_bytes: u32,
    /// Whether the file must be marked sparse first.
    pub mark_sparse: bool,
    /// Whether a file without holes will do.
    pub dense: bool,
    /// Nobody writes to it.
    pub read_only: bool,
    /// It is presented as a removable medium.
    pub removable: bool,
    /// Whole units of zeroes that are written become holes.
    pub zero_detection: bool,
    /// Trims free space.
    pub trims: bool,
    /// What it says is written best at a time.
    pub physical_sector_bytes: u32,
    /// AlignmentRequirement for its device object.
    pub alignment_mask: u32,
}

impl Plan {
    /// What the disk's device answers with, once it has a number and a serial.
    #[must_use]
    pub const fn facts(&self, disk: u32, serial: u64) -> DiskFacts {
        DiskFacts {
            disk,
            serial,
            bounds: self.bounds,
            unit_bytes: self.unit_bytes,
            read_only: self.read_only,
            removable: self.removable,
            trims: self.trims,
            physical_sector_bytes: self.physical_sector_bytes,
            alignment_mask: self.alignment_mask,
        }
    }
}

/// Judges a file that was opened with FILE_OPEN_REPARSE_POINT, so that a link shows itself.
///
/// # Errors
/// The first [`Refusal`] that applies, what the file is before what is in it.
pub fn judge(file: &FileFacts, request: &AttachRequest<'_>) -> Result<Plan, Refusal> {
    let has = |attribute: u32| file.attributes & attribute != 0;
    let characteristic = |bit: u32| file.device_characteristics & bit != 0;
    let wanted = request.flags;

    if characteristic(DEVICE_IS_REMOTE) || matches!(file.device_type, DEVICE_NETWORK_FILE_SYSTEM | DEVICE_DFS) {
        return Err(Refusal::Remote);
    }
    let read_only_volume = match file.device_type {
        DEVICE_DISK | DEVICE_DISK_FILE_SYSTEM | DEVICE_VIRTUAL_DISK => {
            characteristic(DEVICE_IS_READ_ONLY) || file.volume_flags & VOLUME_IS_READ_ONLY != 0
        }
        DEVICE_CD_ROM | DEVICE_CD_ROM_FILE_SYSTEM => true,
        _ => return Err(Refusal::NotAFile),
    };
    if has(ATTRIBUTE_REPARSE_POINT) {
        return Err(Refusal::ReparsePoint);
    }
    if has(ATTRIBUTE_DIRECTORY) {
        return Err(Refusal::Directory);
    }
    if has(ATTRIBUTES_ELSEWHERE) {
        return Err(Refusal::Remote);
    }
    if file.on_own_disk {
        return Err(Refusal::OnOwnDisk);
    }
    if has(ATTRIBUTE_ENCRYPTED) {
        return Err(Refusal::Encrypted);
    }
    if has(ATTRIBUTE_COMPRESSED) {
        return Err(Refusal::Compressed);
    }
    if !wanted.read_only && (read_only_volume || has(ATTRIBUTE_READ_ONLY)) {
        return Err(Refusal::ReadOnlyFile);
    }
    let knows_holes = file.volume_flags & VOLUME_SUPPORTS_SPARSE_FILES != 0;
    if !knows_holes && !wanted.dense {
        return Err(Refusal::NoHoles);
    }
    if file.host_sector_bytes > request.sector_bytes {
        return Err(Refusal::HostSectorLarger);
    }
    let block = LogicalBlock::checked(request.sector_bytes).ok_or(Refusal::SizeNotSectors)?;
    let len_bytes = u64::try_from(file.len_bytes).map_err(|_| Refusal::TooLarge)?;
    let bounds = DiskBounds::new(len_bytes, block).map_err(|bad| match bad {
        BadBounds::Empty => Refusal::Empty,
        BadBounds::TooLong => Refusal::TooLarge,
        BadBounds::OffBlock => Refusal::SizeNotSectors,
    })?;

    let mark_sparse = knows_holes && wanted.mark_sparse && !wanted.read_only && !has(ATTRIBUTE_SPARSE);
    // A file that is dense, and was not asked to be otherwise, stays dense: a trim would write zeroes into it.
    let has_holes = knows_holes && (has(ATTRIBUTE_SPARSE) || mark_sparse);
    let frees = has_holes && !wanted.read_only;
    Ok(Plan {
        bounds,
        unit_bytes: if has_holes { file.cluster_bytes.max(UNIT_BYTES) } else { 0 },
        mark_sparse,
        dense: wanted.dense,
        read_only: wanted.read_only,
        removable: wanted.removable,
        zero_detection: frees && wanted.zero_detection,
        trims: frees && request.discard == DiscardMode::Free,
        physical_sector_bytes: file.cluster_bytes.min(MOST_PHYSICAL_BYTES).max(request.sector_bytes),
        alignment_mask: file.alignment_mask,
    })
}

/// Who holds a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InUse {
    /// Handles to the disk's device that are open.
    pub open_handles: u32,
    /// The address of the disk's VPB, if a file system is mounted through it (VPB_MOUNTED).
    pub mounted: Option<usize>,
    /// The address of the VPB that was mounted before the detach locked and dismounted its file system.
    pub dismounted: Option<usize>,
}

/// Whether a disk may be detached. Requests in flight are no hindrance: they are waited for.
///
/// The file system that was dismounted is none either, though some keep the mark of the mount until the last handle to the
/// volume is closed. One that is mounted through another VPB came after it, and was locked by nobody.
///
/// # Errors
/// [`Refusal::DiskInUse`] if it is held and `forced` is false.
pub fn may_detach(in_use: InUse, forced: bool) -> Result<(), Refusal> {
    let mounted = in_use.mounted.is_some() && in_use.mounted != in_use.dismounted;
    if forced || (in_use.open_handles == 0 && !mounted) { Ok(()) } else { Err(Refusal::DiskInUse) }
}
