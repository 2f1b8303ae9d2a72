//! Which bytes of a volume no file owns.

use std::fmt;

use block_device::{ByteRange, Disk, Error, ErrorKind, Result, Window};

use crate::disk_cursor::read_at;
use crate::fat::{Fat, FreeRuns, Layout};
use crate::inspect::survey;
use crate::recognise::Figures;
use crate::{Contents, FileSystem, Volume, exfat, ext, ntfs, swap};

/// An iterator over the free bytes of a volume, as ranges of the disk it lies in: ascending, joined, whole clusters or
/// blocks of the file system.
///
/// After an error it is at its end.
pub struct FreeSpace {
    runs: Runs,
    volume_start: u64,
}

/// The free runs of one file system: ranges of its volume.
type Runs = Box<dyn Iterator<Item = Result<ByteRange>> + Send>;

/// The bytes of `volume` that no file owns, whatever they hold. `volume` is one that [`inspect`](crate::inspect()) found
/// on `disk`.
///
/// Everything that can be is checked before the first range is given: that the disk is partitioned in one way only,
/// that the volume was unmounted cleanly, and that it agrees with itself. The maps of what is free are then read again
/// while the ranges are taken: the caller keeps the disk from changing. The check cannot be interrupted, and of a full,
/// hostile FAT32 it takes minutes.
///
/// # Errors
/// [`ErrorKind::Refused`] with the reason why the volume is better left alone, [`ErrorKind::Unsupported`] for file
/// systems whose free space is not read yet (XFS, Btrfs), those of reading.
pub fn free_space(disk: &Disk, volume: &Volume) -> Result<FreeSpace> {
    let open = opener(volume)?;
    let survey = survey(disk, Figures::LeftOut).map_err(|error| refuse_corrupt(volume, "the disk", error))?;
    if let Some(doubt) = survey.doubts.first() {
        return Err(refused(volume).because(doubt.clone()));
    }
    let known = |found: &Volume| found.range == volume.range && found.file_system == volume.file_system;
    if !survey.contents.volumes.iter().any(known) {
        return Err(refused(volume).because("there is no such volume on the disk"));
    }
    check_awake(disk, &survey.contents)?;
    if volume.file_system == FileSystem::Swap {
        swap::check_surroundings(disk, &survey.contents, volume)?;
    }
    let window = Disk::new(Window::new(disk.clone(), volume.range)?)?;
    let runs = open(&window).map_err(|error| refuse_corrupt(volume, "the volume there", error))?;
    Ok(FreeSpace { runs, volume_start: volume.range.start() })
}

/// Checks that no swap on the disk holds the memory of a hibernated system: that has its file systems mounted still, may
/// have allocated what no journal knows of yet, and goes on from there.
fn check_awake(disk: &Disk, contents: &Contents) -> Result<()> {
    for volume in contents.volumes.iter().filter(|volume| volume.file_system == FileSystem::Swap) {
        let most = *swap::PAGES_BYTES.last().expect("some") as u64;
        let mut head = vec![0; usize::try_from(volume.range.len().min(most)).expect("64 KiB")];
        read_at(disk, volume.range.start(), &mut head)?;
        if let Some((swap::Signature::Hibernated, _)) = swap::signature(&head) {
            let place = volume.partition.map_or("this disk".to_owned(), |number| format!("partition {number}"));
            return Err(refused(volume)
                .because(format!("the swap in {place} holds the memory of a hibernated system"))
                .advise("start that system and shut it down, or make the swap again with mkswap"));
        }
    }
    Ok(())
}

/// Which reader a file system has.
fn opener(volume: &Volume) -> Result<fn(&Disk) -> Result<Runs>> {
    Ok(match volume.file_system {
        FileSystem::Fat12 | FileSystem::Fat16 | FileSystem::Fat32 => |disk| Ok(Box::new(FatRanges::open(disk)?)),
        FileSystem::Ext2 | FileSystem::Ext3 | FileSystem::Ext4 => |disk| Ok(Box::new(ext::FreeRuns::open(disk)?)),
        FileSystem::ExFat => |disk| Ok(Box::new(exfat::FreeRuns::open(disk)?)),
        FileSystem::Ntfs => |disk| Ok(Box::new(ntfs::FreeRuns::open(disk)?)),
        FileSystem::Swap => |disk| Ok(Box::new(swap::FreeRuns::open(disk)?)),
        FileSystem::BitLocker | FileSystem::Luks => {
            return Err(refused(volume)
                .because(format!("it is encrypted ({}): only who has the key knows what is free", volume.file_system))
                .advise("trim it in the system that has it unlocked"));
        }
        other => {
            return Err(Error::new(ErrorKind::Unsupported, OPERATION)
                .at_offset(volume.range.start())
                .because(format!("the free space of {other} is not supported yet"))
                .advise("mount it, and have the system trim it: attach --at DIR, then trim; or fstrim inside"));
        }
    })
}

const OPERATION: &str = "read for its free space";

fn refused(volume: &Volume) -> Error {
    Error::new(ErrorKind::Refused, OPERATION).at_offset(volume.range.start())
}

/// A volume that contradicts itself is one to leave alone.
fn refuse_corrupt(volume: &Volume, what: &str, error: Error) -> Error {
    if error.kind() != ErrorKind::Corrupt {
        return error;
    }
    refused(volume)
        .because(format!("{what} contradicts itself"))
        .advise(format!("repair it first: partition tables with sgdisk or sfdisk, {}", repair(volume.file_system)))
        .caused_by(error)
}

/// Which tools repair a file system.
fn repair(file_system: FileSystem) -> &'static str {
    match file_system {
        FileSystem::Ext2 | FileSystem::Ext3 | FileSystem::Ext4 => "ext with e2fsck",
        FileSystem::ExFat => "exFAT with fsck.exfat or chkdsk",
        FileSystem::Ntfs => "NTFS with chkdsk",
        FileSystem::Swap => "swap by making it again with mkswap",
        _ => "FAT with fsck.vfat or chkdsk",
    }
}

impl Iterator for FreeSpace {
    type Item = Result<ByteRange>;

    fn next(&mut self) -> Option<Self::Item> {
        let range = self.runs.next()?.and_then(|range| {
            let on_disk = range.shifted_by(self.volume_start);
            on_disk.ok_or_else(|| Error::new(ErrorKind::OutOfBounds, OPERATION))
        });
        Some(range)
    }
}

impl fmt::Debug for FreeSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FreeSpace").field("volume_start", &self.volume_start).finish_non_exhaustive()
    }
}

/// The free runs of a FAT volume that has been checked, in bytes.
struct FatRanges {
    runs: FreeRuns,
    layout: Layout,
}

impl FatRanges {
    fn open(disk: &Disk) -> Result<Self> {
        let fat = Fat::open(disk)?;
        fat.check()?;
        Ok(Self { runs: fat.free_runs(), layout: *fat.layout() })
    }
}

impl Iterator for FatRanges {
    type Item = Result<ByteRange>;

    fn next(&mut self) -> Option<Self::Item> {
        let range = self.runs.next()?.and_then(|run| {
            let range = self.layout.clusters_range(run.first, run.count);
            range.ok_or_else(|| Error::new(ErrorKind::OutOfBounds, OPERATION))
        });
        Some(range)
    }
}
