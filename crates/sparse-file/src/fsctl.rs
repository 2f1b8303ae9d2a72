//! The file system controls of Windows about holes: what goes in, what comes out, and nothing of the system itself.
//!
//! Each function here builds the input of one control, hands it to a [`Control`], and reads the answer. On Windows the
//! `Control` is `DeviceIoControl` on an open file; in tests and in `model` it is NTFS's rules in memory (`fsa`). So the
//! layouts, the paging and the refusals are proven on any system.
//!
//! | function | control | specification |
//! | --- | --- | --- |
//! | [`set_sparse`] | `FSCTL_SET_SPARSE` | \[MS-FSCC\] 2.3.83, \[MS-FSA\] 2.1.5.10.38 |
//! | [`set_zero_data`], [`punch`] | `FSCTL_SET_ZERO_DATA` | \[MS-FSCC\] 2.3.85, \[MS-FSA\] 2.1.5.10.39 |
//! | [`allocated_ranges`] | `FSCTL_QUERY_ALLOCATED_RANGES` | \[MS-FSCC\] 2.3.52, \[MS-FSA\] 2.1.5.10.22 |
//! | [`file_level_trim`] | `FSCTL_FILE_LEVEL_TRIM` | \[MS-FSCC\] 2.3.13, \[MS-FSA\] 2.1.5.10.6 |
//! | [`compression`] | `FSCTL_GET_COMPRESSION` | \[MS-FSCC\] 2.3.19 |
//! | [`decompress`] | `FSCTL_SET_COMPRESSION` | \[MS-FSCC\] 2.3.67, \[MS-FSA\] 2.1.5.10.30 |
//! | [`valid_data_bytes`] | `FSCTL_QUERY_FILE_REGIONS` | \[MS-FSCC\] 2.3.55 |
//! | [`duplicate_extents`] | `FSCTL_DUPLICATE_EXTENTS_TO_FILE` | \[MS-FSCC\] 2.3.7 |
//!
//! An answer is never trusted: lengths are checked against the buffer, ranges against the request, and a pager that
//! makes no progress is an error, not a loop.

mod ranges;
mod status;

pub use ranges::{AllocatedRanges, allocated_ranges};
pub use status::Status;

use disk_types::ByteRange;

/// `FSCTL_SET_SPARSE`.
pub const SET_SPARSE: u32 = 0x0009_00C4;
/// `FSCTL_SET_ZERO_DATA`.
pub const SET_ZERO_DATA: u32 = 0x0009_80C8;
/// `FSCTL_QUERY_ALLOCATED_RANGES`.
pub const QUERY_ALLOCATED_RANGES: u32 = 0x0009_40CF;
/// `FSCTL_FILE_LEVEL_TRIM`.
pub const FILE_LEVEL_TRIM: u32 = 0x0009_8208;
/// `FSCTL_GET_COMPRESSION`.
pub const GET_COMPRESSION: u32 = 0x0009_003C;
/// `FSCTL_SET_COMPRESSION`.
pub const SET_COMPRESSION: u32 = 0x0009_C040;
/// `FSCTL_QUERY_FILE_REGIONS`.
pub const QUERY_FILE_REGIONS: u32 = 0x0009_0284;
/// `FSCTL_DUPLICATE_EXTENTS_TO_FILE`.
pub const DUPLICATE_EXTENTS_TO_FILE: u32 = 0x0009_8344;

/// The unit in which NTFS frees parts of a sparse file: 64 KiB, or a cluster where that is larger (\[MS-FSA\] note 4).
/// A call of [`set_zero_data`] frees only the units that it covers whole; two calls of half a unit free nothing.
pub const SPARSE_UNIT_BYTES: u64 = 64 * 1024;

/// Ranges sent in one [`file_level_trim`] control. The format allows 2^28; a modest buffer loses nothing.
const TRIM_RANGES_PER_CALL: usize = 1024;

/// What a control answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Bytes of the output buffer that were filled.
    pub len_bytes: usize,
    /// There is more than the buffer holds (`STATUS_BUFFER_OVERFLOW`, `ERROR_MORE_DATA`): a warning, and what is in
    /// the buffer counts.
    pub more: bool,
}

impl Answer {
    /// An answer of `len_bytes` that holds everything.
    #[must_use]
    pub const fn complete(len_bytes: usize) -> Self {
        Self { len_bytes, more: false }
    }
}

/// One open file that takes file system controls.
pub trait Control {
    /// Sends the control `code` with `input`; the answer is in the first [`Answer::len_bytes`] bytes of `output`.
    ///
    /// # Errors
    /// The status of the file system, except for the warning that the buffer was too short for all of the answer:
    /// that is [`Answer::more`].
    fn control(&self, code: u32, input: &[u8], output: &mut [u8]) -> Result<Answer, Status>;
}

