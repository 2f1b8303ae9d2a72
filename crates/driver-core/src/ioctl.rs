//! The IOCTLs of disks, storage and volumes that a disk answers.
//!
//! What is not in the table is [`NtStatus::INVALID_DEVICE_REQUEST`]: on purpose also the questions for device number and
//! disk extents, whose answer would send tools to a disk driver's stack that is not there, and the drive layout, because
//! the disk is one volume without a partition table.

use driver_abi::NtStatus;

use crate::buffer::{Completion, SystemBuffer};
use crate::geometry::Geometry;
use crate::record::{Record, u32_at, u64_at};
use crate::request::{DiskFacts, Verdict};
use crate::state::DiskState;
use crate::{mountdev, storage, trim};

/// The numbers of the IOCTLs that are answered.
#[expect(missing_docs, reason = "the names are those of Windows' headers without IOCTL_")]
pub mod codes {
    pub const DISK_GET_DRIVE_GEOMETRY: u32 = 0x7_0000;
    pub const DISK_VERIFY: u32 = 0x7_0014;
    pub const DISK_IS_WRITABLE: u32 = 0x7_0024;
    pub const DISK_GET_PARTITION_INFO_EX: u32 = 0x7_0048;
    pub const DISK_GET_DRIVE_GEOMETRY_EX: u32 = 0x7_00A0;
    pub const DISK_UPDATE_PROPERTIES: u32 = 0x7_0140;
    pub const DISK_GET_MEDIA_TYPES: u32 = 0x7_0C00;
    pub const DISK_GET_PARTITION_INFO: u32 = 0x7_4004;
    pub const DISK_GET_LENGTH_INFO: u32 = 0x7_405C;
    pub const DISK_CHECK_VERIFY: u32 = 0x7_4800;
    pub const DISK_MEDIA_REMOVAL: u32 = 0x7_4804;
    pub const DISK_SET_PARTITION_INFO: u32 = 0x7_C008;
    pub const DISK_SET_PARTITION_INFO_EX: u32 = 0x7_C04C;
    pub const STORAGE_CHECK_VERIFY2: u32 = 0x2D_0800;
    pub const STORAGE_GET_MEDIA_TYPES: u32 = 0x2D_0C00;
    pub const STORAGE_GET_HOTPLUG_INFO: u32 = 0x2D_0C14;
    pub const STORAGE_QUERY_PROPERTY: u32 = 0x2D_1400;
    pub const STORAGE_CHECK_VERIFY: u32 = 0x2D_4800;
    pub const STORAGE_MEDIA_REMOVAL: u32 = 0x2D_4804;
    pub const STORAGE_READ_CAPACITY: u32 = 0x2D_5140;
    pub const STORAGE_MANAGE_DATA_SET_ATTRIBUTES: u32 = 0x2D_9404;
    pub const VOLUME_GET_GPT_ATTRIBUTES: u32 = 0x56_0038;
    pub const VOLUME_IS_DYNAMIC: u32 = 0x56_0048;
    pub const VOLUME_ONLINE: u32 = 0x56_C008;
    pub const VOLUME_POST_ONLINE: u32 = 0x56_C064;
    pub const MOUNTDEV_QUERY_UNIQUE_ID: u32 = 0x4D_0000;
    pub const MOUNTDEV_QUERY_DEVICE_NAME: u32 = 0x4D_0008;
    pub const MOUNTDEV_QUERY_SUGGESTED_LINK_NAME: u32 = 0x4D_000C;
    pub const MOUNTDEV_LINK_CREATED: u32 = 0x4D_0010;
    pub const MOUNTDEV_LINK_DELETED: u32 = 0x4D_0014;
    /// As Windows since Server 2003 sends it, with access bits.
    pub const MOUNTDEV_LINK_CREATED_RW: u32 = 0x4D_C010;
    /// As Windows since Server 2003 sends it, with access bits.
    pub const MOUNTDEV_LINK_DELETED_RW: u32 = 0x4D_C014;

