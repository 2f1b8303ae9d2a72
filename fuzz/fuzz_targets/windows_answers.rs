//! The input is what a broken file system answers to the controls of Windows: no answer makes a panic, every range that
//! is handed out lies in the request and after the last one, and a pager that makes no progress comes to an end.
#![no_main]

use std::cell::Cell;

use libfuzzer_sys::fuzz_target;
use sparse_file::ByteRange;
use sparse_file::fsctl::{
    Answer, Control, QUERY_ALLOCATED_RANGES, SET_ZERO_DATA, SPARSE_UNIT_BYTES, Status, allocated_ranges, compression,
    file_level_trim, punch, valid_data_bytes,
};

/// No walk asks more often: each page must bring the walk further, and the numbers below make no more than so many.
const MOST_CALLS: usize = 1 << 16;

/// Answers with the input, a piece for each call, and when it is used up as the last piece says.
struct Liar<'a> {
    input: Cell<&'a [u8]>,
    calls: Cell<usize>,
    /// What may be made zero.
    request: ByteRange,
}

impl<'a> Liar<'a> {
    fn new(input: &'a [u8], request: ByteRange) -> Self {
        Self { input: Cell::new(input), calls: Cell::new(0), request }
    }
}

impl Control for Liar<'_> {
    fn control(&self, code: u32, input: &[u8], output: &mut [u8]) -> Result<Answer, Status> {
        self.calls.set(self.calls.get() + 1);
        assert!(self.calls.get() < MOST_CALLS, "it asks for ever");
        if code == SET_ZERO_DATA {
            let number = |at: usize| u64::from_le_bytes(input[at..at + 8].try_into().unwrap());
            assert!(self.request.contains(ByteRange::new(number(0), number(8)).unwrap()));
        }
        let [how, claimed, rest @ ..] = self.input.get() else { return Ok(Answer { len_bytes: 0, more: false }) };
        // Bits of `how`: more follows, a failure, entries of small numbers, the piece is used again.
        if how & 2 != 0 {
            return Err(if how & 4 == 0 { Status::INSUFFICIENT_BUFFER } else { Status::ACCESS_DENIED });
        }
        let piece_bytes = usize::from(*claimed).min(rest.len());
        let (piece, after) = rest.split_at(piece_bytes);
        let mut len_bytes = piece_bytes;
        if code == QUERY_ALLOCATED_RANGES && how & 4 != 0 {
            // Each byte pair is an offset and a length, so that sensible lists are met too.
            len_bytes = 0;
            for (entry, pair) in output.chunks_exact_mut(16).zip(piece.chunks_exact(2)) {
                entry[..8].copy_from_slice(&(u64::from(pair[0]) << 10).to_le_bytes());
                entry[8..].copy_from_slice(&(u64::from(pair[1]) << 8).to_le_bytes());
                len_bytes += 16;
            }
        } else {
            output.iter_mut().zip(piece).for_each(|(to, from)| *to = *from);
        }
        if how & 8 == 0 {
            self.input.set(after);
        }
        // Some claim more than the buffer holds.
        Ok(Answer { len_bytes: if how & 16 == 0 { len_bytes } else { len_bytes + (1 << 20) }, more: how & 1 != 0 })
    }
}

fuzz_target!(|input: &[u8]| {
    let [kind, start, len, input @ ..] = input else { return };
    let (start, len) = (u64::from(*start) << 9, (u64::from(*len) << 9) + 1);
    let request = ByteRange::at(start, len).unwrap();
    let liar = Liar::new(input, request);
    match kind % 5 {
        0 => {
            let mut floor = request.start();
            let mut ended = false;
            for found in allocated_ranges(&liar, request) {
                assert!(!ended, "nothing comes after an error");
                match found {
                    Ok(range) => {
                        assert!(request.contains(range) && floor <= range.start());
                        floor = range.end();
                    }
                    Err(_) => ended = true,
                }
            }
        }
        1 => drop(punch(&liar, request, request.end() + u64::from(kind >> 4) * 4096, SPARSE_UNIT_BYTES)),
        2 => assert!(file_level_trim(&liar, &[request]).map_or(true, |count| count <= 1)),
        3 => drop(compression(&liar)),
        _ => assert!(valid_data_bytes(&liar, request.end()).map_or(true, |valid| valid <= request.end())),
    }
});
