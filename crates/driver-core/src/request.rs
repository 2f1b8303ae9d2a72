//! What an IRP to a disk asks for, and what becomes of it.

use disk_types::{ByteRange, DiskBounds};
use driver_abi::NtStatus;

use crate::buffer::{Completion, SystemBuffer};
use crate::state::{DiskState, Event};
use crate::{Name, TrimJob, ioctl};

/// The flag of a write's stack location that makes it wait for the medium; FO_WRITE_THROUGH of the file object means the same.
pub const SL_WRITE_THROUGH: u8 = 0x04;

const PNP_DEVICE_USAGE_NOTIFICATION: u8 = 0x16;

/// What a disk is: what does not change while it is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskFacts {
    /// Its number, which another disk may have had, and may have again.
    pub disk: u32,
    /// Its serial, counted from 1 since the driver was loaded: what no other disk has or ever had.
    pub serial: u64,
    /// Its length and sector.
    pub bounds: DiskBounds,
    /// What is freed at a time; 0 where its file has no holes.
    pub unit_bytes: u32,
    /// Nobody writes to it.
    pub read_only: bool,
    /// It is presented as a removable medium.
    pub removable: bool,
    /// Trims free space.
    pub trims: bool,
    /// What it says is written best at a time.
    pub physical_sector_bytes: u32,
    /// AlignmentRequirement of its device object: a mask.
    pub alignment_mask: u32,
}

impl DiskFacts {
    /// `\Device\SparseDisk7`.
    #[must_use]
    pub fn device_name(&self) -> Name {
        Name::device(self.disk)
    }

    /// Whether a request that names the disk of this number by `serial` means this one. The caller keeps the disk.
    ///
    /// # Errors
    /// [`NtStatus::NO_SUCH_DEVICE`]: it means one that is gone, whose number this one has now.
    pub fn is_meant(&self, serial: u64) -> Result<(), NtStatus> {
        if serial == self.serial { Ok(()) } else { Err(NtStatus::NO_SUCH_DEVICE) }
    }
}

/// An IRP to a disk: its major function and the parameters that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// IRP_MJ_CREATE.
    Create,
    /// IRP_MJ_CLEANUP.
    Cleanup,
    /// IRP_MJ_CLOSE.
    Close,
    /// IRP_MJ_READ.
    Read {
        /// Parameters.Read.ByteOffset, the bits as they are: a negative one is beyond every disk.
        offset: u64,
        /// Parameters.Read.Length.
        len_bytes: u32,
    },
    /// IRP_MJ_WRITE.
    Write {
        /// Parameters.Write.ByteOffset.
        offset: u64,
        /// Parameters.Write.Length.
        len_bytes: u32,
        /// [`SL_WRITE_THROUGH`] or FO_WRITE_THROUGH.
        write_through: bool,
    },
    /// IRP_MJ_FLUSH_BUFFERS.
    FlushBuffers,
    /// IRP_MJ_DEVICE_CONTROL, with its buffer given beside.
    DeviceControl {
        /// Parameters.DeviceIoControl.IoControlCode.
        code: u32,
    },
    /// IRP_MJ_SHUTDOWN: the machine is going down. Disks are told before the file systems on them, which still write what
    /// they cached afterwards, and nobody says when they are done: so it is flushed now, and each later write is written through.
    Shutdown,
    /// IRP_MJ_PNP.
    Pnp {
        /// The minor function.
        minor: u8,
    },
    /// IRP_MJ_POWER. Call PoStartNextPowerIrp before it is completed.
    Power,
    /// IRP_MJ_SYSTEM_CONTROL.
    SystemControl,
    /// Anything else, IRP_MJ_FILE_SYSTEM_CONTROL and IRP_MJ_INTERNAL_DEVICE_CONTROL among it.
    Other,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Complete it now.
    Complete(Completion),
    /// Complete it now with the status and information it came with: nobody below knows more.
    Keep,
    /// Mark it pending and queue it; the worker calls the method of [`Disk`](crate::Disk) that bears the job's name.
    Queue(Job),
}

