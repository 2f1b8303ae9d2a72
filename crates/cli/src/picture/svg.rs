//! A disk as a page: read like a book, each line a round number of bytes.
//!
//! A line is cut into 256 cells. A cell is filled from the bottom by how much of it is allocated, at least so far that it
//! can be seen: a few kilobytes in a terabyte are a small mark, not nothing. Neighbouring cells that look alike are one
//! rectangle, so a page stays small.

use std::io::{self, Write};

use super::{Cells, Kind, Tally};
use crate::size::{Bytes, Many};

const LINES: u64 = 32;
const CELLS_IN_LINE: usize = 256;
/// Below this a line would show less than a block of the file system a cell.
const SMALLEST_CELL_BYTES: u64 = 4096;

const CELL_WIDTH: usize = 4;
const LINE_HEIGHT: u64 = 16;
const LINE_STEP: usize = 22;
/// The least height of something that is there.
const LEAST_HEIGHT: u64 = 5;
const LEFT: usize = 92;
const TOP: usize = 64;
const WIDTH: usize = LEFT + CELLS_IN_LINE * CELL_WIDTH + 24;

/// The cells a page of a disk of `len_bytes` is drawn from: a line is a power of two, and there are at most 32 of them.
pub(crate) fn cells_for(len_bytes: u64) -> Cells {
    let line_bytes = len_bytes.div_ceil(LINES).next_power_of_two();
    Cells::of_size(len_bytes, (line_bytes / CELLS_IN_LINE as u64).max(SMALLEST_CELL_BYTES))
}

/// What the page says beside the picture.
pub(crate) struct Caption<'a> {
    /// The file.
    pub(crate) title: &'a str,
    /// What the file system says it occupies.
    pub(crate) allocated_bytes: u64,
    /// Bytes and extents over the whole disk.
    pub(crate) tally: &'a Tally,
    /// Whether data was read to find zeroes in it.
    pub(crate) scanned: bool,
}

const fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Data => "#1f5fa8",
        Kind::Zero => "#e07b39",
        Kind::Unwritten => "#e9c46a",
        Kind::Hole => "#edf0f3",
    }
}

/// Draws the page.
pub(crate) fn draw(cells: &Cells, caption: &Caption<'_>, out: &mut dyn Write) -> io::Result<()> {
    let lines = cells.cells().len().div_ceil(CELLS_IN_LINE);
    let legend_top = TOP + lines * LINE_STEP + 20;
    let height = legend_top + 64;
    let title = escape(caption.title);
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\" font-size=\"12\" \
         fill=\"#22303c\" shape-rendering=\"crispEdges\">"
    )?;
    writeln!(out, "<title>Map of {title}</title>")?;
    writeln!(out, "<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>")?;
    writeln!(out, "<text x=\"20\" y=\"28\" font-size=\"17\" font-weight=\"600\">{title}</text>")?;
    writeln!(
        out,
        "<text x=\"20\" y=\"48\" fill=\"#5b6b78\">{} apparent size, {} allocated. Each line is {}, each column {}: as \
         high as it is full, and anything at all leaves a mark.</text>",
        Bytes(cells.len_bytes()),
        Bytes(caption.allocated_bytes),
        Bytes(cells.cell_bytes() * CELLS_IN_LINE as u64),
        Bytes(cells.cell_bytes()),
    )?;
    for (line, in_line) in cells.cells().chunks(CELLS_IN_LINE).enumerate() {
        draw_line(cells, line, in_line, out)?;
    }
    draw_legend(caption, legend_top, out)?;
    writeln!(out, "</svg>")
}

/// What one cell looks like: the top of each allocated kind's bar, in pixels from the bottom of the line.
type Look = [u64; 3];

