//! The driver is for Windows.

#[cfg(windows)]
mod windows;

#[cfg(windows)]
pub(crate) use windows::run;

#[cfg(not(windows))]
pub(crate) fn run() {
    println!("skipped: the driver is for Windows");
}
