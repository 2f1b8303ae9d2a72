//! What is answered, as it stands on the wire and in the program's `--json`.

use disk_types::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Ask, SCHEMA};

/// What a server has done since it began, and is doing now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The process.
    pub pid: u32,
    /// Where its clients connect.
    pub uri: String,
    /// For how long it has been serving.
    pub serving_ms: u64,
    /// How many clients are connected now.
    pub connections: u64,
    /// How many connections there have been.
    pub connections_total: u64,
    /// Requests to read that have ended.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Requests to write that have ended.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Discards (trims) that have ended.
    pub trims: u64,
    /// Bytes discarded.
    pub trimmed_bytes: u64,
    /// Requests to zero that have ended.
    pub zeroings: u64,
    /// Bytes zeroed.
    pub zeroed_bytes: u64,
    /// Flushes that have ended.
    pub flushes: u64,
    /// Requests that failed, those refused for space included.
    pub errors: u64,
    /// What stays free on the host.
    pub keep_free_bytes: u64,
    /// What the host had free when it was last asked; `None` before.
    pub host_free_bytes: Option<u64>,
    /// Requests refused to keep that free.
    pub refused_for_space: u64,
    /// What passes over the disk have done; `None` where its file system gives nothing back.
    pub reclaim: Option<Reclaim>,
}

/// What passes that free zeroes have done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reclaim {
    /// How often a pass begins by itself; `None` if never.
    pub every_ms: Option<u64>,
    /// Bytes a second that a pass reads while clients are active; `None` without a limit.
    pub rate_bytes: Option<u64>,
    /// Passes that went through all of the disk.
    pub passes: u64,
    /// Passes that were stopped on the way.
    pub stopped_passes: u64,
    /// Bytes that were read to be judged.
    pub looked_at_bytes: u64,
    /// Bytes that were freed.
    pub freed_bytes: u64,
    /// The pass that is running now.
    pub running: Option<RunningPass>,
    /// The pass that ended last.
    pub last: Option<LastPass>,
}

/// A pass on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningPass {
    /// For how long it has been running.
    pub running_ms: u64,
    /// Bytes that it is done with.
    pub done_bytes: u64,
    /// Bytes that it has to look at, as far as is known.
    pub total_bytes: u64,
    /// Bytes that it has freed.
    pub freed_bytes: u64,
}

/// A pass that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastPass {
    /// How long ago it ended.
    pub ago_ms: u64,
    /// How long it took.
    pub took_ms: u64,
    /// Bytes that it read to judge them.
    pub looked_at_bytes: u64,
    /// Bytes that it freed.
    pub freed_bytes: u64,
    /// The kind of error that stopped it on the way; `None` if it went through all of the disk.
    pub stopped: Option<String>,
}

/// What came of a pass that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trimmed {
    /// Bytes that were read to be judged.
    pub looked_at_bytes: u64,
    /// Bytes that were freed.
    pub freed_bytes: u64,
    /// In how many pieces.
    pub freed_ranges: u64,
    /// What the image occupied before. Clients go on writing meanwhile.
    pub allocated_before_bytes: u64,
    /// And after.
    pub allocated_after_bytes: u64,
}

/// What came of asking a pass to stop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Whether one was running.
    pub was_running: bool,
}

/// A line of an answer. One of the three is there.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Line {
    schema: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    progress: Option<Progress>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<ErrorLine>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    done_bytes: u64,
    total_bytes: u64,
}

/// As the program's `--json` prints an error.
#[derive(Debug, Serialize, Deserialize)]
struct ErrorLine {
    kind: String,
    operation: String,
    path: Option<String>,
    offset: Option<u64>,
    message: String,
    advice: Option<String>,
}

/// What a line says.
#[derive(Debug)]
pub(crate) enum Said<T> {
    Progress { done_bytes: u64, total_bytes: u64 },
    Result(T),
}

impl Line {
    pub(crate) fn progress(done_bytes: u64, total_bytes: u64) -> Self {
        Self { schema: SCHEMA, progress: Some(Progress { done_bytes, total_bytes }), ..Self::default() }
    }

    /// The end of an answer.
    pub(crate) fn ending(result: Result<impl Serialize>) -> Self {
        match result {
            Ok(result) => {
                let result = serde_json::to_value(result).expect("numbers and strings");
                Self { schema: SCHEMA, result: Some(result), ..Self::default() }
            }
            Err(error) => Self { schema: SCHEMA, error: Some((&error).into()), ..Self::default() },
        }
    }

