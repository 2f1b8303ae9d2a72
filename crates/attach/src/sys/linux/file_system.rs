//! Which file system a device holds, by its signature, in the words of mount(2). The kernel has the last word: a
//! signature only chooses what it is asked to try.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A file system that Linux may be able to mount.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FileSystem {
    /// Its name for people.
    pub(super) name: &'static str,
    /// The kernel's names of drivers that can mount it, the best first.
    pub(super) drivers: &'static [&'static str],
}

const EXT: FileSystem = FileSystem { name: "ext4", drivers: &["ext4", "ext3", "ext2"] };
const XFS: FileSystem = FileSystem { name: "xfs", drivers: &["xfs"] };
const BTRFS: FileSystem = FileSystem { name: "btrfs", drivers: &["btrfs"] };
const NTFS: FileSystem = FileSystem { name: "NTFS", drivers: &["ntfs3"] };
const EXFAT: FileSystem = FileSystem { name: "exFAT", drivers: &["exfat"] };
const FAT: FileSystem = FileSystem { name: "FAT", drivers: &["vfat"] };

/// As much of a device's beginning as holds every signature: btrfs has its own at 64 KiB + 64.
const BEGINNING: usize = 65536 + 4096;

/// The file system on `device`; `None` if it has none of those above.
pub(super) fn on(device: &File) -> io::Result<Option<FileSystem>> {
    Ok(recognise(&beginning(device, BEGINNING)?))
}

/// The sector size that what is in the image was made for: 512 unless its structures say otherwise, because they count
/// in sectors and would be looked for in the wrong place.
pub(super) fn sector_bytes(image: &File) -> io::Result<u32> {
    Ok(sectors_of(&beginning(image, 8192)?))
}

fn beginning(file: &File, length: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut buffer[filled..], filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer)
}

fn recognise(bytes: &[u8]) -> Option<FileSystem> {
    let has = |offset: usize, magic: &[u8]| bytes.get(offset..offset + magic.len()) == Some(magic);
    if has(1024 + 56, &[0x53, 0xEF]) {
        Some(EXT)
    } else if has(0, b"XFSB") {
        Some(XFS)
    } else if has(65536 + 64, b"_BHRfS_M") {
        Some(BTRFS)
    } else if has(3, b"NTFS    ") {
        Some(NTFS)
    } else if has(3, b"EXFAT   ") {
        Some(EXFAT)
    } else {
        fat_sector_bytes(bytes).map(|_| FAT)
    }
}

fn sectors_of(bytes: &[u8]) -> u32 {
    let has = |offset: usize, magic: &[u8]| bytes.get(offset..offset + magic.len()) == Some(magic);
    if has(3, b"EXFAT   ") {
        // [exFAT] 3.1.14: a shift from 9 to 12.
        return bytes.get(108).filter(|shift| (9..=12).contains(*shift)).map_or(512, |shift| 1 << shift);
    }
    if has(3, b"NTFS    ") {
        return bytes_per_sector(bytes).unwrap_or(512);
    }
    if let Some(bytes) = fat_sector_bytes(bytes) {
        return bytes;
    }
    // A GPT's header is in the second sector, whatever its size.
    [512_u32, 1024, 2048, 4096].into_iter().find(|&sector| has(sector as usize, b"EFI PART")).unwrap_or(512)
}

/// The sector size in a FAT boot sector, if it is one: FAT has no signature that every writer sets, so its fields must
/// make sense together, as the kernel's own driver wants it.
fn fat_sector_bytes(bytes: &[u8]) -> Option<u32> {
    let boot = bytes.get(..512)?;
    let is_fat = boot[510..] == [0x55, 0xAA]
        && matches!(boot[0], 0xEB | 0xE9)
        && boot[13].is_power_of_two()
        && u16::from_le_bytes([boot[14], boot[15]]) > 0
        && matches!(boot[16], 1..=4)
        && (boot[21] == 0xF0 || boot[21] >= 0xF8);
    if is_fat { bytes_per_sector(boot) } else { None }
}

fn bytes_per_sector(boot: &[u8]) -> Option<u32> {
    let size = u32::from(u16::from_le_bytes([*boot.get(11)?, *boot.get(12)?]));
    (size.is_power_of_two() && (512..=4096).contains(&size)).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(marks: &[(usize, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; BEGINNING];
        for (offset, mark) in marks {
            bytes[*offset..*offset + mark.len()].copy_from_slice(mark);
        }
        bytes
    }

    fn fat(sector: u16) -> Vec<u8> {
        let size = sector.to_le_bytes();
        with(&[(0, &[0xEB, 0x58, 0x90]), (11, &size), (13, &[8, 32, 0, 2]), (21, &[0xF8]), (510, &[0x55, 0xAA])])
    }

    #[test]
    fn each_signature_is_recognised() {
        assert_eq!(recognise(&with(&[(1080, &[0x53, 0xEF])])), Some(EXT));
        assert_eq!(recognise(&with(&[(0, b"XFSB")])), Some(XFS));
        assert_eq!(recognise(&with(&[(65600, b"_BHRfS_M")])), Some(BTRFS));
        assert_eq!(recognise(&with(&[(3, b"NTFS    ")])), Some(NTFS));
        assert_eq!(recognise(&with(&[(3, b"EXFAT   ")])), Some(EXFAT));
        assert_eq!(recognise(&fat(512)), Some(FAT));
    }

    #[test]
    fn zeroes_a_short_image_and_a_bare_partition_table_are_no_file_system() {
        assert_eq!(recognise(&with(&[])), None);
        assert_eq!(recognise(&[]), None);
        assert_eq!(recognise(&fat(512)[..511]), None);
        assert_eq!(recognise(&with(&[(510, &[0x55, 0xAA])])), None);
    }

    #[test]
    fn the_sector_size_is_what_the_structures_were_made_for() {
        assert_eq!(sectors_of(&with(&[])), 512);
        assert_eq!(sectors_of(&with(&[(512, b"EFI PART")])), 512);
        assert_eq!(sectors_of(&with(&[(4096, b"EFI PART")])), 4096);
        assert_eq!(sectors_of(&fat(4096)), 4096);
        assert_eq!(sectors_of(&fat(3)), 512);
        assert_eq!(sectors_of(&with(&[(3, b"EXFAT   "), (108, &[12])])), 4096);
        assert_eq!(sectors_of(&with(&[(3, b"EXFAT   "), (108, &[63])])), 512);
        assert_eq!(sectors_of(&with(&[(3, b"NTFS    "), (11, &[0, 16])])), 4096);
    }
}
