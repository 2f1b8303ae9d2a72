//! The free clusters of a volume, run by run.

use block_device::Result;

use super::Fat;
use super::entries::{Piece, Pieces};

/// Clusters that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterRun {
    /// The first; clusters are numbered from 2.
    pub first: u32,
    /// How many; at least 1.
    pub count: u32,
}

/// An iterator over the runs of free clusters, in order and joined.
///
/// The FAT is read a mebibyte at a time, and its holes are passed over unread: the runs of an empty volume of 2 TiB
/// come in milliseconds. After an error it is at its end.
#[derive(Debug)]
pub struct FreeRuns {
    pieces: Pieces,
    /// The piece at hand, and the entry in it that comes next.
    piece: Option<(Piece, u32)>,
    /// A run that may go on in the next piece.
    open: Option<ClusterRun>,
    finished: bool,
}

impl FreeRuns {
    pub(super) fn new(fat: Fat) -> Self {
        Self { pieces: Pieces::new(&fat), piece: None, open: None, finished: false }
    }

    fn next_run(&mut self) -> Result<Option<ClusterRun>> {
        loop {
            let Some((piece, next)) = &mut self.piece else {
                match self.pieces.next_piece()? {
                    // The first two entries belong to no cluster.
                    Some(piece) => self.piece = Some((piece, 2)),
                    None => return Ok(self.open.take()),
                }
                continue;
            };
            let first = (*next).max(piece.first);
            let end = if piece.is_hole() {
                piece.end
            } else {
                (first..piece.end).find(|&cluster| piece.raw(cluster) != 0).unwrap_or(piece.end)
            };
            let end_of_piece = end >= piece.end;
            if first < end {
                self.open.get_or_insert(ClusterRun { first, count: 0 }).count += end - first;
            }
            *next = end + 1;
            if end_of_piece {
                self.piece = None;
            } else if self.open.is_some() {
                return Ok(self.open.take());
            }
        }
    }
}

impl Iterator for FreeRuns {
    type Item = Result<ClusterRun>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let run = self.next_run();
        self.finished = !matches!(run, Ok(Some(_)));
        run.transpose()
    }
}
