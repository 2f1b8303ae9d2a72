//! From a disk to what is in it.

use std::collections::HashSet;

use block_device::{ByteRange, Disk, ErrorKind, Result, Window};

use crate::disk_cursor::read_at;
use crate::later_use::keeps_old_tables;
use crate::recognise::{Figures, Recognised, recognise, spoiled_fat};
use crate::table::{Found, gpt, mbr, type_names};
use crate::{Contents, FileSystem, Volume};

/// Finds the partition table and the file systems of `disk`.
///
/// Where a disk has partitions, only they are looked into: a signature of a file system on the whole disk is then a
/// leftover, and a warning.
///
/// # Errors
/// [`ErrorKind::Corrupt`](block_device::ErrorKind::Corrupt) where a partition table is there and cannot be believed:
/// overlapping partitions, partitions beyond the end of the disk, a loop of logical partitions, more than 1024 partitions,
/// both copies of a GPT damaged. Those of reading the disk.
pub fn inspect(disk: &Disk) -> Result<Contents> {
    survey(disk, Figures::Counted).map(|survey| survey.contents)
}

/// What [`inspect`] finds, and why its volumes should be left alone.
#[derive(Default)]
pub(crate) struct Survey {
    pub(crate) contents: Contents,
    /// What the partition table has of the disk, and keeps free for itself.
    pub(crate) table_places: Vec<ByteRange>,
    /// Numbers of partitions that only hold other partitions.
    pub(crate) containers: HashSet<u32>,
    /// The file system that the whole disk begins like, beside its partition table.
    pub(crate) on_the_whole: Option<FileSystem>,
    /// Reasons why another system may see other partitions or file systems here.
    pub(crate) doubts: Vec<String>,
}

pub(crate) fn survey(disk: &Disk, figures: Figures) -> Result<Survey> {
    let mut survey = Survey::default();
    let whole = recognise(disk, figures)?;
    if whole.is_none()
        && let Some(why) = spoiled_fat(disk)?
    {
        survey.contents.warnings.push(format!("the disk begins like a FAT volume, and is none: {why}"));
    }
    match find_table(disk, whole.as_ref(), &mut survey)? {
        Some(found) => {
            if let Some(whole) = whole {
                let name = whole.file_system;
                survey.on_the_whole = Some(name);
                if keeps_old_tables(name) {
                    survey.doubts.push(format!(
                        "the whole disk has the mark of {name}: the partition table may be from before, and mean nothing"
                    ));
                } else {
                    let warning = format!("the whole disk also begins like {name}; the partition table is believed");
                    survey.contents.warnings.push(warning);
                }
            }
            survey.contents.warnings.extend(found.warnings);
            survey.doubts.extend(found.doubts);
            look_into_partitions(disk, &found.table.partitions, &found.containers, figures, &mut survey)?;
            survey.contents.table = Some(found.table);
            survey.table_places = found.places;
            survey.containers = found.containers;
        }
        None => {
            if let Some(whole) = whole {
                survey.add(disk.range(), None, whole);
            }
        }
    }
    survey.contents.warnings.extend(survey.doubts.iter().cloned());
    Ok(survey)
}

impl Survey {
    fn add(&mut self, range: ByteRange, partition: Option<u32>, recognised: Recognised) {
        let Recognised { file_system, label, free_bytes, leftover, .. } = recognised;
        if let Some(other) = leftover {
            let place = partition.map_or("the disk".to_owned(), |number| format!("partition {number}"));
            self.doubts.push(format!(
                "{place} holds {file_system}, and the signature of {other} too; one of them is left over"
            ));
        }
        self.contents.volumes.push(Volume { range, partition, file_system, label, free_bytes });
    }
}

const TWOFOLD: &str = "the first sector is a file system's boot sector and a partition table";

