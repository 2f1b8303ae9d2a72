//! Whether a volume agrees with itself, so that what its FAT calls free may be given away.
//!
//! One pass over the FATs, one walk through the directories, and two bits a cluster: *in use* (its entry is neither
//! free nor bad) and *spoken for* (another cluster of a chain leads to it, or a directory entry does). Whatever is
//! spoken for twice is cross-linked. As no cluster on the way is spoken for twice, a chain that begins at a directory
//! entry cannot come back to itself, so every walk ends; chains that do go in circles are found by counting.

use block_device::{Error, ErrorKind, Result};

use super::Fat;
use super::bitmap::Bitmap;
use super::boot_sector::{BootSector, FatType, Layout, corrupt};
use super::directory::{DirectoryWalk, Item, Node, astray};
use super::entries::{Entry, EntryCache, Piece, Pieces};

/// What a volume that agrees with itself holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Files.
    pub files: u64,
    /// Directories, the root not counted.
    pub directories: u64,
    /// Clusters in use, the lost ones among them.
    pub used_clusters: u32,
    /// Clusters free.
    pub free_clusters: u32,
    /// Clusters marked as bad. They are never free.
    pub bad_clusters: u32,
    /// Clusters in use by chains that no directory entry leads to. They are never free: `fsck.vfat` may recover them.
    pub lost_clusters: u32,
}

impl Fat {
    /// Checks that the volume was unmounted cleanly and that everything its free space rests on agrees: boot sector and
    /// its backup, all FATs, every chain, every directory entry, FSInfo.
    ///
    /// Needs memory for two bits a cluster and some 20 MiB, reads the FATs and the directories once, and every chain
    /// once.
    ///
    /// Nothing interrupts it. The worst that it can be shown is a FAT32 full of chains that jump about: each of up to 2^28
    /// clusters may cost a read of 4 KiB, which is minutes. A caller that must stay responsive runs it in a thread of its
    /// own.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] where it was not unmounted cleanly or a disk error was noted; [`ErrorKind::Corrupt`] with
    /// what contradicts what. Those of reading.
    pub fn check(&self) -> Result<Checked> {
        self.check_state()?;
        self.check_backup()?;
        let mut check = Check {
            fat: self,
            in_use: Bitmap::new(self.layout.end_cluster()),
            spoken_for: Bitmap::new(self.layout.end_cluster()),
            cache: EntryCache::new(self),
            checked: Checked::default(),
        };
        check.read_fats()?;
        let reached = check.walk_directories()?;
        check.walk_lost_chains(reached)?;
        let free = check.checked.free_clusters;
        if let Some(said) = self.fs_info()?.and_then(|info| info.free_clusters)
            && said != free
        {
            return Err(corrupt(format!("FSInfo says {said} clusters are free, and the FAT {free}")));
        }
        Ok(check.checked)
    }

    /// Bits that say the volume is in use, or was not unmounted, or met a disk error.
    fn check_state(&self) -> Result<()> {
        // Windows and Linux keep theirs in the boot sector.
        if self.boot_sector().state & 1 != 0 {
            return Err(dirty("its boot sector says that it was not unmounted cleanly"));
        }
        if self.boot_sector().state & 2 != 0 {
            return Err(dirty("its boot sector says that a disk error was met"));
        }
        Ok(())
    }

    /// The bits in the second entry of the FAT, and the media byte in the first (fatgen, "FAT Entry Values").
    fn check_first_entries(&self, piece: &Piece) -> Result<()> {
        let (first, second) = (piece.raw(0), piece.raw(1));
        let media = self.boot_sector().media;
        if first & 0xFF != u32::from(media) {
            return Err(corrupt(format!(
                "its FAT begins with {first:#x}, which does not match the media byte {media:#x}"
            )));
        }
        let (clean, no_error) = match self.layout.fat_type {
            FatType::Fat12 => return Ok(()),
            FatType::Fat16 => (0x8000, 0x4000),
            FatType::Fat32 => (0x0800_0000, 0x0400_0000),
        };
        if second & clean == 0 {
            return Err(dirty("its FAT says that it was not unmounted cleanly"));
        }
        if second & no_error == 0 {
            return Err(dirty("its FAT says that a disk error was met"));
        }
        Ok(())
    }

    /// A backup that describes another volume means that one of the two is not to be believed.
    fn check_backup(&self) -> Result<()> {
        let Some(backup) = self.backup_boot_sector()? else { return Ok(()) };
        let same = |field: fn(&BootSector) -> u32| field(&backup) == field(self.boot_sector());
        let agrees = same(|boot| u32::from(boot.bytes_per_sector))
            && same(|boot| u32::from(boot.sectors_per_cluster))
            && same(|boot| u32::from(boot.reserved_sectors))
            && same(|boot| u32::from(boot.fats))
            && same(|boot| boot.sectors_per_fat)
            && same(|boot| boot.total_sectors)
            && same(|boot| boot.fat32.map_or(0, |fat32| fat32.root_cluster));
        if agrees { Ok(()) } else { Err(corrupt("its boot sector and the backup of it describe different volumes")) }
    }
}

fn dirty(reason: &'static str) -> Error {
    Error::new(ErrorKind::Refused, "read as a FAT volume")
        .because(reason)
        .advise("let the system that uses it unmount it, or repair it with fsck.vfat -a or chkdsk /f")
}

