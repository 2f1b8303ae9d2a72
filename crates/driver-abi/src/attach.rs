//! Making a file a disk.

use crate::bytes::{Reader, Writer, bits_of, flags_of};
use crate::{HEADER_BYTES, Malformed, Message};

/// The longest path, as long as a UNICODE_STRING can be.
pub const MAX_PATH_BYTES: usize = 65_534;

/// A path as the kernel names it (`\??\C:\disk.img`): UTF-16, little endian, as bytes.
///
/// Not empty, at most [`MAX_PATH_BYTES`], begins with a backslash, holds no NUL. Lone surrogates are allowed, as in any
/// Windows name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NtPath<'a>(&'a [u8]);

impl<'a> NtPath<'a> {
    /// Checks `utf16` as a path.
    ///
    /// # Errors
    /// [`Malformed::Value`] unless it is as [`NtPath`] says.
    pub fn new(utf16: &'a [u8]) -> Result<Self, Malformed> {
        let (units, odd) = utf16.as_chunks::<2>();
        let good = odd.is_empty()
            && utf16.len() <= MAX_PATH_BYTES
            && units.first() == Some(&[b'\\', 0])
            && !units.contains(&[0, 0]);
        if good { Ok(Self(utf16)) } else { Err(Malformed::Value) }
    }

    /// The bytes, an even number of them.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The UTF-16 code units.
    pub fn units(self) -> impl ExactSizeIterator<Item = u16> + Clone + 'a {
        self.0.as_chunks::<2>().0.iter().map(|&unit| u16::from_le_bytes(unit))
    }
}

/// What kind of disk is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachFlags {
    /// Nobody writes to it.
    pub read_only: bool,
    /// It is presented as a removable medium.
    pub removable: bool,
    /// Whole units of zeroes that are written become holes.
    pub zero_detection: bool,
    /// A file on a volume without holes is meant.
    pub dense: bool,
    /// Mark the file sparse before it is used.
    pub mark_sparse: bool,
}

impl AttachFlags {
    fn bits(self) -> u32 {
        let Self { read_only, removable, zero_detection, dense, mark_sparse } = self;
        bits_of([read_only, removable, zero_detection, dense, mark_sparse])
    }

    fn from_bits(bits: u32) -> Result<Self, Malformed> {
        let [read_only, removable, zero_detection, dense, mark_sparse] = flags_of(bits)?;
        Ok(Self { read_only, removable, zero_detection, dense, mark_sparse })
    }
}

/// What a trim by the file system on the disk does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiscardMode {
    /// Whole units become holes, and read as zeroes.
    #[default]
    Free,
    /// Nothing; the disk says that it knows no trim.
    Ignore,
}

/// Asks for a file to be made a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachRequest<'a> {
    /// What kind of disk.
    pub flags: AttachFlags,
    /// The disk's sector: 512 or 4,096 bytes.
    pub sector_bytes: u32,
    /// The drive letter wished for, `b'A'` to `b'Z'`; `None` lets the Mount Manager choose.
    pub letter: Option<u8>,
    /// What a trim does.
    pub discard: DiscardMode,
    /// How much of the host's volume writes to holes leave free, in bytes.
    pub space_floor_bytes: u64,
    /// The file.
    pub path: NtPath<'a>,
}

impl AttachRequest<'_> {
    /// Where the path begins; a multiple of 8.
    pub const PATH_OFFSET: usize = HEADER_BYTES + 32;
}

pub(crate) fn put_letter(writer: &mut Writer<'_>, letter: Option<u8>) -> Result<(), Malformed> {
    writer.u16(letter.map_or(0, u16::from))
}

pub(crate) fn get_letter(reader: &mut Reader<'_>) -> Result<Option<u8>, Malformed> {
    match u8::try_from(reader.u16()?) {
        Ok(0) => Ok(None),
        Ok(letter @ b'A'..=b'Z') => Ok(Some(letter)),
        _ => Err(Malformed::Value),
    }
}

