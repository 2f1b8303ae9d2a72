//! A disk as one line of the terminal: each character is a piece, the fuller the piece the fuller the block.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::{Cells, Kind, Tally};
use crate::size::Bytes;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII: [char; 4] = ['-', '+', '=', '#'];

/// The width to draw for: the terminal's, else the variable COLUMNS, else 80.
pub(crate) fn terminal_width() -> usize {
    let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
    let width = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0)).or_else(columns);
    width.unwrap_or(80).clamp(20, 400)
}

/// Whether the locale says that the terminal reads UTF-8. Windows Terminal has no locale, and does.
pub(crate) fn terminal_reads_utf8() -> bool {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8") || set("WT_SESSION").is_some()
}

/// How many cells a strip of `width` characters has: two are its frame.
pub(crate) const fn cells_for(width: usize) -> usize {
    width.saturating_sub(2)
}

/// Draws the strip, and beneath it what a character stands for.
pub(crate) fn draw(cells: &Cells, utf8: bool, out: &mut dyn Write) -> io::Result<()> {
    let frame = if utf8 { '│' } else { '|' };
    let mut line = String::new();
    let mut current = Style::new();
    for (index, cell) in cells.cells().iter().enumerate() {
        let style = colour(cell);
        if style != current {
            line.push_str(&format!("{current:#}{style}"));
            current = style;
        }
        line.push(glyph(cell.allocated(), cells.size_of(index), utf8));
    }
    writeln!(out, "{frame}{line}{current:#}{frame}")?;
    writeln!(out, "each character is {} of {}", Bytes(cells.cell_bytes()), Bytes(cells.len_bytes()))
}

/// Nothing allocated is a blank; anything at all is at least the thinnest block, and only a full piece the fullest.
fn glyph(allocated: u64, size: u64, utf8: bool) -> char {
    let glyphs: &[char] = if utf8 { &BLOCKS } else { &ASCII };
    if allocated == 0 {
        return if utf8 { ' ' } else { '.' };
    }
    let steps = glyphs.len() as u128 - 1;
    let step = (u128::from(allocated) * steps / u128::from(size.max(1))).min(steps);
    glyphs[usize::try_from(step).expect("an index")]
}

/// Data in blue, space that could be had back in yellow, whichever is more.
fn colour(cell: &Tally) -> Style {
    let reclaimable = cell.bytes(Kind::Zero) + cell.bytes(Kind::Unwritten);
    match (cell.bytes(Kind::Data), reclaimable) {
        (0, 0) => Style::new(),
        (data, reclaimable) if data >= reclaimable => Style::new().fg_color(Some(AnsiColor::Blue.into())),
        _ => Style::new().fg_color(Some(AnsiColor::Yellow.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use disk_types::{ByteRange, Extent, ExtentKind};

    fn drawn(utf8: bool) -> String {
        let mut cells = Cells::at_most(800, 8);
        for (start, end, kind) in [
            (0, 100, ExtentKind::Data),
            (100, 250, ExtentKind::Hole),
            (250, 300, ExtentKind::Zero),
            (700, 701, ExtentKind::Data),
        ] {
            cells.add(Extent { range: ByteRange::new(start, end).unwrap(), kind });
        }
        let mut out = Vec::new();
        draw(&cells, utf8, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_strip_shows_how_full_each_piece_is() {
        let plain = anstream::adapter::strip_str(&drawn(true)).to_string();
        assert_eq!(plain, "│█ ▄    ▁│\neach character is 100 B of 800 B\n");
        let plain = anstream::adapter::strip_str(&drawn(false)).to_string();
        assert_eq!(plain, "|#.+....-|\neach character is 100 B of 800 B\n");
    }

    #[test]
    fn one_byte_in_the_largest_piece_is_seen_and_only_a_full_piece_is_full() {
        assert_eq!(glyph(1, u64::MAX, true), '▁');
        assert_eq!(glyph(u64::MAX - 1, u64::MAX, true), '▇');
        assert_eq!(glyph(u64::MAX, u64::MAX, true), '█');
    }
}
