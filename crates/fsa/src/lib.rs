//! NTFS's rules in memory.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod close;
mod compression;
mod control;
mod create;
mod disk;
mod io;
mod journal;
mod locks;
mod namespace;
mod open;
mod options;
mod query;
mod ranges;
mod regions;
mod runs;
mod save;
mod schedule;
mod size;
mod space;
mod sparse;
mod status;
mod store;
mod stream;
mod trim;
mod volume;
mod zero_data;

pub use control::{codes, documented_statuses, required_access};
pub use journal::{Action, DeviceTrim, Notification, UsnRecord, notify, usn_reason};
pub use open::{Access, Attributes, CreateAction, CreateOptions, Disposition, OpenId, Share};
pub use options::{InvalidOptions, Kind, MAX_CAPACITY_CLUSTERS, Options};
pub use query::{
    BasicInformation, DirectoryEntry, Extent, NetworkOpenInformation, StandardInformation, StreamDetails,
    StreamInformation,
};
pub use save::RestoreError;
pub use schedule::OperationKind;
pub use status::Status;
pub use store::{ClusterStore, MemoryStore, StoreError};
pub use volume::{Volume, VolumeInformation, volume_flags};

use disk::Disk;
