//! A disk as its worker thread sees it: the only way to the backing file.

use disk_types::{ByteRange, DiskBounds, is_zero};
use driver_abi::{NtStatus, Refusal};

use crate::buffer::Completion;
use crate::fsctl;
use crate::space::{SpaceGuard, is_allocated};
use crate::state::{DiskState, Event};
use crate::trim::whole_units;
use crate::{Plan, TrimJob};

/// The backing file, opened without intermediate buffering. One thread at a time calls it.
pub trait BackingFile {
    /// Fills `buffer` with the bytes from `offset`.
    ///
    /// # Errors
    /// The host's status; [`NtStatus::END_OF_FILE`] if there are not so many.
    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), NtStatus>;

    /// Writes all of `data` at `offset`.
    ///
    /// # Errors
    /// The host's status; part of it may have been written then.
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), NtStatus>;

    /// Returns once everything written before is on the medium.
    ///
    /// # Errors
    /// The host's status; some of it may be lost then.
    fn flush(&mut self) -> Result<(), NtStatus>;

    /// Sends a file system control: the completion is the host's, warnings included. Both buffers are aligned to 8 bytes
    /// where the control has any of 8.
    fn control(&mut self, code: u32, input: &[u8], output: &mut [u8]) -> Completion;

    /// How many bytes of the host's volume are free: AvailableAllocationUnits of FileFsSizeInformation.
    ///
    /// # Errors
    /// The host's status.
    fn free_bytes(&mut self) -> Result<u64, NtStatus>;
}

/// A disk over its backing file.
///
/// Its methods take what [`dispatch`](crate::dispatch) checked, one request at a time, in the order in which they came: so a
/// trim meets no write half-way (law 4).
#[derive(Debug)]
pub struct Disk<'s, F> {
    file: F,
    state: &'s DiskState,
    bounds: DiskBounds,
    /// 0: the file has no holes, or they turned out not to be supported.
    unit_bytes: u32,
    zero_detection: bool,
    space: SpaceGuard,
    last_floor: u64,
}

impl<'s, F: BackingFile> Disk<'s, F> {
    /// Makes `file` a disk: marks it sparse if that is planned, and makes its last sector valid.
    ///
    /// A file whose end was only set has no valid data, and NTFS fills gaps of up to 128 KiB behind the valid data by writing
    /// zeroes. With the last sector written once, later writes allocate their own unit only. What it holds stays (law 1);
    /// a host without the space for it is no reason to refuse the disk.
    ///
    /// `scratch` holds at least a sector, aligned as the file wants it.
    ///
    /// # Errors
    /// [`Refusal::NoHoles`] where the file cannot be marked and dense was not meant; otherwise the host's status.
    pub fn attach(mut file: F, plan: &Plan, state: &'s DiskState, scratch: &mut [u8]) -> Result<Self, NtStatus> {
        let mut unit_bytes = plan.unit_bytes;
        if plan.mark_sparse {
            let status = file.control(fsctl::SET_SPARSE, &[1], &mut []).status;
            match status {
                _ if status.is_success() => {}
                status if !is_unsupported(status) => return Err(status),
                _ if plan.dense => unit_bytes = 0,
                _ => return Err(Refusal::NoHoles.status()),
            }
        }
        let mut disk = Self {
            file,
            state,
            bounds: plan.bounds,
            unit_bytes,
            zero_detection: plan.zero_detection,
            space: SpaceGuard::default(),
            last_floor: state.space_floor_bytes(),
        };
        if unit_bytes != 0 && !plan.read_only {
            disk.make_last_sector_valid(scratch)?;
        }
        Ok(disk)
    }

    fn make_last_sector_valid(&mut self, scratch: &mut [u8]) -> Result<(), NtStatus> {
        let sector = self.bounds.block().bytes();
        let offset = self.bounds.len_bytes() - sector;
        let last = usize::try_from(sector).ok().and_then(|sector| scratch.get_mut(..sector));
        let (Some(range), Some(last)) = (ByteRange::checked(offset, offset + sector), last) else {
            return Err(NtStatus::INVALID_PARAMETER);
        };
        if is_allocated(&mut self.file, range)? {
            return Ok(());
        }
        self.file.read(offset, last)?;
        match self.file.write(offset, last) {
            Err(NtStatus::DISK_FULL | NtStatus::FILE_SYSTEM_LIMITATION) => Ok(()),
            written => written,
        }
    }

