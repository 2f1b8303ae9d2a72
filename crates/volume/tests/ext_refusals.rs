//! Every reason to leave an ext volume alone, each made in an image that is otherwise right, checksums included.

mod ext_image;
mod handmade_ext;
mod judge;

use block_device::{ByteRange, Disk, Durability, ErrorKind, MemoryDisk};
use ext_image::{Image, free, refusal};
use handmade_ext::{Checksums, Copies, HandMade, Journal, Recipe, crc32c};

fn recipe() -> Recipe {
    Recipe { seed: 7, ..Recipe::plain() }
}

fn full() -> Recipe {
    Recipe { journal: Journal::Full(5), ..recipe() }
}

fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn get32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// It was right before; it refuses now, and says this.
#[track_caller]
fn refuses(recipe: Recipe, change: impl FnOnce(&mut HandMade), words: &str) {
    let mut made = HandMade::new(recipe);
    assert_eq!(free(&made.disk()).unwrap(), made.free());
    change(&mut made);
    let error = refusal(&made.disk());
    assert!(error.to_string().contains(words), "{words:?}: {error}");
    assert!(error.advice().is_some(), "{error}");
}

#[track_caller]
fn superblock_refuses(recipe: Recipe, change: impl FnOnce(&mut [u8]), words: &str) {
    refuses(recipe, |made| made.change_superblock(change), words);
}

#[test]
fn a_state_that_is_not_clean() {
    superblock_refuses(recipe(), |sb| sb[0x3A] = 0, "not unmounted cleanly");
    superblock_refuses(recipe(), |sb| sb[0x3A] = 3, "errors were found");
    superblock_refuses(recipe(), |sb| sb[0x3A] = 5, "state 0x5");
    superblock_refuses(full(), |sb| sb[0x3A] = 3, "errors were found");
}

#[test]
fn features_that_are_not_read_are_named() {
    for (at, bit, name) in [
        (0x5C, 0x2, "imagic_inodes"),
        (0x5C, 0x40, "lazy_bg"),
        (0x5C, 0x100, "exclude_bitmap"),
        (0x5C, 0x2000, "compatible 0x2000"),
        (0x60, 0x1, "compression"),
        (0x60, 0x8, "journal_dev"),
        (0x60, 0x1000, "dirdata"),
        (0x60, 0x20, "incompatible 0x20"),
        (0x60, 0x4_0000, "incompatible 0x40000"),
        (0x64, 0x80, "snapshot"),
        (0x64, 0x800, "replica"),
        (0x64, 0x1000, "read-only"),
        (0x64, 0x4000, "shared_blocks"),
        (0x64, 0x2_0000, "0x20000"),
        (0x64, 0x10, "uninit_bg and metadata_csum"),
    ] {
        superblock_refuses(recipe(), |sb| put32(sb, at, get32(sb, at) | bit), name);
    }
    superblock_refuses(recipe(), |sb| sb[0x4C] = 2, "revision 2");
    // The kernel minds them there, too: a journal to be replayed, for one.
    superblock_refuses(full(), |sb| sb[0x4C] = 0, "features, and the revision without any");
    superblock_refuses(recipe(), |sb| sb[0x175] = 2, "type 2");
    superblock_refuses(Recipe { journal: Journal::None, ..recipe() }, |sb| sb[0x60] |= 4, "has no journal");
}

