//! The backing file on a simulated NTFS volume, strict about what an unbuffered file demands.

use std::cell::RefCell;
use std::rc::Rc;

use driver_core::{BackingFile, Completion, NtStatus};
use fsa::{OpenId, Status, Volume};

pub(crate) type SharedVolume = Rc<RefCell<Volume>>;

/// An open file of the volume.
#[derive(Debug)]
pub(crate) struct HostFile {
    pub(crate) volume: SharedVolume,
    pub(crate) open: OpenId,
}

pub(crate) fn nt(status: Status) -> NtStatus {
    NtStatus(status.0)
}

impl BackingFile for HostFile {
    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), NtStatus> {
        let len = buffer.len();
        let read = self.volume.borrow_mut().read(self.open, offset.try_into().unwrap(), buffer).map_err(nt)?;
        if read == len { Ok(()) } else { Err(NtStatus::END_OF_FILE) }
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), NtStatus> {
        let written = self.volume.borrow_mut().write(self.open, offset.try_into().unwrap(), data).map_err(nt)?;
        assert_eq!(written, data.len());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), NtStatus> {
        self.volume.borrow_mut().flush(self.open).map_err(nt)
    }

    fn control(&mut self, code: u32, input: &[u8], output: &mut [u8]) -> Completion {
        // METHOD_NEITHER hands these addresses to the file system.
        assert!(input.len() < 8 || input.as_ptr().addr().is_multiple_of(8), "a misaligned input");
        assert!(output.len() < 8 || output.as_ptr().addr().is_multiple_of(8), "a misaligned output");
        let (status, information) = self.volume.borrow_mut().control(self.open, code, input, output);
        Completion { status: nt(status), information }
    }

    fn free_bytes(&mut self) -> Result<u64, NtStatus> {
        let information = self.volume.borrow().information();
        Ok(information.free_clusters * information.cluster_bytes)
    }
}
