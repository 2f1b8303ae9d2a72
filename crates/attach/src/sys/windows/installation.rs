//! The driver, from its file to the running service and back.

use std::env;
use std::path::PathBuf;

use disk_types::{Error, ErrorKind, Result};
use driver_abi::ABI_VERSION;
use windows_sys::Win32::Foundation as win32;
use windows_sys::Win32::System::Threading::{GetCurrentProcess, IsWow64Process};

use super::control::Driver;
use super::service::{Manager, Purpose, Service};
use super::{names, words};
use crate::driver::{DriverState, DriverStatus, FILE_VARIABLE};

/// The driver's file beside the program.
const FILE_NAME: &str = "sparsedisk.sys";

/// The driver, loaded: installed and started if need be.
///
/// # Errors
/// Those of [`crate::driver::start`].
pub(super) fn running(operation: &'static str) -> Result<Driver> {
    if let Some(driver) = Driver::open(operation)? {
        return Ok(driver);
    }
    let service = installed(operation)?;
    let file = service.file().unwrap_or_default();
    let failed = |error| words::of_service(operation, error, file.display());
    service.start().map_err(failed)?;
    service.wait(DriverState::Running).map_err(failed)?;
    Driver::open(operation)?.ok_or_else(|| {
        Error::new(ErrorKind::Io, operation)
            .because(format!("{} was started, and its control device is not there", file.display()))
            .advise("`sparsedisk driver status` tells whether it runs")
    })
}

/// The service, made or pointed at our file if need be.
fn installed(operation: &'static str) -> Result<Service> {
    refuse_32_bit_on_64(operation)?;
    let file = driver_file(operation)?;
    let failed = |error| words::of_service(operation, error, file.display());
    let manager = Manager::open(Purpose::Change).map_err(failed)?;
    let Some(service) = manager.service().map_err(failed)? else { return manager.install(&file).map_err(failed) };
    let elsewhere = service.file().map_err(failed)? != file;
    if elsewhere && service.state().map_err(failed)? == DriverState::Stopped {
        service.set_file(&file).map_err(failed)?;
    }
    Ok(service)
}

