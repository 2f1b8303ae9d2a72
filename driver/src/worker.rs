//! The thread of a disk: the only one that touches its file.
//!
//! IRP_MJ_READ and IRP_MJ_WRITE may be paging I/O, in whose thread no file may be read; so they are queued, and this
//! thread, in the system process, does them one after the other. All the memory that it needs was taken at attach.

use core::ffi::c_void;
use core::ptr::{NonNull, null, null_mut};
use core::sync::atomic::Ordering;

use driver_core::{Completion, Disk, Job, Verdict};

use crate::backing::Backing;
use crate::disk::{self, DiskDevice};
use crate::handle::OwnedHandle;
use crate::nt::imports::{
    IoSetThreadHardErrorMode, KeSetPriorityThread, KeWaitForSingleObject, ObReferenceObjectByHandle,
    ObfDereferenceObject, PsCreateSystemThread, PsTerminateSystemThread,
};
use crate::nt::values::{Executive, KernelMode, LOW_REALTIME_PRIORITY, OBJ_KERNEL_HANDLE, SYNCHRONIZE};
use crate::nt::{NtStatus, ObjectAttributes};
use crate::pool::PoolBox;
use crate::queue::Next;
use crate::request::OwnedIrp;

/// What the thread works with.
pub(crate) struct Worker {
    /// The disk's device, which stays until [`join`] has returned.
    disk: &'static DiskDevice,
    core: Disk<'static, Backing>,
}

impl Worker {
    /// The worker of `disk`.
    pub(crate) const fn new(disk: &'static DiskDevice, core: Disk<'static, Backing>) -> Self {
        Self { disk, core }
    }
}

/// Starts the thread. From here on [`join`] must be called before the disk's device is deleted.
///
/// # Errors
/// What the kernel answers; the file is closed then.
pub(crate) fn start(worker: Worker) -> Result<(), NtStatus> {
    let disk = worker.disk;
    let context = PoolBox::new(worker).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?.into_raw();
    // Without attributes the handle would be the calling program's before Vista, for any of its threads to close.
    let attributes = ObjectAttributes::unnamed(OBJ_KERNEL_HANDLE);
    let mut handle = null_mut();
    // SAFETY: `run` takes the context over; a thread without a process of its own belongs to the system's; the attributes
    // live through the call.
    let status =
        unsafe { PsCreateSystemThread(&mut handle, SYNCHRONIZE, &attributes, null_mut(), null_mut(), run, context) };
    let handle = match (OwnedHandle::from_open(status, handle), NonNull::new(context)) {
        (Ok(handle), _) => handle,
        (Err(status), Some(context)) => {
            // SAFETY: no thread runs, so the context is still this function's.
            drop(unsafe { PoolBox::<Worker>::from_raw(context) });
            return Err(status);
        }
        (Err(status), None) => return Err(status),
    };
    let mut thread = null_mut();
    // SAFETY: a handle that was just given; the pointer is a counted reference, given back by `join`.
    let status = unsafe {
        ObReferenceObjectByHandle(handle.raw(), SYNCHRONIZE, null_mut(), KernelMode, &mut thread, null_mut())
    };
    if !status.is_success() {
        // Without a reference nobody could wait for its end. Reading a handle that was just made cannot fail on any
        // kernel; should it, the thread ends by itself when the queue is closed, and the wait goes through the handle.
        disk.queue.close();
        // SAFETY: a thread handle with SYNCHRONIZE; without a time-out the wait ends with the thread.
        let _ = unsafe { crate::nt::imports::ZwWaitForSingleObject(handle.raw(), 0, null()) };
        return Err(status);
    }
    disk.thread.store(thread, Ordering::SeqCst);
    // SAFETY: a thread object that is referenced.
    unsafe { KeSetPriorityThread(thread, LOW_REALTIME_PRIORITY) };
    Ok(())
}

/// Waits for the end of the thread, whose queue is closed. Afterwards the file is closed.
pub(crate) fn join(disk: &DiskDevice) {
    let thread = disk.thread.swap(null_mut(), Ordering::SeqCst);
    if thread.is_null() {
        return;
    }
    // SAFETY: a thread object that is referenced; without a time-out the wait ends with the thread.
    let _ = unsafe { KeWaitForSingleObject(thread, Executive, KernelMode, 0, null()) };
    // SAFETY: the reference that `start` took.
    unsafe { ObfDereferenceObject(thread) };
}

unsafe extern "system" fn run(context: *mut c_void) {
    if let Some(context) = NonNull::new(context) {
        // SAFETY: the context that `start` gave to this thread alone.
        let worker = unsafe { PoolBox::<Worker>::from_raw(context) };
        work(worker);
    }
    // SAFETY: a system thread ends itself, with nothing left to drop.
    let _ = unsafe { PsTerminateSystemThread(NtStatus::SUCCESS) };
}

fn work(mut worker: PoolBox<Worker>) {
    // No window that asks for another medium: this thread has nobody to answer it.
    // SAFETY: concerns the calling thread only.
    unsafe { IoSetThreadHardErrorMode(0) };
    loop {
        match worker.disk.queue.pop() {
            Next::Irp(irp) => worker.serve(irp),
            Next::Empty => worker.disk.queue.wait(),
            Next::Closed => break,
        }
    }
    if !worker.disk.facts.read_only {
        let flushed = worker.core.flush();
        worker.disk.last_flush.store(flushed.status.0, Ordering::SeqCst);
    }
}

impl Worker {
    fn serve(&mut self, mut irp: OwnedIrp) {
        let completion = match disk::verdict(self.disk, &mut irp) {
            Verdict::Queue(job) => self.perform(job, &mut irp),
            // It was detached meanwhile.
            Verdict::Complete(completion) => completion,
            Verdict::Keep => Completion::bare(NtStatus::INVALID_DEVICE_REQUEST),
        };
        disk::finish(self.disk, irp, completion);
    }

    fn perform(&mut self, job: Job, irp: &mut OwnedIrp) -> Completion {
        match job {
            Job::Read(range) => match irp.direct_buffer(range.len() as usize) {
                Ok(buffer) => self.core.read(range, buffer),
                Err(status) => Completion::bare(status),
            },
            Job::Write { range, write_through } => match irp.direct_buffer(range.len() as usize) {
                Ok(data) => self.core.write(range, write_through, data),
                Err(status) => Completion::bare(status),
            },
            Job::Flush => self.core.flush(),
            Job::Trim(job) => match disk::system_bytes(irp) {
                Some((bytes, ..)) => self.core.trim(job, bytes),
                None => Completion::bare(NtStatus::INVALID_PARAMETER),
            },
        }
    }
}