fn draw_line(cells: &Cells, line: usize, in_line: &[Tally], out: &mut dyn Write) -> io::Result<()> {
    let top = TOP + line * LINE_STEP;
    let offset = (line * CELLS_IN_LINE) as u64 * cells.cell_bytes();
    writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#5b6b78\">{}</text>",
        LEFT - 10,
        top + 13,
        Bytes(offset)
    )?;
    writeln!(
        out,
        "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{}\" height=\"{LINE_HEIGHT}\" fill=\"{}\"/>",
        in_line.len() * CELL_WIDTH,
        colour(Kind::Hole)
    )?;
    let looks: Vec<Look> = in_line
        .iter()
        .enumerate()
        .map(|(index, cell)| look(cell, cells.size_of(line * CELLS_IN_LINE + index)))
        .collect();
    let mut x = LEFT;
    for alike in looks.chunk_by(|a, b| a == b) {
        let width = alike.len() * CELL_WIDTH;
        let mut bottom = 0;
        for (kind, &end) in [Kind::Data, Kind::Zero, Kind::Unwritten].into_iter().zip(&alike[0]) {
            if end > bottom {
                let y = top as u64 + LINE_HEIGHT - end;
                let fill = colour(kind);
                writeln!(
                    out,
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{}\" fill=\"{fill}\"/>",
                    end - bottom
                )?;
                bottom = end;
            }
        }
        x += width;
    }
    Ok(())
}

fn look(cell: &Tally, size: u64) -> Look {
    let mut heights = [Kind::Data, Kind::Zero, Kind::Unwritten].map(|kind| {
        let share = u128::from(cell.bytes(kind)) * u128::from(LINE_HEIGHT) / u128::from(size.max(1));
        let least = if cell.bytes(kind) > 0 { LEAST_HEIGHT } else { 0 };
        u64::try_from(share).unwrap_or(LINE_HEIGHT).clamp(least, LINE_HEIGHT)
    });
    // What was made taller to be seen takes the room of the tallest.
    while heights.iter().sum::<u64>() > LINE_HEIGHT {
        *heights.iter_mut().max().expect("three heights") -= 1;
    }
    let mut end = 0;
    heights.map(|height| {
        end += height;
        end
    })
}

fn draw_legend(caption: &Caption<'_>, top: usize, out: &mut dyn Write) -> io::Result<()> {
    let shown = Kind::ALL.into_iter().filter(|&kind| kind != Kind::Zero || caption.scanned);
    for (column, kind) in shown.enumerate() {
        let x = LEFT + column * CELLS_IN_LINE * CELL_WIDTH / Kind::ALL.len();
        let (bytes, extents) = (caption.tally.bytes(kind), caption.tally.extents(kind));
        writeln!(out, "<rect x=\"{x}\" y=\"{top}\" width=\"16\" height=\"16\" fill=\"{}\"/>", colour(kind))?;
        writeln!(out, "<text x=\"{}\" y=\"{}\" font-weight=\"600\">{}</text>", x + 24, top + 13, kind.meaning())?;
        writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" fill=\"#5b6b78\">{} in {}</text>",
            x + 24,
            top + 32,
            Bytes(bytes),
            Many(extents, "extent")
        )?;
    }
    Ok(())
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // XML has no way to write other control characters.
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use disk_types::{ByteRange, Extent, ExtentKind};

    fn page(len_bytes: u64, extents: &[(u64, u64, ExtentKind)]) -> String {
        let mut cells = cells_for(len_bytes);
        let mut tally = Tally::default();
        for &(offset, len, kind) in extents {
            cells.add(Extent { range: ByteRange::at(offset, len).unwrap(), kind });
            tally.add(kind.into(), len);
        }
        let caption = Caption { title: "a<b>&.img", allocated_bytes: tally.allocated(), tally: &tally, scanned: true };
        let mut out = Vec::new();
        draw(&cells, &caption, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn four_kilobytes_in_a_terabyte_are_seen() {
        let page = page(1 << 40, &[(512 << 30, 4096, ExtentKind::Data)]);
        assert!(page.contains("width=\"4\" height=\"5\" fill=\"#1f5fa8\""), "{page}");
        assert!(page.contains(">512 GiB</text>"), "{page}");
        assert!(page.contains("a&lt;b&gt;&amp;.img"), "{page}");
    }

    #[test]
    fn a_page_has_at_most_32_lines_of_256_cells() {
        for len in [0, 1, 4096, 1 << 20, (1 << 30) + 1, (1 << 40) - 512, disk_types::MAX_OFFSET] {
            let cells = cells_for(len).cells().len();
            assert!(cells <= 32 * 256, "{len}: {cells}");
        }
    }

    #[test]
    fn many_extents_make_no_larger_page() {
        let extents: Vec<_> = (0..100_000).map(|index| (index * 8192, 4096, ExtentKind::Data)).collect();
        assert!(page(100_000 * 8192, &extents).len() < 20_000);
    }
}
