//! The disk's device object, and what its dispatch routine does with an IRP.
//!
//! Everything that a request needs after its handle outlived the disk lies in the device extension, which the I/O
//! manager keeps as long as anybody has the device open. Everything else (file, memory, thread) goes when the disk is
//! detached.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::ptr::{NonNull, null, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, Ordering};

use driver_abi::{DiskEntry, DiskFlags, NameMaker, NtPath};
use driver_core::{Completion, DiskFacts, DiskState, Request, SL_WRITE_THROUGH, SystemBuffer, Verdict};

use crate::nt::NtStatus;
use crate::nt::imports::{
    IoAcquireRemoveLockEx, IoAcquireVpbSpinLock, IoInitializeRemoveLockEx, IoReleaseRemoveLockAndWaitEx,
    IoReleaseRemoveLockEx, IoReleaseVpbSpinLock, PoStartNextPowerIrp,
};
use crate::nt::irp::Transfer;
use crate::nt::objects::{DeviceObject, FileObject, RemoveLock};
use crate::nt::values::{
    FO_WRITE_THROUGH, IO_DISK_INCREMENT, IO_NO_INCREMENT, IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE,
    IRP_MJ_DEVICE_CONTROL, IRP_MJ_FLUSH_BUFFERS, IRP_MJ_PNP, IRP_MJ_POWER, IRP_MJ_READ, IRP_MJ_SHUTDOWN,
    IRP_MJ_SYSTEM_CONTROL, IRP_MJ_WRITE, VPB_MOUNTED,
};
use crate::pool::PoolBytes;
use crate::queue::IrpQueue;
use crate::request::OwnedIrp;

const REMOVE_LOCK_TAG: u32 = u32::from_le_bytes(*b"SpDk");
const REMOVE_LOCK_BYTES: u32 = size_of::<RemoveLock>() as u32;
/// Its address marks a file object that is counted as open.
static COUNTED: u8 = 0;

const MADE_BY_MOUNT_MANAGER: u8 = 1;
const MADE_BY_LINK: u8 = 2;
/// METHOD_BUFFERED, in the lowest two bits of a control code.
const METHOD_BUFFERED: u32 = 0;

/// The extension of a disk's device object.
pub(crate) struct DiskDevice {
    pub(crate) facts: DiskFacts,
    pub(crate) state: DiskState,
    pub(crate) queue: IrpQueue,
    pub(crate) zero_detection: bool,
    remove_lock: UnsafeCell<RemoveLock>,
    device: NonNull<DeviceObject>,
    /// Handles that were opened and not yet closed.
    open_handles: AtomicU32,
    /// 0 for nobody, or one of `MADE_BY_*`.
    name_maker: AtomicU8,
    /// The worker's thread object, referenced; null before it runs and after it ended.
    pub(crate) thread: AtomicPtr<c_void>,
    /// What [`crate::table::Reservation::file`] gave.
    file: AtomicPtr<FileObject>,
    /// How the flush at the worker's end went.
    pub(crate) last_flush: AtomicU32,
    /// The backing file's path, until the disk is detached. Only touched by whoever holds the remove lock, or was the
    /// last to.
    path: UnsafeCell<Option<PoolBytes>>,
}

// SAFETY: the cells are the kernel's lock, which any thread may use, and a path that is only changed when nobody else
// can reach it; the device pointer is the driver's own object.
unsafe impl Sync for DiskDevice {}

impl DiskDevice {
    /// The disk that `facts` and `path` describe, on `device`.
    pub(crate) fn new(
        device: NonNull<DeviceObject>,
        facts: DiskFacts,
        zero_detection: bool,
        floor: u64,
        path: PoolBytes,
    ) -> Self {
        Self {
            facts,
            state: DiskState::new(floor),
            queue: IrpQueue::new(),
            zero_detection,
            remove_lock: UnsafeCell::new(RemoveLock::ZERO),
            device,
            open_handles: AtomicU32::new(0),
            name_maker: AtomicU8::new(0),
            thread: AtomicPtr::new(null_mut()),
            file: AtomicPtr::new(null_mut()),
            last_flush: AtomicU32::new(NtStatus::SUCCESS.0),
            path: UnsafeCell::new(Some(path)),
        }
    }