/// The driver file: the one the environment names, or the one beside the program; by its full path.
fn driver_file(operation: &'static str) -> Result<PathBuf> {
    let named = env::var_os(FILE_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    let beside = || env::current_exe().ok().map(|program| program.with_file_name(FILE_NAME));
    let advice = match &named {
        Some(_) => {
            format!("let {FILE_VARIABLE} name the driver file, or unset it to use {FILE_NAME} beside the program")
        }
        None => format!("put {FILE_NAME} beside the program, or let the variable {FILE_VARIABLE} name it"),
    };
    let file = named.or_else(beside).unwrap_or_else(|| FILE_NAME.into());
    match file.canonicalize() {
        Ok(path) if path.is_file() => {
            // The service manager makes a kernel's path of it; a verbatim one it would not understand.
            let plain = names::plain_path(&path);
            if plain.as_os_str().to_string_lossy().starts_with(r"\\") {
                return Err(Error::new(ErrorKind::Refused, operation)
                    .because(format!(
                        "the driver file {} lies on no drive of this machine, and Windows loads drivers from there only",
                        plain.display()
                    ))
                    .advise("copy program and driver to a drive of this machine"));
            }
            Ok(plain)
        }
        _ => Err(Error::new(ErrorKind::NotFound, operation)
            .because(format!("the driver file {} is missing", file.display()))
            .advise(advice)),
    }
}

/// The kernel of a 64-bit Windows loads 64-bit drivers, and the file beside this program is a 32-bit one. Using a driver
/// that runs is another matter: the interface is the same for both.
fn refuse_32_bit_on_64(operation: &'static str) -> Result<()> {
    let mut on_64_bit = 0;
    // SAFETY: it has no arguments, and gives a handle that needs no closing.
    #[allow(unsafe_code)]
    let this = unsafe { GetCurrentProcess() };
    // SAFETY: the handle is of this process, and the number is written before it is read.
    #[allow(unsafe_code)]
    let asked = unsafe { IsWow64Process(this, &raw mut on_64_bit) };
    if asked != 0 && on_64_bit != 0 {
        return Err(Error::new(ErrorKind::Unsupported, operation)
            .because("this is the 32-bit program, and Windows here is a 64-bit one, which loads 64-bit drivers only")
            .advise("use the program and the driver for x64"));
    }
    Ok(())
}

pub(crate) fn status() -> Result<DriverStatus> {
    const OPERATION: &str = "ask for the driver";
    let failed = |error| words::of_service(OPERATION, error, FILE_NAME);
    let manager = Manager::open(Purpose::Ask).map_err(failed)?;
    let Some(service) = manager.service().map_err(failed)? else { return Ok(missing()) };
    let state = service.state().map_err(failed)?;
    let mut status = DriverStatus { state, file: service.file().ok(), abi_version: None, disks: None };
    if state == DriverState::Running {
        match Driver::find(OPERATION) {
            Ok(Some((driver, version))) => {
                status.abi_version = Some(version);
                let disks = if version == ABI_VERSION { driver.list().ok() } else { None };
                status.disks = disks.and_then(|disks| u32::try_from(disks.len()).ok());
            }
            // Whoever may not open it can still know that it runs.
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
    }
    Ok(status)
}

fn missing() -> DriverStatus {
    DriverStatus { state: DriverState::Missing, file: None, abi_version: None, disks: None }
}

pub(crate) fn install() -> Result<DriverStatus> {
    installed("install the driver")?;
    status()
}

pub(crate) fn start() -> Result<DriverStatus> {
    running("start the driver")?;
    status()
}

pub(crate) fn stop() -> Result<DriverStatus> {
    stop_service("stop the driver")?;
    status()
}

pub(crate) fn remove() -> Result<DriverStatus> {
    const OPERATION: &str = "remove the driver";
    if let Some((service, file)) = stop_service(OPERATION)? {
        service.delete().map_err(|error| words::of_service(OPERATION, error, file.display()))?;
    }
    status()
}

/// Stops the service, if there is one and nobody uses it. Gives it, and the file it loads.
fn stop_service(operation: &'static str) -> Result<Option<(Service, PathBuf)>> {
    let failed = |error| words::of_service(operation, error, FILE_NAME);
    let manager = Manager::open(Purpose::Change).map_err(failed)?;
    let Some(service) = manager.service().map_err(failed)? else { return Ok(None) };
    let file = service.file().map_err(failed)?;
    let failed = |error| words::of_service(operation, error, file.display());
    if service.state().map_err(failed)? == DriverState::Stopped {
        return Ok(Some((service, file)));
    }
    refuse_while_attached(operation)?;
    match service.stop() {
        Ok(()) => {}
        // The driver takes no stop while it holds a disk: one was attached since we asked.
        Err(error) if error.raw_os_error() == Some(win32::ERROR_INVALID_SERVICE_CONTROL.cast_signed()) => {
            refuse_while_attached(operation)?;
            return Err(failed(error));
        }
        Err(error) => return Err(failed(error)),
    }
    match service.wait(DriverState::Stopped).map_err(failed)? {
        DriverState::Stopped => Ok(Some((service, file))),
        _ => Err(Error::new(ErrorKind::InUse, operation)
            .because("it stops only once every handle to it is closed, and a program has one open")
            .advise("end the other sparsedisk programs; it is unloaded then")),
    }
}

fn refuse_while_attached(operation: &'static str) -> Result<()> {
    let driver = match Driver::find(operation) {
        Ok(Some((driver, ABI_VERSION))) => driver,
        // A driver of another version cannot be asked, nor one that admits nobody; it refuses by itself.
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(()),
        Err(error) => return Err(error),
    };
    let disks = driver.list().map_err(|status| words::of_status(operation, status))?;
    match disks.len() {
        0 => Ok(()),
        count => Err(Error::new(ErrorKind::InUse, operation)
            .because(format!("{count} {} attached", if count == 1 { "disk is" } else { "disks are" }))
            .advise("detach everything that `sparsedisk list` shows first")),
    }
}
