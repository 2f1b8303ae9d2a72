//! The platform seam: both halves have the same functions, in the same order.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "windows")]
mod windows;

#[cfg(target_os = "linux")]
pub(crate) use linux::{
    attach, detach, detach_forced, driver_install, driver_remove, driver_start, driver_status, driver_stop, find, list,
    trim_mounted,
};
#[cfg(target_os = "windows")]
pub(crate) use windows::{
    attach, detach, detach_forced, driver_install, driver_remove, driver_start, driver_status, driver_stop, find, list,
    trim_mounted,
};
