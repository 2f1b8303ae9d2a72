//! Which file system or container a disk or partition holds, by its signature.

use block_device::{Disk, Result};

use crate::disk_cursor::read_at;
use crate::fat::{BootSector, Fat};
use crate::later_use::later_use;
use crate::{FileSystem, exfat, ntfs, swap};

/// A signature, and what is cheap to know once it is there.
#[derive(Debug)]
pub(crate) struct Recognised {
    pub(crate) file_system: FileSystem,
    pub(crate) label: Option<String>,
    pub(crate) free_bytes: Option<u64>,
    /// Whether the signature is in the first sector, where a partition table would be too.
    pub(crate) in_first_sector: bool,
    /// Another signature where this file system keeps nothing of its own.
    pub(crate) leftover: Option<FileSystem>,
}

/// Whether labels and free bytes are wanted, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figures {
    Counted,
    LeftOut,
}

/// The bytes from the start that any signature here lies in: swap on 64 KiB pages, btrfs at 64 KiB.
const HEAD_BYTES: u64 = 68 * 1024;

/// Looks for a signature at the start of `disk`, which is a disk or a partition.
///
/// # Errors
/// Those of reading. A file system that contradicts itself is recognised all the same, or not at all.
pub(crate) fn recognise(disk: &Disk, figures: Figures) -> Result<Option<Recognised>> {
    let length = usize::try_from(disk.len_bytes().min(HEAD_BYTES)).expect("at most 68 KiB");
    // Padded, so that every field below can be looked at on a disk of one block.
    let mut head = vec![0; usize::try_from(HEAD_BYTES).expect("68 KiB")];
    read_at(disk, 0, &mut head[..length])?;
    if let Some(fat) = fat(disk, &head, figures)? {
        return Ok(Some(fat));
    }
    let mut found = signatures(&head);
    let Some((file_system, at)) = found.next() else { return by_mark_alone(disk, &head) };
    let own_bytes = own_bytes(file_system, &head);
    let mut leftover = found.find(|&(_, at)| at < own_bytes).map(|(other, _)| other);
    if leftover.is_none() && file_system.has_reader() {
        leftover = later_use(disk, &head)?;
    }
    let (label, free_bytes) = details(disk, file_system, &head, figures)?;
    Ok(Some(Recognised { file_system, label, free_bytes, in_first_sector: at < 512, leftover }))
}

/// Who has left no signature at the start, and has a mark elsewhere.
fn by_mark_alone(disk: &Disk, head: &[u8]) -> Result<Option<Recognised>> {
    Ok(later_use(disk, head)?.map(|file_system| Recognised {
        file_system,
        label: None,
        free_bytes: None,
        in_first_sector: false,
        leftover: None,
    }))
}

/// How many bytes from the start hold nothing of a file, in a file system whose free space is read: what looks like the
/// signature of another there is one.
fn own_bytes(file_system: FileSystem, head: &[u8]) -> usize {
    match file_system {
        // Boot code and superblock; blocks that are smaller hold descriptors behind them.
        FileSystem::Ext2 | FileSystem::Ext3 | FileSystem::Ext4 => 4096,
        // $Boot.
        FileSystem::Ntfs => 8192,
        // The boot region and its backup.
        FileSystem::ExFat => 24 << head[108].clamp(9, 12),
        FileSystem::Swap => head.len(),
        _ => 0,
    }
}

fn fat(disk: &Disk, head: &[u8], figures: Figures) -> Result<Option<Recognised>> {
    let first: &[u8; 512] = head[..512].try_into().expect("512 bytes");
    // BitLocker To Go looks like FAT32 to old systems.
    if is_bitlocker(head) {
        return Ok(None);
    }
    let Ok(boot) = BootSector::from_bytes(first) else { return Ok(None) };
    let layout = boot.layout()?;
    let mut leftover = signatures(head).find(|&(_, at)| (at as u64) < layout.fat_start).map(|(other, _)| other);
    if leftover.is_none() {
        leftover = later_use(disk, head)?;
    }
    // What is wrong deeper down is for free_space to say; here it only costs the label and the figure.
    let (label, free_bytes) = match Fat::open(disk) {
        Ok(fat) if figures == Figures::Counted => (fat.label().ok().flatten(), fat.free_bytes().ok()),
        _ => (None, None),
    };
    let file_system = layout.fat_type.file_system();
    Ok(Some(Recognised { file_system, label, free_bytes, in_first_sector: true, leftover }))
}