/// Reads the table, if the disk has one.
fn find_table(disk: &Disk, whole: Option<&Recognised>, survey: &mut Survey) -> Result<Option<Found>> {
    let mut first = [0; 512];
    read_at(disk, 0, &mut first)?;
    let record = mbr::BootRecord::from_bytes(&first);
    if let Some(record) = &record
        && record.is_protective()
    {
        let mut found = gpt::read(disk)?;
        if record.has_others() {
            found.doubts.push("the disk has both a GPT and MBR partitions (a hybrid); the GPT is used".to_owned());
        }
        return Ok(Some(found));
    }
    // Without the protective entry a GPT does not count (UEFI 2.10, 5.2.3): it is what an older use left behind.
    if gpt::has_signature(disk)? {
        survey.doubts.push("there is a GPT, but the MBR does not announce it; it is passed over".to_owned());
    }
    let Some(record) = record else { return Ok(None) };
    let at_sector_0 = whole.is_some_and(|whole| whole.in_first_sector);
    if !record.has_partitions() {
        // The bytes of an empty table are in many boot sectors.
        return if whole.is_some() { Ok(None) } else { mbr::read(disk, &record).map(Some) };
    }
    if at_sector_0 && record.claims_itself() {
        if record.has_partitions_elsewhere() {
            survey.doubts.push(TWOFOLD.to_owned());
        }
        return Ok(None);
    }
    match mbr::read(disk, &record) {
        // The boot code of a file system can look like a table, but hardly like a right one.
        Err(_) if at_sector_0 => {
            survey.doubts.push("the boot sector holds something like a broken partition table".to_owned());
            Ok(None)
        }
        Ok(mut found) if at_sector_0 => {
            found.doubts.push(TWOFOLD.to_owned());
            Ok(Some(found))
        }
        other => other.map(Some),
    }
}

fn look_into_partitions(
    disk: &Disk,
    partitions: &[crate::Partition],
    containers: &HashSet<u32>,
    figures: Figures,
    survey: &mut Survey,
) -> Result<()> {
    let mut in_place: Vec<_> = partitions.iter().filter(|partition| !containers.contains(&partition.number)).collect();
    in_place.sort_by_key(|partition| partition.range.start());
    for partition in in_place {
        let window = Disk::new(Window::new(disk.clone(), partition.range)?)?;
        if let Some(recognised) = recognise(&window, figures)? {
            let (number, kind, holds) = (partition.number, &partition.type_name, recognised.file_system);
            if holds.has_reader() && type_names::is_managed(kind) {
                survey.doubts.push(format!(
                    "partition {number} begins like {holds}, and its type is {kind}: a volume manager may lay out what is in it"
                ));
            }
            if holds.has_reader() && has_inner_table(&window)? {
                survey.doubts.push(format!(
                    "partition {number} begins like {holds}, and has a partition table of its own; one of them is left over"
                ));
            }
            survey.add(partition.range, Some(partition.number), recognised);
        } else if let Some(why) = spoiled_fat(&window)? {
            let number = partition.number;
            let warning = format!("partition {number} begins like a FAT volume, and is none: {why}");
            survey.contents.warnings.push(warning);
        }
    }
    Ok(())
}

/// Whether `partition` has partitions of its own, as the disk of a virtual machine: a GPT, or a boot record that makes
/// sense. The partition that formatters claim all of it with is none.
fn has_inner_table(partition: &Disk) -> Result<bool> {
    if gpt::has_signature(partition)? {
        return Ok(true);
    }
    let mut first = [0; 512];
    read_at(partition, 0, &mut first)?;
    let Some(record) = mbr::BootRecord::from_bytes(&first) else { return Ok(false) };
    if record.claims_itself() || !record.has_partitions() {
        return Ok(record.has_partitions_elsewhere());
    }
    match mbr::read(partition, &record) {
        Ok(_) => Ok(true),
        // What looks like a table in the boot code of a file system.
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(false),
        Err(error) => Err(error),
    }
}