#[test]
fn a_superblock_that_contradicts_itself() {
    refuses(recipe(), |made| made.bytes[1024 + 0x78] ^= 1, "checksum of its superblock");
    // blocks, block size, cluster size, groups, inodes, descriptors
    let bad: [(usize, u32, &str); 14] = [
        (0x4, 1, "it would have 1 blocks"),
        (0x150, 1, "more than"),
        (0x150, !0, "it would have"),
        (0x14, 0, "first group begins"),
        (0x18, 1, "clusters would be"),
        (0x1C, 1, "clusters would be"),
        (0x20, 264, "264 blocks and 256 clusters"),
        (0x24, 264, "256 blocks and 264 clusters"),
        (0x20, 0, "groups are of"),
        (0x0, 63, "it would have 63 inodes"),
        (0x28, 0, "0 inodes"),
        (0x58, 100, "inodes would be of 100"),
        (0x58, 2048, "inodes would be of 2048"),
        (0xFC, 48 << 16, "descriptors would be of 48"),
    ];
    for (at, value, words) in bad {
        superblock_refuses(recipe(), |sb| put32(sb, at, value), words);
    }
    superblock_refuses(
        recipe(),
        |sb| {
            put32(sb, 0x0, 80);
            put32(sb, 0x4, 1025 + 256);
        },
        "bytes long",
    );
    superblock_refuses(recipe(), |sb| put32(sb, 0xC, get32(sb, 0xC) + 1), "its superblock says");
    // Both numbers of a group changed alike: then its groups are not where their descriptors say.
    superblock_refuses(
        recipe(),
        |sb| {
            put32(sb, 0x20, 264);
            put32(sb, 0x24, 264);
        },
        "group",
    );
    let meta = Recipe { meta: Some(0), reserved: 0, ..recipe() };
    superblock_refuses(meta.clone(), |sb| sb[0x104] = 9, "meta block groups would begin at 9");
    superblock_refuses(meta, |sb| sb[0xCE] = 1, "blocks reserved");
    let clusters = Recipe { cluster_shift: 2, ..recipe() };
    superblock_refuses(clusters.clone(), |sb| put32(sb, 4, get32(sb, 4) - 1), "ends within a cluster");
    superblock_refuses(clusters, |sb| sb[0x1C] = 21, "clusters would be");
    // More descriptors kept in reserve than there are: they would be free.
    superblock_refuses(recipe(), |sb| sb[0xCE] += 1, "two things at once");
}

#[test]
fn without_checksums_the_copy_of_the_superblock_must_agree() {
    for checksums in [Checksums::None, Checksums::Crc16] {
        for at in [0x0, 0x4, 0x20, 0x24, 0x28, 0x58] {
            let recipe = Recipe { checksums, ..recipe() };
            refuses(
                recipe,
                |made| {
                    let copy = (made.recipe.group_start(1) << made.recipe.block_shift) as usize;
                    made.bytes[copy + at] ^= 8;
                },
                "the copy of it in group 1",
            );
        }
    }
}

#[test]
fn a_file_system_longer_than_its_disk_or_partition() {
    let made = HandMade::new(recipe());
    let short = Disk::new(MemoryDisk::new(made.bytes.len() as u64 - 1024)).unwrap();
    short.write(0, &made.bytes[..made.bytes.len() - 1024], Durability::Cached).unwrap();
    assert!(refusal(&short).to_string().contains("bytes long, and the disk or partition"));

    // In a partition of a larger disk: the same file system fits, or is one block short.
    for (sectors, fits) in [(2050, true), (2048, false)] {
        let disk = Disk::new(MemoryDisk::new(4 << 20)).unwrap();
        let mut record = [0; 512];
        record[446 + 4] = 0x83;
        record[446 + 8..][..4].copy_from_slice(&2048_u32.to_le_bytes());
        record[446 + 12..][..4].copy_from_slice(&u32::to_le_bytes(sectors));
        record[510..].copy_from_slice(&[0x55, 0xAA]);
        disk.write(0, &record, Durability::Cached).unwrap();
        disk.write(1 << 20, &made.bytes, Durability::Cached).unwrap();
        if fits {
            let shifted: Vec<ByteRange> = made.free().iter().map(|free| free.shifted_by(1 << 20).unwrap()).collect();
            assert_eq!(free(&disk).unwrap(), shifted);
        } else {
            assert!(refusal(&disk).to_string().contains("bytes long"));
        }
    }
}