impl Verdict {
    pub(crate) const fn status(status: NtStatus) -> Self {
        Self::Complete(Completion::bare(status))
    }
}

/// Work for the disk's own thread, checked: its ranges lie inside the disk, on sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Read into the request's MDL, which is `range.len()` long.
    Read(ByteRange),
    /// Write from the request's MDL.
    Write {
        /// Where.
        range: ByteRange,
        /// Whether it must be on the medium before it is completed.
        write_through: bool,
    },
    /// Flush.
    Flush,
    /// Trim; the ranges lie in the request's system buffer, which the worker is given.
    Trim(TrimJob),
}

/// Decides about a request. May be called at any IRQL up to DISPATCH_LEVEL.
///
/// `buffer` is the system buffer of a [`Request::DeviceControl`] with METHOD_BUFFERED, and `None` otherwise.
#[must_use]
pub fn dispatch(facts: &DiskFacts, state: &DiskState, request: Request, buffer: Option<SystemBuffer<'_>>) -> Verdict {
    if matches!(request, Request::Shutdown) {
        // Also while it is being detached: that may be abandoned.
        state.begin_shutdown();
    }
    match request {
        // Whoever has it open must be able to let go.
        Request::Cleanup | Request::Close => return Verdict::status(NtStatus::SUCCESS),
        Request::Pnp { minor: PNP_DEVICE_USAGE_NOTIFICATION } => {
            // A paging, crash dump or hibernation file on a disk in a file: the way to the file may need that very page.
            return Verdict::status(NtStatus::NOT_SUPPORTED);
        }
        Request::Pnp { .. } | Request::Power | Request::SystemControl => return Verdict::Keep,
        // The Mount Manager tells that the letter is gone while the disk goes.
        Request::DeviceControl { code } if ioctl::is_for_mount_manager(code) => {}
        _ if state.is_detaching() => return Verdict::status(NtStatus::DEVICE_REMOVED),
        _ => {}
    }
    let verdict = match request {
        Request::Create => Verdict::status(NtStatus::SUCCESS),
        Request::Read { offset, len_bytes } => transfer(facts.bounds, offset, u64::from(len_bytes), Job::Read),
        Request::Write { .. } if facts.read_only => Verdict::status(NtStatus::MEDIA_WRITE_PROTECTED),
        Request::Write { offset, len_bytes, write_through } => {
            let write_through = write_through || state.is_shutting_down();
            transfer(facts.bounds, offset, u64::from(len_bytes), |range| Job::Write { range, write_through })
        }
        // Nothing was written, and a handle that cannot write cannot flush.
        Request::FlushBuffers | Request::Shutdown if facts.read_only => Verdict::status(NtStatus::SUCCESS),
        Request::FlushBuffers | Request::Shutdown => Verdict::Queue(Job::Flush),
        Request::DeviceControl { code } => {
            let buffer = buffer.unwrap_or_else(|| SystemBuffer::new(&mut [], 0, 0));
            ioctl::answer(facts, state, code, buffer)
        }
        _ => Verdict::status(NtStatus::INVALID_DEVICE_REQUEST),
    };
    if matches!(request, Request::Read { .. } | Request::Write { .. })
        && matches!(verdict, Verdict::Complete(Completion { status, .. }) if status.is_error())
    {
        state.count(Event::Invalid);
    }
    verdict
}

/// A read or a write: bounds, sectors, and the one of zero bytes that has nothing to do.
fn transfer(bounds: DiskBounds, offset: u64, len_bytes: u64, job: impl FnOnce(ByteRange) -> Job) -> Verdict {
    match bounds.check(offset, len_bytes) {
        Ok(Some(range)) => Verdict::Queue(job(range)),
        Ok(None) => Verdict::status(NtStatus::SUCCESS),
        Err(_) => Verdict::status(NtStatus::INVALID_PARAMETER),
    }
}
