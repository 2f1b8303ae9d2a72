//! A disk cut into cells of one size.

use disk_types::{ByteRange, Extent, ExtentKind};

/// What the pictures and lists tell apart. Delayed data is data: it only waits for its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Holds what was written.
    Data,
    /// Allocated, and all zero.
    Zero,
    /// Allocated, and never written.
    Unwritten,
    /// Not allocated.
    Hole,
}

impl Kind {
    /// In the order of legends.
    pub(crate) const ALL: [Self; 4] = [Self::Data, Self::Zero, Self::Unwritten, Self::Hole];

    /// The name in JSON and in tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Zero => "zero",
            Self::Unwritten => "unwritten",
            Self::Hole => "hole",
        }
    }

    /// What the name means, for legends.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Zero => "allocated, all zero",
            Self::Unwritten => "allocated, never written",
            Self::Hole => "hole",
        }
    }
}

impl From<ExtentKind> for Kind {
    fn from(kind: ExtentKind) -> Self {
        match kind {
            ExtentKind::Data | ExtentKind::Delayed => Self::Data,
            ExtentKind::Zero => Self::Zero,
            ExtentKind::Unwritten => Self::Unwritten,
            ExtentKind::Hole => Self::Hole,
        }
    }
}

/// How many bytes there are of each kind, and in how many extents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    bytes: [u64; Kind::ALL.len()],
    extents: [u64; Kind::ALL.len()],
}

impl Tally {
    /// Counts one extent.
    pub(crate) fn add(&mut self, kind: Kind, len_bytes: u64) {
        self.bytes[kind as usize] += len_bytes;
        self.extents[kind as usize] += 1;
    }

    /// The bytes of `kind`.
    pub(crate) const fn bytes(&self, kind: Kind) -> u64 {
        self.bytes[kind as usize]
    }

    /// The extents of `kind`.
    pub(crate) const fn extents(&self, kind: Kind) -> u64 {
        self.extents[kind as usize]
    }

    /// Bytes that are not in holes.
    pub(crate) fn allocated(&self) -> u64 {
        Kind::ALL.iter().filter(|&&kind| kind != Kind::Hole).map(|&kind| self.bytes(kind)).sum()
    }
}

/// The disk in cells, the last of which may be shorter.
pub(crate) struct Cells {
    len_bytes: u64,
    cell_bytes: u64,
    cells: Vec<Tally>,
}

impl Cells {
    /// A disk of `len_bytes` in at most `count` cells of at least one byte. None if the disk is empty.
    pub(crate) fn at_most(len_bytes: u64, count: usize) -> Self {
        Self::of_size(len_bytes, len_bytes.div_ceil(count.max(1) as u64).max(1))
    }

    /// A disk of `len_bytes` in cells of `cell_bytes`.
    pub(crate) fn of_size(len_bytes: u64, cell_bytes: u64) -> Self {
        let count = usize::try_from(len_bytes.div_ceil(cell_bytes)).expect("a picture's number of cells");
        Self { len_bytes, cell_bytes, cells: vec![Tally::default(); count] }
    }

    /// Spreads one extent over the cells it touches.
    pub(crate) fn add(&mut self, extent: Extent) {
        let Some(inside) = ByteRange::whole(self.len_bytes).and_then(|whole| whole.intersect(extent.range)) else {
            return;
        };
        for part in inside.chunks(self.cell_bytes) {
            let index = usize::try_from(part.start() / self.cell_bytes).expect("a cell");
            self.cells[index].add(extent.kind.into(), part.len());
        }
    }

    /// The bytes in a whole cell.
    pub(crate) const fn cell_bytes(&self) -> u64 {
        self.cell_bytes
    }

    /// The length of the disk.
    pub(crate) const fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// The cells in order.
    pub(crate) fn cells(&self) -> &[Tally] {
        &self.cells
    }

    /// How many bytes cell `index` has.
    pub(crate) fn size_of(&self, index: usize) -> u64 {
        self.cell_bytes.min(self.len_bytes - index as u64 * self.cell_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_lands_in_one_cell() {
        let extent = |start, end, kind| Extent { range: ByteRange::new(start, end).unwrap(), kind };
        let mut cells = Cells::at_most(1000, 3);
        cells.add(extent(0, 10, ExtentKind::Data));
        cells.add(extent(10, 700, ExtentKind::Hole));
        cells.add(extent(700, 1000, ExtentKind::Unwritten));
        assert_eq!((cells.cells().len(), cells.cell_bytes()), (3, 334));
        let sum = |kind| cells.cells().iter().map(|cell| cell.bytes(kind)).sum::<u64>();
        assert_eq!((sum(Kind::Data), sum(Kind::Hole), sum(Kind::Unwritten)), (10, 690, 300));
        assert_eq!(cells.cells()[0].bytes(Kind::Data), 10);
        assert_eq!(cells.size_of(2), 332);
    }

    #[test]
    fn an_empty_disk_and_the_largest_have_pictures() {
        assert!(Cells::at_most(0, 80).cells().is_empty());
        assert_eq!(Cells::at_most(disk_types::MAX_OFFSET, 80).cells().len(), 80);
        assert_eq!(Cells::at_most(5, 80).cells().len(), 5);
    }
}
