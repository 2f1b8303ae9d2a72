//! The controls of a simulated file, through buffers of any size.

use std::path::Path;

use super::{Volume, VolumeOptions};
use crate::backing::Backing;
use crate::fsctl::{self, Answer, Control, Status};
use crate::model::ModelFile;
use crate::{Access, Allocation, ByteRange};

/// A file whose answers have little room.
struct Cramped<'a>(&'a ModelFile, usize);

impl Control for Cramped<'_> {
    fn control(&self, code: u32, input: &[u8], output: &mut [u8]) -> Result<Answer, Status> {
        let room = output.len().min(self.1);
        self.0.control(code, input, &mut output[..room])
    }
}

#[test]
fn law6_the_map_is_the_same_through_a_buffer_of_any_size() {
    const ISLANDS: u64 = 100;
    let dir = tempfile::tempdir().unwrap();
    let volume = Volume::open(dir.path(), &VolumeOptions::default()).unwrap();
    let file = volume.create_file(Path::new("disk.img"), (ISLANDS + 1) << 17, Allocation::Sparse).unwrap();
    for island in 0..ISLANDS {
        file.write_at(island << 17, &[1]).unwrap();
    }
    let whole = ByteRange::whole(file.len_bytes()).unwrap();
    let Backing::Model(inner) = &file.backing else { unreachable!("it was made on a model") };
    let read = |room| fsctl::allocated_ranges(Cramped(inner, room), whole).collect::<Result<Vec<_>, _>>();
    let ranges = read(1 << 16).unwrap();
    // The last sector, which was written once, is in a unit of its own.
    assert_eq!(ranges.len() as u64, ISLANDS + 1);
    assert!((0..ISLANDS as usize).all(|at| ranges[at] == ByteRange::at((at as u64) << 17, 1 << 16).unwrap()));
    for room in [16, 17, 31, 32, 47, 160, 1000, 1616] {
        assert_eq!(read(room).unwrap(), ranges, "{room}");
    }
    // Not even one entry fits, however large our buffer grows.
    for room in [0, 1, 15] {
        assert_eq!(read(room), Err(Status::BAD_ANSWER), "{room}");
    }
    assert_eq!(fsctl::valid_data_bytes(inner, file.len_bytes()), Ok(file.len_bytes()));
    assert_eq!(fsctl::compression(inner), Ok(false));
}

#[test]
fn law10_an_encrypted_file_is_read_and_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let volume = Volume::open(dir.path(), &VolumeOptions::default()).unwrap();
    let options = fsa::CreateOptions {
        attributes: fsa::Attributes::ENCRYPTED,
        ..fsa::CreateOptions::new(fsa::Access::ALL, fsa::Disposition::Create)
    };
    let made = volume.shared.change(|inner| {
        let (open, _) = inner.create("\\secret.img", &options)?;
        inner.close(open)
    });
    made.unwrap();
    let error = volume.open_file(Path::new("secret.img"), Access::ReadWrite).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Refused, "{error}");
    let read = volume.open_file(Path::new("secret.img"), Access::ReadOnly).unwrap();
    assert_eq!(read.support().unwrap().forbidding, ["encrypted"]);
}

/// Changes a file of the volume by a control that nobody but a test needs.
fn control(volume: &Volume, name: &str, code: u32, input: &[u8]) {
    let done = volume.shared.change(|inner| {
        let open = inner.open(name, fsa::Access::ALL)?;
        let (status, _) = inner.control(open, code, input, &mut []);
        inner.close(open)?;
        if status.is_success() { Ok(()) } else { Err(status) }
    });
    done.unwrap();
}

#[test]
fn law10_a_compressed_file_is_refused_until_it_is_decompressed_and_reads_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let volume = Volume::open(dir.path(), &VolumeOptions::default()).unwrap();
    let (path, stream) = (Path::new("disk.img"), Path::new("disk.img:backup"));
    for name in [path, stream] {
        let file = volume.create_file(name, 1 << 20, Allocation::Sparse).unwrap();
        file.write_at(300_000, &[7; 5000]).unwrap();
    }
    control(&volume, "\\disk.img", fsctl::SET_COMPRESSION, &1u16.to_le_bytes());
    let error = volume.open_file(path, Access::ReadWrite).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Refused, "{error}");
    assert!(error.to_string().contains("compressed") && error.to_string().contains("--decompress"), "{error}");
    let read = volume.open_file(path, Access::ReadOnly).unwrap();
    assert!(read.ntfs_details().unwrap().unwrap().attributes.contains(&"compressed"));
    let in_use = volume.decompress_file(path).unwrap_err();
    assert_eq!(in_use.kind(), crate::ErrorKind::InUse, "{in_use}");
    drop(read);
    // Each stream for itself.
    drop(volume.open_file(stream, Access::ReadWrite).unwrap());
    assert!(!volume.decompress_file(stream).unwrap());
    assert!(volume.decompress_file(path).unwrap());
    assert!(!volume.decompress_file(path).unwrap());
    let file = volume.open_file(path, Access::ReadWrite).unwrap();
    let mut bytes = vec![0; 1 << 20];
    file.read_at(0, &mut bytes).unwrap();
    assert!(bytes[300_000..305_000].iter().all(|&byte| byte == 7));
    assert_eq!(bytes.iter().filter(|&&byte| byte != 0).count(), 5000);
    file.punch(ByteRange::whole(1 << 20).unwrap()).unwrap();
    assert_eq!(file.allocated_bytes().unwrap(), 0);
    let missing = volume.decompress_file(Path::new("missing.img")).unwrap_err();
    assert_eq!(missing.kind(), crate::ErrorKind::NotFound, "{missing}");
}

#[test]
fn law9_a_full_volume_refuses_to_decompress_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let options = VolumeOptions { capacity_bytes: Some(1 << 20), ..VolumeOptions::default() };
    let volume = Volume::open(dir.path(), &options).unwrap();
    // Compressed and not sparse: its holes are allocated when it is expanded.
    let made = volume.shared.change(|inner| {
        let options = fsa::CreateOptions::new(fsa::Access::ALL, fsa::Disposition::Create);
        let (open, _) = inner.create("\\disk.img", &options)?;
        inner.write(open, 0, &[1; 512 << 10])?;
        inner.close(open)
    });
    made.unwrap();
    control(&volume, "\\disk.img", fsctl::SET_COMPRESSION, &1u16.to_le_bytes());
    control(&volume, "\\disk.img", fsctl::SET_ZERO_DATA, &[[0u8; 8], (512u64 << 10).to_le_bytes()].concat());
    let ballast = volume.create_file(Path::new("ballast"), 768 << 10, Allocation::Dense).unwrap();
    let error = volume.decompress_file(Path::new("disk.img")).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::NoSpace, "{error}");
    ballast.punch(ByteRange::whole(768 << 10).unwrap()).unwrap();
    drop(ballast);
    assert!(volume.decompress_file(Path::new("disk.img")).unwrap());
}
