//! NTFS's rules in memory: the object store of \[MS-FSA\], answering byte for byte.
//!
//! A [`Volume`] has files, named streams, opens with rights, shares and locks, clusters, a USN journal and change
//! notifications. Its operations take an [`OpenId`] and answer a [`Status`]; file system controls go through one entry,
//! [`Volume::control`], with a code, input bytes and an output buffer. It is an oracle for what is written for Windows,
//! and a volume with NTFS's rules on any system. The bytes of clusters are kept by a [`ClusterStore`]; everything else
//! is saved and restored as bytes ([`Volume::save`], [`Volume::restore`]).
//!
//! ```
//! use fsa::{Access, CreateOptions, Disposition, Options, Status, Volume, codes};
//!
//! let mut volume = Volume::new(Options::default())?;
//! let (file, _) = volume.create("\\disk.img", &CreateOptions::new(Access::ALL, Disposition::Create))?;
//! assert_eq!(volume.control(file, codes::SET_SPARSE, &[], &mut []), (Status::SUCCESS, 0));
//! volume.write(file, 512 << 20, &[1])?;
//! assert_eq!(volume.stream_details(file)?.allocated_bytes, 65_536);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it is cut
//!
//! | file | idea |
//! | --- | --- |
//! | `volume`, `options` | the parts, and how a volume is formatted |
//! | `namespace`, `create`, `close`, `open`, `query` | files by name, opening, deleting, looking |
//! | `stream`, `runs`, `space`, `disk`, `store` | a stream's states; where it lies; what is free; reserving, releasing, zeroing; the bytes |
//! | `io`, `size`, `locks` | reading, writing, the valid data length; ends; byte-range locks |
//! | `control`, `sparse`, `zero_data`, `ranges`, `trim`, `compression`, `regions` | the controls |
//! | `journal`, `schedule`, `save` | what is told to others; failures on purpose; persistence |
//!
//! A refused request changes nothing; what NTFS itself leaves half done (zeroing on a full volume, clearing the sparse
//! mark, a USN record before the space is looked for) is left half done here too. Offsets, lengths and counts may be
//! anything from 0 to 2^64-1. Everything is deterministic: the same calls bring the same clusters.
//!
//! At least 95 % of the lines are run by the tests; measured in `.ci/run`.
//!
//! # Where the text is silent, wrong, or Windows differs
//!
//! "Text" is \[MS-FSA\]. Sure: *high* was seen on Windows or by Samba's tests against it; *medium* follows from other
//! rules; *low* is a decision.
//!
//! | rule | text | here | why | sure |
//! | --- | --- | --- | --- | --- |
//! | SET_SPARSE, access | `WRITE_DATA` or `WRITE_ATTRIBUTES` | `APPEND_DATA` too | Samba sparse_perms | high |
//! | SET_SPARSE, buffer | a structure | none, or longer, is taken | \[MS-FSCC\] 2.3.83, Samba | high |
//! | SET_SPARSE FALSE, no space | partial work may stay | holes before the one that does not fit stay allocated, that one is not begun | one rule had to be chosen | low |
//! | SET_SPARSE, SET_COMPRESSION, time | not mentioned | the change time moves | attributes change | medium |
//! | attribute SPARSE_FILE | set and cleared by name | computed as the union over the streams | the same, and cannot go wrong | high |
//! | SET_ZERO_DATA, clusters freed | "`CurrentVcn + n - 1` clusters starting at `NextVcn`" | clusters `NextVcn` to `CurrentVcn + n - 1` | a count is no cluster number | high |
//! | SET_ZERO_DATA, valid data length | end of the step, which may be a unit's and beyond the size | clamped to the size | 2.1.1.5 demands it | high |
//! | SET_ZERO_DATA inside one unit of a hole, or a tail in a hole | writes zeroes, so allocates the unit | the same | the check for free space before it only makes sense so; real NTFS not measured | low |
//! | SET_ZERO_DATA, partial unit on a full volume | a unit must be free | the same, even where the unit is allocated | literal | medium |
//! | SET_ZERO_DATA, lock check | a window of 1 GiB from where the pass starts | also what is freed beyond it behind a hole | the text would free locked bytes | medium |
//! | SET_ZERO_DATA of an ordinary stream | a pass, and a USN record, every 256 KiB | one record for each GiB; the valid data still ends at a multiple of 256 KiB | Windows merges reasons anyway; no endless loop | medium |
//! | SET_ZERO_DATA beyond the valid data | ends rounded up to sectors; bytes up to the first sector not zeroed in a sparse stream; length not set after whole units | exact ends, everything zeroed, length always set | no reader may see what was there; allocation is the same | medium |
//! | SET_ZERO_DATA, input longer than 16 | at least 16 (\[MS-FSCC\]: exactly) | at least 16 | text | medium |
//! | write beyond the valid data | zeroes over the whole gap | the rule of 2.1.5.10.39.1: up to two units are allocated, more leaves whole units as holes | MS Q&A 1459700, crosvm, Samba | medium |
//! | growth of a sparse stream | allocates | leaves a hole | what sparse files are for; Samba, crosvm | high |
//! | `AllocationSize` of a sparse stream | a number | nominal, with holes, rounded to the unit; what is occupied is [`StreamDetails::allocated_bytes`] | text; Cygwin asks another class for the real one | medium |
//! | set allocation of a sparse stream beyond its size | reserves | nothing but the check | as growth | medium |
//! | end of file, allocation, deletion: read-only volume | not mentioned | `MEDIA_WRITE_PROTECTED` after the access check | nothing can be written there | medium |
//! | end of file, allocation: negative | not mentioned | `INVALID_PARAMETER` | no size | high |
//! | set information, buffer too short | `INFO_LENGTH_MISMATCH` | never | a call has a number, no buffer | high |
//! | write at -2 | at the position of the open | at the end, as any negative offset | opens have no position here | high |
//! | write through an open that may only append | where it says | at the end | Windows' `FILE_APPEND_DATA` | high |
//! | read, write, flush, lock: access | none | `READ_DATA` or `EXECUTE`; `WRITE_DATA` or `APPEND_DATA` for two; `READ_DATA` or `WRITE_DATA` | I/O manager | medium |
//! | valid data length beyond the size | not compared | `INVALID_PARAMETER` | 2.1.1.5 | high |
//! | QUERY_ALLOCATED_RANGES, not sparse | the request itself | clipped to the end of the stream | Samba qar_ob1, punch_invalid | high |
//! | QUERY_ALLOCATED_RANGES, nothing to return and no output | `BUFFER_TOO_SMALL` | `SUCCESS`, 0 bytes | Samba qar_malformed | high |
//! | QUERY_ALLOCATED_RANGES, compressed and not sparse | the request | the request, clipped | text and \[MS-FSCC\]; the SDK disagrees | low |
//! | QUERY_ALLOCATED_RANGES, misaligned buffer | \[MS-FSCC\]: `INVALID_USER_BUFFER` | never | a slice has no address worth checking | high |
//! | FILE_LEVEL_TRIM, start inside a page | length shrinks, start does not move | both | obvious slip | high |
//! | FILE_LEVEL_TRIM, start behind the allocation | no rule, and no check for overflow | skipped, not counted; `INTEGER_OVERFLOW` as elsewhere | as an empty range | low |
//! | FILE_LEVEL_TRIM, nothing left of any range | \[MS-FSCC\]: `NO_RANGES_PROCESSED` | `SUCCESS`, count 0 | text | low |
//! | FILE_LEVEL_TRIM, hole | nothing | counted, nothing sent | "only ranges that have been allocated can be trimmed" | low |
//! | FILE_LEVEL_TRIM, fewer ranges than counted; directory; read-only | no rule | `INVALID_PARAMETER`, `INVALID_PARAMETER`, `MEDIA_WRITE_PROTECTED` | bounds; a device trim changes data | medium |
//! | FILE_LEVEL_TRIM, failure | status at once | status, and the count done in the output | the count would be lost otherwise; the I/O manager may not copy it | low |
//! | FILE_LEVEL_TRIM, content afterwards | anything | unchanged | one of the allowed answers, and repeatable | high |
//! | QUERY_FILE_REGIONS, usage of valid data | all the bits that were asked for | 1 | NTFS knows only this one | medium |
//! | controls, access | none, but for SET_SPARSE and zero on deallocation | the bits of the code: `READ_DATA`, `WRITE_DATA`, for SET_COMPRESSION both | I/O manager; Samba sparse_perms, compress_perms | high |
//! | SET_COMPRESSION of a sparse stream | rounds up to a unit, then frees behind the valid data | the other way round | rounding up what is freed at once could only fail | medium |
//! | SET_COMPRESSION NONE | excess freed | holes of a stream that is not sparse are allocated too; on `DISK_FULL` what was allocated stays | an ordinary stream has none | medium |
//! | compressed data | implementation | occupies as if it could not be compressed | no LZNT1 here | high |
//! | unit of a stream both sparse and compressed | one unit | that of compression | not measured | low |
//! | unit with clusters beyond 64 KiB, or below 4 KiB | 64 KiB | a cluster; 64 KiB | a unit is a multiple of a cluster; a blog's table disagrees below 4 KiB | medium |
//! | extent budget | none | a write, growth, or step of a zeroing that would need more runs is refused and does nothing; steps before it stay | error 665 on Windows is seen on writes; zeroing is deduced | medium |
//! | emptied by overwrite | silent about sparse and compressed | as a new file | attributes are replaced | medium |
//! | USN records | one for each post | the same; NTFS adds a reason only once until close | text | high |
//! | data changes, notifications | not where they are set | LAST_WRITE, SIZE and their stream kinds, sent at close | names of the flags | medium |
//! | encrypted in a compressed directory | inherits both | encrypted only | NTFS excludes one by the other | medium |
//! | FAT32, exFAT | 2.1.5 notes | every control refused but zero on deallocation of FAT32; a valid data length as in NTFS | notes 102 to 152 | medium |
//!
//! Not here: oplocks, positions, hard links, rename, reparse points, extended attributes, object ids, descriptors; Cluster
//! Shared Volumes (their directories answer `NOT_IMPLEMENTED`); what Windows before 7 did when the sparse mark was
//! cleared; the flags of `FILE_ZERO_DATA_INFORMATION_EX`.
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
