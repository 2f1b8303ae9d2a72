//! Which bytes of a volume no file owns.

use block_device::{ByteRange, Disk, Error, ErrorKind, Result, Window};

use crate::Volume;
use crate::fat::{Fat, FreeRuns, Layout};
use crate::inspect::survey;
use crate::recognise::Figures;

/// An iterator over the free bytes of a volume, as ranges of the disk it lies in: ascending, joined, whole clusters.
///
/// After an error it is at its end.
#[derive(Debug)]
pub struct FreeSpace {
    runs: FreeRuns,
    layout: Layout,
    volume_start: u64,
}

/// The bytes of `volume` that no file owns, whatever they hold. `volume` is one that [`inspect`](crate::inspect()) found
/// on `disk`.
///
/// Everything is checked before the first range is given: that the disk is partitioned in one way only, that the volume
/// was unmounted cleanly, and that it agrees with itself (see [`Fat::check`]). The FAT is then read again while the
/// ranges are taken: the caller keeps the disk from changing. The check cannot be interrupted, and of a full, hostile
/// FAT32 it takes minutes.
///
/// # Errors
/// [`ErrorKind::Refused`] with the reason why the volume is better left alone, [`ErrorKind::Unsupported`] for file
/// systems whose free space is not read yet, those of reading.
pub fn free_space(disk: &Disk, volume: &Volume) -> Result<FreeSpace> {
    if !volume.file_system.is_fat() {
        return Err(Error::new(ErrorKind::Unsupported, OPERATION)
            .at_offset(volume.range.start())
            .because(format!("the free space of {} is not read yet", volume.file_system)));
    }
    let survey = survey(disk, Figures::LeftOut).map_err(|error| refuse_corrupt(volume, "the disk", error))?;
    if let Some(doubt) = survey.doubts.into_iter().next() {
        return Err(refused(volume).because(doubt));
    }
    let known = |found: &Volume| found.range == volume.range && found.file_system == volume.file_system;
    if !survey.contents.volumes.iter().any(known) {
        return Err(refused(volume).because("there is no such volume on the disk"));
    }
    let window = Disk::new(Window::new(disk.clone(), volume.range)?)?;
    let fat = Fat::open(&window).map_err(|error| refuse_corrupt(volume, "the volume there", error))?;
    fat.check().map_err(|error| refuse_corrupt(volume, "the volume there", error))?;
    Ok(FreeSpace { runs: fat.free_runs(), layout: *fat.layout(), volume_start: volume.range.start() })
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
        .advise("repair it first: partition tables with sgdisk or sfdisk, FAT with fsck.vfat or chkdsk")
        .caused_by(error)
}

impl Iterator for FreeSpace {
    type Item = Result<ByteRange>;

    fn next(&mut self) -> Option<Self::Item> {
        let range = self.runs.next()?.and_then(|run| {
            self.layout
                .clusters_range(run.first, run.count)
                .and_then(|range| range.shifted_by(self.volume_start))
                .ok_or_else(|| Error::new(ErrorKind::OutOfBounds, OPERATION))
        });
        Some(range)
    }
}
