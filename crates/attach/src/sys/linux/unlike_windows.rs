//! What only Windows has, refused in one place: drive letters and what else its driver is told, the driver itself, and
//! a detach by force.

use std::path::Path;

use disk_types::{Error, ErrorKind, Result};

use crate::driver::DriverStatus;
use crate::{AttachOptions, Attached, DriveOptions, Via};

/// Refuses to attach with what a loop device cannot be told.
pub(super) fn refuse_drive_options(options: &AttachOptions) -> Result<()> {
    let unsupported = |what: &'static str, advice: &'static str| {
        Err(Error::new(ErrorKind::Unsupported, "attach").because(what).advise(advice))
    };
    if options.via.is_some_and(|via| via != Via::Loop) {
        return unsupported("the driver is for Windows: Linux makes loop devices", "leave --via out");
    }
    let drive = &options.drive;
    if drive.letter.is_some() {
        return unsupported("Linux has no drive letters", "use --at DIR to mount it at a directory");
    }
    if drive.keep_free_bytes.is_some() {
        return unsupported(
            "a loop device writes as long as its host has space, and nobody can refuse its writes from outside",
            "use `sparsedisk serve --keep-free` and an NBD client, or limit the image's directory with a quota",
        );
    }
    if *drive != DriveOptions::default() {
        return unsupported(
            "a loop device has sectors and zeroes as the image has them",
            "use --removable, --sector, --dense and --no-zero-detection on Windows only",
        );
    }
    Ok(())
}

pub(crate) fn detach_forced(target: &Path) -> Result<Attached> {
    Err(Error::new(ErrorKind::Unsupported, "detach by force")
        .at_path(target.display())
        .because("Linux unmounts a file system only once nobody uses it")
        .advise("end the programs that use it, and detach without --force"))
}

pub(crate) fn driver_status() -> Result<DriverStatus> {
    no_driver("ask for the driver")
}

pub(crate) fn driver_install() -> Result<DriverStatus> {
    no_driver("install the driver")
}

pub(crate) fn driver_start() -> Result<DriverStatus> {
    no_driver("start the driver")
}

pub(crate) fn driver_stop() -> Result<DriverStatus> {
    no_driver("stop the driver")
}

pub(crate) fn driver_remove() -> Result<DriverStatus> {
    no_driver("remove the driver")
}

fn no_driver(operation: &'static str) -> Result<DriverStatus> {
    Err(Error::new(ErrorKind::Unsupported, operation)
        .because("there is none for Linux, whose loop devices make a drive of an image")
        .advise("attach the image: it needs nothing else"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DriveLetter;

    #[test]
    fn what_only_a_windows_drive_can_be_told_is_refused_and_the_rest_is_not() {
        let refuse = |options: AttachOptions| refuse_drive_options(&options).map_err(|error| error.kind());
        let drive = |drive| AttachOptions { drive, ..AttachOptions::default() };
        let default = DriveOptions::default();
        assert_eq!(refuse(AttachOptions::default()), Ok(()));
        assert_eq!(refuse(AttachOptions { via: Some(Via::Loop), ..AttachOptions::default() }), Ok(()));
        for options in [
            AttachOptions { via: Some(Via::Driver), ..AttachOptions::default() },
            drive(DriveOptions { letter: DriveLetter::new('X'), ..default.clone() }),
            drive(DriveOptions { removable: true, ..default.clone() }),
            drive(DriveOptions { sector_bytes: Some(512), ..default.clone() }),
            drive(DriveOptions { dense: true, ..default.clone() }),
            drive(DriveOptions { zero_detection: false, ..default.clone() }),
            drive(DriveOptions { keep_free_bytes: Some(0), ..default.clone() }),
        ] {
            assert_eq!(refuse(options), Err(ErrorKind::Unsupported));
        }
        let floor = drive(DriveOptions { keep_free_bytes: Some(1 << 30), ..default });
        let advice = refuse_drive_options(&floor).unwrap_err().advice().unwrap().to_owned();
        assert!(advice.contains("serve --keep-free") && advice.contains("quota"), "{advice}");
        for error in [driver_status(), driver_install(), driver_start(), driver_stop(), driver_remove()] {
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Unsupported);
        }
        assert_eq!(detach_forced(Path::new("disk.img")).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
