//! A hash of what a reader sees, whatever of it is allocated.

use std::fmt;
use std::ops::ControlFlow;

use block_device::{ByteRange, Disk, Error, ErrorKind, Result, is_zero};

use crate::Observer;
use crate::observer::{Phase, Watch};

/// The disk is read in frames, and hashed in runs of units that are not zero; no run crosses a frame. Both are fixed, so
/// that the hash knows nothing of granules, extents and how they were read.
const FRAME_BYTES: usize = 2 << 20;
const UNIT_BYTES: usize = 4096;

/// The hash of a disk's content (BLAKE3, 256 bits). Two disks of one length with equal fingerprints read the same.
///
/// Prints as hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Hashes what a reader sees on `disk`, the bytes of `except` left out.
///
/// A hole, unwritten space and written zeroes hash the same, so that a trim that keeps law 1 does not change it; and a
/// sparse disk costs only what is allocated. Everything the host does not call a hole is read, unwritten space too: a
/// proof does not rest on what the plan assumed.
///
/// `except` is ascending and disjoint, exact to the byte: [`Plan::may_change`](crate::Plan::may_change). What belongs
/// to live files lies outside it, and is hashed to the last byte.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] where `except` is out of order; those of mapping and reading the disk, and of the
/// observer.
pub fn fingerprint(disk: &Disk, except: &[ByteRange], observer: &mut dyn Observer) -> Result<Fingerprint> {
    if let Some(pair) = except.windows(2).find(|pair| pair[0].end() > pair[1].start()) {
        return Err(Error::new(ErrorKind::InvalidInput, "hash the disk")
            .at_offset(pair[1].start())
            .because("the ranges to leave out are not in order"));
    }
    let mut watch = Watch::start(observer, Phase::Verifying, disk.allocated_bytes()?)?;
    let mut frames = Frames::new(disk, except);
    let block = disk.geometry().logical_block.bytes();
    let mut result = Ok(());
    disk.extents(0, disk.len_bytes(), &mut |extent| {
        if !extent.kind.is_allocated() {
            return ControlFlow::Continue(());
        }
        // Where a host's extent ends inside a block, the rest of the block is a hole and reads as zeroes.
        let blocks = extent.range.align_outward(block, disk.len_bytes());
        result = blocks.chunks(FRAME_BYTES as u64).try_for_each(|part| {
            frames.add(part)?;
            watch.step(part.len())
        });
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    result?;
    watch.finish();
    Ok(frames.finish())
}

/// Collects what is read into frames, and hashes them.
struct Frames<'a> {
    disk: &'a Disk,
    except: &'a [ByteRange],
    /// The bytes of the runs, one after the other: whole units, which keeps the hash on its fast path.
    bytes: blake3::Hasher,
    /// Where each run begins and how long it is.
    places: blake3::Hasher,
    buffer: Vec<u8>,
    /// The frame in `buffer`. What was not read of it is zero.
    frame: Option<ByteRange>,
}

impl<'a> Frames<'a> {
    fn new(disk: &'a Disk, except: &'a [ByteRange]) -> Self {
        let (bytes, mut places) = (blake3::Hasher::new(), blake3::Hasher::new());
        places.update(&disk.len_bytes().to_le_bytes());
        Self { disk, except, bytes, places, buffer: vec![0; FRAME_BYTES], frame: None }
    }

    /// Reads `part`, which lies in one frame, at or behind the last one.
    fn add(&mut self, part: ByteRange) -> Result<()> {
        if !self.frame.is_some_and(|frame| frame.contains(part)) {
            self.flush();
            let frame = part.align_outward(FRAME_BYTES as u64, self.disk.len_bytes());
            if frame != part {
                self.buffer.fill(0);
            }
            self.frame = Some(frame);
        }
        let start = self.frame.map_or(0, |frame| frame.start());
        self.disk.read(part.start(), &mut self.buffer[within(part, start)])
    }

    fn finish(mut self) -> Fingerprint {
        self.flush();
        self.places.update(self.bytes.finalize().as_bytes());
        Fingerprint(*self.places.finalize().as_bytes())
    }

    fn flush(&mut self) {
        let Some(frame) = self.frame.take() else { return };
        while let [first, later @ ..] = self.except
            && first.end() <= frame.start()
        {
            self.except = later;
        }
        for part in self.except.iter().map_while(|range| range.intersect(frame)) {
            self.buffer[within(part, frame.start())].fill(0);
        }
        let bytes = &self.buffer[within(frame, frame.start())];
        let mut units = bytes.chunks(UNIT_BYTES).enumerate().peekable();
        while let Some((first, unit)) = units.next() {
            if is_zero(unit) {
                continue;
            }
            let mut last = first;
            while units.next_if(|(_, unit)| !is_zero(unit)).is_some() {
                last += 1;
            }
            let run = &bytes[first * UNIT_BYTES..bytes.len().min((last + 1) * UNIT_BYTES)];
            self.places.update(&(frame.start() + (first * UNIT_BYTES) as u64).to_le_bytes());
            self.places.update(&(run.len() as u64).to_le_bytes());
            self.bytes.update(run);
        }
    }
}

/// Where `part` lies in a buffer that starts at `start`.
fn within(part: ByteRange, start: u64) -> std::ops::Range<usize> {
    let index = |at: u64| usize::try_from(at - start).expect("inside a frame");
    index(part.start())..index(part.end())
}
