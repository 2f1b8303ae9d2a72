//! What the volume tells others: USN records, change notifications, trims for the device.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use crate::{ClusterStore, Kind, Volume};

/// Reasons of USN records, \[MS-FSCC\] 2.3.62.
pub mod usn_reason {
    /// Data was overwritten.
    pub const DATA_OVERWRITE: u32 = 0x1;
    /// Data was added at the end.
    pub const DATA_EXTEND: u32 = 0x2;
    /// The stream was shortened.
    pub const DATA_TRUNCATION: u32 = 0x4;
    /// The file is new.
    pub const FILE_CREATE: u32 = 0x100;
    /// The file is gone.
    pub const FILE_DELETE: u32 = 0x200;
    /// Attributes changed, the sparse one among them.
    pub const BASIC_INFO_CHANGE: u32 = 0x8000;
    /// Compression was turned on or off.
    pub const COMPRESSION_CHANGE: u32 = 0x2_0000;
    /// A named stream came or went.
    pub const STREAM_CHANGE: u32 = 0x20_0000;
    /// The last open was closed.
    pub const CLOSE: u32 = 0x8000_0000;
}

/// Filters of change notifications, \[MS-SMB2\] 2.2.35.
pub mod notify {
    /// A file came or went.
    pub const FILE_NAME: u32 = 0x1;
    /// A directory came or went.
    pub const DIR_NAME: u32 = 0x2;
    /// Attributes changed.
    pub const ATTRIBUTES: u32 = 0x4;
    /// The size changed.
    pub const SIZE: u32 = 0x8;
    /// Data was written.
    pub const LAST_WRITE: u32 = 0x10;
    /// A stream came or went.
    pub const STREAM_NAME: u32 = 0x200;
    /// A stream's size changed.
    pub const STREAM_SIZE: u32 = 0x400;
    /// A stream was written.
    pub const STREAM_WRITE: u32 = 0x800;
}

/// What happened to the name a notification is about, \[MS-FSCC\] 2.7.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It changed.
    Modified,
    /// A stream is new.
    AddedStream,
    /// A stream is gone.
    RemovedStream,
    /// A stream changed.
    ModifiedStream,
}

/// One record of the USN journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsnRecord {
    /// `LastUsn` of the volume with this record in it (\[MS-FSA\] 2.1.4.11).
    pub usn: u64,
    /// The file's number.
    pub file: u64,
    /// [`usn_reason`] bits.
    pub reason: u32,
    /// The file's name, without its path.
    pub name: String,
    /// Bytes of the record: 60 and the name in UTF-16, rounded up to 8 (\[MS-FSA\] note 41).
    pub record_len_bytes: u64,
}

/// A directory change notification as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// What happened.
    pub action: Action,
    /// [`notify`] bits.
    pub filter: u32,
    /// The path, for streams with `:name` behind it.
    pub path: String,
}

/// What one range of a trim sent to the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceTrim {
    /// Logical blocks (sectors of the volume), ascending in the file.
    pub blocks: Vec<Range<u64>>,
}

/// The most entries kept of each kind; the oldest go first.
const KEPT: usize = 1 << 16;
/// Bytes of a `USN_RECORD_V2` before its name.
pub(crate) const RECORD_HEAD_BYTES: u64 = 60;

#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    pub(crate) last_usn: u64,
    pub(crate) records: VecDeque<UsnRecord>,
    pub(crate) notifications: VecDeque<Notification>,
    pub(crate) trims: VecDeque<DeviceTrim>,
}

fn keep<T>(queue: &mut VecDeque<T>, entry: T) {
    while queue.len() >= KEPT {
        queue.pop_front();
    }
    queue.push_back(entry);
}

impl Journal {
    pub(crate) fn notify(&mut self, action: Action, filter: u32, path: String) {
        keep(&mut self.notifications, Notification { action, filter, path });
    }

    pub(crate) fn trimmed(&mut self, blocks: Vec<Range<u64>>) {
        keep(&mut self.trims, DeviceTrim { blocks });
    }
}

impl<S: ClusterStore> Volume<S> {
    /// Posts a USN change for `file` (\[MS-FSA\] 2.1.4.11).
    pub(crate) fn post_usn(&mut self, file: u64, reason: u32) {
        if !self.options.usn_journal || self.options.kind != Kind::Ntfs || reason == 0 {
            return;
        }
        let Some(entry) = self.tree.files.get_mut(&file) else { return };
        let name_bytes = 2 * entry.name.encode_utf16().count() as u64;
        let record_len_bytes = (RECORD_HEAD_BYTES + name_bytes).next_multiple_of(8);
        self.journal.last_usn += record_len_bytes;
        entry.usn = self.journal.last_usn;
        let record = UsnRecord { usn: entry.usn, file, reason, name: entry.name.clone(), record_len_bytes };
        keep(&mut self.journal.records, record);
    }

    /// The newest 65,536 records of the USN journal, oldest first.
    pub fn usn_records(&self) -> impl Iterator<Item = &UsnRecord> {
        self.journal.records.iter()
    }

    /// The same, and forgets them. The next record's number goes on from the last.
    pub fn take_usn_records(&mut self) -> Vec<UsnRecord> {
        core::mem::take(&mut self.journal.records).into()
    }

    /// The change notifications sent since the last time, oldest first; 65,536 are kept. Changes to a file are sent
    /// when an open of it closes, as in \[MS-FSA\] 2.1.5.5.
    pub fn take_notifications(&mut self) -> Vec<Notification> {
        core::mem::take(&mut self.journal.notifications).into()
    }

    /// What trims sent to the device since the last time, oldest first; 65,536 are kept.
    pub fn take_device_trims(&mut self) -> Vec<DeviceTrim> {
        core::mem::take(&mut self.journal.trims).into()
    }
}
