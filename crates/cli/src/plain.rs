//! Names as they may be shown on a terminal.

use std::fmt::{self, Display, Write};

/// `name` with its control characters escaped: a file may be called anything, and a terminal obeys.
pub(crate) fn plain(name: impl Display) -> String {
    let mut escaped = Escaping(String::new());
    write!(escaped, "{name}").expect("a String takes everything");
    escaped.0
}

struct Escaping(String);

impl Write for Escaping {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if c.is_control() {
                self.0.extend(c.escape_debug());
            } else {
                self.0.push(c);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn only_control_characters_are_escaped() {
        assert_eq!(plain("a \"b\" \\ \u{e4} \u{1f600}"), "a \"b\" \\ \u{e4} \u{1f600}");
        assert_eq!(plain("\x1b[31m\n\r\t\u{9b}\u{7f}"), r"\u{1b}[31m\n\r\t\u{9b}\u{7f}");
    }
}
