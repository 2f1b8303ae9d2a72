//! The root directory's entries for the volume itself (7.1, 7.2): the allocation bitmap and the up-case table.

use block_device::{ByteRange, Disk, Result};

use super::boot_region::Layout;
use super::chain::{Allocation, Fat};
use super::directory::{Entry, Kind, Position, allocation_of, kind, u32_at, u64_at};
use super::{corrupt, refused};
use crate::scattered::{Pages, Scattered};
use crate::used_map::{Run, UsedMap};

/// What a volume keeps for itself in its clusters.
#[derive(Debug)]
pub(super) struct System {
    pub(super) map: UsedMap,
    /// The clusters of the bitmap and of the up-case table, counted from 0 as the bitmap does. No file may have them.
    pub(super) own: [Run; 2],
    pub(super) fat: Fat,
    /// The volume's bytes.
    pub(super) volume: Pages,
}

/// Longer than any up-case table: two bytes for each of 65,536 characters (7.2.5).
const MOST_UPCASE_BYTES: u64 = 128 << 10;

/// Follows the root directory to the allocation bitmap and the up-case table.
///
/// # Errors
/// `Corrupt` where one is missing, there twice, in pieces, too short, or not what its checksum says; `Refused` for
/// a second bitmap. Those of reading.
pub(super) fn find(disk: &Disk, layout: &Layout) -> Result<System> {
    let mut fat = Fat::open(disk, layout)?;
    let mut volume = Pages::new(Scattered::new(disk, [disk.range()])?);
    check_length(layout, &mut fat)?;
    let (mut bitmap, mut upcase) = (None, None);
    let mut position = Position::start_of(root(layout), layout);
    while let Some((_, entry)) = position.next(layout, &mut fat, &mut volume)? {
        let seen_before = match kind(&entry) {
            Kind::End => break,
            Kind::Bitmap if entry[1] & 1 != 0 => {
                return Err(refused("it has a second bitmap (TexFAT), which is not read"));
            }
            Kind::Bitmap => bitmap.replace(entry).is_some(),
            Kind::UpcaseTable => upcase.replace(entry).is_some(),
            _ => false,
        };
        if seen_before {
            return Err(corrupt("its root directory names two allocation bitmaps or up-case tables"));
        }
    }
    let bitmap = bitmap.ok_or_else(|| corrupt("its root directory names no allocation bitmap"))?;
    let upcase = upcase.ok_or_else(|| corrupt("its root directory names no up-case table"))?;
    let bitmap_run = in_one_piece(&bitmap, "the allocation bitmap", layout, &mut fat)?;
    let upcase_run = in_one_piece(&upcase, "the up-case table", layout, &mut fat)?;
    if bitmap_run.first < upcase_run.first + upcase_run.count && upcase_run.first < bitmap_run.first + bitmap_run.count
    {
        return Err(corrupt("the allocation bitmap and the up-case table lie on each other"));
    }
    check_upcase(disk, &upcase, layout)?;
    let place = ByteRange::at(layout.offset_of(u32_at(&bitmap, 20)), u64_at(&bitmap, 24))?;
    let Some(map) = UsedMap::new(Scattered::new(disk, [place])?, u64::from(layout.clusters)) else {
        let (len_bytes, clusters) = (place.len(), layout.clusters);
        return Err(corrupt(format!(
            "its allocation bitmap of {len_bytes} bytes is too short for {clusters} clusters"
        )));
    };
    Ok(System { map, own: [bitmap_run, upcase_run], fat, volume })
}

/// The root directory: a chain that does not say its length.
pub(super) fn root(layout: &Layout) -> Allocation {
    Allocation { first: layout.root_cluster, in_a_row: false, clusters: None }
}

/// That the chain of the root directory ends.
fn check_length(layout: &Layout, fat: &mut Fat) -> Result<()> {
    let mut at = layout.root_cluster;
    for _ in 0..layout.most_directory_clusters() {
        match fat.next(at)? {
            Some(next) => at = next,
            None => return Ok(()),
        }
    }
    Err(corrupt("its root directory is longer than any may be, or goes in circles"))
}

/// The clusters of a chain that must be in a row. Every formatter makes both so, and drivers that do not read the FAT for
/// them would see something else otherwise.
fn in_one_piece(entry: &Entry, what: &str, layout: &Layout, fat: &mut Fat) -> Result<Run> {
    let allocation = allocation_of(entry, false, layout)?;
    let Some(Allocation { first, clusters: Some(clusters), .. }) = allocation else {
        return Err(corrupt(format!("{what} is empty")));
    };
    let mut at = first;
    for _ in 1..clusters {
        match fat.next(at)? {
            Some(next) if next == at + 1 => at = next,
            _ => return Err(corrupt(format!("{what} does not lie in one piece, or its chain is too short"))),
        }
    }
    if fat.next(at)?.is_some() {
        return Err(corrupt(format!("the chain of {what} is longer than it says")));
    }
    Ok(Run { first: u64::from(first - 2), count: clusters })
}

/// The table's checksum (7.2.2). If it is wrong, so may be what the root directory says besides.
fn check_upcase(disk: &Disk, entry: &Entry, layout: &Layout) -> Result<()> {
    let len_bytes = u64_at(entry, 24);
    if len_bytes > MOST_UPCASE_BYTES {
        return Err(corrupt(format!("its up-case table has {len_bytes} bytes")));
    }
    let mut table = vec![0; usize::try_from(len_bytes).expect("128 KiB")];
    let place = ByteRange::at(layout.offset_of(u32_at(entry, 20)), len_bytes)?;
    Scattered::new(disk, [place])?.read(0, &mut table)?;
    let sum = table.iter().fold(0u32, |sum, &byte| sum.rotate_right(1).wrapping_add(u32::from(byte)));
    if sum != u32_at(entry, 4) {
        return Err(corrupt("the checksum of its up-case table is wrong"));
    }
    Ok(())
}