    /// Makes the kernel's objects in it usable. It does not move afterwards.
    pub(crate) fn initialise(&self) {
        // SAFETY: the lock lies in memory that is not paged; no time limit and no count are watched.
        unsafe { IoInitializeRemoveLockEx(self.remove_lock.get(), REMOVE_LOCK_TAG, 0, 0, REMOVE_LOCK_BYTES) };
        self.queue.initialise();
    }

    /// The disk of a device object that [`crate::attach`] made.
    ///
    /// # Safety
    /// `device` is one of those, and is not deleted during `'a`: an IRP to it, its worker or the remove lock keeps it.
    pub(crate) unsafe fn of<'a>(device: *mut DeviceObject) -> &'a Self {
        // SAFETY: the caller's promise; nobody changes the field after IoCreateDevice.
        let extension = unsafe { (*device).device_extension }.cast::<Self>();
        // SAFETY: the caller's promise; the extension is initialised before the device can be reached.
        unsafe { &*extension }
    }

    pub(crate) const fn device(&self) -> NonNull<DeviceObject> {
        self.device
    }

    /// Keeps what [`crate::table::Reservation::again`] will need.
    pub(crate) fn remember_file(&self, file: *mut FileObject) {
        self.file.store(file, Ordering::SeqCst);
    }

    /// What was remembered.
    pub(crate) fn file(&self) -> *mut FileObject {
        self.file.load(Ordering::SeqCst)
    }

    /// Handles that are open.
    pub(crate) fn open_handles(&self) -> u32 {
        self.open_handles.load(Ordering::SeqCst)
    }

    pub(crate) fn name_maker(&self) -> NameMaker {
        match self.name_maker.load(Ordering::Relaxed) {
            MADE_BY_MOUNT_MANAGER => NameMaker::MountManager,
            MADE_BY_LINK => NameMaker::SymbolicLink,
            _ => NameMaker::Nobody,
        }
    }

    pub(crate) fn set_name_maker(&self, maker: NameMaker) {
        let number = match maker {
            NameMaker::Nobody => 0,
            NameMaker::MountManager => MADE_BY_MOUNT_MANAGER,
            NameMaker::SymbolicLink => MADE_BY_LINK,
        };
        self.name_maker.store(number, Ordering::Relaxed);
    }

    /// Counts the handle that `file` is for, and notes in it that it is counted.
    fn opened(&self, file: *mut FileObject) {
        if !file.is_null() {
            self.open_handles.fetch_add(1, Ordering::SeqCst);
            // SAFETY: the file object of an IRP_MJ_CREATE that is owned; this field of a file that no file system
            // opened is the driver's.
            unsafe { (*file).fs_context2 = (&raw const COUNTED).cast_mut().cast() };
        }
    }

