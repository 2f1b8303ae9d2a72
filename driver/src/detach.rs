//! A disk goes.

use core::sync::atomic::Ordering;

use driver_abi::DetachRequest;
use driver_core::{InUse, Refusal, may_detach};

use crate::disk::DiskDevice;
use crate::mount;
use crate::nt::NtStatus;
use crate::nt::imports::{IoDeleteDevice, IoUnregisterShutdownNotification};
use crate::table::{HeldDisk, Reservation};
use crate::volume::Volume;
use crate::worker;

/// Detaches a disk. Plain, it must be in nobody's use. Forced, whoever has it open is told DEVICE_REMOVED from then on.
///
/// A file system on it is locked, which only succeeds while nobody has a file open there, and dismounted, which writes
/// what it had cached.
///
/// # Errors
/// NO_SUCH_DEVICE, also where another disk has the number now; [`Refusal::DiskInUse`]; DEVICE_REMOVED where somebody else detaches it; the disk stays as it is.
/// What the last flush answered if that failed: then the disk is gone all the same.
#[inline(never)]
pub(crate) fn detach(request: &DetachRequest) -> Result<(), NtStatus> {
    let disk = HeldDisk::meant(request.disk, request.serial)?;
    let forced = request.forced;
    // Open until the disk answers nobody: a locked volume is not mounted again, and its VPB stays, so that no other one can
    // have its address.
    let mounted = disk.mounted();
    let volume = if mounted.is_some() { dismount(&disk, forced)? } else { None };
    let dismounted = mounted.filter(|_| volume.is_some());
    let may = |disk: &DiskDevice| {
        may_detach(InUse { open_handles: disk.open_handles(), mounted: disk.mounted(), dismounted }, forced)
    };
    may(&disk)?;
    disk.state.begin_detach()?;
    // Whoever opened it between the question and the switch.
    if let Err(refusal) = may(&disk) {
        disk.state.abandon_detach();
        return Err(refusal.status());
    }
    drop(volume);
    let flushed = take_apart(disk);
    if flushed.is_success() { Ok(()) } else { Err(flushed) }
}

/// Locks and dismounts the file system on a disk, as far as it lets itself be. `None` where it cannot even be opened,
/// if that is forced.
fn dismount(disk: &DiskDevice, forced: bool) -> Result<Option<Volume>, NtStatus> {
    let volume = match Volume::open(disk) {
        Ok(volume) => volume,
        Err(_) if forced => return Ok(None),
        Err(status) => return Err(status),
    };
    let locked = volume.lock();
    if !forced && !locked.is_success() {
        return Err(Refusal::DiskInUse.status());
    }
    let dismounted = volume.dismount();
    if !forced && !dismounted.is_success() {
        return Err(Refusal::DiskInUse.status());
    }
    Ok(Some(volume))
}

/// Takes a disk apart whose detach has begun: nothing new gets in, what waits is answered, what was taken is given
/// back. Gives how the last flush went.
#[inline(never)]
pub(crate) fn take_apart(disk: HeldDisk) -> NtStatus {
    // SAFETY: the detach has begun, so this is the only thread here, and the disk was published.
    let reservation = unsafe { Reservation::again(disk.facts.disk, disk.file()) };
    mount::remove_name(&disk);
    // SAFETY: the driver's own device.
    unsafe { IoUnregisterShutdownNotification(disk.device().as_ptr()) };
    disk.queue.close();
    worker::join(&disk);
    let flushed = NtStatus(disk.last_flush.load(Ordering::SeqCst));
    let device = disk.release_and_wait();
    // SAFETY: nobody works with the extension. Handles that are still open keep the object itself, which answers them
    // as removed.
    unsafe { IoDeleteDevice(device.as_ptr()) };
    drop(reservation);
    flushed
}
