//! What NTFS wants, whoever passes it on: the Windows half and the model say the same things to the same controls.
//!
//! - Space is given back in units of 64 KiB, or a cluster where that is larger, and only where one call covers a unit.
//! - A file gives nothing back before it is marked sparse.
//! - Growing leaves the valid data length behind. Writes with a gap of up to two units behind it would allocate the
//!   gap, so the end is written once.
//! - Nothing allocates a part of a sparse file but writing.

pub(crate) mod streams;

use std::io;

use crate::fsctl::{self, Control};
use crate::{Ability, ByteRange, Error, ErrorKind, Extent, ExtentKind, MAX_OFFSET, MapKind, Support};

pub(crate) use streams::StreamName;

pub(crate) const DECOMPRESS: &str = "decompress";

/// Allocated ranges in one batch of the map: one page of the answer.
const BATCH_RANGES: usize = 4096;

/// File attributes, \[MS-FSCC\] 2.6.
const ATTRIBUTES: [(u32, &str); 12] = [
    (READ_ONLY, "read-only"),
    (0x2, "hidden"),
    (0x4, "system"),
    (0x20, "archive"),
    (0x100, "temporary"),
    (0x200, "sparse"),
    (0x400, "reparse point"),
    (COMPRESSED, "compressed"),
    (0x1000, "offline"),
    (0x2000, "not indexed"),
    (ENCRYPTED, "encrypted"),
    (0x8000, "integrity stream"),
];
const READ_ONLY: u32 = 0x1;
pub(crate) const COMPRESSED: u32 = 0x800;
pub(crate) const ENCRYPTED: u32 = 0x4000;

/// Flags of a volume's file system that an image may have to do with, \[MS-FSCC\] 2.5.1.
const VOLUME_FLAGS: [(u32, &str); 8] = [
    (0x10, "compression"),
    (0x20, "quotas"),
    (0x40, "sparse files"),
    (0x2_0000, "encryption"),
    (NAMED_STREAMS, "named streams"),
    (0x8_0000, "read-only"),
    (0x0200_0000, "change journal"),
    (0x0800_0000, "block cloning"),
];
const NAMED_STREAMS: u32 = 0x4_0000;

/// An open file on a volume that behaves as NTFS.
pub(crate) trait NtfsFile: Control {
    /// The end of the file now.
    fn size_bytes(&self) -> io::Result<u64>;
    /// Moves the end of the file.
    fn set_size_bytes(&self, bytes: u64) -> io::Result<()>;
    /// Writes what the system takes at once.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<usize>;
    /// Whether the stream is marked sparse.
    fn is_sparse(&self) -> io::Result<bool>;
    /// Bytes of a cluster; 0 where the volume does not tell.
    fn cluster_bytes(&self) -> u64;
}

/// What a volume says about itself.
pub(crate) struct VolumeFacts {
    /// `NTFS`, `ReFS`, `FAT32`.
    pub(crate) name: String,
    /// `FILE_SUPPORTS_SPARSE_FILES`.
    pub(crate) sparse: bool,
    /// `FILE_SUPPORTS_BLOCK_REFCOUNTING`.
    pub(crate) clone: bool,
    /// The largest file, where the volume tells.
    pub(crate) max_file_bytes: Option<u64>,
}

/// What only such a file system tells of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Of the stream that is open.
    pub(crate) attributes: u32,
    /// Of its volume.
    pub(crate) volume_flags: u32,
    /// The valid data length, where it can be asked.
    pub(crate) valid_bytes: Option<u64>,
}

impl Facts {
    /// The attributes, in words.
    pub(crate) fn attributes(self) -> Vec<&'static str> {
        in_words(&ATTRIBUTES, self.attributes)
    }

    /// What the volume's file system has, in words.
    pub(crate) fn volume_flags(self) -> Vec<&'static str> {
        in_words(&VOLUME_FLAGS, self.volume_flags)
    }

    /// Whether files there have streams beside their content.
    pub(crate) const fn has_named_streams(self) -> bool {
        self.volume_flags & NAMED_STREAMS != 0
    }
}