// Offsets: flags 8, sector_bytes 12, letter 16, discard 18, path_bytes 20, space_floor_bytes 24, reserved 32, path 40.
impl<'a> Message<'a> for AttachRequest<'a> {
    fn size_bytes(&self) -> usize {
        Self::PATH_OFFSET + self.path.0.len()
    }

    fn put(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        writer.u32(self.flags.bits())?;
        writer.u32(self.sector_bytes)?;
        put_letter(writer, self.letter)?;
        writer.u16(match self.discard {
            DiscardMode::Free => 0,
            DiscardMode::Ignore => 1,
        })?;
        writer.u32(u32::try_from(self.path.0.len()).map_err(|_| Malformed::Size)?)?;
        writer.u64(self.space_floor_bytes)?;
        writer.u64(0)?;
        writer.put(self.path.0)
    }

    fn get(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let flags = AttachFlags::from_bits(reader.u32()?)?;
        let sector_bytes = reader.u32()?;
        if !matches!(sector_bytes, 512 | 4096) {
            return Err(Malformed::Value);
        }
        let letter = get_letter(reader)?;
        let discard = match reader.u16()? {
            0 => DiscardMode::Free,
            1 => DiscardMode::Ignore,
            _ => return Err(Malformed::Value),
        };
        let path_bytes = usize::try_from(reader.u32()?).map_err(|_| Malformed::Size)?;
        let space_floor_bytes = reader.u64()?;
        reader.reserved(8)?;
        let path = NtPath::new(reader.bytes(path_bytes)?)?;
        Ok(Self { flags, sector_bytes, letter, discard, space_floor_bytes, path })
    }
}

/// Who made the disk's drive letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameMaker {
    /// It has none.
    #[default]
    Nobody,
    /// The Mount Manager.
    MountManager,
    /// The driver, as a symbolic link: there is no Mount Manager, or it made none.
    SymbolicLink,
}

impl NameMaker {
    pub(crate) const fn number(self) -> u16 {
        match self {
            Self::Nobody => 0,
            Self::MountManager => 1,
            Self::SymbolicLink => 2,
        }
    }

    pub(crate) const fn from_number(number: u16) -> Result<Self, Malformed> {
        match number {
            0 => Ok(Self::Nobody),
            1 => Ok(Self::MountManager),
            2 => Ok(Self::SymbolicLink),
            _ => Err(Malformed::Value),
        }
    }
}

/// A file that has become a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The disk's number: `\Device\SparseDisk7` is 7. Another disk has it when this one is gone.
    pub disk: u32,
    /// Which attach since the driver was loaded made it, counted from 1: what no other disk ever has.
    pub serial: u64,
    /// The disk's sector.
    pub sector_bytes: u32,
    /// The disk's length.
    pub len_bytes: u64,
    /// What is freed at a time; 0 where the file has no holes.
    pub unit_bytes: u32,
    /// The drive letter it got.
    pub letter: Option<u8>,
    /// Who made that letter.
    pub name_maker: NameMaker,
}

impl Attached {
    /// The size of the message.
    pub const BYTES: usize = HEADER_BYTES + 32;
}

// Offsets: disk 8, sector_bytes 12, len_bytes 16, unit_bytes 24, letter 28, name_maker 30, serial 32.
impl<'a> Message<'a> for Attached {
    fn size_bytes(&self) -> usize {
        Self::BYTES
    }

    fn put(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        writer.u32(self.disk)?;
        writer.u32(self.sector_bytes)?;
        writer.u64(self.len_bytes)?;
        writer.u32(self.unit_bytes)?;
        put_letter(writer, self.letter)?;
        writer.u16(self.name_maker.number())?;
        writer.u64(self.serial)
    }

    fn get(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            disk: reader.u32()?,
            sector_bytes: reader.u32()?,
            len_bytes: reader.u64()?,
            unit_bytes: reader.u32()?,
            letter: get_letter(reader)?,
            name_maker: NameMaker::from_number(reader.u16()?)?,
            serial: reader.u64()?,
        })
    }
}
