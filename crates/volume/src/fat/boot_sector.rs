//! The boot sector with its BIOS parameter block, and the FSInfo sector: their bytes, their rules, and the layout of a
//! volume that follows from them.
//!
//! Plain structs with `from_bytes` and `to_bytes`: readers and the formatter share them.

use block_device::{ByteRange, Error, ErrorKind, Result};

/// Which of the three file systems; decided by the number of clusters and nothing else (fatgen, "FAT Type
/// Determination").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum FatType {
    Fat12,
    Fat16,
    Fat32,
}

impl FatType {
    /// The type of a volume of so many clusters.
    #[must_use]
    pub const fn of_clusters(clusters: u32) -> Self {
        match clusters {
            0..4085 => Self::Fat12,
            4085..65525 => Self::Fat16,
            _ => Self::Fat32,
        }
    }

    /// The bits of one FAT entry.
    #[must_use]
    pub const fn entry_bits(self) -> u32 {
        match self {
            Self::Fat12 => 12,
            Self::Fat16 => 16,
            Self::Fat32 => 32,
        }
    }

    /// The mark of a bad cluster. Everything above it ends a chain.
    #[must_use]
    pub const fn bad_mark(self) -> u32 {
        match self {
            Self::Fat12 => 0xFF7,
            Self::Fat16 => 0xFFF7,
            Self::Fat32 => 0x0FFF_FFF7,
        }
    }

    /// The informational name in the boot sector.
    #[must_use]
    pub const fn name_in_boot_sector(self) -> [u8; 8] {
        match self {
            Self::Fat12 => *b"FAT12   ",
            Self::Fat16 => *b"FAT16   ",
            Self::Fat32 => *b"FAT32   ",
        }
    }

    /// The name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fat12 => "FAT12",
            Self::Fat16 => "FAT16",
            Self::Fat32 => "FAT32",
        }
    }
}

/// A FAT boot sector. The bytes that are not here (boot code) are written as zeroes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootSector {
    /// Who formatted it.
    pub oem_name: [u8; 8],
    /// 512, 1024, 2048 or 4096.
    pub bytes_per_sector: u16,
    /// A power of two.
    pub sectors_per_cluster: u8,
    /// Sectors before the first FAT, the boot sector included.
    pub reserved_sectors: u16,
    /// How many FATs: 2, sometimes 1.
    pub fats: u8,
    /// Entries of the fixed root directory; 0 on FAT32.
    pub root_entries: u16,
    /// Sectors of the volume, from the 16-bit field or the 32-bit one.
    pub total_sectors: u32,
    /// 0xF8 for a fixed disk. The low byte of the first FAT entry is the same.
    pub media: u8,
    /// Sectors of each FAT.
    pub sectors_per_fat: u32,
    /// For BIOS calls only.
    pub sectors_per_track: u16,
    /// For BIOS calls only.
    pub heads: u16,
    /// Sectors before the volume on its disk: the partition's start.
    pub hidden_sectors: u32,
    /// What only FAT32 has.
    pub fat32: Option<Fat32Fields>,
    /// 0x80 for a fixed disk.
    pub drive_number: u8,
    /// Bit 0: in use or not unmounted cleanly; bit 1: a disk error was met. At 0x25, on FAT32 0x41.
    pub state: u8,
    /// 0x29 if serial, label and type name are there.
    pub extended_signature: u8,
    /// The volume's serial number.
    pub serial: u32,
    /// Padded with spaces; `NO NAME    ` if there is none.
    pub label: [u8; 11],
    /// `FAT12   `, `FAT16   `, `FAT32   `. Informational.
    pub type_name: [u8; 8],
}

/// What a FAT32 boot sector says beyond the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fat32Fields {
    /// Bit 7: only one FAT is kept up to date, and bits 0 to 3 say which.
    pub ext_flags: u16,
    /// 0.
    pub version: u16,
    /// First cluster of the root directory, usually 2.
    pub root_cluster: u32,
    /// Sector of the [`FsInfo`], usually 1; 0 or 0xFFFF if there is none.
    pub fs_info_sector: u16,
    /// Sector of the copy of the boot sector, usually 6; 0 or 0xFFFF if there is none.
    pub backup_sector: u16,
}

impl Fat32Fields {
    /// The only FAT kept up to date; `None` if all are (fatgen, `BPB_ExtFlags`).
    #[must_use]
    pub const fn active_fat(self) -> Option<u8> {
        if self.ext_flags & 0x80 == 0 { None } else { Some((self.ext_flags & 0xF) as u8) }
    }
}

