//! Sparse files in a place.

use std::path::Path;

use sparse_file::{Access, Allocation, ByteRange, ErrorKind, SparseFile};
use test_places::Place;

/// Makes files in a place.
pub(crate) trait Files {
    /// A new sparse file, whose last sector was written.
    fn file(&self, name: &str, len_bytes: u64) -> SparseFile;
    /// A file that is one hole.
    fn hole(&self, name: &str, len_bytes: u64) -> SparseFile;
}

impl Files for Place {
    fn file(&self, name: &str, len_bytes: u64) -> SparseFile {
        let made = SparseFile::create(&self.path(name), len_bytes, Allocation::Sparse);
        made.unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    fn hole(&self, name: &str, len_bytes: u64) -> SparseFile {
        let file = self.file(name, len_bytes);
        if !["ext2", "fuse"].contains(&self.name) {
            file.punch(range(0, len_bytes)).unwrap();
        }
        file
    }
}

/// The bytes from `start` to `end`.
pub(crate) fn range(start: u64, end: u64) -> ByteRange {
    ByteRange::new(start, end).unwrap()
}

/// Opens a file that this process had open a moment ago. A child between `fork` and `exec`, started by another test,
/// may keep the old lock for that moment.
pub(crate) fn open_again(path: &Path, access: Access) -> SparseFile {
    loop {
        match SparseFile::open(path, access) {
            Err(error) if error.kind() == ErrorKind::InUse => std::thread::yield_now(),
            done => return done.unwrap(),
        }
    }
}
