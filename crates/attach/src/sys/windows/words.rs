//! What Windows and the driver say, as errors: the system's words, and what to do about it (law 8).

use std::io;

use disk_types::{Error, ErrorKind};
use driver_abi::{MAX_DISKS, NtStatus, Refusal};
use windows_sys::Win32::Foundation as win32;

const AS_ADMINISTRATOR: &str = "run it from a terminal that was opened with \"Run as administrator\"";

/// The error of somebody who is no administrator.
pub(super) fn no_administrator(operation: &'static str) -> Error {
    Error::new(ErrorKind::PermissionDenied, operation)
        .because("only an administrator may use the driver")
        .advise(AS_ADMINISTRATOR)
}

/// An error of the control device or of a drive, from Win32.
pub(super) fn of_io(operation: &'static str, error: io::Error) -> Error {
    match error.raw_os_error().map(i32::cast_unsigned) {
        Some(win32::ERROR_ACCESS_DENIED) => no_administrator(operation),
        _ => Error::from_io(operation, error),
    }
}

/// A status of the driver.
pub(super) fn of_status(operation: &'static str, status: NtStatus) -> Error {
    if let Some(refusal) = Refusal::from_status(status) {
        return of_refusal(operation, refusal);
    }
    let error = |kind| Error::new(kind, operation);
    match status {
        NtStatus::SHARING_VIOLATION => error(ErrorKind::InUse)
            .because("another program has it open")
            .advise("close it there; `sparsedisk list` shows whether it is attached already"),
        NtStatus::ACCESS_DENIED => error(ErrorKind::PermissionDenied)
            .because("this user may not open it so")
            .advise("check the rights and the read-only attribute of the file"),
        NtStatus::OBJECT_NAME_NOT_FOUND | NtStatus::OBJECT_PATH_NOT_FOUND | NtStatus::NO_SUCH_FILE => {
            error(ErrorKind::NotFound).because("the driver finds no such file").advise("check the name")
        }
        NtStatus::NO_SUCH_DEVICE | NtStatus::DEVICE_REMOVED => error(ErrorKind::NotFound)
            .because("there is no such disk any more")
            .advise("`sparsedisk list` shows what is attached"),
        NtStatus::DISK_FULL => error(ErrorKind::NoSpace)
            .because("the volume it lies on is full")
            .advise("free space there, or move the image to another volume"),
        NtStatus::MEDIA_WRITE_PROTECTED => error(ErrorKind::ReadOnly)
            .because("the volume it lies on takes no writes")
            .advise("attach it with --read-only"),
        NtStatus::INSUFFICIENT_RESOURCES | NtStatus::NO_MEMORY => error(ErrorKind::Io)
            .because("the kernel has no memory left for another disk")
            .advise("detach a disk, and try again"),
        NtStatus::REVISION_MISMATCH | NtStatus::INFO_LENGTH_MISMATCH => error(ErrorKind::Unsupported)
            .because("the driver that runs belongs to another version of this program")
            .advise("run `sparsedisk driver stop`, and attach again with the driver of this program"),
        NtStatus::INVALID_DEVICE_REQUEST => error(ErrorKind::Unsupported)
            .because("the driver that runs does not know this request")
            .advise("run `sparsedisk driver stop`, and attach again with the driver of this program"),
        _ => {
            let source = win32_of_status(status);
            Error::from_io(operation, source).because(format!("the driver answers {status}"))
        }
    }
}

/// Law 10: what is refused, why, and what to do.
fn of_refusal(operation: &'static str, refusal: Refusal) -> Error {
    use ErrorKind::{InUse, InvalidInput, ReadOnly, Refused, TooLarge, Unsupported};
    let (kind, reason, advice) = match refusal {
        Refusal::Directory => (Refused, "it is a directory", "name a file in it"),
        Refusal::ReparsePoint => (
            Refused,
            "it is a reparse point: a link, or a file that is kept elsewhere",
            "name the file itself, on a volume of this machine",
        ),
        Refusal::Remote => (
            Refused,
            "it lies on another machine: a network that stops would stop this one",
            "copy it to a volume of this machine, or use `sparsedisk serve` over there",
        ),
        Refusal::Encrypted => (
            Refused,
            "the file is encrypted, and its holes are then not those of an ordinary file",
            "clear the attribute in its properties, or work on a copy",
        ),
        Refusal::Compressed => (
            Refused,
            "the file is compressed, and Windows then caches it whatever was asked for",
            "clear the attribute in its properties (`compact /u`), or work on a copy",
        ),
        Refusal::NoHoles => (
            Refused,
            "its volume knows no holes, so that it would occupy its whole size",
            "move it to a volume with NTFS or ReFS, or say --dense if you mean that",
        ),
        Refusal::Empty => (InvalidInput, "the file is empty", "create an image with `sparsedisk create`"),
        Refusal::SizeNotSectors => (
            InvalidInput,
            "its size is not a whole number of the disk's sectors",
            "if it is a disk, extend it to the next multiple, or choose --sector 512",
        ),
        Refusal::HostSectorLarger => (
            Refused,
            "the sectors of its volume are larger than the disk's",
            "attach it with --sector 4096, or move it to a volume with sectors of 512 bytes",
        ),
        Refusal::OnOwnDisk => {
            (Refused, "it lies on a disk that is itself attached by this driver", "copy it to another volume")
        }
        Refusal::NotAFile => (Refused, "it is no file on a disk: a pipe, a device or a volume", "name a regular file"),
        Refusal::TooManyDisks => {
            let reason = format!("the driver holds no more than {MAX_DISKS} disks");
            return Error::new(InUse, operation).because(reason).advise("detach one first");
        }
        Refusal::LetterInUse => (InUse, "the drive letter is taken", "choose another letter, or leave --letter out"),
        Refusal::DiskInUse => (
            InUse,
            "a program, or a file system, has it open",
            "close what is open on the drive, or detach it with --force: what is not yet written is then lost",
        ),
        Refusal::TooLarge => (TooLarge, "it is larger than the largest disk", "choose a smaller image"),
        Refusal::ReadOnlyFile => (
            ReadOnly,
            "the file has the read-only attribute, or its volume takes no writes",
            "clear the attribute, or attach it with --read-only",
        ),
        #[allow(unreachable_patterns)]
        _ => (Unsupported, "the driver refuses it", "see the documentation of the driver"),
    };
    Error::new(kind, operation).because(reason).advise(advice)
}

