//! What is asked of one disk, and what it has done.
//!
//! A request names its disk by number and serial: numbers are used again, so that a request which comes late, or is
//! repeated, would otherwise mean another image's disk.

use crate::bytes::{Reader, Writer};
use crate::{HEADER_BYTES, Malformed, Message};

/// A figure that is not known.
pub const UNKNOWN: u64 = u64::MAX;

/// Asks for a disk to be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetachRequest {
    /// The disk's number.
    pub disk: u32,
    /// The disk's serial, as [`Attached`](crate::Attached) and [`DiskEntry`](crate::DiskEntry) tell it.
    pub serial: u64,
    /// Even though somebody has it open. What such a holder has not written yet is lost to him.
    pub forced: bool,
}

// Offsets: disk 8, flags 12, serial 16.
impl<'a> Message<'a> for DetachRequest {
    fn size_bytes(&self) -> usize {
        HEADER_BYTES + 16
    }

    fn put(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        writer.u32(self.disk)?;
        writer.u32(u32::from(self.forced))?;
        writer.u64(self.serial)
    }

    fn get(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let disk = reader.u32()?;
        let forced = match reader.u32()? {
            0 => false,
            1 => true,
            _ => return Err(Malformed::Reserved),
        };
        Ok(Self { disk, serial: reader.u64()?, forced })
    }
}

/// Asks for another space floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceFloorRequest {
    /// The disk's number.
    pub disk: u32,
    /// The disk's serial.
    pub serial: u64,
    /// How much of the host's volume writes to holes leave free.
    pub space_floor_bytes: u64,
}

// Offsets: disk 8, reserved 12, serial 16, space_floor_bytes 24.
impl<'a> Message<'a> for SpaceFloorRequest {
    fn size_bytes(&self) -> usize {
        HEADER_BYTES + 24
    }

    fn put(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        writer.u32(self.disk)?;
        writer.u32(0)?;
        writer.u64(self.serial)?;
        writer.u64(self.space_floor_bytes)
    }

    fn get(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let disk = reader.u32()?;
        reader.reserved(4)?;
        Ok(Self { disk, serial: reader.u64()?, space_floor_bytes: reader.u64()? })
    }
}

/// Asks for a disk's [`Statistics`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatisticsRequest {
    /// The disk's number.
    pub disk: u32,
    /// The disk's serial.
    pub serial: u64,
}

// Offsets: disk 8, reserved 12, serial 16.
impl<'a> Message<'a> for StatisticsRequest {
    fn size_bytes(&self) -> usize {
        HEADER_BYTES + 16
    }

    fn put(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        writer.u32(self.disk)?;
        writer.u32(0)?;
        writer.u64(self.serial)
    }

    fn get(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let disk = reader.u32()?;
        reader.reserved(4)?;
        Ok(Self { disk, serial: reader.u64()? })
    }
}

/// What a disk has done since it was attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// The disk's number.
    pub disk: u32,
    /// Its counters.
    pub counters: Counters,
}

impl Statistics {
    /// The size of the message.
    pub const BYTES: usize = HEADER_BYTES + 8 + Counters::BYTES;
}

// Offsets: disk 8, reserved 12, counters 16.
impl<'a> Message<'a> for Statistics {
    fn size_bytes(&self) -> usize {
        Self::BYTES
    }

    fn put(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        writer.u32(self.disk)?;
        writer.u32(0)?;
        self.counters.put(writer)
    }

    fn get(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let disk = reader.u32()?;
        reader.reserved(4)?;
        Ok(Self { disk, counters: Counters::get(reader)? })
    }
}

/// Counters of a disk, each a `u64` in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Reads that succeeded.
    pub reads: u64,
    /// Bytes they read.
    pub read_bytes: u64,
    /// Writes that succeeded.
    pub writes: u64,
    /// Bytes they wrote, those turned into holes included.
    pub written_bytes: u64,
    /// Writes of which at least one whole unit of zeroes became a hole.
    pub zero_writes: u64,
    /// Bytes that became holes so.
    pub zero_bytes: u64,
    /// Trims that succeeded.
    pub trims: u64,
    /// Bytes of whole units that they freed; some may have been free before.
    pub trimmed_bytes: u64,
    /// Flushes that succeeded, those of write-through included.
    pub flushes: u64,
    /// Requests that failed because of who asked: outside the disk, off its sectors, a write to a read-only disk.
    pub invalid: u64,
    /// Requests that the host failed for any other reason than space.
    pub io_errors: u64,
    /// Writes that the host refused because it was full.
    pub disk_full: u64,
    /// Writes that the host refused because the file is in too many pieces (error 665).
    pub too_fragmented: u64,
    /// Writes that the space floor refused.
    pub below_floor: u64,
    /// The host's free bytes when last asked; [`UNKNOWN`] if never.
    pub host_free_bytes: u64,
    /// The space floor.
    pub space_floor_bytes: u64,
}

impl Counters {
    /// The bytes of all of them.
    pub const BYTES: usize = 16 * 8;

    pub(crate) fn put(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        // Destructured, so that a counter which is added cannot be forgotten here.
        let Self {
            reads,
            read_bytes,
            writes,
            written_bytes,
            zero_writes,
            zero_bytes,
            trims,
            trimmed_bytes,
            flushes,
            invalid,
            io_errors,
            disk_full,
            too_fragmented,
            below_floor,
            host_free_bytes,
            space_floor_bytes,
        } = *self;
        let io = [reads, read_bytes, writes, written_bytes, zero_writes, zero_bytes, trims, trimmed_bytes, flushes];
        let failures = [invalid, io_errors, disk_full, too_fragmented, below_floor];
        let space = [host_free_bytes, space_floor_bytes];
        io.into_iter().chain(failures).chain(space).try_for_each(|counter| writer.u64(counter))
    }

    pub(crate) fn get(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            reads: reader.u64()?,
            read_bytes: reader.u64()?,
            writes: reader.u64()?,
            written_bytes: reader.u64()?,
            zero_writes: reader.u64()?,
            zero_bytes: reader.u64()?,
            trims: reader.u64()?,
            trimmed_bytes: reader.u64()?,
            flushes: reader.u64()?,
            invalid: reader.u64()?,
            io_errors: reader.u64()?,
            disk_full: reader.u64()?,
            too_fragmented: reader.u64()?,
            below_floor: reader.u64()?,
            host_free_bytes: reader.u64()?,
            space_floor_bytes: reader.u64()?,
        })
    }
}