#[test]
fn descriptors_that_contradict_themselves_or_each_other() {
    let change = |group: usize, change: fn(&mut [u8])| move |made: &mut HandMade| made.change_descriptor(group, change);
    refuses(recipe(), |made| made.bytes[2048] ^= 1, "checksum of the descriptor of group 0");
    refuses(recipe(), change(1, |it| it[12] ^= 1), "the descriptor of group 1 says");
    refuses(recipe(), change(1, |it| it[0x2C] = 1), "the descriptor of group 1 says");
    refuses(recipe(), change(1, |it| it[18] = 0x80), "flags 0x80");
    // Bitmaps and tables beyond the disk, before it, and on each other.
    for at in [0, 4, 8] {
        refuses(recipe(), change_at(2, at, 0x10_0000), "and it has 1025");
        refuses(recipe(), change_at(2, at, 1024), if at == 8 { "and it has 1025" } else { "" });
        refuses(recipe(), change_at(2, at, 0), "before the first group");
        refuses(recipe(), change_at(2, at, 1), "two things at once");
        refuses(recipe(), change_at(2, at + 0x20, 1), "and it has 1025");
        refuses(recipe(), change_at(2, at + 0x20, !0), "and it has 1025");
    }
    refuses(
        recipe(),
        |made| {
            let other = made.bytes[made.descriptor_at(1)..][..4].to_vec();
            made.change_descriptor(2, |it| it[..4].copy_from_slice(&other));
        },
        "two things at once",
    );
    // Without flex_bg everything is in its own group.
    let plain = || Recipe { flex: false, ..recipe() };
    refuses(plain(), change_at(2, 0, 200), "a block bitmap of group 2 is at block 200, in another group");
    refuses(plain(), change_at(2, 8, 766), "an inode table of group 2 is at block 766, in another group");
    // A group without a bitmap, where that cannot be.
    let none = || Recipe { checksums: Checksums::None, ..recipe() };
    refuses(none(), change(1, |it| it[18] |= 2), "has no bitmap");
    refuses(recipe(), change(0, |it| it[18] |= 2), "the descriptor of group 0 says");
}

fn change_at(group: usize, at: usize, value: u32) -> impl FnOnce(&mut HandMade) {
    move |made: &mut HandMade| made.change_descriptor(group, |it| put32(it, at, value))
}

/// Clears a bit of a bitmap, and makes everything else agree.
fn call_free(made: &mut HandMade, block: u64) {
    let cluster = made.cluster_of(block);
    assert!(made.before.used[cluster]);
    made.before.used[cluster] = false;
    let state = made.before.clone();
    let group = made.group_of(cluster);
    let bitmap = made.bitmap(&state, group);
    made.put_block(made.block_bitmaps[group], &bitmap);
    let descriptor = made.descriptor(&state, group);
    made.put(made.descriptor_at(group) as u64, &descriptor);
    made.write_superblocks(false);
}

#[test]
fn bitmaps_that_call_the_file_systems_own_blocks_free() {
    let words = "calls blocks free in which the file system itself lies";
    let fixed = HandMade::new(Recipe { mmp: true, copies: Copies::Everywhere, ..recipe() });
    let blocks = (1..fixed.recipe.blocks()).filter(|&block| fixed.fixed[block as usize]);
    let mut count = 0;
    for block in blocks {
        if fixed.before.uninit[fixed.group_of(fixed.cluster_of(block))] {
            continue;
        }
        let mut made = HandMade::new(fixed.recipe.clone());
        call_free(&mut made, block);
        let error = refusal(&made.disk());
        assert!(error.to_string().contains(words), "block {block}: {error}");
        count += 1;
    }
    // Superblock and descriptors with their copies, bitmaps, tables, the journal, multiple mount protection.
    assert!(count > 100, "{count}");
}

#[test]
fn a_bitmap_that_is_not_the_one_that_was_summed() {
    refuses(
        recipe(),
        |made| {
            let at = (made.block_bitmaps[0] << made.recipe.block_shift) as usize;
            // One more free, and one less: the count stays.
            let bits = &mut made.bytes[at..at + 32];
            let free = (0..256).find(|bit| bits[bit / 8] >> (bit % 8) & 1 == 0).unwrap();
            bits[free / 8] |= 1 << (free % 8);
            bits[31] ^= 0x80;
        },
        "checksum of the block bitmap of group 0",
    );
    for checksums in [Checksums::None, Checksums::Crc16] {
        refuses(
            Recipe { checksums, ..recipe() },
            |made| {
                let at = (made.block_bitmaps[0] << made.recipe.block_shift) as usize;
                made.bytes[at + 30] ^= 1;
            },
            "the descriptor of group 0 says",
        );
    }
}