    /// All of them.
    pub const ALL: [u32; 32] = [
        DISK_GET_DRIVE_GEOMETRY,
        DISK_VERIFY,
        DISK_IS_WRITABLE,
        DISK_GET_PARTITION_INFO_EX,
        DISK_GET_DRIVE_GEOMETRY_EX,
        DISK_UPDATE_PROPERTIES,
        DISK_GET_MEDIA_TYPES,
        DISK_GET_PARTITION_INFO,
        DISK_GET_LENGTH_INFO,
        DISK_CHECK_VERIFY,
        DISK_MEDIA_REMOVAL,
        DISK_SET_PARTITION_INFO,
        DISK_SET_PARTITION_INFO_EX,
        STORAGE_CHECK_VERIFY2,
        STORAGE_GET_MEDIA_TYPES,
        STORAGE_GET_HOTPLUG_INFO,
        STORAGE_QUERY_PROPERTY,
        STORAGE_CHECK_VERIFY,
        STORAGE_MEDIA_REMOVAL,
        STORAGE_READ_CAPACITY,
        STORAGE_MANAGE_DATA_SET_ATTRIBUTES,
        VOLUME_GET_GPT_ATTRIBUTES,
        VOLUME_IS_DYNAMIC,
        VOLUME_ONLINE,
        VOLUME_POST_ONLINE,
        MOUNTDEV_QUERY_UNIQUE_ID,
        MOUNTDEV_QUERY_DEVICE_NAME,
        MOUNTDEV_QUERY_SUGGESTED_LINK_NAME,
        MOUNTDEV_LINK_CREATED,
        MOUNTDEV_LINK_DELETED,
        MOUNTDEV_LINK_CREATED_RW,
        MOUNTDEV_LINK_DELETED_RW,
    ];
}

/// PARTITION_HUGE: a FAT volume of any size, until a format program says otherwise, which nobody remembers.
const PARTITION_TYPE: u8 = 0x06;
/// GPT_BASIC_DATA_ATTRIBUTE_READ_ONLY.
const VOLUME_READ_ONLY: u64 = 1 << 60;

/// Whether the Mount Manager asks it; all of that is answered from memory.
pub(crate) const fn is_for_mount_manager(code: u32) -> bool {
    code >> 16 == codes::MOUNTDEV_QUERY_UNIQUE_ID >> 16
}

