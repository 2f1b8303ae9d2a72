//! What the Mount Manager asks a disk. It holds its lock meanwhile: everything is answered at once, from memory.

use driver_abi::NtStatus;

use crate::buffer::{Completion, SystemBuffer};
use crate::names::{Name, letter_of};
use crate::request::DiskFacts;
use crate::state::DiskState;

/// MOUNTDEV_NAME {u16 length, name}: 4 bytes for the compiler.
const NAME_BYTES: usize = 4;
/// MOUNTDEV_SUGGESTED_LINK_NAME {u8 only if there are no others, u16 length at 2, name at 4}: 6 bytes for the compiler.
const LINK_NAME_BYTES: usize = 6;

pub(crate) fn device_name(facts: &DiskFacts, buffer: SystemBuffer<'_>) -> Completion {
    let name = facts.device_name();
    counted(buffer, 0, NAME_BYTES, usize::from(name.len_bytes()), name.bytes())
}

/// MOUNTDEV_UNIQUE_ID has the form of a name, and here also its bytes: the id is that of the disk's number, not of its file.
///
/// The Mount Manager keys what it knows by this id and by the device's name, and takes it for granted that a name which
/// arrives again still has its id. With an id of the file, another image under the same number would break that, and two
/// disks that read the same file would be one disk to it.
pub(crate) fn unique_id(facts: &DiskFacts, buffer: SystemBuffer<'_>) -> Completion {
    device_name(facts, buffer)
}

pub(crate) fn suggested_link_name(state: &DiskState, buffer: SystemBuffer<'_>) -> Completion {
    // The Mount Manager goes on with its own choice.
    let Some(letter) = state.letter() else { return Completion::bare(NtStatus::NOT_FOUND) };
    let name = Name::letter(letter);
    // "Only if there are no others" stays false: the letter was asked for.
    counted(buffer, 2, LINK_NAME_BYTES, usize::from(name.len_bytes()), name.bytes())
}

pub(crate) fn link_created(state: &DiskState, buffer: &SystemBuffer<'_>) -> Completion {
    link(buffer, |letter| state.set_letter(Some(letter)))
}

pub(crate) fn link_deleted(state: &DiskState, buffer: &SystemBuffer<'_>) -> Completion {
    link(buffer, |letter| state.clear_letter(letter))
}

/// MOUNTDEV_NAME in: is it a drive letter?
fn link(buffer: &SystemBuffer<'_>, found: impl FnOnce(u8)) -> Completion {
    let name = buffer.input().split_first_chunk::<2>();
    let name = name.and_then(|(len, rest)| rest.get(..usize::from(u16::from_le_bytes(*len))));
    let Some(name) = name else { return Completion::bare(NtStatus::INVALID_PARAMETER) };
    if let Some(letter) = letter_of(name) {
        found(letter);
    }
    Completion::bare(NtStatus::SUCCESS)
}

/// A length and what it counts, by the protocol of the Mount Manager: an output that does not hold the structure is no
/// parameter, one that holds the structure but not the name learns the length from it.
fn counted(
    buffer: SystemBuffer<'_>,
    len_offset: usize,
    struct_bytes: usize,
    len: usize,
    bytes: impl Iterator<Item = u8>,
) -> Completion {
    if buffer.output_len() < struct_bytes {
        return Completion::bare(NtStatus::INVALID_PARAMETER);
    }
    let output = buffer.into_output();
    if let Some(place) = output.get_mut(len_offset..len_offset + 2) {
        place.copy_from_slice(&(len as u16).to_le_bytes());
    }
    match output.get_mut(len_offset + 2..len_offset + 2 + len) {
        Some(place) => {
            place.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
            Completion::done(len_offset + 2 + len)
        }
        None => Completion { status: NtStatus::BUFFER_OVERFLOW, information: struct_bytes },
    }
}
