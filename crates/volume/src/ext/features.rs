//! The features of a superblock: which of them may be there, and the words for the others.
//!
//! What is accepted is what cannot make a used block look free: the list is closed, and a bit that is not on it refuses.

use block_device::{Error, ErrorKind, Result};

use super::{dirty, unread};

/// The three sets of feature bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Features {
    pub(super) compat: u32,
    pub(super) incompat: u32,
    pub(super) ro_compat: u32,
}

pub(super) const COMPAT_HAS_JOURNAL: u32 = 0x4;
pub(super) const COMPAT_SPARSE_SUPER2: u32 = 0x200;
pub(super) const INCOMPAT_RECOVER: u32 = 0x4;
pub(super) const INCOMPAT_META_BG: u32 = 0x10;
pub(super) const INCOMPAT_64BIT: u32 = 0x80;
pub(super) const INCOMPAT_MMP: u32 = 0x100;
pub(super) const INCOMPAT_FLEX_BG: u32 = 0x200;
pub(super) const INCOMPAT_CSUM_SEED: u32 = 0x2000;
pub(super) const RO_COMPAT_SPARSE_SUPER: u32 = 0x1;
pub(super) const RO_COMPAT_GDT_CSUM: u32 = 0x10;
pub(super) const RO_COMPAT_BIGALLOC: u32 = 0x200;
pub(super) const RO_COMPAT_METADATA_CSUM: u32 = 0x400;

/// dir_prealloc, has_journal, ext_attr, resize_inode, dir_index, sparse_super2, fast_commit (it matters only in a journal
/// to be replayed), stable_inodes, orphan_file.
const COMPAT_READ: u32 = 0x1 | COMPAT_HAS_JOURNAL | 0x8 | 0x10 | 0x20 | COMPAT_SPARSE_SUPER2 | 0x400 | 0x800 | 0x1000;

/// filetype, needs_recovery, meta_bg, extent, 64bit, mmp, flex_bg, ea_inode, metadata_csum_seed, large_dir, inline_data,
/// encrypt, casefold: none of them but those with a constant says anything about which blocks are free.
const INCOMPAT_READ: u32 = 0x2
    | INCOMPAT_RECOVER
    | INCOMPAT_META_BG
    | 0x40
    | INCOMPAT_64BIT
    | INCOMPAT_MMP
    | INCOMPAT_FLEX_BG
    | 0x400
    | INCOMPAT_CSUM_SEED
    | 0x4000
    | 0x8000
    | 0x1_0000
    | 0x2_0000;

/// sparse_super, large_file, huge_file, uninit_bg, dir_nlink, extra_isize, quota, bigalloc, metadata_csum, project,
/// verity, orphan_present.
const RO_COMPAT_READ: u32 = RO_COMPAT_SPARSE_SUPER
    | 0x2
    | 0x8
    | RO_COMPAT_GDT_CSUM
    | 0x20
    | 0x40
    | 0x100
    | RO_COMPAT_BIGALLOC
    | RO_COMPAT_METADATA_CSUM
    | 0x2000
    | 0x8000
    | 0x1_0000;

/// What is known by name, and not accepted.
const COMPAT_NAMES: [(u32, &str); 4] =
    [(0x2, "imagic_inodes"), (0x40, "lazy_bg"), (0x80, "exclude_inode"), (0x100, "exclude_bitmap")];
const INCOMPAT_NAMES: [(u32, &str); 3] = [(0x1, "compression"), (0x8, "journal_dev"), (0x1000, "dirdata")];
const RO_COMPAT_NAMES: [(u32, &str); 5] =
    [(0x4, "btree_dir"), (0x80, "snapshot"), (0x800, "replica"), (0x1000, "read-only"), (0x4000, "shared_blocks")];

impl Features {
    pub(super) const NONE: Self = Self { compat: 0, incompat: 0, ro_compat: 0 };