    /// Counts it no longer.
    fn closed(&self, file: *mut FileObject) {
        // SAFETY: the file object of an IRP that is owned. Create, cleanup and close of one file object do not overlap.
        if !file.is_null() && unsafe { (*file).fs_context2 }.cast_const().cast() == &raw const COUNTED {
            // SAFETY: as above.
            unsafe { (*file).fs_context2 = null_mut() };
            self.open_handles.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// The address of its VPB, if a file system is mounted through it.
    pub(crate) fn mounted(&self) -> Option<usize> {
        let device = self.device.as_ptr();
        // SAFETY: the device is the driver's own. Where the I/O manager gives a disk no VPB (Wine), nobody mounts it.
        if unsafe { (*device).vpb }.is_null() {
            return None;
        }
        let mut irql = 0;
        // SAFETY: at IRQL <= DISPATCH_LEVEL; this thread does not hold the lock.
        unsafe { IoAcquireVpbSpinLock(&mut irql) };
        // SAFETY: a disk keeps one VPB or another, and under the lock it is this one.
        let vpb = unsafe { (*device).vpb };
        // SAFETY: as above.
        let mounted = !vpb.is_null() && unsafe { (*vpb).flags } & VPB_MOUNTED != 0;
        // SAFETY: this thread holds the lock, and `irql` is from before.
        unsafe { IoReleaseVpbSpinLock(irql) };
        mounted.then(|| vpb.addr())
    }

    /// Takes the remove lock: the disk stays until [`DiskDevice::release`].
    pub(crate) fn acquire(&self) -> bool {
        // SAFETY: the lock is initialised, and IRQL <= DISPATCH_LEVEL.
        unsafe { IoAcquireRemoveLockEx(self.remove_lock.get(), null_mut(), null(), 0, REMOVE_LOCK_BYTES) }.is_success()
    }

    /// Gives back what [`DiskDevice::acquire`] took.
    pub(crate) fn release(&self) {
        // SAFETY: acquired once for each release.
        unsafe { IoReleaseRemoveLockEx(self.remove_lock.get(), null_mut(), REMOVE_LOCK_BYTES) };
    }

    /// Gives back what [`DiskDevice::acquire`] took, lets nobody take it again, and waits until nobody has it.
    pub(crate) fn release_and_wait(&self) {
        // SAFETY: acquired by the caller, who calls this once in the life of the disk, at PASSIVE_LEVEL.
        unsafe { IoReleaseRemoveLockAndWaitEx(self.remove_lock.get(), null_mut(), REMOVE_LOCK_BYTES) };
        // SAFETY: nobody else holds the remove lock, and nobody ever will: the path is this thread's alone.
        let path = unsafe { &mut *self.path.get() };
        drop(path.take());
    }

    /// What the list says about it. The caller holds the remove lock.
    pub(crate) fn entry(&self) -> Option<DiskEntry<'_>> {
        // SAFETY: while somebody holds the remove lock, nobody changes the path.
        let path: &Option<PoolBytes> = unsafe { &*self.path.get() };
        Some(DiskEntry {
            disk: self.facts.disk,
            serial: self.facts.serial,
            flags: DiskFlags {
                read_only: self.facts.read_only,
                removable: self.facts.removable,
                zero_detection: self.zero_detection,
                trims: self.facts.trims,
                detaching: self.state.is_detaching(),
                flush_failed: self.state.flush_failed(),
            },
            len_bytes: self.facts.bounds.len_bytes(),
            sector_bytes: self.facts.bounds.block().bytes() as u32,
            unit_bytes: self.facts.unit_bytes,
            letter: self.state.letter(),
            name_maker: self.name_maker(),
            open_handles: self.open_handles(),
            counters: self.state.counters(),
            path: NtPath::new(path.as_deref()?).ok()?,
        })
    }
}

/// What an IRP asks of a disk.
fn request_of(irp: &OwnedIrp) -> Request {
    let parameters = irp.parameters();
    match irp.major_function() {
        IRP_MJ_CREATE => Request::Create,
        IRP_MJ_CLEANUP => Request::Cleanup,
        IRP_MJ_CLOSE => Request::Close,
        IRP_MJ_READ => {
            // SAFETY: the parameters of a read.
            let transfer = unsafe { parameters.transfer };
            Request::Read { offset: offset_of(&transfer), len_bytes: transfer.length }
        }
        IRP_MJ_WRITE => {
            // SAFETY: the parameters of a write.
            let transfer = unsafe { parameters.transfer };
            Request::Write {
                offset: offset_of(&transfer),
                len_bytes: transfer.length,
                write_through: is_written_through(irp),
            }
        }
        IRP_MJ_FLUSH_BUFFERS => Request::FlushBuffers,
        IRP_MJ_DEVICE_CONTROL => {
            // SAFETY: the parameters of a device control.
            let control = unsafe { parameters.device_control };
            Request::DeviceControl { code: control.io_control_code.0 }
        }
        IRP_MJ_SHUTDOWN => Request::Shutdown,
        IRP_MJ_PNP => Request::Pnp { minor: irp.minor_function() },
        IRP_MJ_POWER => Request::Power,
        IRP_MJ_SYSTEM_CONTROL => Request::SystemControl,
        _ => Request::Other,
    }
}

fn offset_of(transfer: &Transfer) -> u64 {
    let [low, high] = transfer.byte_offset;
    u64::from(high) << 32 | u64::from(low)
}

fn is_written_through(irp: &OwnedIrp) -> bool {
    if irp.stack_flags() & SL_WRITE_THROUGH != 0 {
        return true;
    }
    let file = irp.file_object();
    // SAFETY: a file object that an IRP names stays while the IRP is owned.
    !file.is_null() && unsafe { (*file).flags } & FO_WRITE_THROUGH != 0
}

/// The system buffer of a METHOD_BUFFERED device control, and the lengths of its input and its output; nothing for
/// anything else.
pub(crate) fn system_bytes(irp: &mut OwnedIrp) -> Option<(&mut [u8], usize, usize)> {
    if irp.major_function() != IRP_MJ_DEVICE_CONTROL {
        return None;
    }
    // SAFETY: the parameters of a device control.
    let control = unsafe { irp.parameters().device_control };
    if control.io_control_code.0 & 3 != METHOD_BUFFERED {
        return None;
    }
    let (input, output) = (control.input_buffer_length.0 as usize, control.output_buffer_length as usize);
    // SAFETY: METHOD_BUFFERED, and the I/O manager's buffer is as long as the longer of the two.
    let bytes = unsafe { irp.system_buffer(input.max(output)) };
    Some((bytes, input, output))
}

/// The same, to be read and answered.
pub(crate) fn system_buffer(irp: &mut OwnedIrp) -> Option<SystemBuffer<'_>> {
    system_bytes(irp).map(|(bytes, input, output)| SystemBuffer::new(bytes, input, output))
}