/// Where the parts of a volume lie, in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Which of the three.
    pub fat_type: FatType,
    /// Bytes of a sector.
    pub sector_bytes: u64,
    /// Bytes of a cluster.
    pub cluster_bytes: u64,
    /// Start of the first FAT.
    pub fat_start: u64,
    /// Bytes of each FAT as laid out.
    pub fat_bytes: u64,
    /// How many FATs follow one another.
    pub fats: u8,
    /// Start of the fixed root directory, which is empty on FAT32.
    pub root_start: u64,
    /// Bytes of the fixed root directory.
    pub root_bytes: u64,
    /// Start of cluster 2.
    pub data_start: u64,
    /// How many clusters. They are numbered from 2 up to and including `clusters + 1`.
    pub clusters: u32,
    /// Bytes of the whole volume.
    pub volume_bytes: u64,
}

impl Layout {
    /// One past the highest cluster number.
    #[must_use]
    pub const fn end_cluster(&self) -> u32 {
        self.clusters + 2
    }

    /// The bytes of each FAT that say something: entries 0 and 1, and one for each cluster, to the last whole byte.
    #[must_use]
    pub const fn fat_used_bytes(&self) -> u64 {
        (self.end_cluster() as u64 * self.fat_type.entry_bits() as u64).div_ceil(8)
    }

    /// The bytes of `count` clusters from `first`; `None` unless all of them are in the volume.
    #[must_use]
    pub fn clusters_range(&self, first: u32, count: u32) -> Option<ByteRange> {
        let end = first.checked_add(count)?;
        if first < 2 || end > self.end_cluster() {
            return None;
        }
        let start = self.data_start + u64::from(first - 2) * self.cluster_bytes;
        ByteRange::at(start, u64::from(count) * self.cluster_bytes).ok()
    }
}

const BOOT_MARK: [u8; 2] = [0x55, 0xAA];

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

pub(super) fn corrupt(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Corrupt, "read as a FAT volume").because(reason)
}

impl BootSector {
    /// Decodes the first 512 bytes of a volume, and checks every field against the rules and against each other.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] with the field that is wrong.
    pub fn from_bytes(bytes: &[u8; 512]) -> Result<Self> {
        if bytes[510..] != BOOT_MARK {
            return Err(corrupt("the boot sector does not end with 55 AA"));
        }
        if !(bytes[0] == 0xEB && bytes[2] == 0x90 || bytes[0] == 0xE9) {
            return Err(corrupt("the boot sector does not begin with a jump"));
        }
        let (total_16, total_32) = (u16_at(bytes, 19), u32_at(bytes, 32));
        let (fat_16, fat_32) = (u16_at(bytes, 22), u32_at(bytes, 36));
        let is_fat32 = fat_16 == 0;
        if total_16 != 0 && total_32 != 0 && u32::from(total_16) != total_32 {
            return Err(corrupt(format!("the two fields for the sectors disagree: {total_16} and {total_32}")));
        }
        if is_fat32 && total_16 != 0 {
            return Err(corrupt("the 16-bit field for the sectors is used, which FAT32 does not"));
        }
        let fat32 = is_fat32.then(|| Fat32Fields {
            ext_flags: u16_at(bytes, 40),
            version: u16_at(bytes, 42),
            root_cluster: u32_at(bytes, 44),
            fs_info_sector: u16_at(bytes, 48),
            backup_sector: u16_at(bytes, 50),
        });
        // The same fields follow at 36, on FAT32 at 64.
        let tail = if is_fat32 { &bytes[64..90] } else { &bytes[36..62] };
        let boot = Self {
            oem_name: bytes[3..11].try_into().expect("8 bytes"),
            bytes_per_sector: u16_at(bytes, 11),
            sectors_per_cluster: bytes[13],
            reserved_sectors: u16_at(bytes, 14),
            fats: bytes[16],
            root_entries: u16_at(bytes, 17),
            total_sectors: if total_16 == 0 { total_32 } else { u32::from(total_16) },
            media: bytes[21],
            sectors_per_fat: if is_fat32 { fat_32 } else { u32::from(fat_16) },
            sectors_per_track: u16_at(bytes, 24),
            heads: u16_at(bytes, 26),
            hidden_sectors: u32_at(bytes, 28),
            fat32,
            drive_number: tail[0],
            state: tail[1],
            extended_signature: tail[2],
            serial: u32_at(tail, 3),
            label: tail[7..18].try_into().expect("11 bytes"),
            type_name: tail[18..26].try_into().expect("8 bytes"),
        };
        boot.layout()?;
        Ok(boot)
    }