    pub(super) fn has_compat(self, bit: u32) -> bool {
        self.compat & bit != 0
    }

    pub(super) fn has_incompat(self, bit: u32) -> bool {
        self.incompat & bit != 0
    }

    pub(super) fn has_ro_compat(self, bit: u32) -> bool {
        self.ro_compat & bit != 0
    }

    /// Whether group descriptors have a checksum, and with it a meaning for `BLOCK_UNINIT`.
    pub(super) fn has_descriptor_checksums(self) -> bool {
        self.has_ro_compat(RO_COMPAT_GDT_CSUM | RO_COMPAT_METADATA_CSUM)
    }

    /// # Errors
    /// `Unsupported` for a feature that is known and not read, `Refused` for one that is not known, or two that exclude
    /// each other.
    pub(super) fn check(self) -> Result<()> {
        check_set(self.compat, COMPAT_READ, &COMPAT_NAMES, "compatible")?;
        check_set(self.incompat, INCOMPAT_READ, &INCOMPAT_NAMES, "incompatible")?;
        check_set(self.ro_compat, RO_COMPAT_READ, &RO_COMPAT_NAMES, "read-only compatible")?;
        let excludes = |a: &str, b: &str| dirty(format!("it has both features {a} and {b}, which exclude each other"));
        if self.has_ro_compat(RO_COMPAT_GDT_CSUM) && self.has_ro_compat(RO_COMPAT_METADATA_CSUM) {
            return Err(excludes("uninit_bg", "metadata_csum"));
        }
        if self.has_incompat(INCOMPAT_CSUM_SEED) && !self.has_ro_compat(RO_COMPAT_METADATA_CSUM) {
            return Err(dirty("it has the feature metadata_csum_seed, and not metadata_csum"));
        }
        if self.has_incompat(INCOMPAT_RECOVER) && !self.has_compat(COMPAT_HAS_JOURNAL) {
            return Err(dirty("it needs recovery from a journal, and has no journal"));
        }
        Ok(())
    }
}

fn check_set(bits: u32, read: u32, names: &[(u32, &str)], set: &str) -> Result<()> {
    let others = bits & !read;
    if others == 0 {
        return Ok(());
    }
    Err(match names.iter().find(|(bit, _)| others & bit != 0) {
        Some((_, name)) => unread(format!("it has the feature {name}, with which free space is not read")),
        None => Error::new(ErrorKind::Refused, super::OPERATION)
            .because(format!("it has a feature that is not known: {set} {others:#x}"))
            .advise("run fstrim where the file system is mounted"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_that_is_not_on_the_list_refuses_and_is_named() {
        let none = Features::NONE;
        none.check().unwrap();
        for bit in (0..32).map(|shift| 1 << shift) {
            let sets = [
                (Features { compat: bit, ..none }, COMPAT_READ, &COMPAT_NAMES[..]),
                (Features { incompat: bit, ..none }, INCOMPAT_READ, &INCOMPAT_NAMES[..]),
                (Features { ro_compat: bit, ..none }, RO_COMPAT_READ, &RO_COMPAT_NAMES[..]),
            ];
            for (features, read, names) in sets {
                let Err(error) = features.check() else {
                    assert_ne!(read & bit, 0);
                    continue;
                };
                let Some((_, name)) = names.iter().find(|(known, _)| *known == bit) else { continue };
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                assert!(error.to_string().contains(name), "{error}");
                assert_eq!(read & bit, 0);
            }
        }
        let recover = Features { incompat: INCOMPAT_RECOVER, ..none };
        assert!(recover.check().is_err(), "without a journal");
        let both = Features { ro_compat: RO_COMPAT_GDT_CSUM | RO_COMPAT_METADATA_CSUM, ..none };
        assert!(both.check().is_err());
        let seed = Features { incompat: INCOMPAT_CSUM_SEED, ..none };
        assert!(seed.check().is_err());
    }
}
