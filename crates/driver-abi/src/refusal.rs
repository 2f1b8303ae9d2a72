//! Why the driver refuses, each reason with a status of its own (law 10).

use crate::NtStatus;

/// Severity error, set by a customer, facility 0x5D1: no status of Windows looks like this.
const BASE: u32 = 0xE5D1_0000;

/// Why a file does not become a disk, or a disk is not detached.
///
/// What Windows itself answers when the file is opened goes through unchanged: [`NtStatus::OBJECT_NAME_NOT_FOUND`],
/// [`NtStatus::ACCESS_DENIED`] (as judged for the caller), [`NtStatus::SHARING_VIOLATION`] (somebody has it open, law 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Refusal {
    /// It is no file: a directory.
    Directory = BASE + 1,
    /// It is a link or another reparse point: what it leads to may change.
    ReparsePoint = BASE + 2,
    /// It, or what is in it, lies on another machine: a network that stops would stop this one.
    Remote = BASE + 3,
    /// It is encrypted: its holes and its unbuffered access are not those of an ordinary file.
    Encrypted = BASE + 4,
    /// It is compressed: Windows caches it whatever was asked for.
    Compressed = BASE + 5,
    /// Its volume knows no holes, and `dense` was not said.
    NoHoles = BASE + 6,
    /// It is empty.
    Empty = BASE + 7,
    /// Its size is not a whole number of the disk's sectors.
    SizeNotSectors = BASE + 8,
    /// The sectors of its volume are larger than the disk's: half a sector cannot be written without the cache.
    HostSectorLarger = BASE + 9,
    /// It lies on one of this driver's own disks.
    OnOwnDisk = BASE + 10,
    /// It is something else than a file on a disk: a pipe, a device, a volume.
    NotAFile = BASE + 11,
    /// [`MAX_DISKS`](crate::MAX_DISKS) are attached.
    TooManyDisks = BASE + 12,
    /// The drive letter is taken.
    LetterInUse = BASE + 13,
    /// The disk is in use: a file system on it, or a program, has it open. Close, or force it.
    DiskInUse = BASE + 14,
    /// It is larger than the largest file offset can say.
    TooLarge = BASE + 15,
    /// It lies on a volume that is read-only, or is marked read-only itself, and the disk would be written.
    ReadOnlyFile = BASE + 16,
}

impl Refusal {
    /// Every refusal.
    pub const ALL: [Self; 16] = [
        Self::Directory,
        Self::ReparsePoint,
        Self::Remote,
        Self::Encrypted,
        Self::Compressed,
        Self::NoHoles,
        Self::Empty,
        Self::SizeNotSectors,
        Self::HostSectorLarger,
        Self::OnOwnDisk,
        Self::NotAFile,
        Self::TooManyDisks,
        Self::LetterInUse,
        Self::DiskInUse,
        Self::TooLarge,
        Self::ReadOnlyFile,
    ];

    /// The status it travels as.
    #[must_use]
    pub const fn status(self) -> NtStatus {
        NtStatus(self as u32)
    }

    /// The refusal that `status` is, if it is one.
    #[must_use]
    pub fn from_status(status: NtStatus) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.status() == status)
    }
}

impl From<Refusal> for NtStatus {
    fn from(refusal: Refusal) -> Self {
        refusal.status()
    }
}
