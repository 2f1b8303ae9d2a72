//! The FAT (section 4): which cluster comes after which. exFAT uses it only for what lies in pieces.

use block_device::{Disk, Result};

use super::boot_region::Layout;
use super::corrupt;
use crate::scattered::{Pages, Scattered};

/// The FAT, entry by entry.
#[derive(Debug)]
pub(super) struct Fat {
    pages: Pages,
    layout: Layout,
}

const END_OF_CHAIN: u32 = 0xFFFF_FFFF;
const BAD: u32 = 0xFFFF_FFF7;

impl Fat {
    /// The FAT of a volume.
    ///
    /// # Errors
    /// `Corrupt` unless its first two entries are those of every exFAT (4.1.1, 4.1.2); those of reading.
    pub(super) fn open(disk: &Disk, layout: &Layout) -> Result<Self> {
        let mut fat = Self { pages: Pages::new(Scattered::new(disk, [layout.fat])?), layout: *layout };
        let (media, second) = (fat.raw(0)?, fat.raw(1)?);
        if (media, second) != (0xFFFF_FFF8, END_OF_CHAIN) {
            return Err(corrupt(format!("its FAT begins with {media:#x} and {second:#x}")));
        }
        Ok(fat)
    }

    fn raw(&mut self, cluster: u32) -> Result<u32> {
        Ok(u32::from_le_bytes(self.pages.array(u64::from(cluster) * 4)?))
    }

    /// The cluster after `cluster`, one of the volume's; `None` at the end of the chain.
    ///
    /// # Errors
    /// `Corrupt` for an entry that leads nowhere; those of reading.
    pub(super) fn next(&mut self, cluster: u32) -> Result<Option<u32>> {
        match self.raw(cluster)? {
            END_OF_CHAIN => Ok(None),
            next if self.layout.has(next) => Ok(Some(next)),
            BAD => Err(corrupt(format!("the FAT marks cluster {cluster} of a chain as bad"))),
            next => Err(corrupt(format!("the FAT entry of cluster {cluster} is {next:#x}, outside the volume"))),
        }
    }
}

/// The clusters of one allocation (6.3.4, 7.6): a chain in the FAT, or all in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allocation {
    /// One of the volume's.
    pub(super) first: u32,
    /// `NoFatChain`: the FAT says nothing about it.
    pub(super) in_a_row: bool,
    /// How many it should have; the root directory does not say.
    pub(super) clusters: Option<u64>,
}
