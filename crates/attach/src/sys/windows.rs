//! Windows: the kernel driver of sparsedisk makes a drive of an image.

mod control;
mod installation;
mod letters;
mod names;
mod service;
mod words;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use disk_types::{Error, ErrorKind, Result};
use driver_abi::{AttachFlags, AttachRequest, DiscardMode, DriverFlags, NameMaker, NtPath, Refusal};

use crate::{AttachOptions, Attached, Counters, DriveLetter, Via};
use control::{Disk, Driver};

pub(crate) use installation::{
    install as driver_install, remove as driver_remove, start as driver_start, status as driver_status,
    stop as driver_stop,
};

const ATTACH: &str = "attach";
const DETACH: &str = "detach";

/// Sectors that every file system and every program knows.
const SECTOR_BYTES: u32 = 512;
/// What Windows and the file system of the host need to go on, however full: the guard that people forget to set.
const KEEP_FREE_BYTES: u64 = 256 << 20;
/// How long a drive that is to be detached may be in use in passing.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) fn attach(image: &Path, file: File, options: &AttachOptions) -> Result<Attached> {
    attach_unnamed(image, file, options).map_err(|error| error.at_path(image.display()))
}

fn attach_unnamed(image: &Path, file: File, options: &AttachOptions) -> Result<Attached> {
    refuse_linux_options(options)?;
    if !file.metadata().map_err(|error| Error::from_io(ATTACH, error))?.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, ATTACH).because("it is not a regular file"));
    }
    let mut notes = Vec::new();
    judge_partitions(options, &mut notes)?;
    let path = names::final_path(&file, image).map_err(|error| Error::from_io(ATTACH, error))?;
    let nt_path = names::nt_path(&path)?;
    let driver = installation::running(ATTACH)?;
    let letters = letters::candidates(options.drive.letter)?;
    // From here on the driver is the only one to have it open.
    drop(file);
    let made = attach_as_one_of(&driver, &nt_path, options, &letters)?;
    let device = names::device_name(made.disk);
    if let Some(letter) = letter(made.letter)
        && let Err(missing) = letters::wait_until_there(letter, &device)
    {
        return Err(match driver.detach(made.disk, made.serial, true) {
            Ok(()) => missing,
            Err(status) => missing.advise(format!("{device} stayed behind ({status}): detach it with --force")),
        });
    }
    describe_shortcomings(&driver, &made, options, &mut notes);
    let disk = driver.list().unwrap_or_default().into_iter().find(|disk| disk.serial == made.serial);
    let image = names::plain_path(&path);
    Ok(Attached {
        image,
        device: letter(made.letter).map_or_else(|| names::device_path(made.disk), drive),
        mounted_at: letter(made.letter).map(root).into_iter().collect(),
        read_only: options.read_only,
        ours: true,
        counters: disk.map(|disk| Box::new(counters(&disk))),
        notes,
    })
}

fn refuse_linux_options(options: &AttachOptions) -> Result<()> {
    let unsupported = |what: &'static str, advice: &'static str| {
        Err(Error::new(ErrorKind::Unsupported, ATTACH).because(what).advise(advice))
    };
    if options.mount_at.is_some() {
        return unsupported("on Windows an image becomes a drive with a letter", "use --letter X: instead of --at");
    }
    if options.via.is_some_and(|via| via != Via::Driver) {
        return unsupported("the loop driver is Linux's", "use --via driver, or leave --via out");
    }
    Ok(())
}

/// The drive is one volume: a file system behind a partition table would not be found in it, and Windows would offer to
/// format what it takes for an empty drive.
fn judge_partitions(options: &AttachOptions, notes: &mut Vec<String>) -> Result<()> {
    if options.partitions.is_empty() {
        return Ok(());
    }
    if !options.read_only {
        return Err(Error::new(ErrorKind::Refused, ATTACH)
            .because(
                "it has a partition table, and the drive shows it as one volume: Windows would find no file system, and \
                 offer to format it",
            )
            .advise(
                "use `sparsedisk serve`, attach it with --read-only to read it as a whole, or create an image without \
                 --partition",
            ));
    }
    notes.push("it has a partition table: Windows finds no file system in it, programs can read it as a whole".into());
    Ok(())
}

