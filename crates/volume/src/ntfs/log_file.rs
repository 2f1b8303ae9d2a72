//! `$LogFile`: whether it has anything to redo or undo, which could change `$Bitmap`.

use block_device::{Error, Result};

use super::mft::{LOG_FILE, Mft, Stream};
use super::record::apply_fixups;
use super::{corrupt, refused, u16_at, u32_at, u64_at};

/// Windows makes logs of up to 64 MiB by itself.
const MOST_LOG_BYTES: u64 = 4 << 30;
/// How much of an empty log is read at once.
const PIECE_BYTES: u64 = 1 << 20;

/// Checks that the log is empty, or that whoever wrote it last says that the volume is clean.
///
/// # Errors
/// `Refused` for a log in use, or of a version that is not known to be left behind by a clean unmount; `Corrupt` for one
/// that cannot be read. Those of reading.
pub(super) fn check(mft: &Mft) -> Result<()> {
    let log = mft.stream(LOG_FILE)?;
    if log.data_bytes > MOST_LOG_BYTES || log.initialized_bytes < log.data_bytes || log.data_bytes < 2 * 4096 {
        return Err(corrupt(format!("$LogFile has {} bytes", log.data_bytes)));
    }
    let mut magic = [0; 4];
    log.file.read(0, &mut magic)?;
    match &magic {
        b"RSTR" => check_restart_pages(&log),
        [0xFF, 0xFF, 0xFF, 0xFF] => check_empty(&log),
        b"CHKD" => Err(unclean("chkdsk has been at $LogFile, and Windows has not seen the volume since")),
        _ => Err(corrupt("$LogFile does not begin like one")),
    }
}

fn unclean(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    refused(reason).advise("start Windows with it and shut down fully (shutdown /s /t 0), or run chkdsk /f")
}

/// Formatters and drivers that do not keep a log fill it with ones.
fn check_empty(log: &Stream) -> Result<()> {
    let mut piece = Vec::new();
    let mut at = 0;
    while at < log.data_bytes {
        piece.resize(usize::try_from((log.data_bytes - at).min(PIECE_BYTES)).expect("a mebibyte"), 0);
        log.file.read(at, &mut piece)?;
        if piece.iter().any(|&byte| byte != 0xFF) {
            return Err(unclean("$LogFile begins as an empty one, and holds something"));
        }
        at += piece.len() as u64;
    }
    Ok(())
}

/// A log begins with two copies of the restart page, written in turn.
fn check_restart_pages(log: &Stream) -> Result<()> {
    let mut head = [0; 32];
    log.file.read(0, &mut head)?;
    let page_bytes = u32_at(&head, 16) as usize;
    if !page_bytes.is_power_of_two() || !(512..=65536).contains(&page_bytes) {
        return Err(corrupt(format!("$LogFile has pages of {page_bytes} bytes")));
    }
    let mut pages = [Restart::read(log, 0, page_bytes)?, Restart::read(log, page_bytes, page_bytes)?];
    pages.sort_by_key(|page| page.current_sequence);
    let [older, newer] = pages;
    let newest_is_clean = newer.is_clean && (older.is_clean || older.current_sequence < newer.current_sequence);
    if newest_is_clean {
        Ok(())
    } else {
        Err(unclean("$LogFile has transactions that may have to be redone or undone"))
    }
}

/// What a restart page says.
struct Restart {
    /// Grows with every change of the log.
    current_sequence: u64,
    is_clean: bool,
}

const NO_CLIENT: u16 = 0xFFFF;
const VOLUME_IS_CLEAN: u16 = 2;

impl Restart {
    fn read(log: &Stream, at: usize, page_bytes: usize) -> Result<Self> {
        let mut page = vec![0; page_bytes];
        log.file.read(at as u64, &mut page)?;
        if !page.starts_with(b"RSTR") || u32_at(&page, 16) as usize != page_bytes {
            return Err(unclean("$LogFile has one restart page instead of two"));
        }
        apply_fixups(&mut page).map_err(|error| unclean("a restart page of $LogFile is damaged").caused_by(error))?;
        let (major, minor) = (u16_at(&page, 28), u16_at(&page, 26));
        if major != 1 || minor > 1 {
            // Windows goes back to version 1.1 when it lets go of a volume for good.
            return Err(unclean(format!(
                "$LogFile is of version {major}.{minor}: Windows has not let go of the volume (fast startup, or unplugged)"
            )));
        }
        let area_at = usize::from(u16_at(&page, 24));
        let area = page.get(area_at..).filter(|area| area_at >= 30 && area.len() >= 48);
        let area = area.ok_or_else(|| corrupt("a restart page of $LogFile has no restart area"))?;
        let (in_use, flags) = (u16_at(area, 12), u16_at(area, 14));
        let is_clean = in_use == NO_CLIENT || flags & VOLUME_IS_CLEAN != 0;
        Ok(Self { current_sequence: u64_at(area, 0), is_clean })
    }
}
