//! A file becomes a disk.
//!
//! All of it happens in the thread of whoever asks, so that the file is opened with his rights. Whatever fails, what
//! was done before is undone by dropping it.

use core::ptr::{NonNull, null_mut};

use driver_abi::{AttachRequest, Attached};
use driver_core::{Disk, Name, Plan, Refusal};

use crate::backing::Backing;
use crate::detach;
use crate::disk::DiskDevice;
use crate::entry;
use crate::mount;
use crate::nt::imports::{IoCreateDevice, IoDeleteDevice, IoRegisterShutdownNotification};
use crate::nt::objects::{DeviceObject, FileObject};
use crate::nt::values::{
    DO_DEVICE_INITIALIZING, DO_DIRECT_IO, FILE_DEVICE_DISK, FILE_DEVICE_SECURE_OPEN, FILE_READ_ONLY_DEVICE,
    FILE_REMOVABLE_MEDIA,
};
use crate::nt::{NtStatus, UnicodeString};
use crate::pool::PoolBytes;
use crate::table::{self, HeldDisk, Reservation};
use crate::worker::{self, Worker};

/// Attaches what `request` asks for. `file` is the control device's file object, through which it was asked.
///
/// # Errors
/// A [`Refusal`]'s status, or what the kernel or the file system answers. Nothing is left behind then, the sparse mark
/// of the file and its last sector aside.
#[inline(never)]
pub(crate) fn attach(request: &AttachRequest<'_>, file: *mut FileObject) -> Result<Attached, NtStatus> {
    let reservation = Reservation::take(0, file).ok_or(Refusal::TooManyDisks.status())?;
    let path = PoolBytes::copy_of(request.path.as_bytes()).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
    let backing = Backing::open(&UnicodeString::from_bytes(&path), request.flags.read_only)?;
    let plan = driver_core::judge(&backing.facts(entry::driver())?, request)?;

    let (mut device, reservation) = Device::create(&plan, reservation, file)?;
    let disk = device.fill(DiskDevice::new(
        device.object,
        plan.facts(reservation.number(), table::next_serial()),
        plan.zero_detection,
        request.space_floor_bytes,
        path,
    ));
    let mut scratch =
        PoolBytes::zeroed(request.sector_bytes.max(4096) as usize).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
    let core = Disk::attach(backing, &plan, &disk.state, &mut scratch)?;
    drop(scratch);
    worker::start(Worker::new(disk, core))?;

    let disk = device.open_for_all(&plan);
    // SAFETY: the driver's own device; undone by the detach. A disk that cannot be told of the end is flushed by its
    // file system.
    let _ = unsafe { IoRegisterShutdownNotification(disk.device().as_ptr()) };
    disk.remember_file(reservation.file());
    // From here on others may find it, and detach it, for which they wait until it is let go here.
    reservation.publish(disk.device());
    let named = mount::make_name(&disk, request.letter);
    let attached = named.map(|(letter, name_maker)| Attached {
        disk: disk.facts.disk,
        serial: disk.facts.serial,
        sector_bytes: disk.facts.bounds.block().bytes() as u32,
        len_bytes: disk.facts.bounds.len_bytes(),
        unit_bytes: disk.facts.unit_bytes,
        letter,
        name_maker,
    });
    if attached.is_err() && disk.state.begin_detach().is_ok() {
        let _ = detach::take_apart(disk);
    } else if disk.state.is_detaching() {
        // Somebody was faster, and may have taken the name away before it was there.
        mount::remove_name(&disk);
    }
    attached
}

/// A device object that nobody has opened yet. Dropping it deletes it.
struct Device {
    object: NonNull<DeviceObject>,
    /// Its extension, once it is filled.
    disk: *mut DiskDevice,
}

impl Device {
    /// Makes the device object of the disk that is planned, under the reserved number, or under the next one that is
    /// free: a disk that was detached by force keeps its name until its last handle is closed.
    fn create(
        plan: &Plan,
        mut reservation: Reservation,
        file: *mut FileObject,
    ) -> Result<(Self, Reservation), NtStatus> {
        let mut characteristics = FILE_DEVICE_SECURE_OPEN;
        if plan.removable {
            characteristics |= FILE_REMOVABLE_MEDIA;
        }
        if plan.read_only {
            characteristics |= FILE_READ_ONLY_DEVICE;
        }
        loop {
            let name = Name::device(reservation.number());
            let mut object = null_mut();
            // SAFETY: the driver's own object, and a name that lives through the call.
            let status = unsafe {
                IoCreateDevice(
                    entry::driver(),
                    size_of::<DiskDevice>() as u32,
                    &UnicodeString::new(name.units()),
                    FILE_DEVICE_DISK,
                    characteristics,
                    0,
                    &mut object,
                )
            };
            match NonNull::new(object) {
                Some(object) if status.is_success() => return Ok((Self { object, disk: null_mut() }, reservation)),
                _ if status != NtStatus::OBJECT_NAME_COLLISION => return Err(status),
                _ => {}
            }
            let next = reservation.number() + 1;
            reservation = Reservation::take(next, file).ok_or(Refusal::TooManyDisks.status())?;
        }
    }

    /// Puts the disk into the device's extension.
    fn fill(&mut self, disk: DiskDevice) -> &'static DiskDevice {
        const { assert!(align_of::<DiskDevice>() <= 8, "device extensions are aligned to 8 bytes") };
        // SAFETY: the device is this value's, and its extension is as large and as aligned as a `DiskDevice`.
        let place = unsafe { (*self.object.as_ptr()).device_extension }.cast::<DiskDevice>();
        // SAFETY: as above; nobody else knows the extension yet.
        unsafe { place.write(disk) };
        self.disk = place;
        // SAFETY: just written; it stays until the device is deleted, which this file and `detach` do last of all.
        let disk: &'static DiskDevice = unsafe { &*place };
        disk.initialise();
        disk
    }

    /// Lets others open it.
    fn open_for_all(self, plan: &Plan) -> HeldDisk {
        let device = self.object;
        core::mem::forget(self);
        let object = device.as_ptr();
        // SAFETY: the driver's own device, which nobody can open before the last line.
        unsafe { (*object).flags |= DO_DIRECT_IO };
        // SAFETY: as above.
        unsafe { (*object).alignment_requirement = plan.alignment_mask };
        // SAFETY: as above.
        unsafe { (*object).sector_size = plan.bounds.block().bytes() as u16 };
        // SAFETY: the device is filled, and nobody else can have detached it.
        let held = unsafe { HeldDisk::first(device) };
        // SAFETY: as above.
        unsafe { (*object).flags &= !DO_DEVICE_INITIALIZING };
        held
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if !self.disk.is_null() {
            // SAFETY: filled once, and used by nobody: its worker does not run.
            unsafe { self.disk.drop_in_place() };
        }
        // SAFETY: the driver's own device, which nobody could open.
        unsafe { IoDeleteDevice(self.object.as_ptr()) };
    }
}
