//! Damage of all kinds: never a panic, never without end, and never a live cluster among the free.

mod handmade;
mod naive;

use block_device::{Disk, Durability, Error};
use handmade::{DIRECTORY, HandMade, In};
use proptest::prelude::*;
use proptest::sample::Index;
use volume::fat::FatType;

/// The ways an image is damaged. Where, is a fraction of the interesting part: boot sectors, FATs, root, first clusters.
#[derive(Clone, Debug)]
enum Damage {
    Byte(Index, u8),
    Bit(Index, u8),
    Word(Index, u32),
    /// An entry of the FATs, to a small number, where the files are.
    Entry(u32, u32, bool),
    /// A field of a directory entry.
    Field(u64, u8, u8),
}

fn damage() -> impl Strategy<Value = Damage> {
    let small = 0u32..80;
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        (any::<Index>(), 0u8..8).prop_map(|(at, bit)| Damage::Bit(at, bit)),
        (any::<Index>(), prop_oneof![Just(0), Just(u32::MAX), any::<u32>(), small.clone()])
            .prop_map(|(at, word)| Damage::Word(at, word)),
        (small, prop_oneof![0u32..80, Just(0xFF7), Just(0x0FFF_FFF8), any::<u32>()], any::<bool>())
            .prop_map(|(cluster, value, both)| Damage::Entry(cluster, value, both)),
        (0u64..6, 0u8..32, any::<u8>()).prop_map(|(index, field, byte)| Damage::Field(index, field, byte)),
    ]
}

fn volume(kind: u8) -> HandMade {
    let made = match kind {
        0 => HandMade::new(FatType::Fat12, 120),
        1 => HandMade::new(FatType::Fat16, 4090),
        _ => HandMade::new(FatType::Fat32, 65530),
    };
    let made = made.with_tree();
    made.directory(In::Cluster(11), 3, b"DEEP       ", 14);
    made.file(In::Cluster(14), 2, b"DEEPEST    ", &[15, 50, 16]);
    made.put_entry(In::Cluster(14), 3, b"EMPTY      ", handmade::FILE, 0, 0);
    assert_eq!(made.get::<1>(made.entry_offset(In::Root, 2) + 11), [DIRECTORY]);
    made
}

fn apply(made: &HandMade, damage: &Damage) {
    let layout = &made.layout;
    // The boot sector is as likely as the FAT's beginning, the root or the first clusters.
    let places = [
        (0, 512),
        (0, layout.fat_start),
        (layout.fat_start, 512),
        (layout.fat_start + layout.fat_bytes, 512),
        (layout.root_start, 4096),
        (layout.data_start, 16 * 512),
    ];
    let place = |index: &Index| {
        let (start, len) = places[index.index(places.len())];
        start + (index.index(usize::MAX) as u64 % len).min(len - 4)
    };
    match damage {
        Damage::Byte(at, byte) => made.put(place(at), &[*byte]),
        Damage::Bit(at, bit) => {
            let [old] = made.get(place(at));
            made.put(place(at), &[old ^ 1 << bit]);
        }
        Damage::Word(at, word) => made.put(place(at), &word.to_le_bytes()),
        Damage::Entry(cluster, value, true) => made.set_entry(*cluster, *value & made.end_mark()),
        Damage::Entry(cluster, value, false) => made.set_entry_of(0, *cluster, *value & made.end_mark()),
        Damage::Field(index, field, byte) => {
            let directory = [In::Root, In::Cluster(11), In::Cluster(14)][(*byte % 3) as usize];
            made.put(made.entry_offset(directory, *index) + u64::from(*field), &[*byte]);
        }
    }
}

/// Reads the volume at `origin` for the naive reader.
fn reader(disk: &Disk, origin: u64) -> impl Fn(u64, usize) -> Option<Vec<u8>> {
    move |offset, len| {
        let start = offset - offset % 512;
        let end = offset.checked_add(len as u64)?.next_multiple_of(512);
        let mut blocks = vec![0; (end - start) as usize];
        disk.read(start.checked_add(origin)?, &mut blocks).ok()?;
        Some(blocks[(offset - start) as usize..][..len].to_vec())
    }
}

