//! The laws on random layouts: holes, zeroes, data and free space, wherever they begin and end.

mod support;

use block_device::{ByteRange, DiscardEffect, Disk, Window};
use proptest::prelude::*;
use reclaim::{Plan, carry_out, fingerprint, trim_with};
use support::{GRANULE, Odd, StopAt, allocated, assert_same_outside, content, covers, memory, plan_with, range, write};

const SECTOR: u64 = 512;
const SECTORS_PER_GRANULE: usize = 8;

/// What one granule of the disk holds.
#[derive(Clone, Copy, Debug)]
enum Granule {
    Hole,
    Zeroes,
    Data,
    /// Data in the sectors of the mask.
    Some(u8),
}

#[derive(Clone, Debug)]
struct Layout {
    granules: Vec<Granule>,
    /// Sectors behind the last granule, all of them written.
    tail_sectors: u64,
    free: Vec<ByteRange>,
}

impl Layout {
    fn len_bytes(&self) -> u64 {
        self.granules.len() as u64 * GRANULE + self.tail_sectors * SECTOR
    }

    fn fill(&self, disk: &Disk) {
        for (number, granule) in self.granules.iter().enumerate() {
            let start = number as u64 * GRANULE;
            let mask = match granule {
                Granule::Hole => continue,
                Granule::Zeroes => 0,
                Granule::Data => 0xFF,
                Granule::Some(mask) => *mask,
            };
            for sector in 0..SECTORS_PER_GRANULE {
                // One byte that is not zero makes a sector data.
                let mut bytes = [0; SECTOR as usize];
                bytes[(number * 37 + sector * 101) % SECTOR as usize] = (mask >> sector & 1) * 0x5A;
                write(disk, start + sector as u64 * SECTOR, &bytes);
            }
        }
        let tail = vec![0; usize::try_from(self.tail_sectors * SECTOR).unwrap()];
        write(disk, self.granules.len() as u64 * GRANULE, &tail);
    }
}

fn layout() -> impl Strategy<Value = Layout> {
    let granule = prop_oneof![
        Just(Granule::Hole),
        Just(Granule::Zeroes),
        Just(Granule::Data),
        any::<u8>().prop_map(Granule::Some),
    ];
    (prop::collection::vec(granule, 1..48), 0..SECTORS_PER_GRANULE as u64)
        .prop_flat_map(|(granules, tail_sectors)| {
            let end = granules.len() as u64 * GRANULE + tail_sectors * SECTOR;
            // Bounds on granules, on sectors and on bytes, all of them likely.
            let bound = prop_oneof![
                (0..=end / GRANULE).prop_map(|at| at * GRANULE),
                (0..=end / SECTOR).prop_map(|at| at * SECTOR),
                0..=end
            ];
            (Just(granules), Just(tail_sectors), prop::collection::btree_set(bound, 0..24))
        })
        .prop_map(|(granules, tail_sectors, bounds)| {
            let bounds: Vec<u64> = bounds.into_iter().collect();
            let free = bounds.chunks_exact(2).map(|pair| range(pair[0], pair[1])).collect();
            Layout { granules, tail_sectors, free }
        })
}

/// What a plan must say, found the slow way: byte by byte.
struct Expected {
    ranges: Vec<ByteRange>,
    zero_bytes: u64,
    free_space_bytes: u64,
}

fn expected(disk: &Disk, granularity: u64, free: &[ByteRange]) -> Expected {
    let bytes = content(disk);
    let allocated = allocated(disk);
    let mut expected = Expected { ranges: Vec::new(), zero_bytes: 0, free_space_bytes: 0 };
    for granule in disk.range().chunks(granularity).filter(|granule| granule.len() == granularity) {
        let allocated_bytes: u64 =
            allocated.iter().filter_map(|extent| extent.intersect(granule)).map(ByteRange::len).sum();
        let zero = |at: u64| bytes[usize::try_from(at).unwrap()] == 0;
        let mut each = granule.start()..granule.end();
        if allocated_bytes == 0 || !each.clone().all(|at| zero(at) || covers(free, at)) {
            continue;
        }
        if each.all(zero) && !free.iter().any(|run| run.contains(granule)) {
            expected.zero_bytes += allocated_bytes;
        } else {
            expected.free_space_bytes += allocated_bytes;
        }
        match expected.ranges.last_mut() {
            Some(last) if last.end() == granule.start() => *last = range(last.start(), granule.end()),
            _ => expected.ranges.push(granule),
        }
    }
    expected
}

