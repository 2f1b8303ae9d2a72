//! Block devices around block devices.

#[cfg(feature = "std")]
mod faulty;
#[cfg(feature = "std")]
mod range_locked;
mod read_only;
#[cfg(feature = "std")]
mod space_guard;
#[cfg(feature = "std")]
mod stats;
mod window;
#[cfg(feature = "std")]
mod written;
mod zero_detect;

#[cfg(feature = "std")]
pub use faulty::{Fault, Faulty, Injected, Operation, Schedule, Unflushed};
#[cfg(feature = "std")]
pub use range_locked::RangeLocked;
pub use read_only::ReadOnly;
#[cfg(feature = "std")]
pub use space_guard::{SpaceFigures, SpaceGuard, SpaceNews};
#[cfg(feature = "std")]
pub use stats::{Counters, Stats};
pub use window::Window;
#[cfg(feature = "std")]
pub use written::{Written, WrittenMap};
pub use zero_detect::ZeroDetect;