/// Why what begins like a FAT volume is not recognised as one: it has `FAT` where formatters write it and a jump or
/// the mark 0x55AA, and contradicts itself elsewhere. `None` where it does not begin so, or is recognised.
pub(crate) fn spoiled_fat(disk: &Disk) -> Result<Option<String>> {
    let mut first = [0; 512];
    read_at(disk, 0, &mut first)?;
    let jumps = first[0] == 0xE9 || first[0] == 0xEB && first[2] == 0x90;
    let named = first[54..57] == *b"FAT" || first[82..85] == *b"FAT";
    if !named || !jumps && first[510..] != [0x55, 0xAA] || is_bitlocker(&first) {
        return Ok(None);
    }
    let wrong = BootSector::from_bytes(&first).and_then(|boot| boot.layout().map(drop)).err();
    // The operation is not what matters; the reason comes after it.
    Ok(wrong.map(|error| error.message().split_once(": ").map_or_else(String::new, |(_, reason)| reason.to_owned())))
}

fn is_bitlocker(head: &[u8]) -> bool {
    // BitLocker To Go: the GUID 4967d63b-2e29-4ad8-8399-f6a339e3d001 at 424.
    const TO_GO: [u8; 16] =
        [0x3b, 0xd6, 0x67, 0x49, 0x29, 0x2e, 0xd8, 0x4a, 0x83, 0x99, 0xf6, 0xa3, 0x39, 0xe3, 0xd0, 0x01];
    head[3..11] == *b"-FVE-FS-" || head[3..11] == *b"MSWIN4.1" && head[424..440] == TO_GO
}

/// The signatures found, other than FAT's, with the offset of each; the surest first.
fn signatures(head: &[u8]) -> impl Iterator<Item = (FileSystem, usize)> {
    let is = |at: usize, signature: &[u8]| head[at..].starts_with(signature);
    let at = |found: bool, file_system: FileSystem, at: usize| found.then_some((file_system, at));
    let lvm = (0..4).map(|sector| sector * 512).find(|&label| is(label, b"LABELONE") && is(label + 24, b"LVM2 001"));
    let swap = swap::signature(head).map(|(_, page_bytes)| page_bytes - 10);
    // Metadata of version 1.1 or 1.2 (md(4)). 1.2 leaves what was before it, a FAT with all its tables too.
    let raid = [4096, 0].into_iter().find(|&superblock| is(superblock, &[0xFC, 0x4E, 0x2B, 0xA9, 1, 0, 0, 0]));
    let found = [
        at(is_bitlocker(head), FileSystem::BitLocker, 3),
        at(is(0, b"LUKS\xBA\xBE"), FileSystem::Luks, 0),
        raid.map(|superblock| (FileSystem::LinuxRaid, superblock)),
        at(is(3, b"NTFS    ") && is(510, &[0x55, 0xAA]), FileSystem::Ntfs, 3),
        at(is(3, b"EXFAT   ") && is(510, &[0x55, 0xAA]), FileSystem::ExFat, 3),
        at(is(0, b"XFSB"), FileSystem::Xfs, 0),
        lvm.map(|label| (FileSystem::Lvm2, label)),
        at(is_ext(head), ext_version(head), EXT + 56),
        at(is(BTRFS + 64, b"_BHRfS_M"), FileSystem::Btrfs, BTRFS + 64),
        swap.map(|end| (FileSystem::Swap, end)),
        at(is(ISO, b"\x01CD001"), FileSystem::Iso9660, ISO),
    ];
    found.into_iter().flatten()
}

/// Where the superblocks are.
const EXT: usize = 1024;
const ISO: usize = 32768;
const BTRFS: usize = 65536;