fn assert_planned(plan: &Plan, expected: &Expected, free: &[ByteRange]) {
    assert_eq!(plan.ranges, expected.ranges);
    assert_eq!((plan.zero_bytes, plan.free_space_bytes), (expected.zero_bytes, expected.free_space_bytes));
    let stray = |part: &ByteRange| {
        !free.iter().any(|run| run.contains(*part)) || !plan.ranges.iter().any(|range| range.contains(*part))
    };
    assert!(!plan.may_change().iter().any(stray), "only free bytes of planned ranges may change");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn law1_only_what_is_free_or_zero_is_freed_and_all_of_it(layout in layout()) {
        let disk = memory(layout.len_bytes());
        layout.fill(&disk);
        let (before, held) = (content(&disk), allocated(&disk));
        let plan = plan_with(&disk, &layout.free);
        assert_planned(&plan, &expected(&disk, GRANULE, &layout.free), &layout.free);
        let print = fingerprint(&disk, plan.may_change(), &mut ()).unwrap();

        let outcome = carry_out(&disk, &plan, &mut ()).unwrap();
        prop_assert!(outcome.stopped.is_none());
        prop_assert_eq!(outcome.punched_ranges, plan.ranges.len() as u64);
        prop_assert_eq!(outcome.allocated_before_bytes - outcome.allocated_after_bytes, plan.gain_bytes());
        prop_assert_eq!(outcome.punched_bytes, plan.gain_bytes());

        assert_same_outside(&before, &content(&disk), plan.may_change());
        prop_assert_eq!(print, fingerprint(&disk, plan.may_change(), &mut ()).unwrap());
        let kept: Vec<ByteRange> =
            held.into_iter().filter(|page| !plan.ranges.iter().any(|range| range.contains(*page))).collect();
        prop_assert_eq!(allocated(&disk), kept, "nothing is freed that was not planned");
        prop_assert!(plan_with(&disk, &layout.free).is_empty(), "a second plan finds nothing");
    }

    #[test]
    fn law1_one_pass_frees_what_a_plan_lists(layout in layout()) {
        let (disk, planned) = (memory(layout.len_bytes()), memory(layout.len_bytes()));
        layout.fill(&disk);
        layout.fill(&planned);
        let plan = plan_with(&planned, &layout.free);
        let outcome = carry_out(&planned, &plan, &mut ()).unwrap();
        let trimmed = trim_with(&disk, &mut layout.free.iter().copied().map(Ok), &mut ()).unwrap();
        prop_assert!(trimmed.outcome.stopped.is_none());
        prop_assert_eq!((trimmed.zero_bytes, trimmed.free_space_bytes), (plan.zero_bytes, plan.free_space_bytes));
        prop_assert_eq!(trimmed.outcome.punched_bytes, outcome.punched_bytes);
        prop_assert_eq!(trimmed.outcome.allocated_after_bytes, outcome.allocated_after_bytes);
        prop_assert_eq!(allocated(&disk), allocated(&planned));
        prop_assert_eq!(content(&disk), content(&planned));
    }

    #[test]
    fn law1_one_pass_stopped_at_any_question_leaves_the_content_right(layout in layout()) {
        let may_change = {
            let disk = memory(layout.len_bytes());
            layout.fill(&disk);
            plan_with(&disk, &layout.free).may_change().to_vec()
        };
        for nth in 1.. {
            let disk = memory(layout.len_bytes());
            layout.fill(&disk);
            let before = content(&disk);
            let mut observer = StopAt::new(nth);
            let trimmed = trim_with(&disk, &mut layout.free.iter().copied().map(Ok), &mut observer);
            assert_same_outside(&before, &content(&disk), &may_change);
            prop_assert!(observer.asked <= nth, "what was stopped asks no more");
            match trimmed {
                Err(error) => {
                    prop_assert_eq!(error.kind(), block_device::ErrorKind::Interrupted);
                    prop_assert_eq!(content(&disk), before);
                }
                Ok(trimmed) if trimmed.outcome.stopped.is_none() => break,
                Ok(_) => {}
            }
        }
    }

    #[test]
    fn law3_rubbish_left_by_a_weak_discard_falls_on_free_bytes_only(layout in layout()) {
        let disk = memory(layout.len_bytes());
        layout.fill(&disk);
        let disk = Odd { effect: DiscardEffect::Unspecified, ..Odd::new(disk) }.wrap();
        let before = content(&disk);
        let plan = plan_with(&disk, &layout.free);
        let print = fingerprint(&disk, plan.may_change(), &mut ()).unwrap();
        prop_assert!(carry_out(&disk, &plan, &mut ()).unwrap().stopped.is_none());
        assert_same_outside(&before, &content(&disk), plan.may_change());
        prop_assert_eq!(print, fingerprint(&disk, plan.may_change(), &mut ()).unwrap());
    }

    #[test]
    fn law1_granules_larger_than_extents_and_unwritten_space(layout in layout(), pages in 1u64..6) {
        let disk = memory(layout.len_bytes());
        layout.fill(&disk);
        let granularity_bytes = pages * GRANULE;
        let disk = Odd { granularity_bytes, unwritten: true, ..Odd::new(disk) }.wrap();
        let before = content(&disk);
        let plan = plan_with(&disk, &layout.free);
        // Unwritten space that is free counts as zero: it is known to be.
        let expected = expected(&disk, granularity_bytes, &layout.free);
        prop_assert_eq!(&plan.ranges, &expected.ranges);
        prop_assert_eq!(plan.gain_bytes(), expected.zero_bytes + expected.free_space_bytes);
        let outcome = carry_out(&disk, &plan, &mut ()).unwrap();
        prop_assert_eq!(outcome.allocated_before_bytes - outcome.allocated_after_bytes, plan.gain_bytes());
        assert_same_outside(&before, &content(&disk), plan.may_change());
        prop_assert!(plan_with(&disk, &layout.free).is_empty());
    }

    #[test]
    fn law1_a_partition_off_the_granule_grid_keeps_its_content_and_its_neighbours(
        layout in layout(),
        skipped in 0..SECTORS_PER_GRANULE as u64,
    ) {
        let disk = memory(layout.len_bytes());
        layout.fill(&disk);
        let Some(part) = disk.range().after(skipped * SECTOR) else { return Ok(()) };
        let window = Disk::new(Window::new(disk.clone(), part).unwrap()).unwrap();
        let free: Vec<ByteRange> = layout.free.iter().filter_map(|run| run.intersect(window.range())).collect();
        let (before, outer) = (content(&window), content(&disk));
        let plan = plan_with(&window, &free);
        prop_assert!(carry_out(&window, &plan, &mut ()).unwrap().stopped.is_none());
        assert_same_outside(&before, &content(&window), plan.may_change());
        let skipped = usize::try_from(part.start()).unwrap();
        prop_assert_eq!(&content(&disk)[..skipped], &outer[..skipped]);
    }

    #[test]
    fn law1_stopped_at_any_question_the_content_is_right_and_the_rest_can_follow(layout in layout()) {
        for nth in 1.. {
            let disk = memory(layout.len_bytes());
            layout.fill(&disk);
            let before = content(&disk);
            let plan = plan_with(&disk, &layout.free);
            let mut observer = StopAt::new(nth);
            let outcome = carry_out(&disk, &plan, &mut observer).unwrap();
            prop_assert_eq!(outcome.allocated_before_bytes - outcome.allocated_after_bytes, outcome.punched_bytes);
            assert_same_outside(&before, &content(&disk), plan.may_change());
            if outcome.stopped.is_none() {
                prop_assert_eq!(outcome.punched_bytes, plan.gain_bytes());
                break;
            }
            prop_assert_eq!(outcome.punched_ranges, nth - 1);
            let rest = plan_with(&disk, &layout.free);
            prop_assert_eq!(rest.gain_bytes(), plan.gain_bytes() - outcome.punched_bytes);
        }
    }

    #[test]
    fn law1_equal_fingerprints_mean_equal_content(layout in layout(), at in any::<prop::sample::Index>()) {
        let disk = memory(layout.len_bytes());
        layout.fill(&disk);
        let print = |disk: &Disk| fingerprint(disk, &layout.free, &mut ()).unwrap();
        let before = print(&disk);

        // Every zero written out: nothing changes for a reader.
        let bytes = content(&disk);
        let dense = memory(layout.len_bytes());
        write(&dense, 0, &bytes);
        prop_assert_eq!(before, print(&dense));

        // One byte changed: seen, unless it was left out.
        let mut bytes = bytes;
        let at = at.index(bytes.len());
        bytes[at] ^= 1;
        write(&dense, 0, &bytes);
        prop_assert_eq!(before == print(&dense), covers(&layout.free, at as u64));
    }
}