impl<C: Control + ?Sized> Control for &C {
    fn control(&self, code: u32, input: &[u8], output: &mut [u8]) -> Result<Answer, Status> {
        (**self).control(code, input, output)
    }
}

/// Marks the file as sparse, or clears the mark.
///
/// Marking frees nothing that is allocated. Clearing allocates every hole; where the space runs out half-way, what was
/// allocated stays so.
///
/// # Errors
/// [`Status::INVALID_PARAMETER`] for a directory, [`Status::WRITE_PROTECT`], [`Status::ACCESS_DENIED`],
/// [`Status::DISK_FULL`] when clearing, [`Status::INVALID_FUNCTION`] where the file system knows no holes.
pub fn set_sparse(file: &impl Control, sparse: bool) -> Result<(), Status> {
    file.control(SET_SPARSE, &[u8::from(sparse)], &mut []).map(drop)
}

/// Makes `range` read as zeroes. In a file marked sparse the whole [`SPARSE_UNIT_BYTES`] units inside are freed and
/// zeroes are written at the edges; in any other file zeroes are written. The size of the file never changes.
///
/// # Errors
/// [`Status::DISK_FULL`] where an edge needs a new unit, and what was done before it stays done;
/// [`Status::LOCK_VIOLATION`] where somebody has locked bytes of it.
pub fn set_zero_data(file: &impl Control, range: ByteRange) -> Result<(), Status> {
    let mut input = [0; 16];
    put_u64(&mut input, 0, range.start());
    put_u64(&mut input, 8, range.end());
    file.control(SET_ZERO_DATA, &input, &mut []).map(drop)
}

/// Frees what can be freed of `range` in a sparse file of `len_bytes`, and makes the rest of it zero. `unit_bytes` is
/// the unit in which its volume frees: [`SPARSE_UNIT_BYTES`], or a cluster where that is larger.
///
/// One call covers all of it, because the file system frees only units that one call covers whole; the unit at the end
/// of the file counts as whole once its bytes inside the file are covered. A part of a unit at an edge is left out
/// where that unit holds nothing: zeroing there would allocate it. The caller joins neighbouring ranges beforehand, and
/// widens them to units that it knows to be zero: only it knows that nobody writes there meanwhile (law 4).
///
/// # Errors
/// Those of [`set_zero_data`] and [`allocated_ranges`].
pub fn punch(file: &impl Control, range: ByteRange, len_bytes: u64, unit_bytes: u64) -> Result<(), Status> {
    let empty = |edge: Option<ByteRange>| -> Result<bool, Status> {
        let Some(edge) = edge else { return Ok(false) };
        match allocated_ranges(file, edge.align_outward(unit_bytes, len_bytes.max(edge.end()))).next() {
            None => Ok(true),
            Some(Ok(_)) | Some(Err(Status::INVALID_FUNCTION | Status::NOT_SUPPORTED)) => Ok(false),
            Some(Err(status)) => Err(status),
        }
    };
    let start_unit = range.start().next_multiple_of(unit_bytes);
    let end_unit = if range.end() >= len_bytes { range.end() } else { range.end() - range.end() % unit_bytes };
    if start_unit > end_unit {
        // Inside one unit.
        return if empty(Some(range))? { Ok(()) } else { set_zero_data(file, range) };
    }
    let start = if empty(range.before(start_unit))? { start_unit } else { range.start() };
    let end = if empty(range.after(end_unit))? { end_unit } else { range.end() };
    ByteRange::new(start, end).map_or(Ok(()), |range| set_zero_data(file, range))
}

/// Tells the storage beneath that the content of `ranges` is not needed, and returns how many of them were passed on.
///
/// It frees nothing in the file, and afterwards the ranges may read as anything. The file system shrinks each range
/// to whole memory pages and leaves out what is empty then.
///
/// # Errors
/// The first status that is not success; ranges before it have been trimmed. [`Status::BAD_ANSWER`] where the count
/// answered is larger than the count asked.
pub fn file_level_trim(file: &impl Control, ranges: &[ByteRange]) -> Result<u64, Status> {
    let mut processed = 0;
    for batch in ranges.chunks(TRIM_RANGES_PER_CALL) {
        // Key (zero: no byte-range lock of ours), the count, then offset and length of each.
        let mut input = vec![0; 8 + 16 * batch.len()];
        let count = u32::try_from(batch.len()).expect("a batch is far smaller than 2^32");
        input[4..8].copy_from_slice(&count.to_le_bytes());
        for (index, range) in batch.iter().enumerate() {
            put_u64(&mut input, 8 + 16 * index, range.start());
            put_u64(&mut input, 16 + 16 * index, range.len());
        }
        let mut output = [0; 4];
        let answer = file.control(FILE_LEVEL_TRIM, &input, &mut output)?;
        let done = get_u32(filled(&output, answer), 0).ok_or(Status::BAD_ANSWER)?;
        if done > count {
            return Err(Status::BAD_ANSWER);
        }
        processed += u64::from(done);
    }
    Ok(processed)
}

