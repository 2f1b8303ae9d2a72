//! Drive letters: by the Mount Manager, or, where there is none, by a symbolic link.
//!
//! The Mount Manager asks the disk who it is while it is told of it; nothing is locked here meanwhile, and the answers
//! need no file. What it is asked, and in which order, is in [`driver_core::mount_manager`].

use core::ptr::{null, null_mut};

use driver_abi::NameMaker;
use driver_core::mount_manager::{
    self, CREATE_POINT, DELETE_POINTS, Input, NEXT_DRIVE_LETTER, VOLUME_ARRIVAL_NOTIFICATION,
};
use driver_core::{Name, Refusal};

use crate::disk::DiskDevice;
use crate::handle::OwnedHandle;
use crate::nt::imports::{
    IoCreateSymbolicLink, IoDeleteSymbolicLink, ZwDeviceIoControlFile, ZwOpenSymbolicLinkObject,
    ZwQuerySymbolicLinkObject,
};
use crate::nt::values::{GENERIC_READ, GENERIC_WRITE, OBJ_CASE_INSENSITIVE, OBJ_KERNEL_HANDLE};
use crate::nt::{IoStatusBlock, NtStatus, ObjectAttributes, UnicodeString};
use crate::volume::open_device;

/// How many UTF-16 units of a link's target are read; disks of this driver have shorter names.
const TARGET_UNITS: usize = 64;

/// Gives `disk` the letter that is wished for, or the one that the Mount Manager chooses; none where there is nobody to
/// choose.
///
/// # Errors
/// [`Refusal::LetterInUse`]; what the kernel answers.
#[inline(never)]
pub(crate) fn make_name(disk: &DiskDevice, wish: Option<u8>) -> Result<(Option<u8>, NameMaker), NtStatus> {
    if wish.is_some_and(|letter| leads_to(letter, disk) != Leads::Nowhere) {
        return Err(Refusal::LetterInUse.status());
    }
    // What the disk suggests when the Mount Manager asks.
    disk.state.set_letter(wish);
    let device = disk.facts.device_name();
    let made = match (Manager::open(), wish) {
        (Ok(manager), Some(letter)) => {
            let _ = manager.ask(VOLUME_ARRIVAL_NOTIFICATION, &mount_manager::arrival(&device), &mut []);
            // The letter of a disk of this number that was attached when the system stopped is remembered, whatever its
            // image was, and made again; with it there, another one would be refused.
            (b'A'..=b'Z').filter(|&other| other != letter).for_each(|other| remove_letter(other, disk, Some(&manager)));
            let _ = manager.ask(CREATE_POINT, &mount_manager::create_point(&Name::letter(letter), &device), &mut []);
            // It may have made the letter at either step, or at none.
            if leads_to(letter, disk) == Leads::Here {
                Ok((wish, NameMaker::MountManager))
            } else {
                link(letter, &device)
            }
        }
        // It may remember the letter of a disk that had this number before; only what leads here is one of this disk.
        (Ok(manager), None) => Ok(match manager.choose(&device) {
            Some(letter) if leads_to(letter, disk) == Leads::Here => (Some(letter), NameMaker::MountManager),
            _ => (None, NameMaker::Nobody),
        }),
        (Err(_), Some(letter)) => link(letter, &device),
        (Err(_), None) => Ok((None, NameMaker::Nobody)),
    };
    let (letter, maker) = made.inspect_err(|_| disk.state.set_letter(None))?;
    disk.state.set_letter(letter);
    disk.set_name_maker(maker);
    Ok((letter, maker))
}

/// Takes every letter away that leads to the disk, whoever made it: afterwards it would lead to nothing, or to another
/// disk of that number.
#[inline(never)]
pub(crate) fn remove_name(disk: &DiskDevice) {
    let manager = Manager::open().ok();
    (b'A'..=b'Z').for_each(|letter| remove_letter(letter, disk, manager.as_ref()));
}