/// Attaches with the first letter that nobody takes meanwhile.
fn attach_as_one_of(
    driver: &Driver,
    nt_path: &[u8],
    options: &AttachOptions,
    letters: &[DriveLetter],
) -> Result<driver_abi::Attached> {
    let drive = &options.drive;
    let path = NtPath::new(nt_path).map_err(|_| {
        Error::new(ErrorKind::InvalidInput, ATTACH).because("its path is none that the kernel could have")
    })?;
    for &letter in letters {
        let request = AttachRequest {
            flags: AttachFlags {
                read_only: options.read_only,
                removable: drive.removable,
                zero_detection: drive.zero_detection && !options.read_only,
                dense: drive.dense,
                mark_sparse: !drive.dense && !options.read_only,
            },
            sector_bytes: drive.sector_bytes.unwrap_or(SECTOR_BYTES),
            letter: u8::try_from(letter.as_char()).ok(),
            discard: DiscardMode::Free,
            space_floor_bytes: drive.keep_free_bytes.unwrap_or(KEEP_FREE_BYTES),
            path,
        };
        match driver.attach(&request) {
            Ok(made) => return Ok(made),
            Err(status) if status == Refusal::LetterInUse.status() => {}
            Err(status) => return Err(words::of_status(ATTACH, status)),
        }
    }
    Err(match letters {
        [letter] => letters::in_use(*letter),
        _ => words::of_status(ATTACH, Refusal::LetterInUse.status()),
    })
}

/// What is not as good as it could be.
fn describe_shortcomings(
    driver: &Driver,
    made: &driver_abi::Attached,
    options: &AttachOptions,
    notes: &mut Vec<String>,
) {
    match (letter(made.letter), made.name_maker) {
        (Some(letter), NameMaker::SymbolicLink) => notes.push(format!(
            "{letter} is a plain link, because the Mount Manager did not make it: tools for disks do not show it"
        )),
        (None, _) => notes.push("it has no drive letter: the Mount Manager gave it none".into()),
        _ => {}
    }
    if made.unit_bytes == 0 && !options.read_only {
        notes.push("the image's file system cannot make holes: deleted files free no space in it".into());
    }
    if driver.version().is_ok_and(|version| version.flags.0 & DriverFlags::UNPROTECTED != 0) {
        notes.push(
            "the driver runs without protection, as its setting for tests allows: any user can give it orders".into(),
        );
    }
}

pub(crate) fn detach(target: &Path) -> Result<Attached> {
    detach_disk(target, false).map_err(|error| error.at_path(target.display()))
}

pub(crate) fn detach_forced(target: &Path) -> Result<Attached> {
    detach_disk(target, true).map_err(|error| error.at_path(target.display()))
}

fn detach_disk(target: &Path, forced: bool) -> Result<Attached> {
    let (driver, disk) = resolve(target)?;
    let attached = describe(&disk);
    if !disk.flags.read_only {
        match write_out(&disk) {
            Err(error) if !forced => return Err(error),
            _ => {}
        }
    }
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        // The driver locks the file system, which is possible only while no file is open on it, and dismounts it. The
        // serial is that of the disk which was meant: somebody else may detach it meanwhile, and its number be used again.
        match driver.detach(disk.number, disk.serial, forced) {
            Ok(()) => return Ok(attached),
            // Somebody may just be having a look, as virus scanners do; and not every system ends a handle at once.
            Err(status) if status == Refusal::DiskInUse.status() && start.elapsed() < PATIENCE => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(100));
            }
            Err(status) => return Err(words::of_status(DETACH, status)),
        }
    }
}

/// Writes out what the file system on a disk holds back, so that a failure is told while the disk is still there.
fn write_out(disk: &Disk) -> Result<()> {
    let path = match letter(disk.letter) {
        Some(letter) => format!(r"\\.\{letter}").into(),
        None => names::device_path(disk.number),
    };
    let drive = match File::options().read(true).write(true).open(path) {
        Ok(drive) => drive,
        // Without a letter, not every system finds it. The driver flushes too.
        Err(_) if disk.letter.is_none() => return Ok(()),
        Err(error) => return Err(words::of_io(DETACH, error)),
    };
    drive.sync_all().map_err(|error| {
        Error::from_io(DETACH, error)
            .advise("free space beneath the image and try again; --force gives up what is not written")
    })
}

/// The disk that `target` names: an image, a drive or a device.
fn resolve(target: &Path) -> Result<(Driver, Disk)> {
    let refused = |reason: &'static str| {
        Error::new(ErrorKind::Refused, DETACH).because(reason).advise("`sparsedisk list` shows what can be detached")
    };
    let text = target.to_str().unwrap_or_default();
    let letter = text.strip_prefix(r"\\.\").unwrap_or(text).parse::<DriveLetter>().ok();
    let driver = Driver::open(DETACH)?;
    let disks = match &driver {
        Some(driver) => driver.list().map_err(|status| words::of_status(DETACH, status))?,
        None => Vec::new(),
    };
    let (found, reason) = if let Some(letter) = letter {
        let found = disks.into_iter().find(|disk| self::letter(disk.letter) == Some(letter));
        (found, "sparsedisk attached no image as this drive")
    } else if let Some(number) = names::device_number(text) {
        (disks.into_iter().find(|disk| disk.number == number), "no image is attached to it")
    } else {
        (of_image(target, disks)?, "it is not attached")
    };
    match (driver, found) {
        (Some(driver), Some(disk)) => Ok((driver, disk)),
        _ => Err(refused(reason)),
    }
}