struct Check<'a> {
    fat: &'a Fat,
    in_use: Bitmap,
    spoken_for: Bitmap,
    cache: EntryCache,
    checked: Checked,
}

impl Check<'_> {
    /// The pass over the FATs: counts, and finds what two clusters lead to.
    fn read_fats(&mut self) -> Result<()> {
        let layout = self.fat.layout;
        let mut pieces = Pieces::new(self.fat);
        while let Some(piece) = pieces.next_piece()? {
            if piece.first == 0 {
                self.fat.check_first_entries(&piece)?;
            }
            let first = piece.first.max(2);
            if piece.is_hole() {
                self.checked.free_clusters += piece.end.saturating_sub(first);
                continue;
            }
            for cluster in first..piece.end {
                let next = match layout.decode(piece.raw(cluster)) {
                    Entry::Free => {
                        self.checked.free_clusters += 1;
                        continue;
                    }
                    Entry::Bad => {
                        self.checked.bad_clusters += 1;
                        continue;
                    }
                    Entry::Next(next) => Some(next),
                    Entry::End => None,
                    Entry::Invalid(value) => {
                        let reason = format!("the FAT entry of cluster {cluster} is {value:#x}, outside the volume");
                        return Err(corrupt(reason));
                    }
                };
                self.in_use.set(cluster);
                self.checked.used_clusters += 1;
                if let Some(next) = next
                    && self.spoken_for.set(next)
                {
                    return Err(corrupt(format!("cluster {next} is in two chains (cross-linked)")));
                }
            }
        }
        match self.spoken_for.without(&self.in_use).next() {
            Some(cluster) => Err(astray("a file", cluster, self.cache.entry(cluster)?)),
            None => Ok(()),
        }
    }

    /// The walk through the tree. Gives the number of clusters that it came to.
    fn walk_directories(&mut self) -> Result<u64> {
        let mut reached = 0;
        if let Some(fat32) = self.fat.boot_sector().fat32 {
            let root = Node {
                name: String::new(),
                is_directory: true,
                first_cluster: fat32.root_cluster,
                size_bytes: 0,
                entry_offset: 0,
            };
            reached += u64::from(self.claim(&root, "")?);
        }
        let mut walk = DirectoryWalk::of_root(self.fat);
        while let Some(item) = walk.next_item()? {
            let Item::Node(node) = item else { continue };
            reached += u64::from(self.claim(&node, walk.path())?);
            if node.is_directory {
                self.checked.directories += 1;
                walk.enter(&node)?;
            } else {
                self.checked.files += 1;
            }
        }
        Ok(reached)
    }

    /// Takes the chain of `node`, which is in the directory `parent`, as its own, and gives its length.
    fn claim(&mut self, node: &Node, parent: &str) -> Result<u32> {
        let (name, first) = (&node.name, node.first_cluster);
        let wrong = |what: String| Err(corrupt(format!("{parent}/{name} {what}")).at_offset(node.entry_offset));
        if first == 0 {
            return if node.is_directory || node.size_bytes > 0 {
                wrong("has no clusters, and should have".to_owned())
            } else {
                Ok(0)
            };
        }
        if !(2..self.fat.layout.end_cluster()).contains(&first) {
            return wrong(format!("begins at cluster {first}, outside the volume"));
        }
        if !self.in_use.get(first) {
            let entry = self.cache.entry(first)?;
            return Err(astray(&format!("{parent}/{name}"), first, entry).at_offset(node.entry_offset));
        }
        if self.spoken_for.set(first) {
            return wrong(format!("begins at cluster {first}, which is in another chain too (cross-linked)"));
        }
        let length = chain_length(&self.fat.layout, &mut self.cache, first)?;
        let holds = u64::from(length) * self.fat.layout.cluster_bytes;
        if u64::from(node.size_bytes) > holds {
            return wrong(format!("is {} bytes long, and its chain holds {holds}", node.size_bytes));
        }
        Ok(length)
    }

    /// Counts the chains that nothing leads to. What is in use and still not reached goes in circles.
    fn walk_lost_chains(&mut self, mut reached: u64) -> Result<()> {
        let used = u64::from(self.checked.used_clusters);
        if reached == used {
            return Ok(());
        }
        let lost_from = reached;
        for head in self.in_use.without(&self.spoken_for) {
            reached += u64::from(chain_length(&self.fat.layout, &mut self.cache, head)?);
        }
        if reached != used {
            return Err(corrupt(format!("{} clusters are in chains that go in circles", used.saturating_sub(reached))));
        }
        self.checked.lost_clusters = u32::try_from(reached - lost_from).expect("no more than clusters");
        Ok(())
    }
}

/// The number of clusters of a chain that begins at a cluster no other leads to.
fn chain_length(layout: &Layout, cache: &mut EntryCache, first: u32) -> Result<u32> {
    let (mut cluster, mut length) = (first, 1);
    loop {
        match cache.entry(cluster)? {
            Entry::Next(next) => cluster = next,
            Entry::End => return Ok(length),
            other => return Err(astray("a file", cluster, other)),
        }
        length += 1;
        // Impossible while the FAT stays as it was in the first pass.
        if length > layout.clusters {
            return Err(Error::new(ErrorKind::Changed, "read as a FAT volume").because("its FAT changed meanwhile"));
        }
    }
}
