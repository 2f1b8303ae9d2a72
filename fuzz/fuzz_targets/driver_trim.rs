//! Trims of any form on disks of any size: refused exactly where they should be, and what is freed is exactly the whole units
//! that the ranges cover together.
#![no_main]

use disk_types::{DiskBounds, LogicalBlock};
use driver_core::{
    BackingFile, Completion, Disk, DiskState, Job, NtStatus, Plan, Request, SystemBuffer, Verdict, codes, dispatch,
    fsctl,
};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    len_bytes: u64,
    large_units: bool,
    read_only: bool,
    frees: bool,
    /// Added to the header's good fields: size, action, flags, parameters and their length, ranges and their length.
    header: Option<[i8; 7]>,
    entire: bool,
    ranges: Vec<Range>,
    cut: u8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Range {
    Bytes(u64, u64),
    Sectors(u32, u16),
    Units(u16, u8),
    /// From so far before the end.
    End(u32, u32),
    /// Right behind the one before.
    Next(u32),
}

/// Remembers what was freed; everything is allocated.
#[derive(Default)]
struct Recorder {
    freed: Vec<(u64, u64)>,
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap())
}

impl BackingFile for Recorder {
    fn read(&mut self, _: u64, _: &mut [u8]) -> Result<(), NtStatus> {
        panic!("a trim reads nothing")
    }

    fn write(&mut self, _: u64, _: &[u8]) -> Result<(), NtStatus> {
        panic!("a trim writes nothing")
    }

    fn flush(&mut self) -> Result<(), NtStatus> {
        panic!("a trim flushes nothing")
    }

    fn control(&mut self, code: u32, input: &[u8], output: &mut [u8]) -> Completion {
        match code {
            fsctl::SET_ZERO_DATA => {
                self.freed.push((number(&input[..8]), number(&input[8..])));
                Completion::done(0)
            }
            fsctl::QUERY_ALLOCATED_RANGES => {
                output.copy_from_slice(input);
                Completion::done(16)
            }
            other => panic!("{other:#x}"),
        }
    }

    fn free_bytes(&mut self) -> Result<u64, NtStatus> {
        panic!("a trim needs no space")
    }
}

/// The bytes that the kernel would hand over.
fn encode(input: &Input, len_bytes: u64, unit: u64) -> Vec<u8> {
    let mut last = 0u64;
    let ranges = input.ranges.iter().take(100).map(|range| {
        let (start, len) = match *range {
            Range::Bytes(start, len) => (start, len),
            Range::Sectors(start, len) => (u64::from(start) * 512, u64::from(len) * 512),
            Range::Units(start, len) => (u64::from(start) * unit, u64::from(len) * unit),
            Range::End(before, len) => (len_bytes.wrapping_sub(before.into()), len.into()),
            Range::Next(len) => (last, len.into()),
        };
        last = start.wrapping_add(len);
        [start.to_le_bytes(), len.to_le_bytes()].concat()
    });
    let ranges: Vec<u8> = ranges.flatten().collect();
    let (flags, offset) = if input.entire { (1, 0) } else { (0, 32) };
    let good = [28, 1, flags, 0, 0, offset, if input.entire { 0 } else { ranges.len() as u32 }];
    let deltas = input.header.unwrap_or_default();
    let header =
        good.into_iter().zip(deltas).flat_map(|(good, delta)| good.wrapping_add_signed(delta.into()).to_le_bytes());
    let mut bytes: Vec<u8> = header.chain([0; 4]).chain(ranges).collect();
    if input.header.is_some() {
        bytes.truncate(bytes.len().saturating_sub(input.cut.into()));
    }
    bytes
}