    /// As it is sent.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("numbers and strings");
        bytes.push(b'\n');
        bytes
    }

    /// Reads a line of the answer to `ask`.
    ///
    /// # Errors
    /// The server's own, and [`ErrorKind::Corrupt`] for what is none of the three.
    pub(crate) fn parse<T: DeserializeOwned>(ask: Ask, line: &[u8]) -> Result<Said<T>> {
        let corrupt = |what: String| Error::new(ErrorKind::Corrupt, ask.operation()).because(what);
        let line: Self = serde_json::from_slice(line)
            .map_err(|error| corrupt(format!("what its server answers is not understood: {error}")))?;
        match line {
            Self { progress: Some(Progress { done_bytes, total_bytes }), .. } => {
                Ok(Said::Progress { done_bytes, total_bytes })
            }
            Self { error: Some(error), .. } => Err(error.for_ask(ask)),
            Self { result: Some(result), .. } => serde_json::from_value(result)
                .map(Said::Result)
                .map_err(|error| corrupt(format!("the result of its server is not understood: {error}"))),
            Self { .. } => Err(corrupt("its server answers neither with a result nor with an error".to_owned())),
        }
    }
}

impl From<&Error> for ErrorLine {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind().name().to_owned(),
            operation: error.operation().to_owned(),
            path: error.path().map(str::to_owned),
            offset: error.offset(),
            message: error.message(),
            advice: error.advice().map(str::to_owned),
        }
    }
}

impl ErrorLine {
    /// The same, as an error on this side.
    fn for_ask(self, ask: Ask) -> Error {
        let operation = ask.operation();
        let kind = ErrorKind::from_name(&self.kind).unwrap_or(ErrorKind::Io);
        // What the operation would say twice is left out.
        let begins = format!("cannot {operation}: ");
        let reason = match self.message.strip_prefix(&begins) {
            Some(reason) => reason.to_owned(),
            None => format!("its server says: {}", self.message),
        };
        let mut error = Error::new(kind, operation).because(reason);
        if let Some(offset) = self.offset {
            error = error.at_offset(offset);
        }
        match self.advice {
            Some(advice) => error.advise(advice),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law8_an_error_arrives_with_its_kind_reason_and_advice() {
        let sent = Error::new(ErrorKind::InUse, "trim").because("a pass is running already").advise("wait");
        let error = Line::parse::<Trimmed>(Ask::Trim, &Line::ending(Err::<(), _>(sent)).to_bytes()).unwrap_err();
        assert_eq!(error.at_path("a.img").to_string(), "cannot trim a.img: a pass is running already; wait");
        let sent = Error::new(ErrorKind::NoSpace, "write").at_path("a.img").at_offset(7);
        let error = Line::parse::<Trimmed>(Ask::Trim, &Line::ending(Err::<(), _>(sent)).to_bytes()).unwrap_err();
        assert_eq!((error.kind(), error.offset()), (ErrorKind::NoSpace, Some(7)));
        assert!(error.message().contains("its server says: cannot write a.img at byte 7"), "{error}");
    }

    #[test]
    fn every_result_arrives_as_it_was_sent() {
        let status = Status {
            uri: "nbd://\u{1f4a9}\n".into(),
            writes: u64::MAX,
            reclaim: Some(Reclaim { last: Some(LastPass::default()), ..Reclaim::default() }),
            ..Status::default()
        };
        let bytes = Line::ending(Ok(&status)).to_bytes();
        assert_eq!(bytes.iter().filter(|&&byte| byte == b'\n').count(), 1, "one line");
        assert!(matches!(Line::parse::<Status>(Ask::Status, &bytes), Ok(Said::Result(got)) if got == status));
        let bytes = Line::progress(1, u64::MAX).to_bytes();
        let said = Line::parse::<Status>(Ask::Trim, &bytes).unwrap();
        assert!(matches!(said, Said::Progress { done_bytes: 1, total_bytes: u64::MAX }));
    }

    #[test]
    fn an_answer_that_is_none_is_corrupt() {
        for line in [&b"{}"[..], b"", b"{\"schema\":1}", b"{\"schema\":1,\"result\":{}}", b"nonsense"] {
            let error = Line::parse::<Status>(Ask::Status, line).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{:?}", String::from_utf8_lossy(line));
        }
        let line = br#"{"schema":1,"error":{"kind":"new","operation":"x","message":"m"}}"#;
        assert_eq!(Line::parse::<Status>(Ask::Status, line).unwrap_err().kind(), ErrorKind::Io);
    }
}
