//! What the driver asks the Mount Manager, as bytes of its IOCTLs.
//!
//! The order that works: [`arrival`] once the device exists, then [`create_point`] for the letter wished for, or
//! [`next_letter`] for any; on failure a symbolic link of our own. When the disk goes: [`delete_letter`], by the link only,
//! because deleting the other entries makes the Mount Manager ignore the next disk of that number. It knows disks by their
//! number, not by their image: what it keeps of one is there for whichever image gets the number next.

use crate::Name;
use crate::record::Record;

/// IOCTL_MOUNTMGR_CREATE_POINT.
pub const CREATE_POINT: u32 = 0x6D_C000;
/// IOCTL_MOUNTMGR_DELETE_POINTS. Its output is a MOUNTMGR_MOUNT_POINTS of what was deleted.
pub const DELETE_POINTS: u32 = 0x6D_C004;
/// IOCTL_MOUNTMGR_NEXT_DRIVE_LETTER. Its output is read by [`next_letter_answer`].
pub const NEXT_DRIVE_LETTER: u32 = 0x6D_C010;
/// IOCTL_MOUNTMGR_VOLUME_ARRIVAL_NOTIFICATION.
pub const VOLUME_ARRIVAL_NOTIFICATION: u32 = 0x6D_402C;
/// The Mount Manager's device.
pub const DEVICE: &str = r"\Device\MountPointManager";

/// The input of one of these IOCTLs.
#[derive(Clone, Copy, Debug)]
pub struct Input {
    record: Record<208>,
    len: usize,
}

impl Input {
    /// The bytes to send.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.record.bytes().get(..self.len).unwrap_or_default()
    }

    fn put_name(mut self, offset: usize, name: &Name) -> Self {
        for (at, byte) in (offset..).zip(name.bytes()) {
            self.record = self.record.u8(at, byte);
        }
        self.len = self.len.max(offset + usize::from(name.len_bytes()));
        self
    }

    const fn new(record: Record<208>, len: usize) -> Self {
        Self { record, len }
    }
}

/// MOUNTMGR_TARGET_NAME for [`VOLUME_ARRIVAL_NOTIFICATION`]: length, name.
#[must_use]
pub fn arrival(device: &Name) -> Input {
    Input::new(Record::new().u16(0, device.len_bytes()), 4).put_name(2, device)
}

/// MOUNTMGR_CREATE_POINT_INPUT for [`CREATE_POINT`]: offset and length of the link, offset and length of the device.
#[must_use]
pub fn create_point(link: &Name, device: &Name) -> Input {
    let (link_len, device_len) = (link.len_bytes(), device.len_bytes());
    let record = Record::new().u16(0, 8).u16(2, link_len).u16(4, 8 + link_len).u16(6, device_len);
    Input::new(record, 8).put_name(8, link).put_name(8 + usize::from(link_len), device)
}

/// MOUNTMGR_DRIVE_LETTER_TARGET for [`NEXT_DRIVE_LETTER`]: length, name.
#[must_use]
pub fn next_letter(device: &Name) -> Input {
    arrival(device)
}

/// The letter in a MOUNTMGR_DRIVE_LETTER_INFORMATION {was assigned, current letter}; `None` if there is none.
#[must_use]
pub fn next_letter_answer(output: &[u8]) -> Option<u8> {
    match *output {
        [_, letter, ..] if letter.is_ascii_uppercase() => Some(letter),
        _ => None,
    }
}

/// MOUNTMGR_MOUNT_POINT for [`DELETE_POINTS`]: link 0 and 4, unique id 8 and 12, device 16 and 20; only the link is given.
#[must_use]
pub fn delete_letter(link: &Name) -> Input {
    Input::new(Record::new().u32(0, 24).u16(4, link.len_bytes()), 24).put_name(24, link)
}
