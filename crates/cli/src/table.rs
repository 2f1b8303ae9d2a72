//! Aligned columns.

use std::io::{self, Write};

use anstyle::Style;

use crate::plain::plain;

/// Which way the text of a column leans.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows of text whose columns are as wide as their widest cell.
pub(crate) struct Table {
    columns: Vec<Align>,
    header: Option<Vec<&'static str>>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without a header: names on the left, what they are on the right.
    pub(crate) fn of_facts() -> Self {
        Self { columns: vec![Align::Left, Align::Left], header: None, rows: Vec::new() }
    }

    /// A table with a line of column names.
    pub(crate) fn with_header(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.iter().map(|&(_, align)| align).collect(),
            header: Some(columns.iter().map(|&(name, _)| name).collect()),
            rows: Vec::new(),
        }
    }

    /// Adds a row. Control characters in it are shown escaped.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(plain).collect());
    }

    /// Adds a fact.
    pub(crate) fn fact(&mut self, name: &str, what: impl ToString) {
        self.row([name.to_owned(), what.to_string()]);
    }

    /// Whether it has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Prints it, two spaces between columns, nothing at the end of a line.
    pub(crate) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let width = |text: &str| text.chars().count();
        let mut widths = vec![0; self.columns.len()];
        if let Some(header) = &self.header {
            for (column, name) in widths.iter_mut().zip(header) {
                *column = width(name);
            }
        }
        for row in &self.rows {
            for (column, cell) in widths.iter_mut().zip(row) {
                *column = (*column).max(width(cell));
            }
        }
        let line = |out: &mut dyn Write, style: Style, cells: &mut dyn Iterator<Item = &str>| {
            let mut text = String::new();
            for ((cell, &align), &column) in cells.zip(&self.columns).zip(&widths) {
                match align {
                    Align::Left => text.push_str(&format!("{cell:<column$}  ")),
                    Align::Right => text.push_str(&format!("{cell:>column$}  ")),
                }
            }
            writeln!(out, "{style}{}{style:#}", text.trim_end())
        };
        if let Some(header) = &self.header {
            line(out, Style::new().bold(), &mut header.iter().copied())?;
        }
        for row in &self.rows {
            line(out, Style::new(), &mut row.iter().map(String::as_str))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_nothing_trails() {
        let mut table = Table::with_header(&[("kind", Align::Left), ("bytes", Align::Right)]);
        table.row(["data".to_owned(), "1 KiB".to_owned()]);
        table.row(["unwritten".to_owned(), "10.25 MiB".to_owned()]);
        let mut out = Vec::new();
        table.print(&mut anstream::StripStream::new(&mut out)).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "kind           bytes\ndata           1 KiB\nunwritten  10.25 MiB\n"
        );
    }
}
