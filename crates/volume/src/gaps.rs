//! The space between partitions, for those who want it back.
//!
//! Nobody says that a gap is free: it is what is left. So it is given only when asked for, and with wide margins. Boot
//! loaders live in front of the first partition: GRUB in the first mebibyte, those of small boards in up to 32 MiB, which
//! vendors double. Volume managers and RAID controllers write at the very end of the disk. And a file system may be
//! larger than its partition, with its end in the gap behind it.

use block_device::{ByteRange, Disk, Error, ErrorKind, Result, Window};

use crate::disk_cursor::read_at;
use crate::inspect::{Survey, survey};
use crate::recognise::{Figures, recognise};
use crate::table::type_names;
use crate::{FileSystem, TableKind, Volume};

/// Nothing before this is given where the first partition begins behind it.
const BOOT_LOADERS_BYTES: u64 = 64 << 20;
/// Nothing before this is ever given, nor of the end of the disk, nor of what follows a link to a logical partition.
const MARGIN_BYTES: u64 = 1 << 20;

/// The bytes of `disk` that lie in no partition, and in nothing that partition tables, boot loaders and volume managers
/// use or leave unused for themselves: ascending, disjoint, whole blocks. Nothing of a disk without a partition table.
///
/// # Errors
/// [`ErrorKind::Refused`] where another system may see other partitions, or something else may use the gaps;
/// [`ErrorKind::Corrupt`] as for [`inspect`](crate::inspect()), and those of reading.
pub fn gaps(disk: &Disk) -> Result<Vec<ByteRange>> {
    let survey = survey(disk, Figures::LeftOut)?;
    let Some(table) = &survey.contents.table else { return Ok(Vec::new()) };
    let refused = |reason: String| Err(Error::new(ErrorKind::Refused, "look for gaps").because(reason));
    if let Some(doubt) = survey.doubts.first() {
        return refused(doubt.clone());
    }
    if let Some(file_system) = survey.on_the_whole {
        return refused(format!("the whole disk begins like {file_system}, which may have the gaps"));
    }
    if let Some(partition) = table.partitions.iter().find(|partition| type_names::is_dynamic(&partition.type_name)) {
        let (number, kind) = (partition.number, &partition.type_name);
        return refused(format!("the type of partition {number} is {kind}: a volume manager uses the gaps"));
    }
    if let Some(block) = laid_out_for(disk, &survey)? {
        let has = disk.geometry().logical_block.bytes();
        return refused(format!("its MBR seems to be laid out for blocks of {block} bytes, and its blocks have {has}"));
    }
    let mut taken = taken(disk, &survey)?;
    taken.sort_unstable();
    let mut gaps = Vec::new();
    let mut at = 0;
    for range in taken {
        gaps.extend(ByteRange::new(at, range.start()));
        at = at.max(range.end());
    }
    gaps.extend(ByteRange::new(at, disk.len_bytes()));
    let block = disk.geometry().logical_block.bytes();
    Ok(gaps.into_iter().filter_map(|gap| gap.align_inward(block)).collect())
}

/// The size of other blocks than the disk's for which an MBR was written: only where that puts a partition is there
/// something. An MBR does not say it; a GPT is where it says.
fn laid_out_for(disk: &Disk, survey: &Survey) -> Result<Option<u64>> {
    let own = disk.geometry().logical_block.bytes();
    let other = if own == 512 { 4096 } else { 512 };
    let is_recognised = |place: u64| {
        let mut volumes = survey.contents.volumes.iter();
        volumes.any(|volume| (volume.range.start()..volume.range.end()).contains(&place))
    };
    let table = survey.contents.table.as_ref().filter(|table| table.kind == TableKind::Mbr);
    for partition in table.iter().flat_map(|table| &table.partitions) {
        let range = partition.range;
        let [start, len] = [range.start(), range.len()].map(|bytes| (bytes / own).saturating_mul(other) / own * own);
        let there = ByteRange::at(start, len).ok().and_then(|there| there.intersect(disk.range()));
        let Some(there) = there.filter(|_| !is_recognised(range.start()) && !is_recognised(start)) else { continue };
        if recognise(&Disk::new(Window::new(disk.clone(), there)?)?, Figures::LeftOut)?.is_some() {
            return Ok(Some(other));
        }
    }
    Ok(None)
}

/// Everything that is no gap.
fn taken(disk: &Disk, survey: &Survey) -> Result<Vec<ByteRange>> {
    let whole = disk.range();
    let partitions = survey.contents.table.iter().flat_map(|table| &table.partitions);
    let partitions: Vec<ByteRange> = partitions
        .filter(|partition| !survey.containers.contains(&partition.number))
        .map(|partition| partition.range)
        .collect();
    let first = partitions.iter().map(|range| range.start()).min().unwrap_or(whole.end());
    let mut taken = partitions;
    taken.extend(whole.before(first.clamp(MARGIN_BYTES, BOOT_LOADERS_BYTES)));
    taken.extend(whole.after(whole.end().saturating_sub(MARGIN_BYTES)));
    for place in &survey.table_places {
        taken.push(*place);
        // Behind a link of the chain of logical partitions there is room as in front of the first partition.
        taken.extend(ByteRange::at(place.start(), MARGIN_BYTES)?.intersect(whole));
    }
    for volume in &survey.contents.volumes {
        let claimed = ByteRange::at(volume.range.start(), claimed_bytes(disk, volume)?);
        taken.extend(claimed.ok().and_then(|claimed| claimed.intersect(whole)));
    }
    Ok(taken)
}

/// How long a file system says it is, where that is simple to know; the length of its partition otherwise.
fn claimed_bytes(disk: &Disk, volume: &Volume) -> Result<u64> {
    let own = volume.range.len();
    let window = Disk::new(Window::new(disk.clone(), volume.range)?)?;
    let mut head = [0; 2048];
    if own < head.len() as u64 {
        return Ok(own);
    }
    read_at(&window, 0, &mut head)?;
    let le16 = |at: usize| u64::from(u16::from_le_bytes([head[at], head[at + 1]]));
    let le32 = |at: usize| le16(at) | le16(at + 2) << 16;
    let le64 = |at: usize| le32(at) | le32(at + 4) << 32;
    let be32 = |at: usize| le32(at).swap_bytes() >> 32;
    let be64 = |at: usize| le64(at).swap_bytes();
    let says = match volume.file_system {
        FileSystem::Fat12 | FileSystem::Fat16 | FileSystem::Fat32 => le16(11).saturating_mul(le16(19).max(le32(32))),
        FileSystem::ExFat => le64(72).saturating_mul(1 << head[108].min(12)),
        // And the copy of the boot sector behind the last.
        FileSystem::Ntfs => le16(11).saturating_mul(le64(40).saturating_add(1)),
        FileSystem::Ext2 | FileSystem::Ext3 | FileSystem::Ext4 => {
            let is_64bit = le32(1024 + 96) & 0x80 != 0;
            let high = if is_64bit { le32(1024 + 0x150) << 32 } else { 0 };
            (high | le32(1024 + 4)).saturating_mul(1024 << le32(1024 + 24).min(6))
        }
        FileSystem::Xfs => be32(4).saturating_mul(be64(8)),
        _ => own,
    };
    Ok(says.max(own))
}