/// What becomes of `irp`, which stays the caller's.
pub(crate) fn verdict(disk: &DiskDevice, irp: &mut OwnedIrp) -> Verdict {
    let request = request_of(irp);
    driver_core::dispatch(&disk.facts, &disk.state, request, system_buffer(irp))
}

/// The dispatch routine of disks. Gives what the I/O manager is to be told.
pub(crate) fn dispatch(disk: &DiskDevice, mut irp: OwnedIrp) -> NtStatus {
    let major = irp.major_function();
    // Counted before it is judged, and a detach looks the other way round: one of the two sees the other.
    match major {
        IRP_MJ_CREATE => disk.opened(irp.file_object()),
        // Wine sends no IRP_MJ_CLEANUP.
        IRP_MJ_CLEANUP | IRP_MJ_CLOSE => disk.closed(irp.file_object()),
        _ => {}
    }
    let held = disk.acquire();
    let verdict = match verdict(disk, &mut irp) {
        // Letting go is always allowed; everything else needs a disk that stays.
        Verdict::Complete(_) | Verdict::Queue(_) if !held && !matches!(major, IRP_MJ_CLEANUP | IRP_MJ_CLOSE) => {
            Verdict::Complete(Completion::bare(NtStatus::DEVICE_REMOVED))
        }
        verdict => verdict,
    };
    let completion = match verdict {
        Verdict::Queue(_) => {
            irp.mark_pending();
            // The worker decides again, about the same parameters: an IRP has no room for a decision on x86.
            if let Err((irp, status)) = disk.queue.push(irp) {
                finish(disk, irp, Completion::bare(status));
            }
            return NtStatus::PENDING;
        }
        Verdict::Complete(completion) => completion,
        Verdict::Keep => Completion { status: irp.status(), information: irp.information() },
    };
    if major == IRP_MJ_CREATE && !completion.status.is_success() {
        disk.closed(irp.file_object());
    }
    if major == IRP_MJ_POWER {
        // SAFETY: an IRP_MJ_POWER that is not yet completed, at the disk's own stack location.
        unsafe { PoStartNextPowerIrp(irp.as_ptr()) };
    }
    complete(disk, irp, completion, IO_NO_INCREMENT);
    if held {
        disk.release();
    }
    completion.status
}

/// Completes an IRP that was queued, and gives back the remove lock that it held.
pub(crate) fn finish(disk: &DiskDevice, irp: OwnedIrp, completion: Completion) {
    complete(disk, irp, completion, IO_DISK_INCREMENT);
    disk.release();
}

fn complete(disk: &DiskDevice, irp: OwnedIrp, completion: Completion, boost: i8) {
    // The one status of ours that the I/O manager calls user-induced.
    if matches!(irp.major_function(), IRP_MJ_READ | IRP_MJ_WRITE)
        && completion.status == NtStatus::MEDIA_WRITE_PROTECTED
    {
        irp.blame(disk.device());
    }
    irp.complete(completion.status, completion.information, boost);
}

/// Completes a queued IRP that somebody cancelled. Called by its cancel routine, which owns it.
pub(crate) fn cancelled(device: *mut DeviceObject, irp: OwnedIrp) {
    // SAFETY: only IRPs to disks are queued, and the IRP's remove lock keeps the disk.
    let disk = unsafe { DiskDevice::of(device) };
    disk.queue.forget(&irp);
    finish(disk, irp, Completion::bare(NtStatus::CANCELLED));
}
