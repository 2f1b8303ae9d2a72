//! Which disks are there?

use crate::attach::{get_letter, put_letter};
use crate::bytes::{Reader, Writer, bits_of, flags_of};
use crate::{ABI_VERSION, Counters, HEADER_BYTES, Malformed, Message, NameMaker, NtPath};

/// Asks for the [`ListReply`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListRequest;

impl<'a> Message<'a> for ListRequest {
    fn size_bytes(&self) -> usize {
        HEADER_BYTES
    }

    fn put(&self, _: &mut Writer<'_>) -> Result<(), Malformed> {
        Ok(())
    }

    fn get(_: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self)
    }
}

/// How a disk is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskFlags {
    /// Nobody writes to it.
    pub read_only: bool,
    /// It is presented as a removable medium.
    pub removable: bool,
    /// Zeroes that are written become holes.
    pub zero_detection: bool,
    /// Trims free space.
    pub trims: bool,
    /// It is being detached.
    pub detaching: bool,
    /// A flush failed: what was written before it may be lost (law 2).
    pub flush_failed: bool,
}

impl DiskFlags {
    fn bits(self) -> u32 {
        let Self { read_only, removable, zero_detection, trims, detaching, flush_failed } = self;
        bits_of([read_only, removable, zero_detection, trims, detaching, flush_failed])
    }

    fn from_bits(bits: u32) -> Result<Self, Malformed> {
        let [read_only, removable, zero_detection, trims, detaching, flush_failed] = flags_of(bits)?;
        Ok(Self { read_only, removable, zero_detection, trims, detaching, flush_failed })
    }
}

/// One disk in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskEntry<'a> {
    /// The disk's number.
    pub disk: u32,
    /// The disk's serial: see [`Attached`](crate::Attached).
    pub serial: u64,
    /// How it is attached.
    pub flags: DiskFlags,
    /// Its length.
    pub len_bytes: u64,
    /// Its sector.
    pub sector_bytes: u32,
    /// What is freed at a time; 0 where the file has no holes.
    pub unit_bytes: u32,
    /// Its drive letter.
    pub letter: Option<u8>,
    /// Who made that letter.
    pub name_maker: NameMaker,
    /// How many handles to it are open.
    pub open_handles: u32,
    /// What it has done.
    pub counters: Counters,
    /// Its file.
    pub path: NtPath<'a>,
}

impl<'a> DiskEntry<'a> {
    /// The bytes before the path.
    const FIXED_BYTES: usize = 48 + Counters::BYTES;

    /// The bytes of the entry, so many that the next one begins at a multiple of 8.
    fn entry_bytes(&self) -> usize {
        (Self::FIXED_BYTES + self.path.as_bytes().len()).next_multiple_of(8)
    }

    // Offsets in the entry: entry_bytes 0, path_bytes 4, disk 8, flags 12, len_bytes 16, sector_bytes 24, unit_bytes 28,
    // letter 32, name_maker 34, open_handles 36, serial 40, counters 48, path 176, zeroes up to a multiple of 8.
    fn put(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        let path = self.path.as_bytes();
        writer.u32(u32::try_from(self.entry_bytes()).map_err(|_| Malformed::Size)?)?;
        writer.u32(u32::try_from(path.len()).map_err(|_| Malformed::Size)?)?;
        writer.u32(self.disk)?;
        writer.u32(self.flags.bits())?;
        writer.u64(self.len_bytes)?;
        writer.u32(self.sector_bytes)?;
        writer.u32(self.unit_bytes)?;
        put_letter(writer, self.letter)?;
        writer.u16(self.name_maker.number())?;
        writer.u32(self.open_handles)?;
        writer.u64(self.serial)?;
        self.counters.put(writer)?;
        writer.put(path)?;
        let padding = self.entry_bytes() - Self::FIXED_BYTES - path.len();
        writer.put([0; 8].get(..padding).unwrap_or_default())
    }

    fn get(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let entry_bytes = usize::try_from(reader.u32()?).map_err(|_| Malformed::Size)?;
        let path_bytes = usize::try_from(reader.u32()?).map_err(|_| Malformed::Size)?;
        let (disk, flags) = (reader.u32()?, DiskFlags::from_bits(reader.u32()?)?);
        let (len_bytes, sector_bytes, unit_bytes) = (reader.u64()?, reader.u32()?, reader.u32()?);
        let (letter, name_maker) = (get_letter(reader)?, NameMaker::from_number(reader.u16()?)?);
        let (open_handles, serial) = (reader.u32()?, reader.u64()?);
        let counters = Counters::get(reader)?;
        let path = NtPath::new(reader.bytes(path_bytes)?)?;
        let entry = Self {
            disk,
            serial,
            flags,
            len_bytes,
            sector_bytes,
            unit_bytes,
            letter,
            name_maker,
            open_handles,
            counters,
            path,
        };
        if entry.entry_bytes() != entry_bytes {
            return Err(Malformed::Size);
        }
        reader.reserved(entry_bytes - Self::FIXED_BYTES - path_bytes)?;
        Ok(entry)
    }
}

