//! Disks as the rest of sparsedisk sees them.
//!
//! [`BlockDevice`] is what an image, a file or a model implements. Nobody calls it directly: everyone holds a [`Disk`],
//! which has checked every request before it arrives (law 5) and remembers a failed flush (law 2). Layers are block
//! devices around a [`Disk`], and are wrapped in a [`Disk`] again.
//!
//! ```text
//!   nbd, reclaim, volume, cli
//!        |  Disk: bounds, alignment, sticky flush failure
//!   layers: ZeroDetect . Written . RangeLocked . SpaceGuard . Stats . ReadOnly . Window . Faulty, Recording (tests)
//!        |  Disk
//!   RawImage (disk-image), MemoryDisk
//! ```
//!
//! | layer | what it does | a discard then leaves |
//! | --- | --- | --- |
//! | [`ZeroDetect`] | a write of zeroes becomes write-zeroes, granule by granule | as beneath |
//! | [`RangeLocked`] | overlapping requests that change data wait for each other | as beneath |
//! | [`Written`] | remembers where the disk was changed | as beneath |
//! | [`SpaceGuard`] | keeps some of the host's space free | as beneath |
//! | [`Stats`] | counts requests, bytes and errors | as beneath |
//! | [`ReadOnly`] | refuses whatever changes data | [`DiscardEffect::Ignored`] |
//! | [`Window`] | a part of a disk, such as a partition | as beneath; `Unspecified` if off the granule grid |
//! | [`Faulty`] | fails, tears, delays and loses on a schedule, for tests ([`fault_walk`]) | as beneath |
//! | [`Recording`] | notes changes and flushes, for tests of power cuts ([`recording`]) | as beneath |
//!
//! A layer implements [`Layer`] and defines only what it changes.
//!
//! Every implementation runs the suite of [`conformance`] with one line: [`conformance_suite!`].
//!
//! The core (this contract, [`Disk`], [`Window`], [`ReadOnly`], [`ZeroDetect`]) is `no_std` with `alloc`: the Windows
//! kernel driver checks requests with the same code. What needs locks comes with the `std` feature, on by default; without it a device takes its flushes one at a time, as the driver does.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "std")]
pub mod conformance;
mod device;
mod disk;
#[cfg(feature = "std")]
mod fault_walk;
mod layer;
mod layers;
#[cfg(feature = "std")]
mod memory;
mod promises;
#[cfg(feature = "std")]
mod range_locks;
#[cfg(feature = "std")]
pub mod recording;
#[cfg(feature = "std")]
mod sync;

pub use device::{BlockDevice, Discard, DiscardEffect, Durability, Geometry};
pub use disk::Disk;
pub use disk_types::{
    ByteRange, Error, ErrorKind, Extent, ExtentKind, LogicalBlock, MAX_OFFSET, Result, SpaceCredit, ZeroEffect,
    ZeroMode, is_zero,
};
#[cfg(feature = "std")]
pub use fault_walk::{FaultStep, fault_walk};
pub use layer::Layer;
#[cfg(feature = "std")]
pub use layers::{
    Counters, Fault, Faulty, Injected, Operation, RangeLocked, Schedule, SpaceFigures, SpaceGuard, SpaceNews, Stats,
    Unflushed, Written, WrittenMap,
};
pub use layers::{ReadOnly, Window, ZeroDetect};
#[cfg(feature = "std")]
pub use memory::MemoryDisk;
#[cfg(feature = "std")]
pub use range_locks::{RangeGuard, RangeLocks};
#[cfg(feature = "std")]
pub use recording::{Crash, Left, Log, Recording, Replay, Replayed, record};
