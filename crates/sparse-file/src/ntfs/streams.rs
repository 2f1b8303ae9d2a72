//! The names of a file's streams: `FileStreamInformation`, \[MS-FSCC\] 2.4.49.

use crate::fsctl::Status;

/// Bytes of an entry before its name.
const HEADER_BYTES: usize = 24;

/// A named data stream, as the file's list has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StreamName {
    /// Without colons and type: `backup` for `disk.img:backup:$DATA`.
    pub(crate) name: String,
    /// Bytes of the stream.
    pub(crate) len_bytes: u64,
}

impl StreamName {
    /// The stream of an entry `:name:$DATA`; `None` for the unnamed stream, and for what is no data.
    pub(crate) fn of_entry(entry: &str, len_bytes: u64) -> Option<Self> {
        let name = entry.strip_prefix(':')?.strip_suffix(":$DATA")?;
        (!name.is_empty()).then(|| Self { name: name.to_owned(), len_bytes })
    }
}

/// The named data streams in a chain of `FILE_STREAM_INFORMATION`.
///
/// # Errors
/// [`Status::BAD_ANSWER`] for entries that lead out of the buffer or backwards, and for names that are not Unicode.
#[allow(dead_code, reason = "only Windows answers in these bytes: the model lists its streams itself")]
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<StreamName>, Status> {
    let mut found = Vec::new();
    let mut rest = bytes;
    // A file without streams, a directory: nothing at all.
    while !rest.is_empty() {
        let u32_at = |at: usize| rest.get(at..at + 4)?.first_chunk().copied().map(u32::from_le_bytes);
        let size = rest.get(8..16).and_then(|bytes| bytes.first_chunk().copied()).map(i64::from_le_bytes);
        let (Some(next), Some(name_bytes), Some(size)) = (u32_at(0), u32_at(4), size) else {
            return Err(Status::BAD_ANSWER);
        };
        let (next, name_bytes) = (next as usize, name_bytes as usize);
        let name = rest.get(HEADER_BYTES..).and_then(|names| names.get(..name_bytes)).ok_or(Status::BAD_ANSWER)?;
        let (units, odd) = name.as_chunks();
        let units: Vec<u16> = units.iter().copied().map(u16::from_le_bytes).collect();
        let (Ok(name), Ok(len_bytes), []) = (String::from_utf16(&units), u64::try_from(size), odd) else {
            return Err(Status::BAD_ANSWER);
        };
        found.extend(StreamName::of_entry(&name, len_bytes));
        rest = match next {
            0 => &[],
            // Behind its own header at least, so that the chain ends.
            _ if next >= HEADER_BYTES => rest.get(next..).ok_or(Status::BAD_ANSWER)?,
            _ => return Err(Status::BAD_ANSWER),
        };
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chain(entries: &[(&str, i64)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (index, (name, size)) in entries.iter().enumerate() {
            let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let len = (HEADER_BYTES + name.len()).next_multiple_of(8);
            let next = if index + 1 == entries.len() { 0 } else { len as u32 };
            let start = bytes.len();
            bytes.extend(next.to_le_bytes());
            bytes.extend((name.len() as u32).to_le_bytes());
            bytes.extend(size.to_le_bytes());
            bytes.extend(size.to_le_bytes());
            bytes.extend(name);
            bytes.resize(start + len, 0);
        }
        bytes
    }

    #[test]
    fn named_data_streams_are_found_and_nothing_else() {
        let bytes = chain(&[("::$DATA", 7), (":backup:$DATA", 1 << 40), (":\u{e9}\u{1f4be}:$DATA", 0), (":x:$EA", 1)]);
        let found = parse(&bytes).unwrap();
        let names: Vec<_> = found.iter().map(|stream| (stream.name.as_str(), stream.len_bytes)).collect();
        assert_eq!(names, [("backup", 1 << 40), ("\u{e9}\u{1f4be}", 0)]);
        assert_eq!(parse(&[]), Ok(Vec::new()));
    }

    #[test]
    fn an_answer_that_contradicts_itself_is_an_error() {
        let good = chain(&[(":a:$DATA", 1), (":b:$DATA", 2)]);
        for (at, byte) in [(0, 8), (0, 255), (4, 255), (4, 15), (15, 255), (24, 0xD8)] {
            let mut bad = good.clone();
            bad[at] = byte;
            bad[25] = if at == 24 { 0xD8 } else { bad[25] };
            assert_eq!(parse(&bad), Err(Status::BAD_ANSWER), "{at}");
        }
        for len in [1, 7, 23, 30, 41, 50] {
            assert_eq!(parse(&good[..len]), Err(Status::BAD_ANSWER), "{len}");
        }
    }

    proptest! {
        #[test]
        fn law5_any_bytes_end(bytes in proptest::collection::vec(prop_oneof![0u8..40, any::<u8>()], 0..400)) {
            let _ = parse(&bytes);
        }
    }
}