/// As many disks as the buffer holds.
///
/// The driver answers [`NtStatus::BUFFER_OVERFLOW`](crate::NtStatus::BUFFER_OVERFLOW) (Win32: 234, more data) while
/// [`is_complete`](Self::is_complete) is false: ask again with [`needed_bytes`](Self::needed_bytes), and again, because disks
/// may come between two questions.
#[derive(Clone, Debug)]
pub struct ListReply<'a> {
    /// How many disks there are.
    pub disks: u32,
    /// How many of them are in this reply.
    pub count: u32,
    /// How many bytes hold all of them.
    pub needed_bytes: u64,
    entries: Reader<'a>,
}

impl<'a> ListReply<'a> {
    /// The bytes before the first entry: the smallest buffer that is answered.
    pub const FIXED_BYTES: usize = HEADER_BYTES + 16;

    /// Whether every disk is in this reply.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.count == self.disks
    }

    /// The disks, in the order of their numbers.
    #[must_use]
    pub fn entries(&self) -> Entries<'a> {
        Entries { reader: self.entries.clone(), left: self.count }
    }

    /// Reads the reply that fills `bytes`, every entry of it.
    ///
    /// # Errors
    /// The first of [`Malformed`] that is wrong with it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let (version, size) = (reader.u32()?, reader.u32()?);
        if version != ABI_VERSION {
            return Err(Malformed::Version);
        }
        if usize::try_from(size) != Ok(bytes.len()) {
            return Err(Malformed::Size);
        }
        let (disks, count, needed_bytes) = (reader.u32()?, reader.u32()?, reader.u64()?);
        if count > disks {
            return Err(Malformed::Value);
        }
        let reply = Self { disks, count, needed_bytes, entries: reader };
        let mut entries = reply.entries();
        while entries.left > 0 {
            entries.read()?;
        }
        if entries.reader.left() == 0 { Ok(reply) } else { Err(Malformed::Size) }
    }
}

/// The disks of a [`ListReply`].
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    reader: Reader<'a>,
    left: u32,
}

impl<'a> Entries<'a> {
    fn read(&mut self) -> Result<DiskEntry<'a>, Malformed> {
        self.left = self.left.checked_sub(1).ok_or(Malformed::Size)?;
        DiskEntry::get(&mut self.reader)
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = DiskEntry<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        // Every entry was read once when the reply was.
        self.read().ok()
    }
}

/// Writes a [`ListReply`] into a buffer, whole entries only.
#[derive(Debug)]
pub struct ListWriter<'b> {
    buffer: &'b mut [u8],
    used: usize,
    disks: u32,
    count: u32,
    needed: usize,
}

impl<'b> ListWriter<'b> {
    /// A list without disks.
    ///
    /// # Errors
    /// [`Malformed::Size`] if `buffer` is shorter than [`ListReply::FIXED_BYTES`].
    pub fn new(buffer: &'b mut [u8]) -> Result<Self, Malformed> {
        let used = ListReply::FIXED_BYTES;
        if buffer.len() < used {
            return Err(Malformed::Size);
        }
        Ok(Self { buffer, used, disks: 0, count: 0, needed: used })
    }

    /// Adds `entry`, if it and all before it fit.
    pub fn push(&mut self, entry: &DiskEntry<'_>) {
        let complete = self.count == self.disks;
        self.disks += 1;
        self.needed = self.needed.saturating_add(entry.entry_bytes());
        if let Some(place) = self.buffer.get_mut(self.used..self.needed).filter(|_| complete)
            && entry.put(&mut Writer::new(place)).is_ok()
        {
            self.used = self.needed;
            self.count += 1;
        }
    }

    /// Writes the header. Gives the bytes of the reply, and whether every disk is in it.
    #[must_use]
    pub fn finish(self) -> (usize, bool) {
        let mut writer = Writer::new(self.buffer);
        // The buffer holds at least the header, and a reply is shorter than 4 GiB: `MAX_DISKS` entries of `MAX_PATH_BYTES`.
        let header = [ABI_VERSION, u32::try_from(self.used).unwrap_or(u32::MAX), self.disks, self.count];
        let written = header.into_iter().try_for_each(|field| writer.u32(field));
        let written = written.and_then(|()| writer.u64(self.needed as u64));
        debug_assert!(written.is_ok());
        (self.used, self.count == self.disks)
    }
}
