//! A file system that we made, seen through the drive by our own reader.

use std::os::windows::fs::FileExt;

use block_device::{ByteRange, Disk, Durability};
use disk_image::Image as DiskImage;
use sparse_file::Access;
use volume::fat::{BootSector, FatKind, FormatOptions, Layout, files, format};
use volume::{FileSystem, inspect};

use crate::machine::{Image, MIB, Random, driver_is_loaded};
use crate::transfers::DriveDisk;

/// Formats the image and puts a file into it, as a FAT driver would.
fn fat32_with_a_file(image: &Image, content: &[u8]) {
    let opened = DiskImage::open(&image.path, Access::ReadWrite).expect("the image");
    let options = FormatOptions {
        kind: FatKind::Fat32,
        label: Some("DRIVE".into()),
        serial: Some(1),
        ..FormatOptions::default()
    };
    let formatted = format(&opened.disk, &options).expect("format");
    put_file(&opened.disk, &formatted.layout, 1, b"HELLO   TXT", 10, content);
    opened.disk.flush().expect("flush");
}

/// An entry of the root directory, its chain of clusters in both FATs, and the content.
fn put_file(disk: &Disk, layout: &Layout, entry: u64, name: &[u8; 11], first: u32, content: &[u8]) {
    let change = |offset: u64, bytes: &[u8]| {
        let start = offset / 512 * 512;
        let mut sector = [0; 512];
        disk.read(start, &mut sector).expect("read");
        let at = (offset - start) as usize;
        sector[at..at + bytes.len()].copy_from_slice(bytes);
        disk.write(start, &sector, Durability::Cached).expect("write");
    };
    let clusters = (content.len() as u64).div_ceil(layout.cluster_bytes) as u32;
    for cluster in first..first + clusters {
        let next = if cluster + 1 == first + clusters { 0x0FFF_FFFF } else { cluster + 1 };
        for fat in 0..u64::from(layout.fats) {
            change(layout.fat_start + fat * layout.fat_bytes + u64::from(cluster) * 4, &next.to_le_bytes());
        }
    }
    // FSInfo, in sector 1: how many clusters are free is not known any more.
    change(512 + 488, &u32::MAX.to_le_bytes());
    let mut record = [0; 32];
    record[..11].copy_from_slice(name);
    record[11] = 0x20;
    record[20..22].copy_from_slice(&((first >> 16) as u16).to_le_bytes());
    record[26..28].copy_from_slice(&(first as u16).to_le_bytes());
    record[28..32].copy_from_slice(&(content.len() as u32).to_le_bytes());
    let root = layout.clusters_range(2, 1).expect("the root directory");
    change(root.start() + entry * 32, &record);
    let place = layout.clusters_range(first, clusters).expect("the clusters");
    let mut whole = content.to_vec();
    whole.resize(place.len() as usize, 0);
    disk.write(place.start(), &whole, Durability::Cached).expect("write");
}

fn read_file(disk: &Disk, path: &str) -> Vec<u8> {
    let mut content = None;
    files(disk, &mut |file| {
        if file.path == path {
            let mut bytes = Vec::new();
            for run in &file.runs {
                let mut piece = vec![0; run.len() as usize];
                disk.read(run.start(), &mut piece)?;
                bytes.extend(piece);
            }
            bytes.truncate(file.size_bytes as usize);
            content = Some(bytes);
        }
        Ok(())
    })
    .expect("a file system");
    content.unwrap_or_else(|| panic!("{path} is missing"))
}

#[test]
fn fat32_made_by_us_is_read_through_the_drive_and_what_is_written_there_is_in_the_image() {
    if !driver_is_loaded() {
        return;
    }
    let mut random = Random(0x5EED_0020);
    let (hello, world) = (random.bytes(100_000), random.bytes(70_001));
    let image = Image::new(40 * MIB);
    fat32_with_a_file(&image, &hello);
    let drive = image.drive();

    let mut sector = [0; 512];
    drive.open().seek_read(&mut sector, 0).expect("the boot sector");
    let boot = BootSector::from_bytes(&sector).expect("a FAT boot sector");
    assert_eq!((boot.serial, &boot.label), (1, b"DRIVE      "));
    let disk = DriveDisk::of(&drive);
    let contents = inspect(&disk).expect("what is inside");
    assert_eq!(contents.volumes.len(), 1, "{contents:?}");
    assert_eq!(contents.volumes[0].file_system, FileSystem::Fat32);
    assert_eq!(contents.volumes[0].range, ByteRange::whole(40 * MIB).expect("a range"));
    assert!(read_file(&disk, "/HELLO.TXT") == hello);

    put_file(&disk, &boot.layout().expect("a layout"), 2, b"WORLD   BIN", 1000, &world);
    disk.flush().expect("flush");
    assert!(read_file(&disk, "/WORLD.BIN") == world, "through the drive");
    drop(disk);

    let image = drive.detach();
    let opened = DiskImage::open(&image.path, Access::ReadOnly).expect("the image");
    assert!(read_file(&opened.disk, "/HELLO.TXT") == hello, "law 1");
    assert!(read_file(&opened.disk, "/WORLD.BIN") == world, "in the image");
}
