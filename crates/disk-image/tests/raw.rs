//! A raw image keeps every law of a disk, on simulated NTFS and on a file of this machine without holes; and what is not a
//! raw image is not taken for one. Real file systems with holes are in `raw_linux`.

use block_device::conformance::Fixture;
use block_device::{Durability, ErrorKind};
use disk_image::{Format, Image};
use sparse_file::model::{Volume, VolumeOptions};
use sparse_file::{Access, Allocation, SparseFile};

const MIB: u64 = 1 << 20;

/// An image that is allocated from the start: the one kind that every file system has.
fn dense_image(len_bytes: u64) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let image = Image::create(&dir.path().join("disk.img"), len_bytes, Format::Raw, Allocation::Dense);
    Fixture { disk: image.unwrap().disk, keep: Box::new(dir) }
}

/// An image on a simulated NTFS volume with clusters of this size.
fn image_on_ntfs(cluster_bytes: u64, len_bytes: u64) -> Fixture {
    let dir = tempfile::TempDir::new_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let options = VolumeOptions { cluster_bytes: Some(cluster_bytes), ..VolumeOptions::default() };
    let volume = Volume::open(dir.path(), &options).unwrap();
    let file = volume.create_file("disk.img".as_ref(), len_bytes, Allocation::Sparse).unwrap();
    let disk = Image::over(file, Format::Raw).unwrap().disk;
    Fixture { keep: Box::new((volume, dir)), disk }
}

block_device::conformance_suite!(raw_on_fsa_4k, |len| Some(image_on_ntfs(4 << 10, len)));
block_device::conformance_suite!(raw_on_fsa_64k, |len| Some(image_on_ntfs(64 << 10, len)));
block_device::conformance_suite!(raw_dense, |len| Some(dense_image(len)));

#[test]
fn law3_an_image_opened_for_reading_ignores_discards_and_refuses_writes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.img");
    drop(Image::create(&path, MIB, Format::Raw, Allocation::Dense).unwrap());
    // A child of another test, between `fork` and `exec`, may keep the lock for a moment.
    let file = std::iter::repeat_with(|| SparseFile::open(&path, Access::ReadOnly));
    let image = Image::over(file.filter_map(Result::ok).next().unwrap(), Format::Raw).unwrap();
    assert!(image.disk.geometry().read_only);
    assert_eq!(image.disk.write(0, &[1; 512], Durability::Cached).unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(image.disk.discard(0, MIB).unwrap_err().kind(), ErrorKind::ReadOnly);
}

#[test]
fn a_file_that_is_no_whole_number_of_blocks_is_no_disk() {
    let dir = tempfile::tempdir().unwrap();
    for (len, kind) in [(0, ErrorKind::InvalidInput), (511, ErrorKind::InvalidInput), (513, ErrorKind::InvalidInput)] {
        let path = dir.path().join(len.to_string());
        std::fs::write(&path, vec![0; len]).unwrap();
        let error = Image::open(&path, Access::ReadWrite).unwrap_err();
        assert_eq!(error.kind(), kind, "{len}: {error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn law10_an_image_of_another_format_is_not_taken_for_raw() {
    let dir = tempfile::tempdir().unwrap();
    let signatures: [(&str, usize, &[u8]); 5] = [
        ("qcow2", 0, b"QFI\xFB\0\0\0\x03"),
        ("VHDX", 0, b"vhdxfile"),
        ("VHD", 0, b"conectix"),
        ("VMDK", 0, b"KDMV"),
        ("VDI", 64, &[0x7F, 0x10, 0xDA, 0xBE]),
    ];
    for (name, offset, bytes) in signatures {
        let path = dir.path().join(name);
        let mut content = vec![0; 4096];
        content[offset..offset + bytes.len()].copy_from_slice(bytes);
        std::fs::write(&path, content).unwrap();
        let error = Image::open(&path, Access::ReadWrite).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn law2_what_was_flushed_is_in_the_file_that_others_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.img");
    let image = Image::create(&path, MIB, Format::Raw, Allocation::Dense).unwrap();
    image.disk.write(4096, &[7; 512], Durability::ForceUnitAccess).unwrap();
    image.disk.write(8192, &[8; 512], Durability::Cached).unwrap();
    image.disk.flush().unwrap();
    let content = std::fs::read(&path).unwrap();
    assert_eq!((content[4096], content[4096 + 511], content[8192]), (7, 7, 8));
}
