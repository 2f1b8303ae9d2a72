//! A record of $MFT: its fixups, its header, and the attributes in it.

use block_device::Result;

use super::{corrupt, u16_at, u32_at, u64_at};

/// Sectors as far as fixups go, whatever the sectors of the disk are.
const FIXUP_BYTES: usize = 512;

/// Puts back the last two bytes of every 512, which stand in an array of their own on disk, with a number in their place
/// that shows whether all of them were written at one time.
///
/// # Errors
/// `Corrupt` where they were not, or where the array lies outside the first 512 bytes.
pub(super) fn apply_fixups(bytes: &mut [u8]) -> Result<()> {
    let (array, count) = (usize::from(u16_at(bytes, 4)), usize::from(u16_at(bytes, 6)));
    let sectors = bytes.len() / FIXUP_BYTES;
    if count != sectors + 1 || !array.is_multiple_of(2) || array < 8 || array + 2 * count > FIXUP_BYTES - 2 {
        return Err(corrupt(format!("an array of {count} fixups at {array} cannot be one of {} bytes", bytes.len())));
    }
    let number = u16_at(bytes, array);
    for sector in 0..sectors {
        let (end, saved) = ((sector + 1) * FIXUP_BYTES, array + 2 * (sector + 1));
        if u16_at(bytes, end - 2) != number {
            return Err(corrupt("the parts of a record were not written at one time"));
        }
        bytes.copy_within(saved..saved + 2, end - 2);
    }
    Ok(())
}

/// A reference to a record: its number, and behind it how often it has been used.
pub(super) const fn number_of(reference: u64) -> u64 {
    reference & 0xFFFF_FFFF_FFFF
}

/// A record in use, with its fixups applied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) number: u64,
    /// The record that this one adds attributes to; itself if it stands alone.
    pub(super) base: u64,
    attributes: &'a [u8],
}

const IN_USE: u16 = 1;

/// Decodes a record, applying its fixups; `None` if it is not in use.
///
/// # Errors
/// `Corrupt` where it is not a record, or contradicts itself.
pub(super) fn decode(number: u64, bytes: &mut [u8]) -> Result<Option<Record<'_>>> {
    match &bytes[..4] {
        b"FILE" => {}
        // Never used.
        [0, 0, 0, 0] => return Ok(None),
        b"BAAD" => return Err(corrupt(format!("record {number} is marked as damaged"))),
        _ => return Err(corrupt(format!("record {number} does not begin like one"))),
    }
    apply_fixups(bytes)?;
    if u16_at(bytes, 22) & IN_USE == 0 {
        return Ok(None);
    }
    let (first, used, size) = (usize::from(u16_at(bytes, 20)), u32_at(bytes, 24) as usize, u32_at(bytes, 28) as usize);
    if size != bytes.len() || used > size || first < 42 || first >= used || !first.is_multiple_of(8) {
        return Err(corrupt(format!(
            "record {number} says that it has {size} bytes, {used} of them used, and attributes from {first} on"
        )));
    }
    let base = match u64_at(bytes, 32) {
        0 => number,
        reference => number_of(reference),
    };
    Ok(Some(Record { number, base, attributes: &bytes[first..used] }))
}

impl<'a> Record<'a> {
    pub(super) fn is_base(&self) -> bool {
        self.base == self.number
    }

    /// Visits every attribute.
    ///
    /// # Errors
    /// `Corrupt` where one contradicts itself or the record, those of `visit`.
    pub(super) fn attributes(&self, visit: &mut dyn FnMut(Attribute<'a>) -> Result<()>) -> Result<()> {
        let mut rest = self.attributes;
        loop {
            let wrong = |what: &str| corrupt(format!("an attribute of record {} {what}", self.number));
            let kind = rest.first_chunk().ok_or_else(|| wrong("is cut off"))?;
            let kind = u32::from_le_bytes(*kind);
            if kind == END {
                return Ok(());
            }
            let length = rest.get(4..8).map_or(0, |length| u32_at(length, 0) as usize);
            if length < 24 || !length.is_multiple_of(8) || length > rest.len() {
                return Err(wrong(&format!("is {length} bytes long")));
            }
            let (attribute, after) = rest.split_at(length);
            visit(Attribute::decode(kind, attribute).map_err(wrong)?)?;
            rest = after;
        }
    }

    /// The first attribute of this kind and name that begins at the cluster `lowest` of its stream.
    ///
    /// # Errors
    /// As [`attributes`](Self::attributes).
    pub(super) fn find(&self, kind: u32, name: &[u8], lowest: u64) -> Result<Option<Attribute<'a>>> {
        let mut found = None;
        self.attributes(&mut |attribute| {
            if attribute.kind == kind && attribute.name == name && attribute.body.lowest() == lowest {
                found.get_or_insert(attribute);
            }
            Ok(())
        })?;
        Ok(found)
    }
}