fn is_ext(head: &[u8]) -> bool {
    // Magic, a block size of 1 to 64 KiB, and more than no blocks.
    head[EXT + 56..].starts_with(&[0x53, 0xEF]) && le32(head, EXT + 24) <= 6 && le32(head, EXT + 4) > 0
}

/// Told apart as blkid does, by the features: ext3 has a journal, ext4 anything that ext3 does not know.
fn ext_version(head: &[u8]) -> FileSystem {
    let (compatible, incompatible, read_only) = (le32(head, EXT + 92), le32(head, EXT + 96), le32(head, EXT + 100));
    // What ext3 knows: filetype, recover, journal device and meta block groups; sparse superblocks, large files, b-trees.
    if incompatible & !0x1E != 0 || read_only & !0x7 != 0 {
        FileSystem::Ext4
    } else if compatible & 0x4 != 0 {
        FileSystem::Ext3
    } else {
        FileSystem::Ext2
    }
}

fn details(
    disk: &Disk,
    file_system: FileSystem,
    head: &[u8],
    figures: Figures,
) -> Result<(Option<String>, Option<u64>)> {
    let counted = figures == Figures::Counted;
    Ok(match file_system {
        FileSystem::Ext2 | FileSystem::Ext3 | FileSystem::Ext4 => {
            let is_64bit = le32(head, EXT + 96) & 0x80 != 0;
            let high = if is_64bit { u64::from(le32(head, EXT + 0x158)) << 32 } else { 0 };
            let free_blocks = high | u64::from(le32(head, EXT + 12));
            let free = free_blocks.checked_mul(1024 << le32(head, EXT + 24));
            (text(&head[EXT + 120..][..16]), free.filter(|&free| free <= disk.len_bytes()))
        }
        FileSystem::Xfs => {
            let be = |at: usize| u64::from_be_bytes(head[at..at + 8].try_into().expect("8 bytes"));
            let free = be(144).checked_mul(be(0) & 0xFFFF_FFFF);
            (text(&head[108..120]), free.filter(|&free| free <= disk.len_bytes()))
        }
        FileSystem::Btrfs => (text(&head[BTRFS + 0x12B..][..256]), None),
        FileSystem::Swap => (text(&head[1024 + 28..][..16]), None),
        FileSystem::Iso9660 => (text(&head[ISO + 40..][..32]), None),
        FileSystem::Luks if head[6..8] == [0, 2] => (text(&head[24..72]), None),
        FileSystem::Ntfs if counted => ntfs::describe(disk).unwrap_or_default(),
        FileSystem::ExFat if counted => (exfat_label(disk, head)?, exfat::free_bytes(disk).ok().flatten()),
        _ => (None, None),
    })
}

/// The label is an entry of the root directory, among the first in practice (exFAT 7.3).
fn exfat_label(disk: &Disk, head: &[u8]) -> Result<Option<String>> {
    let (sector_shift, cluster_shift) = (u32::from(head[108]), u32::from(head[109]));
    if !(9..=12).contains(&sector_shift) || cluster_shift > 25 - sector_shift {
        return Ok(None);
    }
    let (heap, root) = (u64::from(le32(head, 88)), u64::from(le32(head, 96)));
    let Some(offset) = root.checked_sub(2).map(|root| (heap + (root << cluster_shift)) << sector_shift) else {
        return Ok(None);
    };
    let mut entries = vec![0; 512];
    if offset.checked_add(512).is_none_or(|end| end > disk.len_bytes()) {
        return Ok(None);
    }
    read_at(disk, offset, &mut entries)?;
    let label = entries.chunks_exact(32).find(|entry| entry[0] == 0x83).map(|entry| {
        let units = entry[2..].chunks_exact(2).take(usize::from(entry[1].min(11)));
        String::from_utf16_lossy(&units.map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect::<Vec<_>>())
    });
    Ok(label.filter(|label| !label.is_empty()))
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

/// A field of text that ends at the first zero or with spaces; `None` if there is nothing in it.
fn text(field: &[u8]) -> Option<String> {
    let field = field.split(|&byte| byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(field).trim_end().to_owned();
    (!text.is_empty()).then_some(text)
}