fn in_words(table: &[(u32, &'static str)], bits: u32) -> Vec<&'static str> {
    table.iter().filter(|(bit, _)| bits & bit != 0).map(|&(_, name)| name).collect()
}

/// The unit in which space is given back.
pub(crate) const fn unit_bytes(cluster_bytes: u64) -> u64 {
    if cluster_bytes > fsctl::SPARSE_UNIT_BYTES { cluster_bytes } else { fsctl::SPARSE_UNIT_BYTES }
}

/// Sets the length of a new file. It occupies nothing afterwards if it is marked sparse.
pub(crate) fn set_len(file: &impl NtfsFile, len_bytes: u64) -> io::Result<()> {
    file.set_size_bytes(len_bytes)?;
    let Some(last) = len_bytes.checked_sub(1).filter(|_| file.is_sparse().unwrap_or(false)) else { return Ok(()) };
    // The valid data length is still 0. One byte at the end moves it there for good. Its unit is given back, and what
    // was allocated before it: in a short file the byte had a gap itself.
    file.write(last, &[0])?;
    let unit_bytes = unit_bytes(file.cluster_bytes());
    let gap_start = last.saturating_sub(2 * unit_bytes);
    match ByteRange::new(gap_start - gap_start % unit_bytes, len_bytes) {
        Ok(touched) => Ok(fsctl::set_zero_data(file, touched)?),
        Err(_) => Ok(()),
    }
}

/// Frees the whole units in `range`, and zeroes the rest of it. Only a file marked sparse gives anything back.
pub(crate) fn punch(file: &impl NtfsFile, range: ByteRange) -> io::Result<()> {
    if !file.is_sparse()? {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "the file is not marked sparse"));
    }
    Ok(fsctl::punch(file, range, file.size_bytes()?, unit_bytes(file.cluster_bytes()))?)
}

/// Allocates the holes of a whole file, by taking its mark and giving it back. A part can only be written.
pub(crate) fn allocate(file: &impl NtfsFile, range: ByteRange) -> io::Result<()> {
    if range.start() > 0 || range.end() < file.size_bytes()? {
        return Err(io::ErrorKind::Unsupported.into());
    }
    if file.is_sparse()? {
        fsctl::set_sparse(file, false)?;
        fsctl::set_sparse(file, true)?;
    }
    Ok(())
}

/// A hint to the storage beneath. It frees nothing.
pub(crate) fn device_trim(file: &impl Control, range: ByteRange) -> io::Result<()> {
    // Smaller than a memory page: nothing was left to pass on, and nothing is wrong.
    Ok(fsctl::file_level_trim(file, &[range]).map(drop)?)
}

/// Appends to `found` extents that cover `range` from its start up to the offset it returns, without gaps.
///
/// A file system that cannot tell has data everywhere.
pub(crate) fn next_extents(file: &impl Control, range: ByteRange, found: &mut Vec<Extent>) -> io::Result<u64> {
    let mut at = range.start();
    let mut push = |start, end, kind| {
        if let Ok(range) = ByteRange::new(start, end) {
            found.push(Extent { range, kind });
        }
    };
    let mut listed = 0;
    for data in fsctl::allocated_ranges(file, range).take(BATCH_RANGES) {
        let data = match data {
            Ok(data) => data,
            Err(status) if listed == 0 && status.kind() == ErrorKind::Unsupported => range,
            Err(status) => return Err(status.into()),
        };
        push(at, data.start(), ExtentKind::Hole);
        push(data.start(), data.end(), ExtentKind::Data);
        at = data.end();
        listed += 1;
    }
    if listed < BATCH_RANGES {
        push(at, range.end(), ExtentKind::Hole);
        at = range.end();
    }
    Ok(at)
}

/// The largest length of a file, by the file system's published limit: there is no way to try.
pub(crate) fn max_file_bytes(facts: &VolumeFacts, cluster_bytes: u64) -> u64 {
    const FAT32: u64 = u32::MAX as u64;
    let cluster_bytes = if cluster_bytes == 0 { 4096 } else { cluster_bytes };
    let of_kind = match facts.name.as_str() {
        // [MS-FSA] note 181, from Windows 8.1 on.
        "NTFS" => cluster_bytes.saturating_mul(1 << 32).saturating_sub(64 << 10).min(MAX_OFFSET),
        "FAT" | "FAT32" => FAT32,
        _ => MAX_OFFSET,
    };
    facts.max_file_bytes.map_or(of_kind, |bytes| bytes.min(of_kind))
}

/// What the volume declares. Unlike on Linux nothing is tried: there are no unnamed files to try it on.
pub(crate) fn support(facts: VolumeFacts, cluster_bytes: u64, attributes: u32) -> Support {
    let ability = |has| if has { Ability::Yes } else { Ability::No };
    Support {
        punch: ability(facts.sparse),
        zero_range: Ability::No,
        allocate: Ability::No,
        clone: ability(facts.clone),
        map: if facts.sparse { MapKind::AllocatedRanges } else { MapKind::None },
        granularity_bytes: unit_bytes(cluster_bytes),
        max_file_bytes: max_file_bytes(&facts, cluster_bytes),
        forbidding: forbidding(attributes),
        file_system: facts.name,
    }
}

/// The attributes that forbid writing, or holes, in words (law 10).
pub(crate) fn forbidding(attributes: u32) -> Vec<&'static str> {
    in_words(&[(READ_ONLY, "read-only"), (ENCRYPTED, "encrypted"), (COMPRESSED, "compressed")], attributes)
}

/// Refuses to write to a file with such attributes, and says what to do (law 10).
pub(crate) fn check_attributes(attributes: u32, operation: &'static str) -> Result<(), Error> {
    let forbidding = forbidding(attributes);
    let advice = match attributes {
        _ if forbidding.is_empty() => return Ok(()),
        _ if attributes & ENCRYPTED != 0 => "decrypt it first (cipher /d), or work on a copy elsewhere",
        _ if attributes & COMPRESSED != 0 => "--decompress expands it first; or work on a copy",
        _ => "clear the attribute in its properties, or work on a copy",
    };
    Err(Error::new(ErrorKind::Refused, operation)
        .because(format!("the file is {}", forbidding.join(" and ")))
        .advise(advice))
}

/// Stores a stream without compression if it has any, and says whether it had. `attributes` asks for those of the stream.
///
/// # Errors
/// [`ErrorKind::Refused`] for an encrypted stream; [`ErrorKind::NoSpace`] where what is expanded does not fit: the part
/// that did may be expanded then.
pub(crate) fn decompress(file: &impl Control, attributes: impl Fn() -> io::Result<u32>) -> Result<bool, Error> {
    let asked = || attributes().map_err(|error| Error::from_io(DECOMPRESS, error));
    let before = asked()?;
    if before & ENCRYPTED != 0 {
        return check_attributes(before, DECOMPRESS).map(|()| false);
    }
    if before & COMPRESSED == 0 {
        return Ok(false);
    }
    fsctl::decompress(file).map_err(|status| status.error(DECOMPRESS))?;
    if asked()? & COMPRESSED == 0 {
        return Ok(true);
    }
    Err(Error::new(ErrorKind::Unsupported, DECOMPRESS)
        .because("the file system said that it did, and did not")
        .advise("work on a copy"))
}