/// Answers an IOCTL, or makes a job of it.
pub(crate) fn answer(facts: &DiskFacts, state: &DiskState, code: u32, buffer: SystemBuffer<'_>) -> Verdict {
    let len_bytes = facts.bounds.len_bytes();
    let writable = if facts.read_only { Err(NtStatus::MEDIA_WRITE_PROTECTED) } else { Ok(()) };
    let completion = match code {
        codes::DISK_GET_DRIVE_GEOMETRY | codes::DISK_GET_MEDIA_TYPES | codes::STORAGE_GET_MEDIA_TYPES => {
            buffer.answer(&Geometry::of(facts.bounds).encode(facts.removable))
        }
        codes::DISK_GET_DRIVE_GEOMETRY_EX => {
            let record = Record::<40>::new().put(0, &Geometry::of(facts.bounds).encode(facts.removable));
            let record = record.u64(24, len_bytes);
            // The size is its last field that says something; callers also ask for just so much.
            if buffer.output_len() < 40 {
                buffer.answer(record.bytes().get(..32).unwrap_or_default())
            } else {
                buffer.answer(record.bytes())
            }
        }
        codes::DISK_GET_LENGTH_INFO => buffer.answer(&len_bytes.to_le_bytes()),
        codes::DISK_GET_PARTITION_INFO => {
            // start 0, length 8, hidden sectors 16, number 20, type 24, boot 25, recognised 26, rewrite 27.
            buffer.answer(Record::<32>::new().u64(8, len_bytes).u32(20, 1).u8(24, PARTITION_TYPE).u8(26, 1).bytes())
        }
        codes::DISK_GET_PARTITION_INFO_EX => {
            // style 0 (MBR), start 8, length 16, number 24, rewrite 28; type 32, boot 33, recognised 34, hidden sectors 36.
            buffer.answer(Record::<144>::new().u64(16, len_bytes).u32(24, 1).u8(32, PARTITION_TYPE).u8(34, 1).bytes())
        }
        codes::DISK_SET_PARTITION_INFO => accept(!buffer.input().is_empty(), writable),
        // The style, and the type that follows the padding behind it.
        codes::DISK_SET_PARTITION_INFO_EX => accept(buffer.input().len() >= 9, writable),
        codes::DISK_IS_WRITABLE => accept(true, writable),
        codes::DISK_VERIFY => verify(facts, &buffer),
        codes::DISK_CHECK_VERIFY | codes::STORAGE_CHECK_VERIFY | codes::STORAGE_CHECK_VERIFY2 => {
            // The medium is never changed: the count of changes, which need not be asked for, stays 0.
            match buffer.output_len() {
                0 => Completion::bare(NtStatus::SUCCESS),
                _ => buffer.answer(&[0; 4]),
            }
        }
        codes::DISK_MEDIA_REMOVAL | codes::STORAGE_MEDIA_REMOVAL if facts.removable => {
            accept(!buffer.input().is_empty(), Ok(()))
        }
        codes::STORAGE_GET_HOTPLUG_INFO => {
            // size 0, medium removable 4, medium hotplug 5, device hotplug 6, write cache override 7.
            buffer.answer(Record::<8>::new().u32(0, 8).u8(4, u8::from(facts.removable)).bytes())
        }
        codes::STORAGE_READ_CAPACITY => {
            // version 0, size 4, block 8, blocks 16, length 24.
            let block = facts.bounds.block().bytes();
            let record = Record::<32>::new().u32(0, 32).u32(4, 32).u64(8, block);
            buffer.answer(record.u64(16, len_bytes / block).u64(24, len_bytes).bytes())
        }
        codes::STORAGE_QUERY_PROPERTY => storage::query_property(facts, buffer),
        codes::STORAGE_MANAGE_DATA_SET_ATTRIBUTES => {
            return match trim::job(facts, buffer.input()) {
                Ok(job) => Verdict::Queue(crate::Job::Trim(job)),
                Err(status) => Verdict::status(status),
            };
        }
        codes::VOLUME_ONLINE | codes::VOLUME_POST_ONLINE | codes::DISK_UPDATE_PROPERTIES => {
            Completion::bare(NtStatus::SUCCESS)
        }
        codes::VOLUME_GET_GPT_ATTRIBUTES => {
            buffer.answer(&if facts.read_only { VOLUME_READ_ONLY } else { 0 }.to_le_bytes())
        }
        codes::VOLUME_IS_DYNAMIC => buffer.answer(&[0]),
        codes::MOUNTDEV_QUERY_DEVICE_NAME => mountdev::device_name(facts, buffer),
        codes::MOUNTDEV_QUERY_UNIQUE_ID => mountdev::unique_id(facts, buffer),
        codes::MOUNTDEV_QUERY_SUGGESTED_LINK_NAME => mountdev::suggested_link_name(state, buffer),
        codes::MOUNTDEV_LINK_CREATED | codes::MOUNTDEV_LINK_CREATED_RW => mountdev::link_created(state, &buffer),
        codes::MOUNTDEV_LINK_DELETED | codes::MOUNTDEV_LINK_DELETED_RW => mountdev::link_deleted(state, &buffer),
        _ => Completion::bare(NtStatus::INVALID_DEVICE_REQUEST),
    };
    Verdict::Complete(completion)
}

/// A request that changes nothing here: right if its input is long enough and it is allowed.
fn accept(long_enough: bool, allowed: Result<(), NtStatus>) -> Completion {
    let status = match allowed {
        Err(refused) => refused,
        Ok(()) if long_enough => NtStatus::SUCCESS,
        Ok(()) => NtStatus::INVALID_PARAMETER,
    };
    Completion::bare(status)
}

/// VERIFY_INFORMATION: offset 0, length 8. There are no bad sectors to find: what cannot be read fails when it is read.
///
/// Other drivers say in `information` how much was verified. The I/O manager takes that for bytes to copy from the system
/// buffer to a caller who gave an output, so it is 0 here.
fn verify(facts: &DiskFacts, buffer: &SystemBuffer<'_>) -> Completion {
    let Some(input) = buffer.head::<16>() else { return Completion::bare(NtStatus::INVALID_PARAMETER) };
    let (Some(offset), Some(len)) = (u64_at(&input, 0), u32_at(&input, 8)) else {
        return Completion::bare(NtStatus::INVALID_PARAMETER);
    };
    match facts.bounds.check(offset, u64::from(len)) {
        Ok(_) => Completion::bare(NtStatus::SUCCESS),
        Err(_) => Completion::bare(NtStatus::INVALID_PARAMETER),
    }
}