    /// The 512 bytes. On larger sectors the rest of the sector is zeroes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 512] {
        let mut bytes = [0; 512];
        let is_fat32 = self.fat32.is_some();
        // A jump over the fields.
        put(&mut bytes, 0, if is_fat32 { [0xEB, 0x58, 0x90] } else { [0xEB, 0x3C, 0x90] });
        put(&mut bytes, 3, self.oem_name);
        put(&mut bytes, 11, self.bytes_per_sector.to_le_bytes());
        bytes[13] = self.sectors_per_cluster;
        put(&mut bytes, 14, self.reserved_sectors.to_le_bytes());
        bytes[16] = self.fats;
        put(&mut bytes, 17, self.root_entries.to_le_bytes());
        match u16::try_from(self.total_sectors) {
            Ok(short) if !is_fat32 => put(&mut bytes, 19, short.to_le_bytes()),
            _ => put(&mut bytes, 32, self.total_sectors.to_le_bytes()),
        }
        bytes[21] = self.media;
        put(&mut bytes, 24, self.sectors_per_track.to_le_bytes());
        put(&mut bytes, 26, self.heads.to_le_bytes());
        put(&mut bytes, 28, self.hidden_sectors.to_le_bytes());
        let tail = match self.fat32 {
            Some(fat32) => {
                put(&mut bytes, 36, self.sectors_per_fat.to_le_bytes());
                put(&mut bytes, 40, fat32.ext_flags.to_le_bytes());
                put(&mut bytes, 42, fat32.version.to_le_bytes());
                put(&mut bytes, 44, fat32.root_cluster.to_le_bytes());
                put(&mut bytes, 48, fat32.fs_info_sector.to_le_bytes());
                put(&mut bytes, 50, fat32.backup_sector.to_le_bytes());
                &mut bytes[64..90]
            }
            None => {
                let short = u16::try_from(self.sectors_per_fat).expect("FAT12 and FAT16 need fewer sectors");
                put(&mut bytes, 22, short.to_le_bytes());
                &mut bytes[36..62]
            }
        };
        tail[0] = self.drive_number;
        tail[1] = self.state;
        tail[2] = self.extended_signature;
        put(tail, 3, self.serial.to_le_bytes());
        put(tail, 7, self.label);
        put(tail, 18, self.type_name);
        put(&mut bytes, 510, BOOT_MARK);
        bytes
    }

    /// Where everything lies.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] with the field that breaks a rule of fatgen, or contradicts another one.
    pub fn layout(&self) -> Result<Layout> {
        self.check_fields()?;
        let sector = u64::from(self.bytes_per_sector);
        let cluster_bytes = u64::from(self.sectors_per_cluster) * sector;
        let fat_start = u64::from(self.reserved_sectors) * sector;
        let fat_bytes = u64::from(self.sectors_per_fat) * sector;
        let root_bytes = u64::from(self.root_entries) * 32;
        let volume_bytes = u64::from(self.total_sectors) * sector;
        if !root_bytes.is_multiple_of(sector) {
            return Err(corrupt(format!(
                "{} entries of the root directory do not fill whole sectors",
                self.root_entries
            )));
        }
        // Every factor is at most 32 bits wide but `fats`, so none of this wraps.
        let root_start = fat_start + u64::from(self.fats) * fat_bytes;
        let data_start = root_start + root_bytes;
        let clusters = volume_bytes.saturating_sub(data_start) / cluster_bytes;
        if clusters == 0 {
            return Err(corrupt(format!("its {} sectors leave no room for a cluster", self.total_sectors)));
        }
        let clusters = u32::try_from(clusters).expect("no more than sectors");
        let fat_type = FatType::of_clusters(clusters);
        if (fat_type == FatType::Fat32) != self.fat32.is_some() {
            let shape = if self.fat32.is_some() { "FAT32" } else { "FAT12 or FAT16" };
            let is = fat_type.name();
            return Err(corrupt(format!(
                "the boot sector is laid out for {shape}, but {clusters} clusters make it {is}"
            )));
        }
        // Informational, and yet whoever wrote the other name wrote entries of the other width.
        if self.extended_signature == 0x29
            && [FatType::Fat12, FatType::Fat16, FatType::Fat32]
                .iter()
                .any(|&other| other != fat_type && other.name_in_boot_sector() == self.type_name)
        {
            let (says, is) = (String::from_utf8_lossy(&self.type_name).into_owned(), fat_type.name());
            return Err(corrupt(format!(
                "the boot sector says {}, but {clusters} clusters make it {is}",
                says.trim_end()
            )));
        }
        // Cluster numbers from the mark of a bad cluster on cannot be told from marks.
        if clusters + 2 > fat_type.bad_mark() {
            return Err(corrupt(format!("{clusters} clusters are more than {} can number", fat_type.name())));
        }
        let layout = Layout {
            fat_type,
            sector_bytes: sector,
            cluster_bytes,
            fat_start,
            fat_bytes,
            fats: self.fats,
            root_start,
            root_bytes,
            data_start,
            clusters,
            volume_bytes,
        };
        if layout.fat_used_bytes() > fat_bytes {
            return Err(corrupt(format!(
                "its FATs of {} sectors are too small for {clusters} clusters",
                self.sectors_per_fat
            )));
        }
        if let Some(fat32) = self.fat32 {
            self.check_fat32(fat32, clusters)?;
        }
        Ok(layout)
    }

    fn check_fields(&self) -> Result<()> {
        if !matches!(self.bytes_per_sector, 512 | 1024 | 2048 | 4096) {
            return Err(corrupt(format!("{} bytes a sector", self.bytes_per_sector)));
        }
        if !self.sectors_per_cluster.is_power_of_two() {
            return Err(corrupt(format!(
                "{} sectors a cluster, which is not a power of two",
                self.sectors_per_cluster
            )));
        }
        if self.reserved_sectors == 0 {
            return Err(corrupt("no reserved sectors, though the boot sector is one"));
        }
        if !(1..=4).contains(&self.fats) {
            return Err(corrupt(format!("{} FATs; there are 1 to 4", self.fats)));
        }
        if self.media != 0xF0 && self.media < 0xF8 {
            return Err(corrupt(format!("the media byte is {:#04x}", self.media)));
        }
        if self.sectors_per_fat == 0 {
            return Err(corrupt("FATs of no sectors"));
        }
        match (self.fat32, self.root_entries) {
            (None, 0) => Err(corrupt("a root directory of no entries")),
            (Some(_), 1..) => Err(corrupt("a fixed root directory, which FAT32 does not have")),
            _ => Ok(()),
        }
    }

    fn check_fat32(&self, fat32: Fat32Fields, clusters: u32) -> Result<()> {
        if fat32.version != 0 {
            return Err(corrupt(format!("FAT32 version {:#06x}; only version 0 is known", fat32.version)));
        }
        if fat32.active_fat().is_some_and(|active| active >= self.fats) {
            return Err(corrupt(format!("its active FAT is number {}, of {}", fat32.ext_flags & 0xF, self.fats)));
        }
        if !(2..clusters + 2).contains(&fat32.root_cluster) {
            return Err(corrupt(format!(
                "its root directory is at cluster {}, outside the volume",
                fat32.root_cluster
            )));
        }
        for (sector, what) in [(fat32.fs_info_sector, "FSInfo"), (fat32.backup_sector, "backup boot sector")] {
            if !matches!(sector, 0 | 0xFFFF) && sector >= self.reserved_sectors {
                return Err(corrupt(format!("its {what} is at sector {sector}, outside the reserved sectors")));
            }
        }
        Ok(())
    }
}

