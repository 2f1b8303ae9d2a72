//! Block devices around block devices.

#[cfg(feature = "std")]
mod faulty;
#[cfg(feature = "std")]
mod range_locked;
mod read_only;
#[cfg(feature = "std")]
mod stats;
mod window;
mod zero_detect;

#[cfg(feature = "std")]
pub use faulty::{Fault, Faulty, Operation, Schedule};
#[cfg(feature = "std")]
pub use range_locked::RangeLocked;
pub use read_only::ReadOnly;
#[cfg(feature = "std")]
pub use stats::{Counters, Stats};
pub use window::Window;
pub use zero_detect::ZeroDetect;