    /// Reads `range` into `buffer`, which is as long.
    #[must_use]
    pub fn read(&mut self, range: ByteRange, buffer: &mut [u8]) -> Completion {
        if buffer.len() as u64 != range.len() || !self.bounds.range().contains(range) {
            return Completion::bare(NtStatus::INVALID_PARAMETER);
        }
        match self.file.read(range.start(), buffer) {
            Ok(()) => {
                self.state.count(Event::Read(range.len()));
                Completion::done(buffer.len())
            }
            Err(status) => self.failed(status),
        }
    }

    /// Writes `data`, which is as long as `range`, and flushes if it is to be written through.
    ///
    /// With zero detection, whole units of zeroes become holes instead. A write that fails may have been done in part.
    #[must_use]
    pub fn write(&mut self, range: ByteRange, write_through: bool, data: &[u8]) -> Completion {
        if data.len() as u64 != range.len() || !self.bounds.range().contains(range) {
            return Completion::bare(NtStatus::INVALID_PARAMETER);
        }
        let written = self.write_pieces(range, data);
        let zeroed = match written {
            Ok(zeroed) => zeroed,
            Err(completion) => return completion,
        };
        self.state.count(Event::Written(range.len()));
        if zeroed > 0 {
            self.state.count(Event::Zeroed(zeroed));
        }
        match write_through.then(|| self.flush()) {
            Some(flushed) if !flushed.status.is_success() => flushed,
            _ => Completion::done(data.len()),
        }
    }

    /// Gives the bytes that became holes.
    fn write_pieces(&mut self, range: ByteRange, data: &[u8]) -> Result<u64, Completion> {
        if !self.zero_detection || self.unit_bytes == 0 {
            return self.write_data(range, data).map(|()| 0);
        }
        let mut zeroed = 0;
        let mut left = (range.start(), data);
        while !left.1.is_empty() {
            let (start, bytes) = left;
            let (len, zeroes) = self.next_piece(start, bytes);
            let Some((piece, rest)) = bytes.split_at_checked(len) else { break };
            let Some(range) = ByteRange::checked(start, start + len as u64) else { break };
            if zeroes && self.zero(range)? {
                zeroed += range.len();
            } else {
                self.write_data(range, piece)?;
            }
            left = (range.end(), rest);
        }
        Ok(zeroed)
    }

    /// How long the next piece of `bytes` is, and whether it is one of whole units of zeroes.
    fn next_piece(&self, start: u64, bytes: &[u8]) -> (usize, bool) {
        let unit = u64::from(self.unit_bytes);
        let is_zero_unit = |at: usize, end: usize| {
            let (from, to) = (start + at as u64, start + end as u64);
            from.is_multiple_of(unit)
                && (to.is_multiple_of(unit) || to == self.bounds.len_bytes())
                && bytes.get(at..end).is_some_and(is_zero)
        };
        let mut end = 0;
        let mut zeroes = None;
        while end < bytes.len() {
            let to_boundary = unit - (start + end as u64) % unit;
            let next =
                usize::try_from(to_boundary).map_or(bytes.len(), |step| bytes.len().min(end.saturating_add(step)));
            let is_zero = is_zero_unit(end, next);
            if *zeroes.get_or_insert(is_zero) != is_zero {
                break;
            }
            end = next;
        }
        (end, zeroes == Some(true))
    }

    /// Makes a hole of whole units; `false` if they must be written instead.
    fn zero(&mut self, units: ByteRange) -> Result<bool, Completion> {
        match self.zero_data(units) {
            Ok(()) => Ok(true),
            Err(NtStatus::DISK_FULL | NtStatus::FILE_SYSTEM_LIMITATION) => Ok(false),
            Err(status) if is_unsupported(status) => Ok(false),
            Err(status) => Err(self.failed(status)),
        }
    }

    fn write_data(&mut self, range: ByteRange, data: &[u8]) -> Result<(), Completion> {
        let floor = self.state.space_floor_bytes();
        if floor != self.last_floor {
            self.last_floor = floor;
            self.space.forget();
        }
        if let Err(status) = self.space.admit(&mut self.file, self.state, range, self.unit_bytes) {
            // The floor counts its own refusals.
            let refused = status == NtStatus::DISK_FULL;
            return Err(if refused { Completion::bare(status) } else { self.failed(status) });
        }
        self.file.write(range.start(), data).map_err(|status| {
            if status == NtStatus::DISK_FULL {
                self.space.forget();
            }
            self.failed(status)
        })
    }