#[test]
fn an_empty_journal_that_is_not_what_it_should_be() {
    let journal = |at: usize, value: u32| {
        move |made: &mut HandMade| {
            made.change_journal_superblock(|it| it[at..at + 4].copy_from_slice(&value.to_be_bytes()));
        }
    };
    refuses(recipe(), journal(0x1C, 5), "journal is not empty");
    refuses(recipe(), journal(0x20, 5), "an error was met");
    refuses(recipe(), journal(0, 5), "no superblock");
    refuses(recipe(), journal(4, 1), "no superblock");
    refuses(recipe(), journal(0xC, 4096), "of another size");
    refuses(recipe(), journal(0x10, 91), "contradicts itself");
    refuses(recipe(), journal(0x10, 1), "contradicts itself");
    refuses(recipe(), journal(0x14, 0), "contradicts itself");
    refuses(
        recipe(),
        |made| {
            let at = (made.journal[0] << made.recipe.block_shift) as usize;
            made.bytes[at + 0x40] ^= 1;
        },
        "checksum of its journal's superblock",
    );
    let inode = |change: fn(&mut [u8])| move |made: &mut HandMade| made.change_journal_inode(change);
    refuses(recipe(), |made| made.flip(made.journal_inode_at() + 4), "checksum of inode 8");
    refuses(recipe(), inode(|it| it[1] = 0x40), "inode 8 is no file");
    refuses(recipe(), inode(|it| it[4..8].fill(0)), "would be 0 bytes long");
    refuses(recipe(), inode(|it| it[0x6C] = 0xFF), "bytes long");
    refuses(recipe(), inode(|it| it[6] = 0xFF), "inode 8 has a hole");
    refuses(recipe(), inode(|it| it[0x28] = 0), "makes no sense");
    refuses(recipe(), inode(|it| it[0x2A] = 5), "makes no sense");
    refuses(recipe(), inode(|it| it[0x2E] = 6), "makes no sense");
    refuses(recipe(), inode(|it| it[0x34] = 1), "has a hole");
    refuses(recipe(), inode(|it| it[0x39] = 0x81), "never written");
    refuses(recipe(), inode(|it| it[0x3E] = 0xFF), "beyond its end");
    refuses(recipe(), inode(|it| it[0x3A] = 0xFF), "beyond its end");
    refuses(recipe(), inode(|it| put32(it, 0x3C, 2)), "no superblock");
    // Its second piece on the descriptors.
    refuses(recipe(), inode(|it| put32(it, 0x48, 2)), "two things at once");
    // An index block that is its own parent is one level too high.
    refuses(
        recipe(),
        |made| {
            let block = made.journal[9];
            made.change_journal_inode(|it| {
                it[0x2A] = 1;
                it[0x2E] = 5;
                put32(it, 0x38, block as u32);
                put32(it, 0x3C, 0);
            });
            let mut node = vec![0; 1024];
            node[..8].copy_from_slice(&[0x0A, 0xF3, 1, 0, 84, 0, 4, 0]);
            put32(&mut node, 16, block as u32);
            let seed = crc32c(crc32c(made.seed(), &8_u32.to_le_bytes()), &[0; 4]);
            let sum = crc32c(seed, &node[..1020]);
            put32(&mut node, 1020, sum);
            made.put_block(block, &node);
        },
        "makes no sense",
    );
    superblock_refuses(recipe(), |sb| sb[0xE0] = 9, "inode 9");
    superblock_refuses(recipe(), |sb| sb[0xE0] = 0, "on another device");
    superblock_refuses(recipe(), |sb| sb[0xE4] = 1, "an inode and on device");
}

