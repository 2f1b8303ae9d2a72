//! What can be asked.

use disk_types::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::SCHEMA;

/// What is asked of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ask {
    /// What it has done, and is doing.
    Status,
    /// Free the zeroes that were written since the last pass.
    Trim,
    /// Stop the pass that is running, if one is.
    StopTrim,
}

#[derive(Serialize, Deserialize)]
struct Question {
    schema: u32,
    ask: String,
}

impl Ask {
    const ALL: [Self; 3] = [Self::Status, Self::Trim, Self::StopTrim];

    /// As it stands in a question.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Trim => "trim",
            Self::StopTrim => "stop-trim",
        }
    }

    /// The operation, for errors.
    pub(crate) const fn operation(self) -> &'static str {
        match self {
            Self::Status => "inspect",
            Self::Trim => "trim",
            Self::StopTrim => "stop trimming",
        }
    }

    /// The question as a line, without its end.
    pub(crate) fn line(self) -> String {
        let question = Question { schema: SCHEMA, ask: self.name().to_owned() };
        serde_json::to_string(&question).expect("a number and a string")
    }

    /// Reads a question.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for what is not a question, [`ErrorKind::Unsupported`] for one of a later version.
    pub(crate) fn parse(line: &[u8]) -> Result<Self> {
        let question: Question = serde_json::from_slice(line).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, "answer")
                .because(format!("that is not a question: {error}"))
                .advise(format!("ask for example {}", Self::Status.line()))
        })?;
        let known = Self::ALL.into_iter().find(|ask| ask.name() == question.ask);
        known.filter(|_| question.schema == SCHEMA).ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "answer")
                .because("this server does not know the question; it is of another version")
                .advise("restart the server with this version of the program")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_is_read_as_it_was_written() {
        for ask in Ask::ALL {
            assert_eq!(Ask::parse(ask.line().as_bytes()).unwrap(), ask);
        }
        assert_eq!(Ask::Trim.line(), r#"{"schema":1,"ask":"trim"}"#);
        let more = Ask::parse(br#" {"ask":"stop-trim","schema":1,"more":[1]} "#);
        assert_eq!(more.unwrap(), Ask::StopTrim, "keys may be added");
    }

    #[test]
    fn what_is_no_question_and_what_is_a_later_one_are_told_apart() {
        let kind = |line: &[u8]| Ask::parse(line).unwrap_err().kind();
        for line in [
            &b""[..],
            b"trim",
            b"{}",
            b"[]",
            b"\xff\xfe",
            br#"{"schema":1}"#,
            br#"{"ask":"trim"}"#,
            br#"{"schema":1,"ask":7}"#,
            br#"{"schema":-1,"ask":"trim"}"#,
            br#"{"schema":1,"ask":"trim"}{"schema":1,"ask":"trim"}"#,
        ] {
            assert_eq!(kind(line), ErrorKind::InvalidInput, "{:?}", String::from_utf8_lossy(line));
        }
        assert_eq!(kind(br#"{"schema":1,"ask":"shrink"}"#), ErrorKind::Unsupported);
        assert_eq!(kind(br#"{"schema":2,"ask":"trim"}"#), ErrorKind::Unsupported);
        // Deep nesting is the parser's business, which has a limit.
        assert_eq!(kind("[".repeat(4000).as_bytes()), ErrorKind::InvalidInput);
    }
}