/// Whether the file system compresses this file.
///
/// # Errors
/// [`Status::INVALID_FUNCTION`] where it cannot compress at all; [`Status::BAD_ANSWER`] for an answer of another
/// length.
pub fn compression(file: &impl Control) -> Result<bool, Status> {
    let mut output = [0; 2];
    let answer = file.control(GET_COMPRESSION, &[], &mut output)?;
    match filled(&output, answer) {
        [low, high] => Ok((*low, *high) != (0, 0)),
        _ => Err(Status::BAD_ANSWER),
    }
}

/// Stores the stream without compression from now on, and expands what is compressed. Needs the rights to read and to
/// write data.
///
/// # Errors
/// [`Status::DISK_FULL`] where the expanded stream does not fit; [`Status::INVALID_FUNCTION`] for an encrypted stream,
/// and where the file system has no compression.
pub fn decompress(file: &impl Control) -> Result<(), Status> {
    const COMPRESSION_FORMAT_NONE: u16 = 0;
    file.control(SET_COMPRESSION, &COMPRESSION_FORMAT_NONE.to_le_bytes(), &mut []).map(drop)
}

/// How many bytes from the start of a file of `len_bytes` have ever been written: the valid data length. Beyond it
/// the file reads as zeroes whatever is allocated there.
///
/// # Errors
/// [`Status::INVALID_FUNCTION`] before Windows 8 and on file systems without it; [`Status::BAD_ANSWER`] for an answer
/// that does not describe the file from its start.
pub fn valid_data_bytes(file: &impl Control, len_bytes: u64) -> Result<u64, Status> {
    const VALID_CACHED_DATA: u32 = 1;
    let Some(whole) = ByteRange::whole(len_bytes) else { return Ok(0) };
    let mut input = [0; 24];
    put_u64(&mut input, 8, whole.len());
    input[16..20].copy_from_slice(&VALID_CACHED_DATA.to_le_bytes());
    // A header of 16 bytes and at most two regions of 24: what is valid, and the rest.
    let mut output = [0; 16 + 2 * 24];
    let answer = file.control(QUERY_FILE_REGIONS, &input, &mut output)?;
    let output = filled(&output, answer);
    let count = get_u32(output, 8).ok_or(Status::BAD_ANSWER)?;
    if count == 0 {
        return Ok(0);
    }
    let (start, length) = (get_u64(output, 16), get_u64(output, 24));
    let (Some(0), Some(length), Some(usage)) = (start, length, get_u32(output, 32)) else {
        return Err(Status::BAD_ANSWER);
    };
    Ok(if usage & VALID_CACHED_DATA == 0 { 0 } else { length.min(len_bytes) })
}

/// Makes `len_bytes` at `target_offset` of this file share the clusters at `source_offset` of the file open as
/// `source_handle`. All three are multiples of the cluster, both files lie on one volume, and both are sparse or both
/// are not. ReFS can do it; NTFS cannot.
///
/// # Errors
/// [`Status::NOT_SUPPORTED`] or [`Status::INVALID_FUNCTION`] where the volume or the pair of files cannot.
pub fn duplicate_extents(
    file: &impl Control,
    source_handle: u64,
    source_offset: u64,
    target_offset: u64,
    len_bytes: u64,
) -> Result<(), Status> {
    let mut input = [0; 32];
    put_u64(&mut input, 0, source_handle);
    put_u64(&mut input, 8, source_offset);
    put_u64(&mut input, 16, target_offset);
    put_u64(&mut input, 24, len_bytes);
    file.control(DUPLICATE_EXTENTS_TO_FILE, &input, &mut []).map(drop)
}

/// The part of the buffer that the answer says it filled, however it lies about it.
fn filled(output: &[u8], answer: Answer) -> &[u8] {
    &output[..answer.len_bytes.min(output.len())]
}

fn put_u64(buffer: &mut [u8], at: usize, value: u64) {
    buffer[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn get_u64(buffer: &[u8], at: usize) -> Option<u64> {
    buffer.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

fn get_u32(buffer: &[u8], at: usize) -> Option<u32> {
    buffer.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests;