/// Changes a block of the log of this kind, and makes its checksum right again.
fn change_log(kind: u8, change: impl Fn(&mut [u8])) -> impl FnOnce(&mut HandMade) {
    move |made: &mut HandMade| {
        let seed = crc32c(!0, b"the journal's id");
        let shift = made.recipe.block_shift;
        let start =
            u32::from_be_bytes(made.bytes[(made.journal[0] << shift) as usize + 0x1C..][..4].try_into().unwrap())
                as usize;
        let log = (start..90).chain(1..start);
        let at = log
            .map(|block| (made.journal[block] << shift) as usize)
            .find(|&at| made.bytes[at..at + 8] == [0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, kind])
            .expect("such a block");
        let bytes = &mut made.bytes[at..at + 1024];
        let sum_at = if kind == 2 { 0x10 } else { 1020 };
        bytes[sum_at..sum_at + 4].fill(0);
        change(bytes);
        let sum = crc32c(seed, bytes).to_be_bytes();
        // A change of the checksum itself stays.
        for (byte, sum) in bytes[sum_at..sum_at + 4].iter_mut().zip(sum) {
            *byte ^= sum;
        }
    }
}

#[test]
fn a_journal_that_is_not_on_the_list_is_not_replayed() {
    let journal = |at: usize, value: u32| {
        move |made: &mut HandMade| {
            made.change_journal_superblock(|it| it[at..at + 4].copy_from_slice(&value.to_be_bytes()));
        }
    };
    refuses(full(), journal(0x28, 0x13 | 0x20), "fast commits");
    refuses(full(), journal(0x54, 16), "fast commits");
    refuses(full(), journal(0x28, 3), "no checksums of version 3");
    refuses(full(), journal(0x28, 0xB), "no checksums of version 3");
    refuses(full(), journal(0x50, 0x0100_0000), "no checksums of version 3");
    refuses(full(), journal(0x28, 0x13 | 4), "not all known");
    refuses(full(), journal(0x28, 0x13 | 0x40), "not all known");
    refuses(full(), journal(0x24, 1), "not all known");
    refuses(full(), journal(0x2C, 1), "not all known");
    refuses(full(), journal(4, 3), "no checksums of version 3");
    refuses(full(), journal(0x20, 1), "an error was met");
    refuses(full(), journal(0x1C, 90), "begin at its block 90");
    // Its data is checked only when it counts: an empty log has none.
    let mut made = HandMade::new(Recipe { journal: Journal::Full(0), ..recipe() });
    made.change_journal_superblock(|it| it[0x1C..0x20].fill(0));
    assert_eq!(free(&made.disk()).unwrap(), made.free());
}

#[test]
fn a_log_that_contradicts_itself_is_not_replayed() {
    refuses(full(), change_log(1, |it| it[1020] = 1), "checksum of a block of its journal");
    refuses(full(), change_log(2, |it| it[0x10] = 1), "checksum of a block of its journal");
    refuses(full(), change_log(1, |it| it[7] = 3), "a block of type 3");
    refuses(full(), change_log(1, |it| it[19] |= 4), "flags");
    refuses(full(), change_log(1, |it| it[17] |= 1), "flags");
    refuses(full(), change_log(1, |it| it[13] = 1), "would write block");
    refuses(full(), change_log(1, |it| it[20] = 1), "would write block");
    refuses(full(), change_log(1, |it| it[27] ^= 1), "wrong checksum");
    // A block lost in the midst: it would end the log.
    for kind in [1, 2] {
        refuses(full(), change_log(kind, |it| it[0] = 0), "goes on behind its end");
        refuses(full(), change_log(kind, |it| it[8] ^= 0x40), "goes on behind its end");
    }
    // Tags without end.
    refuses(
        full(),
        change_log(1, |it| {
            for tag in it[12..1020].chunks_exact_mut(16) {
                tag.fill(0);
                tag[7] = 2;
            }
        }),
        "its journal has no end",
    );
    // With a revoked block.
    let with_revoked = (1..60)
        .map(|seed| Recipe { seed, ..full() })
        .find(|recipe| {
            let made = HandMade::new(recipe.clone());
            let magic = [0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 5];
            made.journal.iter().any(|&block| made.bytes[(block << 10) as usize..][..8] == magic)
        })
        .unwrap();
    refuses(with_revoked.clone(), change_log(5, |it| it[1020] = 1), "checksum of a block of its journal");
    refuses(with_revoked.clone(), change_log(5, |it| it[14] = 0xFF), "bytes of blocks");
    refuses(with_revoked.clone(), change_log(5, |it| it[15] = 15), "bytes of blocks");
    refuses(with_revoked.clone(), change_log(5, |it| it[15] = 17), "bytes of blocks");
    refuses(with_revoked, change_log(5, |it| it[16] = 1), "would write block");
}

