//! Every decision of the Windows kernel driver, in safe Rust that knows no kernel.
//!
//! The driver proper (`driver/`) takes IRPs apart, calls this crate, and does what it says; whatever can be decided without
//! touching the kernel is decided here, and so runs on Linux, under test and under fuzzing. Nothing here allocates,
//! blocks or panics; `no_std` without `alloc`.
//!
//! ```text
//!  control device                       disk device
//!  IRP_MJ_DEVICE_CONTROL                IRP_MJ_*                            worker thread
//!    control::command -> Command          dispatch(DiskFacts, DiskState,      Disk::read, write, flush, trim
//!    attach: FileFacts, judge -> Plan       Request, SystemBuffer)              zero detection, space floor,
//!    Disk::attach, DiskFacts                -> Verdict: Complete | Queue(Job) | Keep    law 2, joined trims
//!    control::reply, control::list                                              v
//!                                                                             BackingFile (Zw*, or fsa)
//! ```
//!
//! | file | idea |
//! | --- | --- |
//! | `control` | the control device: a code and a buffer become a [`control::Command`]; replies |
//! | `attach` | what is known about an opened file becomes a [`Plan`] or a refusal (law 10) |
//! | `request`, `ioctl`, `storage`, `mountdev` | what a disk answers at once, and what is for its worker |
//! | `disk`, `space`, `trim`, `fsctl` | what the worker does: the only way to the backing file |
//! | `state` | what dispatch routine and worker share: counters, the floor, whether it is being detached |
//! | `geometry`, `names`, `mount_manager`, `security` | bytes that the kernel wants |
//! | `cancel` | who completes a queued request when it is cancelled |
//!
//! A request is checked once, in [`dispatch`], with the same [`DiskBounds`](disk_types::DiskBounds) as every disk of
//! sparsedisk: a [`Job`] holds ranges that lie inside the disk (law 5). Each status that the host answers becomes one of
//! ours in one table, `disk::for_the_guest` (law 8).
#![no_std]
#![forbid(unsafe_code)]

mod attach;
mod buffer;
pub mod cancel;
pub mod control;
mod disk;
pub mod fsctl;
pub mod geometry;
mod ioctl;
pub mod mount_manager;
mod mountdev;
mod names;
mod record;
mod request;
pub mod security;
mod space;
mod state;
mod storage;
mod trim;

pub use attach::{FileFacts, InUse, Plan, judge, may_detach};
pub use buffer::{Completion, SystemBuffer};
pub use disk::{BackingFile, Disk};
pub use driver_abi::{NtStatus, Refusal};
pub use ioctl::codes;
pub use names::Name;
pub use request::{DiskFacts, Job, Request, SL_WRITE_THROUGH, Verdict, dispatch};
pub use space::RECHECK_BYTES;
pub use state::DiskState;
pub use trim::TrimJob;
