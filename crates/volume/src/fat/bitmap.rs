//! A bit for each cluster.

/// One bit for each cluster of a volume, all clear at first. Pages of it that are never set cost no memory on systems
/// that give zeroed memory lazily.
#[derive(Debug)]
pub(super) struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    /// For clusters up to, not including, `end_cluster`.
    pub(super) fn new(end_cluster: u32) -> Self {
        Self { words: vec![0; (end_cluster as usize).div_ceil(64)] }
    }

    pub(super) fn get(&self, cluster: u32) -> bool {
        self.words[cluster as usize / 64] >> (cluster % 64) & 1 == 1
    }

    /// Sets the bit, and says whether it was set already.
    pub(super) fn set(&mut self, cluster: u32) -> bool {
        let word = &mut self.words[cluster as usize / 64];
        let bit = 1 << (cluster % 64);
        let was_set = *word & bit != 0;
        *word |= bit;
        was_set
    }

    /// The clusters whose bit is set here and clear in `other`, in order.
    pub(super) fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u32> + 'a {
        self.words.iter().zip(&other.words).enumerate().flat_map(|(index, (&here, &there))| {
            let mut rest = here & !there;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(u32::try_from(index).expect("clusters are 28 bits") * 64 + bit)
            })
        })
    }
}