#[test]
fn a_log_that_would_write_over_itself_or_another_superblock_is_not_replayed() {
    let target = |block: u32| change_log(1, move |it| it[12..16].copy_from_slice(&block.to_be_bytes()));
    refuses(full(), |made| target(made.journal[3] as u32)(made), "write over itself");
    // A copy of the superblock that is right in itself, of another size, state or feature.
    for (at, bits, words) in [
        (0x4, 1, "change its size or its features"),
        (0x61, 0x4, "change its size or its features"),
        (0x3A, 2, "is not to be believed"),
        (0x38, 1, "is not to be believed"),
    ] {
        let mut count = 0;
        for seed in 1..20 {
            let recipe = Recipe { seed, ..full() };
            let mut made = HandMade::new(recipe.clone());
            if change_copies(&mut made, 1, at, bits) > 0 {
                refuses(recipe, |made| assert!(change_copies(made, 1, at, bits) > 0), words);
                count += 1;
            }
        }
        assert!(count > 5, "{count}");
    }
}

/// Changes every copy of a superblock in the log, with all checksums. Gives how many there were.
fn change_copies(made: &mut HandMade, block: u32, at: usize, bits: u8) -> usize {
    let seed = crc32c(!0, b"the journal's id");
    let places: Vec<usize> = made.journal.iter().map(|&block| (block << 10) as usize).collect();
    let mut count = 0;
    for number in 1..places.len() {
        let head = places[number];
        if made.bytes[head..head + 8] != [0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 1] {
            continue;
        }
        let sequence = made.bytes[head + 8..head + 12].to_vec();
        let (mut tag, mut data) = (head + 12, number);
        loop {
            data = if data + 1 == places.len() { 1 } else { data + 1 };
            let flags = made.bytes[tag + 7];
            if made.bytes[tag..tag + 4] == block.to_be_bytes() {
                let copy = &mut made.bytes[places[data]..places[data] + 1024];
                copy[at] ^= bits;
                HandMade::sum_superblock(copy);
                let sum = crc32c(crc32c(seed, &sequence), copy).to_be_bytes();
                made.bytes[tag + 12..tag + 16].copy_from_slice(&sum);
                count += 1;
            }
            if flags & 8 != 0 {
                break;
            }
            tag += if flags & 2 != 0 { 16 } else { 32 };
        }
        made.bytes[head + 1020..head + 1024].fill(0);
        let sum = crc32c(seed, &made.bytes[head..head + 1024]).to_be_bytes();
        made.bytes[head + 1020..head + 1024].copy_from_slice(&sum);
    }
    count
}

#[test]
fn multiple_mount_protection_in_use() {
    let recipe = || Recipe { mmp: true, ..recipe() };
    let mmp = |at: usize, value: u32| {
        move |made: &mut HandMade| {
            let start = (made.mmp_block << 10) as usize;
            put32(&mut made.bytes[start..], at, value);
            let sum = crc32c(made.seed(), &made.bytes[start..start + 0x3FC]);
            put32(&mut made.bytes[start..], 0x3FC, sum);
        }
    };
    refuses(recipe(), mmp(4, 17), "somebody has it mounted");
    refuses(recipe(), mmp(4, 0xE24D_4D50), "or checks it");
    refuses(recipe(), mmp(0, 0), "should be that of multiple mount protection");
    refuses(recipe(), |made| made.flip((made.mmp_block << 10) as usize + 0x50), "checksum of its multiple mount");
    superblock_refuses(recipe(), |sb| put32(sb, 0x168, 1), "would be at block 1");
    superblock_refuses(recipe(), |sb| put32(sb, 0x16C, 1), "would be at block");
}

