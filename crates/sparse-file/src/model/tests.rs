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
