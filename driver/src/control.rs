//! The control device: where the driver itself is asked.

use core::sync::atomic::{AtomicBool, Ordering};

use driver_abi::{DriverFlags, MAX_DISKS, Statistics, Version};
use driver_core::control::{self, Command};
use driver_core::{Completion, SystemBuffer};

use crate::disk::system_buffer;
use crate::nt::NtStatus;
use crate::nt::imports::PoStartNextPowerIrp;
use crate::nt::objects::FileObject;
use crate::nt::values::{
    IO_NO_INCREMENT, IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE, IRP_MJ_DEVICE_CONTROL, IRP_MJ_PNP, IRP_MJ_POWER,
    IRP_MJ_SYSTEM_CONTROL,
};
use crate::request::OwnedIrp;
use crate::table::HeldDisk;
use crate::{attach, detach, mount, security};

/// The driver's version, from Cargo.toml.
const VERSION: [u16; 3] = [
    number(env!("CARGO_PKG_VERSION_MAJOR")),
    number(env!("CARGO_PKG_VERSION_MINOR")),
    number(env!("CARGO_PKG_VERSION_PATCH")),
];

/// Whether the registry lets the driver run unprotected, for tests.
static UNPROTECTED: AtomicBool = AtomicBool::new(false);

/// Its address marks a file object whose opener may ask.
static ADMITTED: u8 = 0;

/// From now on everybody may open the control device.
pub(crate) fn leave_unprotected() {
    UNPROTECTED.store(true, Ordering::Relaxed);
}

/// The dispatch routine of the control device.
pub(crate) fn dispatch(mut irp: OwnedIrp) -> NtStatus {
    let completion = match irp.major_function() {
        IRP_MJ_CREATE if may_open(&irp) => {
            admit(irp.file_object());
            Completion::bare(NtStatus::SUCCESS)
        }
        IRP_MJ_CREATE => Completion::bare(NtStatus::ACCESS_DENIED),
        IRP_MJ_CLEANUP | IRP_MJ_CLOSE => Completion::bare(NtStatus::SUCCESS),
        IRP_MJ_DEVICE_CONTROL if is_admitted(irp.file_object()) => device_control(&mut irp),
        IRP_MJ_DEVICE_CONTROL => Completion::bare(NtStatus::ACCESS_DENIED),
        IRP_MJ_PNP | IRP_MJ_POWER | IRP_MJ_SYSTEM_CONTROL => {
            Completion { status: irp.status(), information: irp.information() }
        }
        _ => Completion::bare(NtStatus::INVALID_DEVICE_REQUEST),
    };
    if irp.major_function() == IRP_MJ_POWER {
        // SAFETY: an IRP_MJ_POWER that is not yet completed, at the device's own stack location.
        unsafe { PoStartNextPowerIrp(irp.as_ptr()) };
    }
    irp.complete(completion.status, completion.information, IO_NO_INCREMENT);
    completion.status
}

/// The second look at who opens it: the first was the object manager's, at the device's descriptor.
fn may_open(irp: &OwnedIrp) -> bool {
    // SAFETY: the parameters of an IRP_MJ_CREATE.
    let create = unsafe { irp.parameters().create };
    UNPROTECTED.load(Ordering::Relaxed) || security::caller_is_administrator(&create)
}

/// Notes in the file object that whoever opened it may ask. Not every I/O manager keeps a handle from a caller whose
/// IRP_MJ_CREATE has failed: Wine's does not. Such a handle is good for nothing here.
fn admit(file: *mut FileObject) {
    if !file.is_null() {
        // SAFETY: the file object of an IRP that is owned; this field is the driver's, and only IRP_MJ_CREATE, which
        // comes first, sets it.
        unsafe { (*file).fs_context2 = (&raw const ADMITTED).cast_mut().cast() };
    }
}

/// Whether [`admit`] noted that.
fn is_admitted(file: *mut FileObject) -> bool {
    // SAFETY: as for `admit`.
    !file.is_null() && unsafe { (*file).fs_context2 }.cast_const().cast() == &raw const ADMITTED
}

// Not inlined, nor what it calls: a read or a write does not pay with its stack for what an attach needs.
#[inline(never)]
fn device_control(irp: &mut OwnedIrp) -> Completion {
    // SAFETY: the parameters of a device control.
    let code = unsafe { irp.parameters().device_control }.io_control_code.0;
    let file = irp.file_object();
    let Some(buffer) = system_buffer(irp) else { return Completion::bare(NtStatus::INVALID_DEVICE_REQUEST) };
    let done = |result: Result<(), NtStatus>| Completion::bare(result.err().unwrap_or(NtStatus::SUCCESS));
    match control::command(code, &buffer) {
        Err(status) => Completion::bare(status),
        Ok(Command::QueryVersion) => control::reply(buffer, &version()),
        Ok(Command::Attach(request)) => match attach::attach(&request, file) {
            Ok(attached) => control::reply(buffer, &attached),
            Err(status) => Completion::bare(status),
        },
        Ok(Command::Detach(request)) => done(detach::detach(&request)),
        Ok(Command::List) => list(buffer),
        Ok(Command::SetSpaceFloor(request)) => {
            let disk = HeldDisk::meant(request.disk, request.serial);
            done(disk.map(|disk| disk.state.set_space_floor(request.space_floor_bytes)))
        }
        Ok(Command::Statistics(request)) => match HeldDisk::meant(request.disk, request.serial) {
            Ok(disk) => control::reply(buffer, &Statistics { disk: request.disk, counters: disk.state.counters() }),
            Err(status) => Completion::bare(status),
        },
    }
}

#[inline(never)]
fn list(buffer: SystemBuffer<'_>) -> Completion {
    let disks = core::array::from_fn::<_, { MAX_DISKS as usize }, _>(|number| HeldDisk::find(number as u32));
    control::list(buffer, disks.iter().flatten().filter_map(|disk| disk.entry()))
}

#[inline(never)]
fn version() -> Version {
    let mut flags = 0;
    if UNPROTECTED.load(Ordering::Relaxed) {
        flags |= DriverFlags::UNPROTECTED;
    }
    if mount::is_there() {
        flags |= DriverFlags::MOUNT_MANAGER;
    }
    Version { driver: VERSION, flags: DriverFlags(flags), max_disks: MAX_DISKS }
}

const fn number(text: &str) -> u16 {
    match u16::from_str_radix(text, 10) {
        Ok(number) => number,
        Err(_) => panic!("Cargo's version numbers fit into 16 bits here"),
    }
}
