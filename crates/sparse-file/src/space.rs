//! Giving space back, and taking it.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use crate::{ByteRange, Error, ErrorKind, Result, SparseFile, ZeroEffect, ZeroMode, sys};

/// Zeroes are written in pieces of this many bytes.
const ZEROES_BYTES: usize = 1 << 20;

impl SparseFile {
    /// Deallocates `range`. It reads as zeroes afterwards; parts of blocks at its edges are zeroed and stay allocated. The
    /// length does not change. Only whole units of [`granularity_bytes`](Self::granularity_bytes) inside one call are
    /// given back: join neighbouring ranges first.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the file system cannot, with nothing changed; [`ErrorKind::NoSpace`] where it must
    /// write the edges elsewhere and cannot.
    pub fn punch(&self, range: ByteRange) -> Result<()> {
        self.check_writable("punch", range)?;
        if self.try_once(&self.lacks.punch, || self.backing.punch(range), "punch", range)? {
            return Ok(());
        }
        if self.backing.needs_mark() && !self.is_marked_sparse()? {
            return Err(Error::new(ErrorKind::Unsupported, "punch")
                .at_path(self.path().display())
                .because("it is not marked as sparse, and only such a file gives anything back")
                .advise("mark it first: `sparsedisk sparse set`"));
        }
        Err(Error::new(ErrorKind::Unsupported, "punch")
            .at_path(self.path().display())
            .because("its file system cannot give parts of a file back")
            .advise(format!("keep the image on {}", sys::WITH_HOLES)))
    }

    /// Makes `range` read as zeroes, exactly, and says how (law 3).
    ///
    /// With [`ZeroMode::may_unmap`] it is punched where that is possible. Without, or where it is not, it is allocated
    /// afterwards: marked as unwritten where the file system can, and else written with zeroes, unless
    /// [`ZeroMode::fast_only`] forbids it.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for `fast_only` where only writing would do, with nothing changed;
    /// [`ErrorKind::NoSpace`]: a part may then be zero already (and on xfs, which frees before it allocates, be a hole).
    pub fn zero(&self, range: ByteRange, mode: ZeroMode) -> Result<ZeroEffect> {
        self.check_writable("zero", range)?;
        if mode.may_unmap && self.try_once(&self.lacks.punch, || self.backing.punch(range), "zero", range)? {
            return Ok(ZeroEffect::Deallocated);
        }
        if self.try_once(&self.lacks.zero_range, || self.backing.zero_range(range), "zero", range)? {
            return Ok(ZeroEffect::Marked);
        }
        if mode.fast_only {
            return Err(Error::new(ErrorKind::Unsupported, "zero")
                .at_path(self.path().display())
                .at_offset(range.start())
                .because("its file system can do so only by writing"));
        }
        self.write_zeroes(range)?;
        Ok(ZeroEffect::Written)
    }

    /// Allocates every hole in `range`, so that writing there needs no new space. The content does not change.
    ///
    /// # Errors
    /// [`ErrorKind::NoSpace`]: what was allocated by then stays allocated. [`ErrorKind::Unsupported`] where the file
    /// system cannot allocate without writing.
    pub fn allocate(&self, range: ByteRange) -> Result<()> {
        self.check_writable("allocate", range)?;
        self.backing.allocate(range).map_err(|error| self.failed("allocate", error).at_offset(range.start()))
    }

    /// Marks the file as sparse, or allocates every hole and unmarks it.
    ///
    /// Linux has no mark, any file may have holes: setting does nothing there. Clearing allocates every hole on each
    /// system; the content does not change.
    ///
    /// # Errors
    /// [`ErrorKind::NoSpace`] where the holes do not fit on the host. Nothing is rolled back, as [MS-FSA] 2.1.5.10.38 has
    /// it: what was allocated by then stays so, and the mark stays set. [`ErrorKind::Unsupported`] for setting it where
    /// the file system has no sparse files.
    pub fn set_sparse(&self, sparse: bool) -> Result<()> {
        let operation = if sparse { "mark as sparse" } else { "allocate" };
        if let Some(whole) = ByteRange::whole(self.len_bytes()) {
            self.check_writable(operation, whole)?;
        }
        self.backing.set_sparse(sparse, self.len_bytes()).map_err(|error| self.failed(operation, error))?;
        // On Windows only a file marked sparse can be punched: what was found before the mark holds no longer.
        self.lacks.punch.store(false, Relaxed);
        // Some servers and emulators agree, and do nothing.
        if sparse && self.backing.needs_mark() && !self.is_marked_sparse()? {
            return Err(Error::new(ErrorKind::Unsupported, operation)
                .at_path(self.path().display())
                .because("its file system has no sparse files")
                .advise(format!("keep it on {}", sys::WITH_HOLES)));
        }
        Ok(())
    }

    /// Whether the file is marked as sparse. On Linux, which has no mark: whether it has a hole.
    ///
    /// # Errors
    /// Those of asking the system.
    pub fn is_marked_sparse(&self) -> Result<bool> {
        self.backing.is_marked_sparse(self.len_bytes()).map_err(|error| self.failed("inspect", error))
    }

    /// Whether the file may have holes as it is: always on Linux, and on NTFS while it is marked as sparse. Whether its
    /// file system can make them at all is another question: [`support`](Self::support).
    ///
    /// # Errors
    /// Those of asking the system.
    pub fn may_have_holes(&self) -> Result<bool> {
        if self.backing.needs_mark() { self.is_marked_sparse() } else { Ok(true) }
    }

    /// Tells the storage beneath the file that `range` is not needed. A hint: it frees nothing in the file, and the range
    /// may read as anything afterwards.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] on Linux, which has no such hint for a part of a file.
    pub fn device_trim(&self, range: ByteRange) -> Result<()> {
        self.check_writable("trim the device beneath", range)?;
        self.backing
            .device_trim(range)
            .map_err(|error| self.failed("trim the device beneath", error).at_offset(range.start()))
    }

    pub(crate) fn write_zeroes(&self, range: ByteRange) -> Result<()> {
        let zeroes = vec![0; ZEROES_BYTES.min(usize::try_from(range.len()).unwrap_or(ZEROES_BYTES))];
        for piece in range.chunks(ZEROES_BYTES as u64) {
            let len = usize::try_from(piece.len()).unwrap_or(zeroes.len()).min(zeroes.len());
            self.write_at(piece.start(), &zeroes[..len])?;
        }
        Ok(())
    }

    /// Runs `call` unless it is known to be missing; `false` where it is.
    fn try_once(
        &self,
        lacking: &AtomicBool,
        call: impl Fn() -> std::io::Result<()>,
        operation: &'static str,
        range: ByteRange,
    ) -> Result<bool> {
        if lacking.load(Relaxed) {
            return Ok(false);
        }
        match call() {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {
                lacking.store(true, Relaxed);
                Ok(false)
            }
            Err(error) => Err(self.failed(operation, error).at_offset(range.start())),
        }
    }
}

// Where the tests run on Windows, which is under Wine, no file has holes.
#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::Allocation;

    #[test]
    fn a_file_marked_sparse_is_asked_again_to_give_space_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = SparseFile::create(&dir.path().join("image"), 1 << 20, Allocation::Sparse).unwrap();
        let whole = ByteRange::whole(1 << 20).unwrap();
        // As Windows answers for a file that is not marked.
        file.lacks.punch.store(true, Relaxed);
        assert_eq!(file.punch(whole).unwrap_err().kind(), ErrorKind::Unsupported);
        file.set_sparse(true).unwrap();
        file.punch(whole).unwrap();
    }
}