pub(super) const ATTRIBUTE_LIST: u32 = 0x20;
pub(super) const FILE_NAME: u32 = 0x30;
pub(super) const VOLUME_NAME: u32 = 0x60;
pub(super) const VOLUME_INFORMATION: u32 = 0x70;
pub(super) const DATA: u32 = 0x80;
const END: u32 = 0xFFFF_FFFF;

/// Compressed, encrypted or sparse: a stream whose bytes are not those of its clusters.
const NOT_PLAIN: u16 = 0x0001 | 0x4000 | 0x8000;

/// An attribute, or the part of one that is in this record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute<'a> {
    pub(super) kind: u32,
    /// In UTF-16, little-endian; empty if it has none.
    pub(super) name: &'a [u8],
    pub(super) is_plain: bool,
    pub(super) body: Body<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Body<'a> {
    /// Its bytes are in the record.
    Resident(&'a [u8]),
    NonResident(NonResident<'a>),
}

/// Where an attribute lies whose bytes are in clusters.
#[derive(Clone, Copy, Debug)]
pub(super) struct NonResident<'a> {
    /// The first cluster of the stream that this part has, and how many there are.
    pub(super) lowest: u64,
    pub(super) clusters: u64,
    /// The sizes of the whole stream in bytes; only the first part says them.
    pub(super) data_bytes: u64,
    pub(super) initialized_bytes: u64,
    pub(super) runs: &'a [u8],
}

impl Body<'_> {
    pub(super) fn lowest(&self) -> u64 {
        match self {
            Self::Resident(_) => 0,
            Self::NonResident(part) => part.lowest,
        }
    }
}

impl<'a> Attribute<'a> {
    /// Decodes an attribute, of which `bytes` are all: at least 24.
    fn decode(kind: u32, bytes: &'a [u8]) -> Result<Self, &'static str> {
        let (name_at, name_units) = (usize::from(u16_at(bytes, 10)), usize::from(bytes[9]));
        let name = match name_units {
            0 => &[],
            units => bytes.get(name_at..name_at + 2 * units).ok_or("has a name that it does not hold")?,
        };
        let is_plain = u16_at(bytes, 12) & NOT_PLAIN == 0;
        let body = match bytes[8] {
            0 => {
                let (at, len) = (usize::from(u16_at(bytes, 20)), u32_at(bytes, 16) as usize);
                let value = at.checked_add(len).and_then(|end| bytes.get(at..end));
                Body::Resident(value.ok_or("has a value that it does not hold")?)
            }
            1 => Body::NonResident(Self::decode_non_resident(bytes)?),
            _ => return Err("is neither resident nor the opposite"),
        };
        Ok(Self { kind, name, is_plain, body })
    }

    fn decode_non_resident(bytes: &'a [u8]) -> Result<NonResident<'a>, &'static str> {
        if bytes.len() < 64 {
            return Err("is too short to say where it lies");
        }
        let (lowest, highest) = (u64_at(bytes, 16), u64_at(bytes, 24));
        // A stream of no clusters has -1 for its last.
        let end = highest.wrapping_add(1);
        let clusters = end.checked_sub(lowest).filter(|_| end <= i64::MAX as u64).ok_or("ends before it begins")?;
        let [data_bytes, initialized_bytes] = if lowest == 0 { [48, 56].map(|at| u64_at(bytes, at)) } else { [0; 2] };
        let runs = bytes.get(usize::from(u16_at(bytes, 32))..).ok_or("has a run list that it does not hold")?;
        Ok(NonResident { lowest, clusters, data_bytes, initialized_bytes, runs })
    }
}
