//! Which file system it is: made by its own tool where that is at hand, by its signature otherwise.

mod judge;

use std::path::Path;

use block_device::{Disk, Durability, MemoryDisk};
use judge::{load, run};
use volume::{FileSystem, Volume, inspect};

fn made(tool: &str, arguments: &[&str], mib: u64) -> Option<Volume> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("volume.img");
    std::fs::File::create(&path).unwrap().set_len(mib << 20).unwrap();
    run(tool, &[arguments, &[path.to_str().unwrap()]].concat(), "")?;
    let found = inspect(&load(Path::new(&path))).unwrap();
    assert_eq!(found.volumes.len(), 1, "{found:?}");
    found.volumes.into_iter().next()
}

#[test]
fn what_mkfs_makes_is_recognised_with_its_label() {
    type Case = (&'static str, &'static [&'static str], u64, FileSystem, Option<&'static str>);
    let cases: [Case; 6] = [
        ("mkfs.ext4", &["-q", "-L", "data"], 16, FileSystem::Ext4, Some("data")),
        ("mkfs.ext3", &["-q"], 16, FileSystem::Ext3, None),
        ("mkfs.ext2", &["-q", "-L", "old"], 16, FileSystem::Ext2, Some("old")),
        ("mkfs.xfs", &["-q", "-L", "big"], 320, FileSystem::Xfs, Some("big")),
        ("mkfs.btrfs", &["-q", "-L", "tree"], 128, FileSystem::Btrfs, Some("tree")),
        ("mkswap", &["-L", "swap"], 16, FileSystem::Swap, Some("swap")),
    ];
    for (tool, arguments, mib, file_system, label) in cases {
        let Some(volume) = made(tool, arguments, mib) else { continue };
        assert_eq!((volume.file_system, volume.label.as_deref()), (file_system, label));
        if matches!(file_system, FileSystem::Ext2 | FileSystem::Ext3 | FileSystem::Ext4 | FileSystem::Xfs) {
            let free = volume.free_bytes.unwrap();
            assert!(free > mib << 18 && free < mib << 20, "{tool}: {free}");
        }
    }
}

#[test]
fn signatures_are_found_in_their_places() {
    type Case = (FileSystem, &'static [(u64, &'static [u8])]);
    let cases: [Case; 9] = [
        (FileSystem::Ntfs, &[(3, b"NTFS    "), (510, &[0x55, 0xAA])]),
        (FileSystem::ExFat, &[(3, b"EXFAT   "), (510, &[0x55, 0xAA])]),
        (FileSystem::BitLocker, &[(3, b"-FVE-FS-"), (510, &[0x55, 0xAA])]),
        (FileSystem::Luks, &[(0, b"LUKS\xBA\xBE\0\x01")]),
        (FileSystem::Luks, &[(0, b"LUKS\xBA\xBE\0\x02")]),
        (FileSystem::Lvm2, &[(512, b"LABELONE"), (536, b"LVM2 001")]),
        (FileSystem::Iso9660, &[(32768, b"\x01CD001")]),
        (FileSystem::Swap, &[(65526, b"SWAPSPACE2")]),
        (FileSystem::Xfs, &[(0, b"XFSB")]),
    ];
    for (file_system, bytes) in cases {
        let disk = Disk::new(MemoryDisk::new(1 << 20)).unwrap();
        for &(at, signature) in bytes {
            let block = at - at % 512;
            let mut sector = [0; 512];
            disk.read(block, &mut sector).unwrap();
            sector[(at - block) as usize..][..signature.len()].copy_from_slice(signature);
            disk.write(block, &sector, Durability::Cached).unwrap();
        }
        let found = inspect(&disk).unwrap();
        assert_eq!(found.volumes[0].file_system, file_system);
        assert_eq!(
            volume::free_space(&disk, &found.volumes[0]).unwrap_err().kind(),
            block_device::ErrorKind::Unsupported
        );
    }
}