/// Whatever the library gives away, a naive reader of the same bytes must not miss. Gives whether anything was.
fn nothing_live_is_free(disk: &Disk) -> Result<bool, TestCaseError> {
    let contents = match volume::inspect(disk) {
        Ok(contents) => contents,
        Err(_) => return Ok(false),
    };
    let mut given = false;
    for found in &contents.volumes {
        let Ok(free) = volume::free_space(disk, found) else { continue };
        given = true;
        let free: Vec<_> = free.collect::<Result<_, Error>>().expect("checked before");
        for (start, len) in naive::live_ranges(&reader(disk, found.range.start())) {
            let (start, end) = (found.range.start() + start, found.range.start() + start + len);
            let hit = free.iter().find(|range| range.start() < end && start < range.end());
            prop_assert!(hit.is_none(), "live {start}..{end} is in the free {hit:?}");
        }
        let _ = volume::fat::files(disk, &mut |_| Ok(()));
    }
    Ok(given)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn law1_no_damage_makes_a_live_cluster_free(kind in 0u8..3, damages in prop::collection::vec(damage(), 1..4)) {
        let made = volume(kind);
        for damage in &damages {
            apply(&made, damage);
        }
        nothing_live_is_free(&made.disk)?;
    }

    #[test]
    fn law5_a_damaged_table_is_an_error_or_a_table_inside_the_disk(
        gpt in any::<bool>(),
        flips in prop::collection::vec((any::<Index>(), any::<u8>()), 1..5),
        fix_checksums in any::<bool>(),
    ) {
        let disk = Disk::new(block_device::MemoryDisk::new(8 << 20)).unwrap();
        let kind = if gpt { volume::TableKind::Gpt } else { volume::TableKind::Mbr };
        volume::write_table(&disk, kind, volume::PartitionType::Fat32).unwrap();
        let mut head = vec![0; 34 * 512];
        disk.read(0, &mut head).unwrap();
        if !gpt {
            // An extended partition with a chain of three.
            head[446 + 16..][..16].copy_from_slice(&[0, 0, 0, 0, 5, 0, 0, 0, 4, 0, 0, 0, 20, 0, 0, 0]);
            head[446..462].fill(0);
            for (at, next) in [(4usize, 4u8), (8, 8), (12, 0)] {
                let record = &mut head[at * 512..][..512];
                record[446..462].copy_from_slice(&[0, 0, 0, 0, 0x83, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
                if next > 0 {
                    record[462..478].copy_from_slice(&[0, 0, 0, 0, 5, 0, 0, 0, next, 0, 0, 0, 4, 0, 0, 0]);
                }
                record[510..].copy_from_slice(&[0x55, 0xAA]);
            }
        }
        for (at, byte) in &flips {
            // The tables themselves, not the emptiness between.
            let places: &[usize] = if gpt { &[446, 512, 1024] } else { &[446, 4 * 512 + 446, 8 * 512 + 446, 12 * 512 + 446] };
            let place = places[at.index(places.len())] + at.index(usize::MAX) % 64;
            head[place] = *byte;
        }
        if gpt && fix_checksums {
            let count = u32::from_le_bytes(head[592..596].try_into().unwrap()) as usize;
            let size = u32::from_le_bytes(head[596..600].try_into().unwrap()) as usize;
            if let Some(entries) = count.checked_mul(size).and_then(|len| head[1024..].get(..len)) {
                let checksum = crc32fast::hash(entries).to_le_bytes();
                head[600..604].copy_from_slice(&checksum);
            }
            head[528..532].fill(0);
            let checksum = crc32fast::hash(&head[512..604]).to_le_bytes();
            head[528..532].copy_from_slice(&checksum);
        }
        disk.write(0, &head, Durability::Cached).unwrap();
        if let Ok(contents) = volume::inspect(&disk) {
            let partitions = contents.table.map(|table| table.partitions).unwrap_or_default();
            prop_assert!(partitions.iter().all(|partition| disk.range().contains(partition.range)));
            prop_assert!(contents.volumes.iter().all(|found| disk.range().contains(found.range)));
        }
    }
}

#[test]
fn the_oracle_sees_the_files_and_the_undamaged_volume_is_given() {
    for kind in 0..3 {
        let made = volume(kind);
        assert!(nothing_live_is_free(&made.disk).unwrap());
        let live = naive::live_ranges(&reader(&made.disk, 0)).len();
        assert_eq!(live, if kind == 2 { 14 } else { 13 });
    }
}