/// What must be freed, or why nothing is: reckoned with numbers that cannot wrap, by sweeping over beginnings and ends.
fn oracle(bytes: &[u8], input: &Input, len_bytes: u64, unit: u64) -> Result<Vec<(u64, u64)>, NtStatus> {
    let invalid = Err(NtStatus::INVALID_PARAMETER);
    if bytes.len() < 28 {
        return invalid;
    }
    let field = |at: usize| u128::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()));
    let all = bytes.len() as u128;
    let (size, action, flags) = (field(0), field(4), field(8));
    let misplaced = |offset: u128, len: u128| offset < size || offset % 8 != 0 || offset + len > all;
    if size < 28 || size > all || (field(16) != 0 && misplaced(field(12), field(16))) {
        return invalid;
    }
    if action != 1 {
        return Err(NtStatus::NOT_SUPPORTED);
    }
    let (offset, len) = (field(20), field(24));
    let entire = flags % 2 == 1;
    if entire && len != 0 || !entire && (len == 0 || len % 16 != 0 || misplaced(offset, len)) {
        return invalid;
    }
    if input.read_only {
        return Err(NtStatus::MEDIA_WRITE_PROTECTED);
    }
    if !input.frees {
        return Err(NtStatus::NOT_SUPPORTED);
    }
    let listed = if entire {
        vec![(0, u128::from(len_bytes))]
    } else {
        bytes[offset as usize..][..len as usize]
            .chunks(16)
            .map(|range| {
                (u128::from(number(&range[..8])), u128::from(number(&range[..8])) + u128::from(number(&range[8..])))
            })
            .collect()
    };
    if listed.iter().any(|&(_, end)| end > u128::from(len_bytes)) {
        return invalid;
    }
    // Beginnings before ends at the same place, so that neighbours are one.
    let mut events: Vec<(u128, i32)> =
        listed.iter().filter(|(a, b)| a < b).flat_map(|&(a, b)| [(a, -1), (b, 1)]).collect();
    events.sort_unstable();
    let (mut open, mut start, mut freed) = (0, 0, Vec::new());
    for (at, kind) in events {
        if open == 0 {
            start = at;
        }
        open -= kind;
        if open == 0 {
            let unit = u128::from(unit);
            let first = start.div_ceil(unit) * unit;
            let last = if at == u128::from(len_bytes) { at } else { at / unit * unit };
            if first < last {
                freed.push((first as u64, last as u64));
            }
        }
    }
    Ok(freed)
}

fuzz_target!(|input: Input| {
    let bounds = DiskBounds::new((input.len_bytes >> 1).max(512) / 512 * 512, LogicalBlock::B512).unwrap();
    let len_bytes = bounds.len_bytes();
    let unit_bytes = if input.large_units { 1 << 20 } else { 65536 };
    let plan = Plan {
        bounds,
        unit_bytes,
        mark_sparse: false,
        dense: false,
        read_only: input.read_only,
        removable: false,
        zero_detection: false,
        trims: input.frees,
        physical_sector_bytes: 4096,
        alignment_mask: 0,
    };
    let mut bytes = encode(&input, len_bytes, unit_bytes.into());
    let expected = oracle(&bytes, &input, len_bytes, unit_bytes.into());
    let state = DiskState::new(0);
    let len = bytes.len();
    let request = Request::DeviceControl { code: codes::STORAGE_MANAGE_DATA_SET_ATTRIBUTES };
    match dispatch(&plan.facts(0, 1), &state, request, Some(SystemBuffer::new(&mut bytes, len, 0))) {
        Verdict::Complete(completion) => {
            assert_eq!(completion.information, 0);
            assert_eq!(expected, Err(completion.status));
        }
        Verdict::Queue(Job::Trim(job)) => {
            let expected = expected.expect("refused by the oracle");
            let mut disk = Disk::attach(Recorder::default(), &plan, &state, &mut [0; 512]).unwrap();
            assert_eq!(disk.trim(job, &mut bytes), Completion::bare(NtStatus::SUCCESS));
            assert_eq!(state.counters().trimmed_bytes, expected.iter().map(|(start, end)| end - start).sum::<u64>());
            assert_eq!(disk.into_file().freed, expected);
        }
        other => panic!("{other:?}"),
    }
});
