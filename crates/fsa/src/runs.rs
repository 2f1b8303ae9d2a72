//! Where a stream's clusters lie: virtual cluster numbers to logical ones.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

/// Clusters of a stream from `lcn` on, `len` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) lcn: u64,
    pub(crate) len: u64,
}

/// What a stream has at one virtual cluster, and for how many clusters from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Run(Run),
    /// The hole behind the last run goes on to `u64::MAX`.
    Hole(u64),
}

/// The allocated runs of a stream. Neighbours that continue each other in both numbers are one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    by_vcn: BTreeMap<u64, Run>,
    clusters: u64,
}

impl Runs {
    /// Allocated clusters.
    pub(crate) fn clusters(&self) -> u64 {
        self.clusters
    }

    /// Runs that the volume must list for this stream.
    pub(crate) fn count(&self) -> u64 {
        self.by_vcn.len() as u64
    }

    /// The first virtual cluster behind all runs.
    pub(crate) fn end(&self) -> u64 {
        self.by_vcn.last_key_value().map_or(0, |(vcn, run)| vcn + run.len)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, Run)> {
        self.by_vcn.iter().map(|(&vcn, &run)| (vcn, run))
    }

    pub(crate) fn at(&self, vcn: u64) -> Slot {
        if let Some((&start, run)) = self.by_vcn.range(..=vcn).next_back()
            && vcn - start < run.len
        {
            let skip = vcn - start;
            return Slot::Run(Run { lcn: run.lcn + skip, len: run.len - skip });
        }
        Slot::Hole(self.by_vcn.range(vcn..).next().map_or(u64::MAX - vcn, |(&next, _)| next - vcn))
    }

    /// The logical cluster behind the last run that begins before `vcn`: where an allocator goes on best.
    pub(crate) fn continuation(&self, vcn: u64) -> Option<u64> {
        self.by_vcn.range(..vcn).next_back().map(|(_, run)| run.lcn + run.len)
    }

    /// The holes within `vcns`, ascending.
    pub(crate) fn holes(&self, vcns: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        self.pieces(vcns).filter_map(|(vcns, lcn)| lcn.is_none().then_some(vcns))
    }

    /// What is allocated within `vcns`, ascending; ranges that touch are one, however they lie on the volume.
    pub(crate) fn allocated(&self, vcns: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let mut pieces = self.pieces(vcns).filter_map(|(vcns, lcn)| lcn.map(|_| vcns)).peekable();
        core::iter::from_fn(move || {
            let mut range = pieces.next()?;
            while let Some(next) = pieces.next_if(|next| next.start == range.end) {
                range.end = next.end;
            }
            Some(range)
        })
    }

    /// `vcns` cut at the borders of runs; `None` for a hole.
    pub(crate) fn pieces(&self, vcns: Range<u64>) -> impl Iterator<Item = (Range<u64>, Option<u64>)> {
        let mut at = vcns.start;
        core::iter::from_fn(move || {
            let left = vcns.end.checked_sub(at).filter(|&left| left > 0)?;
            let (len, lcn) = match self.at(at) {
                Slot::Run(run) => (run.len, Some(run.lcn)),
                Slot::Hole(len) => (len, None),
            };
            let start = at;
            at += len.min(left);
            Some((start..at, lcn))
        })
    }

    /// Adds a run where there was a hole.
    pub(crate) fn insert(&mut self, vcn: u64, run: Run) {
        debug_assert!(run.len > 0 && self.pieces(vcn..vcn + run.len).all(|(_, lcn)| lcn.is_none()));
        self.clusters += run.len;
        let (mut vcn, mut run) = (vcn, run);
        if let Some((&before, &previous)) = self.by_vcn.range(..vcn).next_back()
            && before + previous.len == vcn
            && previous.lcn + previous.len == run.lcn
        {
            (vcn, run) = (before, Run { lcn: previous.lcn, len: previous.len + run.len });
        }
        if let Some(&next) = self.by_vcn.get(&(vcn + run.len))
            && run.lcn + run.len == next.lcn
        {
            self.by_vcn.remove(&(vcn + run.len));
            run.len += next.len;
        }
        self.by_vcn.insert(vcn, run);
    }

    /// Makes a hole of `vcns` and returns what was there.
    pub(crate) fn remove(&mut self, vcns: Range<u64>) -> Vec<Run> {
        let mut removed = Vec::new();
        if vcns.is_empty() {
            return removed;
        }
        // Cut the run that reaches into the range from before.
        if let Some((&start, &run)) = self.by_vcn.range(..vcns.start).next_back()
            && start + run.len > vcns.start
        {
            let keep = vcns.start - start;
            self.by_vcn.insert(start, Run { lcn: run.lcn, len: keep });
            self.by_vcn.insert(vcns.start, Run { lcn: run.lcn + keep, len: run.len - keep });
        }
        while let Some((&start, &run)) = self.by_vcn.range(vcns.clone()).next() {
            self.by_vcn.remove(&start);
            let taken = run.len.min(vcns.end - start);
            if taken < run.len {
                self.by_vcn.insert(vcns.end, Run { lcn: run.lcn + taken, len: run.len - taken });
            }
            self.clusters -= taken;
            removed.push(Run { lcn: run.lcn, len: taken });
        }
        removed
    }

    /// Runs left when `vcns` would be removed: one more than now where a single run is cut in two.
    pub(crate) fn count_without(&self, vcns: &Range<u64>) -> u64 {
        let inside = self.by_vcn.range(vcns.clone()).count() as u64;
        let reaches_out =
            self.by_vcn.range(..vcns.end).next_back().is_some_and(|(start, run)| start + run.len > vcns.end);
        // A run that only reaches in is shortened and stays, and so does one that reaches out; one that does both is cut
        // in two. So it is the one that reaches out that adds to those that begin outside.
        self.count() - inside + u64::from(reaches_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_agree_with_a_table_of_clusters(
            steps in proptest::collection::vec((any::<bool>(), 0u64..60, 1u64..12, 0u64..4), 1..60),
        ) {
            let mut table: [Option<u64>; 80] = [None; 80];
            let mut runs = Runs::default();
            let mut fresh = 0;
            for (add, at, len, gap) in steps {
                if add {
                    for hole in runs.holes(at..at + len).collect::<Vec<_>>() {
                        fresh += gap;
                        runs.insert(hole.start, Run { lcn: fresh, len: hole.end - hole.start });
                        for vcn in hole {
                            table[vcn as usize] = Some(fresh);
                            fresh += 1;
                        }
                    }
                } else {
                    let want = runs.count_without(&(at..at + len));
                    let removed: Vec<u64> =
                        runs.remove(at..at + len).iter().flat_map(|run| run.lcn..run.lcn + run.len).collect();
                    let mut gone = Vec::new();
                    for slot in &mut table[at as usize..(at + len) as usize] {
                        gone.extend(slot.take());
                    }
                    prop_assert_eq!(removed, gone);
                    prop_assert_eq!(runs.count(), want);
                }
                for (vcn, lcn) in table.iter().enumerate() {
                    match runs.at(vcn as u64) {
                        Slot::Run(run) => prop_assert_eq!(Some(run.lcn), *lcn),
                        Slot::Hole(_) => prop_assert_eq!(*lcn, None),
                    }
                }
                let joined = (1..80).filter(|&vcn| {
                    table[vcn].is_some() && table[vcn - 1].map(|lcn| lcn + 1) != table[vcn]
                }).count() + usize::from(table[0].is_some());
                prop_assert_eq!(runs.count(), joined as u64);
                prop_assert_eq!(runs.clusters(), table.iter().flatten().count() as u64);
            }
        }
    }
}
