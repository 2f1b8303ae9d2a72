//! An open FAT volume: its boot sector, and where its parts are.

use block_device::{Disk, ErrorKind, Result};

use super::boot_sector::{BootSector, FatType, FsInfo, Layout, corrupt};
use super::directory::{DirectoryWalk, Item};
use super::free_runs::FreeRuns;
use crate::FileSystem;
use crate::disk_cursor::read_at;

impl FatType {
    pub(crate) const fn file_system(self) -> FileSystem {
        match self {
            Self::Fat12 => FileSystem::Fat12,
            Self::Fat16 => FileSystem::Fat16,
            Self::Fat32 => FileSystem::Fat32,
        }
    }
}

/// A FAT volume whose boot sector is right in itself. Nothing else has been looked at yet.
#[derive(Clone, Debug)]
pub struct Fat {
    pub(super) disk: Disk,
    boot: BootSector,
    pub(super) layout: Layout,
}

impl Fat {
    /// Opens the volume that begins at the first byte of `disk`: a whole disk, or a [`Window`](block_device::Window).
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] where the boot sector is not one, contradicts itself, or describes a volume larger than
    /// `disk` or with sectors smaller than its blocks.
    pub fn open(disk: &Disk) -> Result<Self> {
        let mut bytes = [0; 512];
        read_at(disk, 0, &mut bytes)?;
        let boot = BootSector::from_bytes(&bytes)?;
        let layout = boot.layout()?;
        let block = disk.geometry().logical_block.bytes();
        if layout.sector_bytes < block {
            return Err(corrupt(format!(
                "its sectors of {} bytes are smaller than the disk's blocks of {block}",
                layout.sector_bytes
            )));
        }
        if layout.volume_bytes > disk.len_bytes() {
            return Err(corrupt(format!(
                "it is {} bytes long, and the disk or partition it lies in {}",
                layout.volume_bytes,
                disk.len_bytes()
            )));
        }
        Ok(Self { disk: disk.clone(), boot, layout })
    }

    /// The boot sector.
    #[must_use]
    pub fn boot_sector(&self) -> &BootSector {
        &self.boot
    }

    /// Where everything lies.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The free clusters, in order, as the FAT has them. Only as good as the FAT: see [`check`](Self::check).
    #[must_use]
    pub fn free_runs(&self) -> FreeRuns {
        FreeRuns::new(self.clone())
    }

    /// How many bytes the FAT says are free. Counted, without checking anything.
    ///
    /// # Errors
    /// Those of reading; [`ErrorKind::Corrupt`] where the FATs disagree.
    pub fn free_bytes(&self) -> Result<u64> {
        let mut clusters = 0;
        for run in self.free_runs() {
            clusters += u64::from(run?.count);
        }
        Ok(clusters * self.layout.cluster_bytes)
    }

    /// The label: the one in the root directory, or else the one in the boot sector.
    ///
    /// # Errors
    /// Those of reading, and of a root directory that leads astray.
    pub fn label(&self) -> Result<Option<String>> {
        let mut walk = DirectoryWalk::of_root(self);
        while let Some(item) = walk.next_item()? {
            if let Item::Label(label) = item {
                return Ok(Some(label));
            }
        }
        let label = String::from_utf8_lossy(&self.boot.label).trim_end().to_owned();
        let has_label = self.boot.extended_signature == 0x29 && !label.is_empty() && label != "NO NAME";
        Ok(has_label.then_some(label))
    }

    /// The FSInfo sector of FAT32; `None` on the others, or if the boot sector names none.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] where the sector is not an FSInfo sector.
    pub fn fs_info(&self) -> Result<Option<FsInfo>> {
        let Some(sector) = self.boot.fat32.map(|fat32| fat32.fs_info_sector) else { return Ok(None) };
        let Some(bytes) = self.reserved_sector(sector)? else { return Ok(None) };
        match FsInfo::from_bytes(&bytes) {
            Some(info) => Ok(Some(info)),
            None => Err(corrupt(format!("sector {sector} should be the FSInfo sector, and is not"))),
        }
    }

    /// The copy of the boot sector that FAT32 keeps; `None` if there is none, or it cannot be read as one.
    ///
    /// # Errors
    /// Those of reading.
    pub fn backup_boot_sector(&self) -> Result<Option<BootSector>> {
        let Some(sector) = self.boot.fat32.map(|fat32| fat32.backup_sector) else { return Ok(None) };
        let Some(bytes) = self.reserved_sector(sector)? else { return Ok(None) };
        match BootSector::from_bytes(&bytes) {
            Ok(boot) => Ok(Some(boot)),
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The first 512 bytes of a sector that the boot sector names; 0 and 0xFFFF name none.
    fn reserved_sector(&self, sector: u16) -> Result<Option<[u8; 512]>> {
        if matches!(sector, 0 | 0xFFFF) {
            return Ok(None);
        }
        let mut bytes = [0; 512];
        read_at(&self.disk, u64::from(sector) * self.layout.sector_bytes, &mut bytes)?;
        Ok(Some(bytes))
    }

    /// Where the FATs that must agree begin: all of them, or the active one where mirroring is off.
    pub(super) fn fat_starts(&self) -> Vec<u64> {
        let start = |number: u8| self.layout.fat_start + u64::from(number) * self.layout.fat_bytes;
        match self.boot.fat32.and_then(|fat32| fat32.active_fat()) {
            Some(active) => vec![start(active)],
            None => (0..self.layout.fats).map(start).collect(),
        }
    }
}
