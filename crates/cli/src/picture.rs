//! Pictures of where a disk's bytes lie: a strip for the terminal, a page for the browser.
//!
//! Both draw [`Cells`]: the disk cut into pieces of one size, and how much of each kind of byte lies in each piece. So a
//! picture has the same size for ten extents and for ten million.

pub(crate) mod cells;
pub(crate) mod strip;
pub(crate) mod svg;

pub(crate) use cells::{Cells, Kind, Tally};