    /// Returns once everything completed before is on the medium.
    ///
    /// Once it has failed, it fails always: what it should have made durable may be lost, and nobody who relied on it may be
    /// told otherwise (law 2).
    #[must_use]
    pub fn flush(&mut self) -> Completion {
        if self.state.flush_failed() {
            return Completion::bare(NtStatus::IO_DEVICE_ERROR);
        }
        match self.file.flush() {
            Ok(()) => {
                self.state.count(Event::Flushed);
                Completion::bare(NtStatus::SUCCESS)
            }
            Err(status) => {
                self.state.fail_flushes();
                self.failed(status)
            }
        }
    }

    /// Frees the whole units that the ranges of `job` cover; they read as zeroes afterwards. `system_buffer` is that of the
    /// request, whose list of ranges is sorted in place.
    #[must_use]
    pub fn trim(&mut self, job: TrimJob, system_buffer: &mut [u8]) -> Completion {
        if self.unit_bytes == 0 {
            return Completion::bare(NtStatus::NOT_SUPPORTED);
        }
        let (bounds, unit_bytes, mut freed) = (self.bounds, self.unit_bytes, 0);
        let done = job.for_each_run(system_buffer, bounds, unit_bytes, |run| {
            freed += run.len();
            self.zero_data(run)
        });
        match done {
            Ok(()) => {
                self.state.count(Event::Trimmed(freed));
                Completion::bare(NtStatus::SUCCESS)
            }
            Err(status) if is_unsupported(status) => Completion::bare(NtStatus::NOT_SUPPORTED),
            Err(status) => self.failed(status),
        }
    }

    fn zero_data(&mut self, units: ByteRange) -> Result<(), NtStatus> {
        debug_assert_eq!(whole_units(units, self.unit_bytes, self.bounds.len_bytes()), Some(units));
        let status = self.file.control(fsctl::SET_ZERO_DATA, &fsctl::zero_data(units).0, &mut []).status;
        if status.is_success() {
            return Ok(());
        }
        if is_unsupported(status) {
            // Asked once: from now on the file is as one without holes.
            self.unit_bytes = 0;
        } else if !was_refused(status) {
            // On a file without intermediate buffering the control flushes before it returns: this may have been a flush.
            self.state.fail_flushes();
        }
        Err(status)
    }

    /// Counts a failure of the host, and says what the guest is told.
    fn failed(&self, status: NtStatus) -> Completion {
        self.state.count(match status {
            NtStatus::DISK_FULL => Event::DiskFull,
            NtStatus::FILE_SYSTEM_LIMITATION => Event::TooFragmented,
            _ => Event::IoError,
        });
        Completion::bare(for_the_guest(status))
    }

    /// The backing file, to close it.
    #[must_use]
    pub fn into_file(self) -> F {
        self.file
    }
}

/// Whether the host did nothing because it would not, rather than because something broke.
///
/// Memory that ran out is no such refusal: it may have run out in the flush that the control does first.
fn was_refused(status: NtStatus) -> bool {
    matches!(
        status,
        NtStatus::DISK_FULL
            | NtStatus::FILE_SYSTEM_LIMITATION
            | NtStatus::FILE_LOCK_CONFLICT
            | NtStatus::ACCESS_DENIED
            | NtStatus::INVALID_PARAMETER
    )
}

/// Whether the host's file system does not know a control.
pub(crate) fn is_unsupported(status: NtStatus) -> bool {
    matches!(status, NtStatus::NOT_SUPPORTED | NtStatus::INVALID_DEVICE_REQUEST | NtStatus::NOT_IMPLEMENTED)
}

/// What a guest is told when the host failed: the one table from the host's statuses to ours (law 8).
///
/// A guest knows a disk, not a file: a status that means something else to a disk must not pass.
#[must_use]
const fn for_the_guest(host: NtStatus) -> NtStatus {
    match host {
        NtStatus::DISK_FULL => NtStatus::DISK_FULL,
        NtStatus::MEDIA_WRITE_PROTECTED => NtStatus::MEDIA_WRITE_PROTECTED,
        // Passing, so that the guest tries again.
        NtStatus::INSUFFICIENT_RESOURCES | NtStatus::NO_MEMORY => NtStatus::INSUFFICIENT_RESOURCES,
        // Too many pieces (665) among them: not a full disk, because what is allocated can still be written, and trying
        // again does not help.
        _ => NtStatus::IO_DEVICE_ERROR,
    }
}