/// A member of a mirror begins like the file system on it; what says so lies behind it.
#[test]
fn a_member_of_a_linux_raid() {
    let made = HandMade::new(recipe());
    let len = 2_u64 << 20;
    for (place, version) in [(len - 65536, 0_u8), (len - 8192, 1)] {
        let disk = Disk::new(MemoryDisk::new(len)).unwrap();
        disk.write(0, &made.bytes, Durability::Cached).unwrap();
        assert!(free(&disk).is_ok());
        let mut metadata = [0; 512];
        metadata[..5].copy_from_slice(&[0xFC, 0x4E, 0x2B, 0xA9, version]);
        disk.write(place, &metadata, Durability::Cached).unwrap();
        assert!(refusal(&disk).to_string().contains("the signature of Linux RAID"));
    }
}

/// A disk with this volume in its first partition, and swap in its second.
fn beside_swap(made: &HandMade, signature: [u8; 10]) -> Disk {
    let disk = Disk::new(MemoryDisk::new(8 << 20)).unwrap();
    let mut record = [0; 512];
    for (number, kind, first) in [(0, 0x83, 2048_u32), (1, 0x82, 8192)] {
        let entry = &mut record[446 + 16 * number..][..16];
        entry[4] = kind;
        entry[8..12].copy_from_slice(&first.to_le_bytes());
        entry[12..].copy_from_slice(&4096_u32.to_le_bytes());
    }
    record[510..].copy_from_slice(&[0x55, 0xAA]);
    let mut page = [0; 4096];
    put32(&mut page, 1024, 1);
    put32(&mut page, 1028, 511);
    page[4086..].copy_from_slice(&signature);
    disk.write(0, &record, Durability::Cached).unwrap();
    disk.write(1 << 20, &made.bytes, Durability::Cached).unwrap();
    disk.write(4 << 20, &page, Durability::Cached).unwrap();
    disk
}

/// It has allocated what no journal knows of yet, and goes on from there.
#[test]
fn law4_a_volume_that_a_hibernated_system_has_mounted() {
    let made = HandMade::new(full());
    let free_there = |disk: &Disk| {
        let found = volume::inspect(disk).unwrap();
        assert_eq!(found.volumes.len(), 2, "{found:?}");
        volume::free_space(disk, &found.volumes[0]).and_then(Iterator::collect::<block_device::Result<Vec<_>>>)
    };
    let awake = free_there(&beside_swap(&made, *b"SWAPSPACE2")).unwrap();
    assert_eq!(awake.len(), made.free().len());
    let error = free_there(&beside_swap(&made, *b"S1SUSPEND\0")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("partition 2 holds the memory of a hibernated system"), "{error}");
}

/// What other tools leave behind.
#[test]
fn images_of_e2fsprogs_that_are_not_clean() {
    let Some(device) = Image::made(8, &["-O", "journal_dev", "-b", "1024"]) else { return };
    assert!(refusal(&device.disk()).to_string().contains("journal_dev"));
    for (commands, words) in [
        ("set_super_value state 0\n", "not unmounted cleanly"),
        ("set_super_value state 3\n", "errors were found"),
        ("set_super_value free_blocks_count 5\n", "its superblock says 5 blocks"),
        ("set_super_value journal_inum 0\nset_super_value journal_dev 0x801\n", "on another device"),
        ("feature needs_recovery FEATURE_C31\n", "compatible 0x80000000"),
        ("feature shared_blocks\n", "shared_blocks"),
    ] {
        let image = Image::made(16, &["-t", "ext4"]).unwrap();
        image.debugfs(commands);
        let error = refusal(&image.disk());
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
    // A block in which the map of the journal lies is the journal's, too.
    for part in ["(IND):", "(DIND):"] {
        let image = Image::made(32, &["-t", "ext3", "-J", "size=4"]).unwrap();
        let said = judge::content("debugfs", &["-R", "stat <8>", image.name()]).unwrap();
        let rest = said.split_once(part).unwrap().1;
        let block: String = rest.chars().take_while(char::is_ascii_digit).collect();
        image.debugfs(&format!("freeb {block}\n"));
        let error = refusal(&image.disk());
        assert!(error.to_string().contains("in which the file system itself lies"), "{error}");
    }
    // The block group is told, and what to run.
    let image = Image::made(16, &["-t", "ext2"]).unwrap();
    image.debugfs("set_block_group 0 free_blocks_count 3\n");
    let error = refusal(&image.disk());
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("group 0 says 3 clusters") && error.to_string().contains("e2fsck"), "{error}");
}
