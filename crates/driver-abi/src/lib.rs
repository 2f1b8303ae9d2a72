//! What the program and the Windows kernel driver say to each other.
//!
//! The program opens [`CONTROL_DEVICE`] and sends a [`Control`] code with one message; the driver answers with one message
//! or a status. Both sides use this crate, which is `no_std`, allocates nothing, depends on nothing, and reads and writes
//! plain bytes: no layout here depends on a compiler or an architecture.
//!
//! | [`Control`] | in | out |
//! | --- | --- | --- |
//! | `QueryVersion` | [`VersionRequest`] | [`Version`] |
//! | `Attach` | [`AttachRequest`] | [`Attached`] |
//! | `Detach` | [`DetachRequest`] | nothing |
//! | `List` | [`ListRequest`] | [`ListReply`]: ask with a larger buffer while it is not complete |
//! | `SetSpaceFloor` | [`SpaceFloorRequest`] | nothing |
//! | `Statistics` | [`StatisticsRequest`] | [`Statistics`] |
//!
//! Rules for every message:
//! - it begins with `{u32 abi_version, u32 size_bytes}`, little endian like everything after it; `size_bytes` counts the
//!   whole message and equals the length of the buffer it fills: no byte more, no byte less;
//! - all offsets are fixed; reserved fields and unknown flags must be zero, so that they can mean something one day;
//! - a message of another [`ABI_VERSION`] is refused with [`NtStatus::REVISION_MISMATCH`], except `QueryVersion`, which
//!   is how the two find out. Version 1 never changes: a new meaning is a new version;
//! - a disk is named by its number, which is used again, and its serial, which never is: a request for a disk that is gone
//!   is [`NtStatus::NO_SUCH_DEVICE`], whichever disk has the number now.
//!
//! A failure is an [`NtStatus`] and nothing else: the output is not written. Each reason for which the driver refuses a
//! file has a status of its own, [`Refusal`], which the program turns into a sentence (law 10). Win32's `DeviceIoControl`
//! knows no Win32 error for them (it says 317); ask `NtDeviceIoControlFile`, or `RtlGetLastNtStatus` right after the call.
#![no_std]
#![forbid(unsafe_code)]

mod attach;
mod bytes;
mod control;
mod disk;
mod list;
mod message;
mod refusal;
mod status;
mod version;

pub use attach::{AttachFlags, AttachRequest, Attached, DiscardMode, MAX_PATH_BYTES, NameMaker, NtPath};
pub use bytes::{Reader, Writer};
pub use control::{CONTROL_DEVICE, CONTROL_DEVICE_NT, CONTROL_LINK_NT, Control, DEVICE_TYPE, SERVICE_NAME};
pub use disk::{Counters, DetachRequest, SpaceFloorRequest, Statistics, StatisticsRequest, UNKNOWN};
pub use list::{DiskEntry, DiskFlags, Entries, ListReply, ListRequest, ListWriter};
pub use message::{HEADER_BYTES, Malformed, Message};
pub use refusal::Refusal;
pub use status::NtStatus;
pub use version::{DriverFlags, Version, VersionRequest};

/// The version of these messages.
pub const ABI_VERSION: u32 = 1;
/// How many disks one driver holds at most; their numbers are 0 to 63.
pub const MAX_DISKS: u32 = 64;
