//! Giving space back to the host.
//!
//! A sparse disk shrinks when ranges of it are deallocated. Two things may be: what reads as zero anyway, and what the
//! file system inside says nobody owns. For the host both are the same: a granule
//! ([`Discard::granularity_bytes`](block_device::Discard::granularity_bytes)) can go if every byte of it is free or
//! zero. So there is one pass, one plan and one loop that frees.
//!
//! ```text
//!   volume: who owns what          block-device: what is allocated
//!          |  free runs                   |  extents, bytes
//!          +-------------> plan <---------+          reads only
//!                           |  Plan: ranges, gain, what was left alone and why
//!       fingerprint ----> carry_out ----> fingerprint
//!                           |  Outcome: the host's own figures, before and after
//!
//!       trim: both in one pass; zeroes go while the next ones are looked for
//! ```
//!
//! What is guaranteed:
//! - Law 1: nothing changes for a reader outside [`Plan::may_change`], to the byte. [`fingerprint`] proves it.
//! - Law 3: bytes that must go on reading as zero are freed by write-zeroes, never by a discard that promises less.
//!   A disk that ignores discards is left alone.
//! - Law 4: a plan is true only as long as nobody writes. The caller keeps everybody else out from before [`plan`]
//!   until [`carry_out`] has returned, and says through [`Observer::may_continue`] when it no longer can: it is asked
//!   before each range is freed.
//! - Law 9: freeing never writes zeroes in place of deallocating, so it needs no space.
//! - On a disk that others are writing to, [`online`] frees zeroes under their locks instead.
//! - Stopped at any point, by an observer, an error or a kill, the disk is whole: each range is freed or it is not.
#![forbid(unsafe_code)]

mod carry_out;
mod fingerprint;
mod judge;
mod observer;
pub mod online;
mod plan;
mod scan;
mod survey;

pub use carry_out::{Outcome, Trimmed, carry_out, trim, trim_with};
pub use fingerprint::{Fingerprint, fingerprint};
pub use observer::{Observer, Phase};
pub use plan::{LeftAlone, Plan, PlanOptions, plan, plan_with};
