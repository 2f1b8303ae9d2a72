//! The blocks that are never free: superblock and descriptors with their copies and reserves, bitmaps, inode tables, the
//! journal, and the block of multiple mount protection.

use block_device::Result;

use super::blocks::Blocks;
use super::corrupt;
use super::descriptor::Descriptors;
use super::features::INCOMPAT_FLEX_BG;
use super::geometry::Geometry;

/// A run of blocks: the first, and one past the last.
pub(super) type Run = (u64, u64);

/// Runs that do not overlap, ascending, neighbours joined.
#[derive(Debug)]
pub(super) struct Fixed {
    runs: Vec<Run>,
}

impl Fixed {
    /// Collects them from all descriptors; `others` are the journal's and whatever else has a place of its own.
    ///
    /// # Errors
    /// `Corrupt` where two overlap, one lies beyond the end, or one lies outside of the group that must have it. Those of
    /// reading.
    pub(super) fn collect(blocks: &Blocks, geometry: &Geometry, others: &[Run]) -> Result<Self> {
        let mut collector = Collector { runs: Vec::new(), end: geometry.blocks };
        let mut descriptors = Descriptors::new(blocks);
        let table_blocks = geometry.inode_table_blocks();
        for group in 0..geometry.groups() {
            let (first, end) = geometry.base_blocks(group);
            if first < end {
                collector.add((first, end), "the descriptors in a group")?;
            }
            let descriptor = descriptors.get(group, blocks, geometry)?;
            let parts = [
                (descriptor.block_bitmap, 1, "a block bitmap"),
                (descriptor.inode_bitmap, 1, "an inode bitmap"),
                (descriptor.inode_table, table_blocks, "an inode table"),
            ];
            let (group_start, group_end) = geometry.group_blocks(group);
            for (start, count, what) in parts {
                let run = (start, start.saturating_add(count));
                let in_group = group_start <= run.0 && run.1 <= group_end;
                if !geometry.features.has_incompat(INCOMPAT_FLEX_BG) && !in_group {
                    return Err(corrupt(format!("{what} of group {group} is at block {start}, in another group")));
                }
                if start < geometry.first_data_block {
                    return Err(corrupt(format!(
                        "{what} of group {group} is at block {start}, before the first group"
                    )));
                }
                collector.add(run, what)?;
            }
        }
        for &run in others {
            collector.add(run, "the journal")?;
        }
        collector.finish()
    }

    /// The runs that touch the blocks from `start` to `end`.
    pub(super) fn touching(&self, start: u64, end: u64) -> impl Iterator<Item = Run> + '_ {
        let first = self.runs.partition_point(|run| run.1 <= start);
        self.runs[first..].iter().copied().take_while(move |run| run.0 < end)
    }
}

struct Collector {
    runs: Vec<Run>,
    end: u64,
}

/// How many of the latest runs a new one is joined to. A flexible group lays out each kind of its blocks one behind the
/// other, so that its thousands of runs are three before they are sorted.
const OPEN_RUNS: usize = 4;

impl Collector {
    fn add(&mut self, run: Run, what: &str) -> Result<()> {
        if run.1 > self.end {
            return Err(corrupt(format!("{what} would be at blocks {} to {}, and it has {}", run.0, run.1, self.end)));
        }
        match self.runs.iter_mut().rev().take(OPEN_RUNS).find(|open| open.1 == run.0) {
            Some(open) => open.1 = run.1,
            None => self.runs.push(run),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Fixed> {
        self.runs.sort_unstable();
        for pair in self.runs.windows(2) {
            if pair[1].0 < pair[0].1 {
                return Err(corrupt(format!("block {} is two things at once: its groups overlap", pair[1].0)));
            }
        }
        self.runs.dedup_by(|next, open| {
            let joins = next.0 == open.1;
            if joins {
                open.1 = next.1;
            }
            joins
        });
        self.runs.shrink_to_fit();
        Ok(Fixed { runs: self.runs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(runs: &[Run]) -> Result<Fixed> {
        let mut collector = Collector { runs: Vec::new(), end: 100 };
        for &run in runs {
            collector.add(run, "it")?;
        }
        collector.finish()
    }

    #[test]
    fn runs_are_joined_and_overlaps_are_corrupt() {
        assert_eq!(fixed(&[(5, 6), (20, 21), (6, 7), (21, 22), (7, 20)]).unwrap().runs, [(5, 22)]);
        let some = fixed(&[(5, 6), (10, 12), (30, 40)]).unwrap();
        assert_eq!(some.touching(11, 30).collect::<Vec<_>>(), [(10, 12)]);
        assert_eq!(some.touching(12, 31).collect::<Vec<_>>(), [(30, 40)]);
        assert!(fixed(&[(5, 10), (9, 11)]).is_err());
        assert!(fixed(&[(5, 10), (5, 6)]).is_err());
        assert!(fixed(&[(5, 10), (10, 11), (5, 6)]).is_err());
        assert!(fixed(&[(99, 101)]).is_err());
    }
}
