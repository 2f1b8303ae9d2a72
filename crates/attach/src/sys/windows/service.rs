//! The driver as a service of Windows. Each function is one call of the service manager.

use std::ffi::OsString;
use std::io;
use std::os::windows::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};

use driver_abi::SERVICE_NAME;
use windows_sys::Win32::Foundation as win32;
use windows_sys::Win32::System::Services as scm;

use super::names::wide;
use crate::driver::DriverState;

/// How the service shows in lists.
const DISPLAY_NAME: &str = "Sparse disk images as drives";
/// A driver starts and stops at once, unless something holds it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a handle of the service is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To ask; every user may.
    Ask,
    /// To start, stop, point at another file, or delete; administrators may.
    Change,
}

impl Purpose {
    const fn manager_access(self) -> u32 {
        match self {
            Self::Ask => scm::SC_MANAGER_CONNECT,
            Self::Change => scm::SC_MANAGER_CONNECT | scm::SC_MANAGER_CREATE_SERVICE,
        }
    }

    const fn service_access(self) -> u32 {
        const ASK: u32 = scm::SERVICE_QUERY_STATUS | scm::SERVICE_QUERY_CONFIG;
        // The right to delete an object, which all kinds of objects have.
        const DELETE: u32 = 0x0001_0000;
        match self {
            Self::Ask => ASK,
            Self::Change => ASK | scm::SERVICE_START | scm::SERVICE_STOP | scm::SERVICE_CHANGE_CONFIG | DELETE,
        }
    }
}

/// A handle of the service manager or of a service.
#[derive(Debug)]
struct Handle(scm::SC_HANDLE);

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and this is its only closing.
        #[allow(unsafe_code)]
        let _ = unsafe { scm::CloseServiceHandle(self.0) };
    }
}

fn handle(raw: scm::SC_HANDLE) -> io::Result<Handle> {
    if raw.is_null() { Err(io::Error::last_os_error()) } else { Ok(Handle(raw)) }
}

fn done(result: i32) -> io::Result<()> {
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error().map(i32::cast_unsigned) == Some(code)
}

/// The service manager of this machine.
#[derive(Debug)]
pub(super) struct Manager {
    handle: Handle,
    purpose: Purpose,
}

impl Manager {
    pub(super) fn open(purpose: Purpose) -> io::Result<Self> {
        // SAFETY: null means this machine and its only database.
        #[allow(unsafe_code)]
        let raw = unsafe { scm::OpenSCManagerW(null(), null(), purpose.manager_access()) };
        Ok(Self { handle: handle(raw)?, purpose })
    }