/// Takes a letter away, if it leads to the disk. Of the Mount Manager's entries only the letter is deleted: without the
/// others it would ignore the next disk of that number.
fn remove_letter(letter: u8, disk: &DiskDevice, manager: Option<&Manager>) {
    if leads_to(letter, disk) != Leads::Here {
        return;
    }
    if let Some(manager) = manager {
        let mut deleted = [0; 256];
        let _ = manager.ask(DELETE_POINTS, &mount_manager::delete_letter(&Name::letter(letter)), &mut deleted);
    }
    if leads_to(letter, disk) == Leads::Here {
        let name = Name::global_letter(letter);
        // SAFETY: a name that lives through the call; the link is this driver's, or leads to its disk.
        let _ = unsafe { IoDeleteSymbolicLink(&UnicodeString::new(name.units())) };
    }
}

/// Whether there is a Mount Manager.
pub(crate) fn is_there() -> bool {
    Manager::open().is_ok()
}

/// A symbolic link of our own, for every session.
fn link(letter: u8, device: &Name) -> Result<(Option<u8>, NameMaker), NtStatus> {
    let name = Name::global_letter(letter);
    let (name, target) = (UnicodeString::new(name.units()), UnicodeString::new(device.units()));
    // SAFETY: both names live through the call.
    match unsafe { IoCreateSymbolicLink(&name, &target) } {
        status if status.is_success() => Ok((Some(letter), NameMaker::SymbolicLink)),
        NtStatus::OBJECT_NAME_COLLISION => Err(Refusal::LetterInUse.status()),
        status => Err(status),
    }
}

/// What a drive letter stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leads {
    /// Nothing.
    Nowhere,
    /// The disk that was asked about.
    Here,
    /// Something else.
    Elsewhere,
}

#[inline(never)]
fn leads_to(letter: u8, disk: &DiskDevice) -> Leads {
    let name = Name::global_letter(letter);
    let name = UnicodeString::new(name.units());
    let attributes = ObjectAttributes::new(&name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE);
    let mut handle = null_mut();
    // SAFETY: every pointer is to a local that lives through the call.
    let status = unsafe { ZwOpenSymbolicLinkObject(&mut handle, GENERIC_READ, &attributes) };
    let handle = match OwnedHandle::from_open(status, handle) {
        Ok(handle) => handle,
        Err(NtStatus::OBJECT_NAME_NOT_FOUND) => return Leads::Nowhere,
        Err(_) => return Leads::Elsewhere,
    };
    let mut units = [0; TARGET_UNITS];
    let mut target = UnicodeString { length: 0, maximum_length: (TARGET_UNITS * 2) as u16, buffer: units.as_mut_ptr() };
    // SAFETY: the target has room for as many bytes as it says.
    let status = unsafe { ZwQuerySymbolicLinkObject(handle.raw(), &mut target, null_mut()) };
    let target = units.get(..usize::from(target.length / 2)).filter(|_| status.is_success());
    if target == Some(disk.facts.device_name().units()) { Leads::Here } else { Leads::Elsewhere }
}

/// The Mount Manager.
struct Manager(OwnedHandle);

impl Manager {
    fn open() -> Result<Self, NtStatus> {
        open_device(Name::of(mount_manager::DEVICE).units(), GENERIC_READ | GENERIC_WRITE).map(Self)
    }

    /// Tells it of the device, and asks for any letter.
    fn choose(&self, device: &Name) -> Option<u8> {
        let _ = self.ask(VOLUME_ARRIVAL_NOTIFICATION, &mount_manager::arrival(device), &mut []);
        let mut answer = [0; 2];
        let status = self.ask(NEXT_DRIVE_LETTER, &mount_manager::next_letter(device), &mut answer);
        mount_manager::next_letter_answer(&answer).filter(|_| status.is_success())
    }

    fn ask(&self, code: u32, input: &Input, output: &mut [u8]) -> NtStatus {
        let input = input.as_bytes();
        let mut status_block = IoStatusBlock::new();
        // SAFETY: a synchronous handle of the driver's own, and buffers as long as is said.
        unsafe {
            ZwDeviceIoControlFile(
                self.0.raw(),
                null_mut(),
                null(),
                null(),
                &mut status_block,
                code,
                input.as_ptr().cast(),
                input.len() as u32,
                output.as_mut_ptr().cast(),
                output.len() as u32,
            )
        }
    }
}