/// The FSInfo sector of FAT32: hints that a driver keeps so as not to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FsInfo {
    /// Free clusters; `None` if unknown (0xFFFFFFFF).
    pub free_clusters: Option<u32>,
    /// Where to look for a free cluster; `None` if unknown.
    pub next_free: Option<u32>,
}

impl FsInfo {
    /// Decodes the first 512 bytes of the sector; `None` if one of the three signatures is missing.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 512]) -> Option<Self> {
        let signed = bytes[..4] == *b"RRaA" && bytes[484..488] == *b"rrAa" && bytes[508..] == [0, 0, 0x55, 0xAA];
        let known = |value: u32| (value != u32::MAX).then_some(value);
        signed.then(|| Self { free_clusters: known(u32_at(bytes, 488)), next_free: known(u32_at(bytes, 492)) })
    }

    /// The 512 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 512] {
        let mut bytes = [0; 512];
        put(&mut bytes, 0, *b"RRaA");
        put(&mut bytes, 484, *b"rrAa");
        put(&mut bytes, 488, self.free_clusters.unwrap_or(u32::MAX).to_le_bytes());
        put(&mut bytes, 492, self.next_free.unwrap_or(u32::MAX).to_le_bytes());
        put(&mut bytes, 510, BOOT_MARK);
        bytes
    }
}
