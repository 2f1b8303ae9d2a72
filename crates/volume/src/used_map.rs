//! The allocation bitmap of exFAT and of NTFS: a bit for each cluster, lowest bit first, set where it is in use.

use block_device::{Error, ErrorKind, Result};

use crate::scattered::{Pages, Scattered};

/// Clusters that follow one another, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) first: u64,
    /// At least 1.
    pub(crate) count: u64,
}

/// A bitmap that is long enough for its clusters.
#[derive(Debug)]
pub(crate) struct UsedMap {
    pages: Pages,
    clusters: u64,
}

impl UsedMap {
    /// The bitmap of `clusters` clusters that is kept in `file`; `None` if that is too short.
    pub(crate) fn new(file: Scattered, clusters: u64) -> Option<Self> {
        (file.len_bytes() >= clusters.div_ceil(8)).then(|| Self { pages: Pages::new(file), clusters })
    }

    /// The first cluster of `run` that is not marked as in use.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfBounds`] where the run leaves the volume; those of reading.
    pub(crate) fn first_free(&mut self, run: Run) -> Result<Option<u64>> {
        let end = run.first.checked_add(run.count).filter(|&end| end <= self.clusters);
        let end = end.ok_or_else(|| Error::new(ErrorKind::OutOfBounds, "read the allocation bitmap"))?;
        let mut at = run.first;
        while at < end {
            let page = self.pages.from(at / 8)?;
            let base = at - at % 8;
            match find(page, at - base, false) {
                Some(bit) if base + bit < end => return Ok(Some(base + bit)),
                Some(_) => break,
                None => at = base + page.len() as u64 * 8,
            }
        }
        Ok(None)
    }

    /// How many clusters are free.
    ///
    /// # Errors
    /// Those of reading.
    pub(crate) fn count_free(self) -> Result<u64> {
        self.free_runs().try_fold(0, |sum, run| Ok(sum + run?.count))
    }

    /// The runs of free clusters, in order and joined.
    pub(crate) fn free_runs(self) -> FreeClusters {
        FreeClusters {
            file: self.pages.file().clone(),
            clusters: self.clusters,
            at: 0,
            piece: Vec::new(),
            piece_first: 0,
            finished: false,
        }
    }
}

/// How much of the bitmap is read at once.
const PIECE_BYTES: u64 = 1 << 20;

/// An iterator over the runs of free clusters. After an error it is at its end.
#[derive(Debug)]
pub(crate) struct FreeClusters {
    file: Scattered,
    clusters: u64,
    /// The cluster that is looked at next.
    at: u64,
    /// A part of the bitmap, and the cluster of its first bit.
    piece: Vec<u8>,
    piece_first: u64,
    finished: bool,
}

impl FreeClusters {
    fn next_run(&mut self) -> Result<Option<Run>> {
        let Some(first) = self.find(false)? else { return Ok(None) };
        let end = self.find(true)?.unwrap_or(self.clusters);
        Ok(Some(Run { first, count: end - first }))
    }

    /// The first cluster from `self.at` on whose bit is `set`. Goes there.
    fn find(&mut self, set: bool) -> Result<Option<u64>> {
        while self.at < self.clusters {
            let piece_end = self.piece_first + self.piece.len() as u64 * 8;
            if !(self.piece_first..piece_end).contains(&self.at) {
                self.load()?;
                continue;
            }
            match find(&self.piece, self.at - self.piece_first, set) {
                Some(bit) if self.piece_first + bit < self.clusters => {
                    self.at = self.piece_first + bit;
                    return Ok(Some(self.at));
                }
                Some(_) => self.at = self.clusters,
                None => self.at = piece_end,
            }
        }
        Ok(None)
    }

    fn load(&mut self) -> Result<()> {
        let first_byte = self.at / 8;
        let len = (self.clusters.div_ceil(8) - first_byte).min(PIECE_BYTES);
        self.piece.resize(usize::try_from(len).expect("a mebibyte"), 0);
        self.piece_first = first_byte * 8;
        self.file.read(first_byte, &mut self.piece)
    }
}

impl Iterator for FreeClusters {
    type Item = Result<Run>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let run = self.next_run();
        self.finished = !matches!(run, Ok(Some(_)));
        run.transpose()
    }
}

