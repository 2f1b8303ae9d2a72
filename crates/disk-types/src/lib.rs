//! The words every room of sparsedisk shares.
//!
//! A byte range that cannot wrap ([`ByteRange`]), a block size that is a power of two ([`LogicalBlock`]), what a range
//! of a file or disk is made of ([`Extent`]), how zeroes are asked for and what came of it ([`ZeroMode`],
//! [`ZeroEffect`]), how often a host is asked for its free space ([`SpaceCredit`]), and one error ([`Error`]) so that a failure crosses every room without being translated.
//!
//! It knows no operating system and does no input or output. The Windows kernel driver checks requests with the same
//! types ([`DiskBounds`]), and allocates nothing: without the feature `alloc` there is everything but the error and what
//! answers with it. The feature `std` (on by default) adds the conversion from [`std::io::Error`].
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(feature = "alloc", test))]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod bounds;
#[cfg(feature = "alloc")]
mod error;
mod extent;
mod range;
mod space;
mod zero;

pub use bounds::{BadBounds, DiskBounds, OutsideDisk};
#[cfg(feature = "alloc")]
pub use error::{Error, ErrorKind, Result};
pub use extent::{Extent, ExtentKind};
pub use range::{ByteRange, LogicalBlock, MAX_OFFSET};
pub use space::SpaceCredit;
pub use zero::{ZeroEffect, ZeroMode, is_zero};