    /// The driver's service, if it is installed.
    pub(super) fn service(&self) -> io::Result<Option<Service>> {
        let name = wide(SERVICE_NAME);
        // SAFETY: the manager is open, and the name ends with a zero.
        #[allow(unsafe_code)]
        let raw = unsafe { scm::OpenServiceW(self.handle.0, name.as_ptr(), self.purpose.service_access()) };
        match handle(raw) {
            Ok(handle) => Ok(Some(Service { handle })),
            Err(error) if is(&error, win32::ERROR_SERVICE_DOES_NOT_EXIST) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Installs the driver, to be started when needed, or opens what somebody else has installed meanwhile.
    pub(super) fn install(&self, file: &Path) -> io::Result<Service> {
        let (name, display_name, file) = (wide(SERVICE_NAME), wide(DISPLAY_NAME), wide(file));
        // SAFETY: the manager is open, the three texts end with a zero, and what is not wanted is null, which is allowed.
        #[allow(unsafe_code)]
        let raw = unsafe {
            scm::CreateServiceW(
                self.handle.0,
                name.as_ptr(),
                display_name.as_ptr(),
                self.purpose.service_access(),
                scm::SERVICE_KERNEL_DRIVER,
                scm::SERVICE_DEMAND_START,
                scm::SERVICE_ERROR_NORMAL,
                file.as_ptr(),
                null(),
                null_mut(),
                null(),
                null(),
                null(),
            )
        };
        match handle(raw) {
            Ok(handle) => Ok(Service { handle }),
            Err(error) if is(&error, win32::ERROR_SERVICE_EXISTS) => self.service()?.ok_or(error),
            Err(error) => Err(error),
        }
    }
}

/// The driver's service.
#[derive(Debug)]
pub(super) struct Service {
    handle: Handle,
}

impl Service {
    pub(super) fn state(&self) -> io::Result<DriverState> {
        let mut status = scm::SERVICE_STATUS::default();
        // SAFETY: the service is open, and the structure is the one that the call fills.
        #[allow(unsafe_code)]
        done(unsafe { scm::QueryServiceStatus(self.handle.0, &raw mut status) })?;
        Ok(match status.dwCurrentState {
            scm::SERVICE_STOPPED | scm::SERVICE_START_PENDING => DriverState::Stopped,
            scm::SERVICE_STOP_PENDING => DriverState::Stopping,
            _ => DriverState::Running,
        })
    }

    /// The file that the service loads.
    pub(super) fn file(&self) -> io::Result<PathBuf> {
        // The call wants at most 8 KiB; words, because the structure in front holds pointers.
        let mut buffer = vec![0_u64; 1024];
        let room = u32::try_from(size_of_val(buffer.as_slice())).unwrap_or(u32::MAX);
        let mut needed = 0;
        let config: *mut scm::QUERY_SERVICE_CONFIGW = buffer.as_mut_ptr().cast();
        // SAFETY: the service is open; the buffer is as long as said, and aligned for the structure.
        #[allow(unsafe_code)]
        done(unsafe { scm::QueryServiceConfigW(self.handle.0, config, room, &raw mut needed) })?;
        // SAFETY: the call has filled the structure, which is plain numbers and pointers.
        #[allow(unsafe_code)]
        let text = unsafe { (*config).lpBinaryPathName };
        let units = if text.is_null() {
            &[][..]
        } else {
            // Read from the buffer itself, in which the text lies: no length is taken on trust.
            let offset = (text as usize).wrapping_sub(buffer.as_ptr() as usize);
            let bytes = size_of_val(buffer.as_slice());
            if offset >= bytes || !offset.is_multiple_of(2) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            // SAFETY: the pointer lies in the buffer, at an even offset, and so many units are left in it.
            #[allow(unsafe_code)]
            unsafe {
                std::slice::from_raw_parts(text.cast_const(), (bytes - offset) / 2)
            }
        };
        let text = units.split(|&unit| unit == 0).next().unwrap_or_default();
        let text = OsString::from_wide(text);
        Ok(text.to_str().and_then(|text| text.strip_prefix(r"\??\")).map_or_else(|| (&text).into(), PathBuf::from))
    }

    /// Points the service at another file, which the next start loads.
    pub(super) fn set_file(&self, file: &Path) -> io::Result<()> {
        let file = wide(file);
        const SAME: u32 = scm::SERVICE_NO_CHANGE;
        // SAFETY: the service is open, the text ends with a zero, and null leaves the rest as it is.
        #[allow(unsafe_code)]
        let result = unsafe {
            scm::ChangeServiceConfigW(
                self.handle.0,
                SAME,
                SAME,
                SAME,
                file.as_ptr(),
                null(),
                null_mut(),
                null(),
                null(),
                null(),
                null(),
            )
        };
        done(result)
    }

    /// Loads the driver; that it runs already is well.
    pub(super) fn start(&self) -> io::Result<()> {
        // SAFETY: the service is open, and a driver takes no arguments.
        #[allow(unsafe_code)]
        let result = done(unsafe { scm::StartServiceW(self.handle.0, 0, null()) });
        match result {
            Err(error) if is(&error, win32::ERROR_SERVICE_ALREADY_RUNNING) => Ok(()),
            other => other,
        }
    }

    /// Unloads the driver; that it does not run is well.
    pub(super) fn stop(&self) -> io::Result<()> {
        let mut status = scm::SERVICE_STATUS::default();
        // SAFETY: the service is open, and the structure is the one that the call fills.
        #[allow(unsafe_code)]
        let result = done(unsafe { scm::ControlService(self.handle.0, scm::SERVICE_CONTROL_STOP, &raw mut status) });
        match result {
            Err(error) if is(&error, win32::ERROR_SERVICE_NOT_ACTIVE) => Ok(()),
            other => other,
        }
    }

    /// Removes the service once its last handle is closed.
    pub(super) fn delete(&self) -> io::Result<()> {
        // SAFETY: the service is open.
        #[allow(unsafe_code)]
        done(unsafe { scm::DeleteService(self.handle.0) })
    }

    /// Waits until the service is in `wanted`, for some seconds at most. Gives the state it is in.
    pub(super) fn wait(&self, wanted: DriverState) -> io::Result<DriverState> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            let state = self.state()?;
            if state == wanted || start.elapsed() > PATIENCE {
                return Ok(state);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }
}
