//! ext volumes made by hand, whose blocks in use are known: right ones are read exactly, damaged ones never give a block
//! that is in use.

mod disks;
mod ext_image;
mod handmade_ext;
mod judge;
mod naive_ext;

use block_device::ByteRange;
use ext_image::free;
use handmade_ext::{HandMade, Journal, Recipe};
use proptest::prelude::*;

fn overlap(free: &[ByteRange], used: &[(u64, u64)]) -> Option<(u64, u64)> {
    used.iter().copied().find(|&(start, end)| {
        let at = free.partition_point(|range| range.end() <= start);
        start < end && free.get(at).is_some_and(|range| range.start() < end)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_free_is_known_to_the_byte(bytes in any::<[u8; 8]>()) {
        let made = HandMade::new(Recipe::from_bytes(bytes));
        let free = free(&made.disk());
        prop_assert!(free.is_ok(), "{:?}: {}", made.recipe, free.unwrap_err());
        prop_assert_eq!(free.as_ref().unwrap(), &made.free(), "{:?}", &made.recipe);
        prop_assert_eq!(overlap(&made.free(), &naive_ext::used(&made.bytes)), None);
    }

    #[test]
    fn law5_a_volume_damaged_anywhere_refuses_or_gives_nothing_in_use(
        bytes in any::<[u8; 8]>(),
        damage in prop::collection::vec((any::<u16>(), any::<u8>(), any::<u8>()), 1..4),
    ) {
        let mut made = HandMade::new(Recipe::from_bytes(bytes));
        for (place, low, value) in damage {
            // Half of it in the superblock, the first descriptors and the first bitmaps.
            let len = if value & 1 == 0 { made.bytes.len() } else { 16384 };
            let at = 1024 + (usize::from(place) << 4 | usize::from(low & 15)) % (len - 1024);
            made.bytes[at] ^= value | 1;
        }
        if let Ok(free) = free(&made.disk()) {
            prop_assert_eq!(overlap(&free, &naive_ext::used(&made.bytes)), None, "{:?}", &made.recipe);
            // In a full journal a commit block that is none any more is one that was never written.
            if made.recipe.has_bits() && !matches!(made.recipe.journal, Journal::Full(_)) {
                prop_assert!(ext_image::both(&free, &made.free_after()) == free, "{:?}", &made.recipe);
            }
        }
    }
}

#[test]
fn journals_of_every_length_are_replayed() {
    for transactions in 0..8 {
        for seed in 0..40 {
            let made = HandMade::new(Recipe { journal: Journal::Full(transactions), seed, ..Recipe::plain() });
            assert_eq!(free(&made.disk()).unwrap(), made.free(), "{transactions} transactions, seed {seed}");
        }
    }
}

/// A volume may have been made on a disk of smaller blocks.
#[test]
fn blocks_smaller_than_those_of_the_disk_are_read() {
    for cluster_shift in [0, 2] {
        let made = HandMade::new(Recipe { cluster_shift, journal: Journal::Full(4), ..Recipe::plain() });
        let disk = disks::memory((made.bytes.len() as u64).next_multiple_of(4096));
        disk.write(0, &made.bytes, block_device::Durability::Cached).unwrap();
        assert_eq!(free(&disks::with_blocks_of_4096(disk)).unwrap(), made.free());
    }
}