/// The disk of the image at `path`. An image without a name any more is found by the last one it had.
fn of_image(path: &Path, disks: Vec<Disk>) -> Result<Option<Disk>> {
    let wanted = match names::identity(path) {
        Ok(identity) => identity,
        Err(error) => {
            let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            let same = |disk: &Disk| {
                let named = names::win32_path(&disk.path);
                named.as_os_str().eq_ignore_ascii_case(full.as_os_str())
            };
            return match disks.into_iter().find(same) {
                Some(disk) => Ok(Some(disk)),
                None => Err(Error::from_io("find", error).advise("`sparsedisk list` shows what is attached")),
            };
        }
    };
    Ok(disks
        .into_iter()
        .find(|disk| names::identity(&names::win32_path(&disk.path)).is_ok_and(|found| found == wanted)))
}

pub(crate) fn list() -> Result<Vec<Attached>> {
    const OPERATION: &str = "list attached images";
    let Some(driver) = Driver::open(OPERATION)? else { return Ok(Vec::new()) };
    let disks = driver.list().map_err(|status| words::of_status(OPERATION, status))?;
    Ok(disks.iter().map(describe).collect())
}

pub(crate) fn find(image: &Path) -> Result<Option<Attached>> {
    let named = |error: Error| error.at_path(image.display());
    let disks = match Driver::open("find") {
        Ok(Some(driver)) => driver.list().map_err(|status| named(words::of_status("find", status)))?,
        Ok(None) => Vec::new(),
        // Who may not ask the driver learns nothing of it; opening the image says that it is in use.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Vec::new(),
        Err(error) => return Err(named(error)),
    };
    Ok(of_image(image, disks).map_err(named)?.as_ref().map(describe))
}

/// What is known of a disk of the driver.
fn describe(disk: &Disk) -> Attached {
    let mut notes = Vec::new();
    let image = names::win32_path(&disk.path);
    if names::identity(&image).is_err() {
        notes.push("the image is not visible under this path from here".into());
    }
    if disk.flags.flush_failed {
        notes.push("a flush failed: what was written before it may not be in the image".into());
    }
    if disk.flags.detaching {
        notes.push("it is being detached, and goes as soon as its last request is done".into());
    }
    if disk.open_handles > 0 {
        notes.push(format!("{} open {}", disk.open_handles, if disk.open_handles == 1 { "handle" } else { "handles" }));
    }
    let letter = letter(disk.letter);
    Attached {
        image,
        device: letter.map_or_else(|| names::device_path(disk.number), drive),
        mounted_at: letter.map(root).into_iter().collect(),
        read_only: disk.flags.read_only,
        ours: true,
        counters: Some(Box::new(counters(disk))),
        notes,
    }
}

fn counters(disk: &Disk) -> Counters {
    let driver_abi::Counters {
        reads,
        read_bytes,
        writes,
        written_bytes,
        zero_writes: _,
        zero_bytes,
        trims,
        trimmed_bytes,
        flushes,
        invalid,
        io_errors,
        disk_full,
        too_fragmented,
        below_floor,
        host_free_bytes: _,
        space_floor_bytes,
    } = disk.counters;
    Counters {
        reads,
        read_bytes,
        writes,
        written_bytes,
        zero_bytes,
        trims,
        trimmed_bytes,
        flushes,
        errors: invalid.saturating_add(io_errors).saturating_add(too_fragmented),
        refused_for_space: disk_full.saturating_add(below_floor),
        keep_free_bytes: space_floor_bytes,
    }
}

fn letter(letter: Option<u8>) -> Option<DriveLetter> {
    letter.and_then(|letter| DriveLetter::new(letter.into()))
}

fn drive(letter: DriveLetter) -> PathBuf {
    letter.to_string().into()
}

fn root(letter: DriveLetter) -> PathBuf {
    format!(r"{letter}\").into()
}

pub(crate) fn trim_mounted(attached: &Attached) -> Result<u64> {
    Err(Error::new(ErrorKind::Unsupported, "trim through its drive")
        .at_path(attached.image.display())
        .because(format!("it is attached as {}, and Windows trims a drive by itself", attached.device.display()))
        .advise(format!(
            "detach it and trim the image; for NTFS on it `defrag {} /L` gives space back meanwhile",
            attached.device.display()
        )))
}