/// The system's own words for a status.
pub(super) fn win32_of_status(status: NtStatus) -> io::Error {
    // SAFETY: a table is looked up; nothing of ours is touched.
    #[allow(unsafe_code)]
    let code = unsafe { win32::RtlNtStatusToDosError(status.0.cast_signed()) };
    io::Error::from_raw_os_error(code.cast_signed())
}

/// An error of the service manager, doing something to the driver whose file is `file`.
pub(super) fn of_service(operation: &'static str, error: io::Error, file: impl std::fmt::Display) -> Error {
    let (kind, reason, advice) = match error.raw_os_error().map(i32::cast_unsigned) {
        Some(win32::ERROR_ACCESS_DENIED) => return no_administrator(operation),
        Some(win32::ERROR_FILE_NOT_FOUND | win32::ERROR_PATH_NOT_FOUND) => (
            ErrorKind::NotFound,
            format!("Windows does not find the driver file {file}"),
            "put it back, on a drive of this machine that every user sees",
        ),
        Some(win32::ERROR_INVALID_IMAGE_HASH) => (
            ErrorKind::Refused,
            format!("Windows does not accept the signature of {file}"),
            "install a signed build; on a machine for tests `bcdedit /set testsigning on` allows a test signature \
             (with Secure Boot off), after a restart",
        ),
        Some(win32::ERROR_DRIVER_BLOCKED | win32::ERROR_SYSTEM_INTEGRITY_POLICY_VIOLATION) => (
            ErrorKind::Refused,
            format!("a policy of this machine blocks {file}"),
            "ask who manages the machine, or use a build that its policy allows",
        ),
        Some(win32::ERROR_BAD_EXE_FORMAT | win32::ERROR_EXE_MACHINE_TYPE_MISMATCH) => (
            ErrorKind::Unsupported,
            format!("{file} was built for another processor, or is damaged"),
            "use the driver of the same architecture as Windows",
        ),
        Some(win32::ERROR_PROC_NOT_FOUND | win32::ERROR_MOD_NOT_FOUND) => (
            ErrorKind::Unsupported,
            format!("this version of Windows lacks what {file} needs"),
            "use the driver that came with this program",
        ),
        Some(win32::ERROR_SERVICE_DISABLED) => (
            ErrorKind::Refused,
            "the service of the driver is disabled".to_owned(),
            "`sc config SparseDisk start= demand` enables it",
        ),
        Some(win32::ERROR_SERVICE_MARKED_FOR_DELETE) => (
            ErrorKind::InUse,
            "the service of the driver is being removed, and somebody still holds it".to_owned(),
            "close the services window and whatever else has it open, or restart Windows",
        ),
        Some(win32::ERROR_NOT_SUPPORTED) => (
            ErrorKind::Unsupported,
            format!("{file} refuses to run where it cannot keep its control device for administrators"),
            "on a machine for tests set AllowUnprotectedForTests, as the documentation of the driver says",
        ),
        _ => return Error::from_io(operation, error).because(format!("Windows does not accept that of {file}")),
    };
    Error::new(kind, operation).because(reason).advise(advice).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law10_every_refusal_says_why_and_what_to_do() {
        for refusal in Refusal::ALL {
            let error = of_status("attach", refusal.status()).at_path("disk.img");
            assert!(error.advice().is_some(), "{refusal:?}");
            assert!(error.to_string().starts_with("cannot attach disk.img: "), "{error}");
            assert!(!error.to_string().contains("the driver refuses it"), "{refusal:?}: {error}");
        }
    }

    #[test]
    fn law8_a_status_without_words_of_ours_keeps_those_of_windows() {
        let error = of_status("attach", NtStatus::CANCELLED);
        assert!(error.to_string().contains("CANCELLED"), "{error}");
        let error = of_status("attach", NtStatus(0xC000_0001));
        assert!(std::error::Error::source(&error).is_some(), "{error}");
    }

    #[test]
    fn a_driver_that_windows_does_not_load_is_told_by_its_cause() {
        for (code, kind, word) in [
            (577, ErrorKind::Refused, "signature"),
            (1275, ErrorKind::Refused, "policy"),
            (193, ErrorKind::Unsupported, "another processor"),
            (216, ErrorKind::Unsupported, "another processor"),
            (5, ErrorKind::PermissionDenied, "administrator"),
            (2, ErrorKind::NotFound, "driver file"),
            (1058, ErrorKind::Refused, "disabled"),
            (1072, ErrorKind::InUse, "being removed"),
        ] {
            let error = of_service("start the driver", io::Error::from_raw_os_error(code), "sparsedisk.sys");
            assert_eq!(error.kind(), kind, "{code}: {error}");
            assert!(error.to_string().contains(word), "{code}: {error}");
            assert!(error.advice().is_some(), "{code}: {error}");
        }
    }
}
