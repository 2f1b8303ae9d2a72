//! Whether the allocation bitmap may be believed: every cluster that anything has is marked in it.
//!
//! One walk through the tree, depth first, with the path to the directory at hand as all its memory. Nothing may have a
//! cluster twice, so all that is found has no more clusters than there are: more is a cross-link or a directory inside
//! itself, and ends the walk.

use block_device::{Disk, Result};

use super::boot_region::Layout;
use super::chain::Allocation;
use super::directory::{FileSet, Kind, Position, kind, read_set};
use super::root::{self, System};
use super::{corrupt, refused};
use crate::used_map::{Run, UsedMap};

/// Deeper than any path that Windows can name: 32,767 characters, a separator for each name.
const DEEPEST: usize = 16_384;

/// Gives the allocation bitmap of the volume once everything has been found to agree with it.
///
/// # Errors
/// `Corrupt` with what contradicts what, `Refused` for what is unknown; those of reading.
pub(super) fn check(disk: &Disk, layout: &Layout) -> Result<UsedMap> {
    let system = root::find(disk, layout)?;
    let mut check = Check { layout, system, clusters_left: u64::from(layout.clusters) };
    for (run, what) in check.system.own.into_iter().zip(["its own clusters", "the clusters of the up-case table"]) {
        check.take(run, what)?;
    }
    check.claim_chain(root::root(layout), "the root directory")?;
    check.walk()?;
    Ok(check.system.map)
}

struct Check<'a> {
    layout: &'a Layout,
    system: System,
    /// Clusters of the volume that nothing has been found to have.
    clusters_left: u64,
}

impl Check<'_> {
    fn walk(&mut self) -> Result<()> {
        let mut path = vec![Position::start_of(root::root(self.layout), self.layout)];
        // Entries that belong to one that is passed over.
        let mut passed_over = 0;
        while let Some(position) = path.last_mut() {
            let System { fat, volume, .. } = &mut self.system;
            let mut next = || position.next(self.layout, fat, volume);
            let Some((at, entry)) = next()? else {
                path.pop();
                continue;
            };
            let is_root = path.len() == 1;
            let found = kind(&entry);
            match found {
                Kind::End => {
                    path.pop();
                    continue;
                }
                Kind::Stream | Kind::OtherSecondary if passed_over > 0 => {
                    passed_over -= 1;
                    continue;
                }
                _ => passed_over = 0,
            }
            match found {
                Kind::File => {
                    let position = path.last_mut().expect("the directory at hand");
                    let mut next = || Ok(position.next(self.layout, fat, volume)?.map(|(_, entry)| entry));
                    let set = read_set(&entry, self.layout, &mut next).map_err(|error| error.at_offset(at))?;
                    let inside = self.claim_set(&set).map_err(|error| error.at_offset(at))?;
                    path.extend(inside);
                    if path.len() > DEEPEST {
                        return Err(corrupt("a directory lies inside itself").at_offset(at));
                    }
                }
                Kind::OtherPrimary => passed_over = entry[1],
                Kind::Unused => {}
                Kind::Bitmap | Kind::UpcaseTable | Kind::Label if is_root => {}
                Kind::Unknown if entry[0] > 0x80 && entry[0] < 0xA0 => {
                    return Err(refused(format!("an entry has the unknown type {:#04x}", entry[0])).at_offset(at));
                }
                _ => {
                    let reason = format!("an entry of type {:#04x} is where none can be", entry[0]);
                    return Err(corrupt(reason).at_offset(at));
                }
            }
        }
        Ok(())
    }

    /// Claims what a file or directory has, and gives the start of the directory.
    fn claim_set(&mut self, set: &FileSet) -> Result<Option<Position>> {
        for &allocation in set.content.iter().chain(&set.additions) {
            self.claim(allocation)?;
        }
        let content = set.content.filter(|_| set.is_directory);
        if content.is_some_and(|content| content.clusters > Some(self.layout.most_directory_clusters())) {
            return Err(corrupt("a directory is longer than any may be"));
        }
        Ok(content.map(|content| Position::start_of(content, self.layout)))
    }

    fn claim(&mut self, allocation: Allocation) -> Result<()> {
        let what = if allocation.in_a_row { "a file in one piece" } else { "a file" };
        let Some(count) = allocation.clusters.filter(|_| allocation.in_a_row) else {
            return self.claim_chain(allocation, what);
        };
        self.claim_run(Run { first: u64::from(allocation.first - 2), count }, what)
    }

    /// Follows a chain to its end, run by run. It has as many clusters as it should.
    fn claim_chain(&mut self, allocation: Allocation, what: &str) -> Result<()> {
        let mut run = Run { first: u64::from(allocation.first - 2), count: 1 };
        let (mut at, mut length) = (allocation.first, 1);
        while let Some(next) = self.system.fat.next(at)? {
            length += 1;
            if allocation.clusters.is_some_and(|clusters| length > clusters) {
                return Err(corrupt(format!("the chain of {what} is longer than it should be")));
            }
            if run.count >= self.clusters_left {
                return Err(self.too_many());
            }
            if next == at + 1 {
                run.count += 1;
            } else {
                self.claim_run(run, what)?;
                run = Run { first: u64::from(next - 2), count: 1 };
            }
            at = next;
        }
        if let Some(clusters) = allocation.clusters.filter(|&clusters| clusters != length) {
            return Err(corrupt(format!("the chain of {what} has {length} clusters, and should have {clusters}")));
        }
        self.claim_run(run, what)
    }

    /// Claims what is not the volume's own.
    fn claim_run(&mut self, run: Run, what: &str) -> Result<()> {
        let on_own = |own: &Run| own.first < run.first + run.count && run.first < own.first + own.count;
        if self.system.own.iter().any(on_own) {
            let first = run.first + 2;
            let reason = format!("{what} has the clusters of the bitmap or the up-case table, from {first} on");
            return Err(corrupt(reason));
        }
        self.take(run, what)
    }

    fn take(&mut self, run: Run, what: &str) -> Result<()> {
        if run.first + run.count > u64::from(self.layout.clusters) {
            return Err(corrupt(format!("{what} ends beyond the last cluster")));
        }
        self.clusters_left = self.clusters_left.checked_sub(run.count).ok_or_else(|| self.too_many())?;
        match self.system.map.first_free(run)? {
            None => Ok(()),
            Some(free) => {
                let cluster = free + 2;
                Err(corrupt(format!("the allocation bitmap calls cluster {cluster} free, which {what} has")))
            }
        }
    }

    fn too_many(&self) -> block_device::Error {
        let clusters = self.layout.clusters;
        corrupt(format!("its files have more clusters than the {clusters} of the volume (cross-linked)"))
    }
}
