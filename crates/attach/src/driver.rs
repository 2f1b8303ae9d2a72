//! The kernel driver as a service of Windows: installed from its file, started, stopped, removed.
//!
//! [`attach`](crate::attach) installs and starts it as needed: these functions are for whoever wants to see or undo
//! that. Linux needs no driver, and answers each of them with [`ErrorKind::Unsupported`](disk_types::ErrorKind).

use std::path::PathBuf;

use disk_types::Result;

use crate::sys;

/// The variable that names the driver file. Without it `sparsedisk.sys` beside the program is used.
pub const FILE_VARIABLE: &str = "SPARSEDISK_DRIVER";

/// What became of the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverStatus {
    /// Whether it is installed, and runs.
    pub state: DriverState,
    /// The file that the service loads; `None` where it is not installed.
    pub file: Option<PathBuf>,
    /// The version of the interface that the running driver speaks; `None` where it does not run, or this user may not
    /// ask.
    pub abi_version: Option<u32>,
    /// The disks attached through it; `None` as for the version, and where its version is not ours.
    pub disks: Option<u32>,
}

/// Whether the driver is installed, and runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DriverState {
    /// There is no such service.
    Missing,
    /// Installed, and not loaded.
    Stopped,
    /// Loaded.
    Running,
    /// Asked to stop, and still held by an open handle.
    Stopping,
}

impl DriverState {
    /// The stable name, as it stands in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Stopped => "stopped",
            Self::Running => "running",
            Self::Stopping => "stopping",
        }
    }
}

/// What became of the driver. Needs no privileges, but tells more with them.
///
/// # Errors
/// `Unsupported` where no driver is needed; `Io` if the service manager fails.
pub fn status() -> Result<DriverStatus> {
    sys::driver_status()
}

/// Installs the driver as a service that is started when needed, from the file that [`FILE_VARIABLE`] names or the one
/// beside the program. Installed already, and not running: it is pointed at that file.
///
/// # Errors
/// `PermissionDenied` unless this is an administrator; `NotFound` if the driver file is missing; `Unsupported` for a
/// 32-bit program on 64-bit Windows, whose kernel loads 64-bit drivers only.
pub fn install() -> Result<DriverStatus> {
    sys::driver_install()
}

/// Loads the driver, installing it first if it is missing. Nothing is done if it runs.
///
/// # Errors
/// Those of [`install`]; `Refused` if Windows does not accept its signature or a policy blocks it; `Unsupported` if it
/// was built for another processor or Windows is too old for it, or if its version is not ours.
pub fn start() -> Result<DriverStatus> {
    sys::driver_start()
}

/// Unloads the driver. Nothing is done if it does not run.
///
/// # Errors
/// `InUse` while disks are attached, or while a program has the driver open; `PermissionDenied` unless this is an
/// administrator.
pub fn stop() -> Result<DriverStatus> {
    sys::driver_stop()
}

/// Unloads the driver and removes its service. The driver file stays.
///
/// # Errors
/// Those of [`stop`].
pub fn remove() -> Result<DriverStatus> {
    sys::driver_remove()
}