/// The index of the first bit from `from` on that is `set`.
fn find(bytes: &[u8], from: u64, set: bool) -> Option<u64> {
    // Whatever is looked for is a one here.
    let ones = |byte: u8| if set { byte } else { !byte };
    let passed_over = if set { 0 } else { 0xFF };
    let first = usize::try_from(from / 8).ok()?;
    let (byte, rest) = bytes.get(first..)?.split_first()?;
    let in_first = ones(*byte) >> (from % 8) << (from % 8);
    let (index, bits) = if in_first == 0 {
        let behind = rest.iter().position(|&byte| byte != passed_over)?;
        (first + 1 + behind, ones(rest[behind]))
    } else {
        (first, in_first)
    };
    Some(index as u64 * 8 + u64::from(bits.trailing_zeros()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use block_device::{ByteRange, Disk, Durability, MemoryDisk};

    /// A bitmap in two pieces, the second of which lies before the first.
    fn map(bits: &[u8], clusters: u64) -> UsedMap {
        let disk = Disk::new(MemoryDisk::new(8 << 20)).unwrap();
        let mut padded = bits.to_vec();
        padded.resize(bits.len().next_multiple_of(512).max(1024), 0xFF);
        disk.write(4 << 20, &padded[..512], Durability::Cached).unwrap();
        disk.write(512, &padded[512..], Durability::Cached).unwrap();
        let rest = ByteRange::at(512, padded.len() as u64 - 512).unwrap();
        let file = Scattered::new(&disk, [ByteRange::at(4 << 20, 512).unwrap(), rest]).unwrap();
        UsedMap::new(file, clusters).unwrap()
    }

    fn runs(bits: &[u8], clusters: u64) -> Vec<(u64, u64)> {
        map(bits, clusters).free_runs().map(|run| run.unwrap()).map(|run| (run.first, run.count)).collect()
    }

    #[test]
    fn runs_are_joined_across_bytes_and_pieces_and_end_with_the_clusters() {
        assert_eq!(runs(&[0b1111_0110, 0xFF, 0x0F], 21), [(0, 1), (3, 1), (20, 1)]);
        assert_eq!(runs(&[0; 2], 16), [(0, 16)]);
        assert_eq!(runs(&[0xFF; 2], 13), []);
        // Clusters beyond the volume are not free, whatever their bits.
        assert_eq!(runs(&[0xFF, 0], 11), [(8, 3)]);
        let mut long = vec![0xFF; 3 << 20];
        long[500..3000].fill(0);
        long[(1 << 20) - 1..=2 << 20].fill(0);
        let expected = [(4000, 20000), (8 * ((1 << 20) - 1), 8 * ((1 << 20) + 2))];
        assert_eq!(runs(&long, 24 << 20), expected);
    }

    #[test]
    fn the_naive_reading_agrees_on_random_bits() {
        let mut state = 7u64;
        for density in 1..6 {
            let mut bits = vec![0; 20_000];
            for bit in 0..160_000u64 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                if (state >> 33).is_multiple_of(density * density * 40) {
                    bits[(bit / 8) as usize] |= 1 << (bit % 8);
                }
            }
            let clusters = 159_997;
            let used = |at: u64| bits[(at / 8) as usize] >> (at % 8) & 1 == 1;
            let mut naive: Vec<(u64, u64)> = Vec::new();
            for at in (0..clusters).filter(|&at| !used(at)) {
                match naive.last_mut() {
                    Some((first, count)) if *first + *count == at => *count += 1,
                    _ => naive.push((at, 1)),
                }
            }
            assert_eq!(runs(&bits, clusters), naive);
            let mut map = map(&bits, clusters);
            for first in (0..clusters).step_by(997) {
                let run = Run { first, count: (first % 50_000 + 1).min(clusters - first) };
                let naive = (first..first + run.count).find(|&at| !used(at));
                assert_eq!(map.first_free(run).unwrap(), naive);
            }
        }
    }

    #[test]
    fn law5_a_run_that_leaves_the_volume_is_an_error_and_a_short_bitmap_is_none() {
        let mut map = map(&[0xFF; 2], 13);
        for (first, count) in [(0, 14), (13, 1), (u64::MAX, 1), (1, u64::MAX)] {
            assert_eq!(map.first_free(Run { first, count }).unwrap_err().kind(), ErrorKind::OutOfBounds);
        }
        let disk = Disk::new(MemoryDisk::new(4096)).unwrap();
        let file = Scattered::new(&disk, [ByteRange::at(0, 512).unwrap()]).unwrap();
        assert!(UsedMap::new(file.clone(), 4096).is_some() && UsedMap::new(file, 4097).is_none());
    }
}
