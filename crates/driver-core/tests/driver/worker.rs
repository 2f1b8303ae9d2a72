//! The worker's disk over a file that answers as it is told.

use disk_types::{ByteRange, DiskBounds, LogicalBlock};
use driver_core::{BackingFile, Completion, Disk, DiskState, NtStatus, Plan, fsctl};

const LEN: u64 = 1 << 20;

/// Says that `allocated` is, in pieces of at most 4 KiB: entries that touch need not be joined.
#[derive(Default)]
struct Told {
    allocated: u64,
    writes: Vec<(u64, usize)>,
    queries: usize,
}

impl BackingFile for Told {
    fn read(&mut self, _: u64, buffer: &mut [u8]) -> Result<(), NtStatus> {
        buffer.fill(0);
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), NtStatus> {
        self.writes.push((offset, data.len()));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), NtStatus> {
        Ok(())
    }

    fn control(&mut self, code: u32, input: &[u8], output: &mut [u8]) -> Completion {
        assert_eq!(code, fsctl::QUERY_ALLOCATED_RANGES);
        self.queries += 1;
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        let (start, len) = (number(&input[..8]), number(&input[8..]));
        if start >= self.allocated {
            return Completion::done(0);
        }
        let piece = len.min(4096).min(self.allocated - start);
        output[..8].copy_from_slice(&start.to_le_bytes());
        output[8..].copy_from_slice(&piece.to_le_bytes());
        // More than the one entry that fits.
        Completion { status: NtStatus::BUFFER_OVERFLOW, information: 16 }
    }

    fn free_bytes(&mut self) -> Result<u64, NtStatus> {
        Ok(0)
    }
}

fn plan() -> Plan {
    Plan {
        bounds: DiskBounds::new(LEN, LogicalBlock::B512).unwrap(),
        unit_bytes: 65536,
        mark_sparse: false,
        dense: false,
        read_only: false,
        removable: false,
        zero_detection: true,
        trims: true,
        physical_sector_bytes: 4096,
        alignment_mask: 0,
    }
}

fn range(start: u64, end: u64) -> ByteRange {
    ByteRange::checked(start, end).unwrap()
}

#[test]
fn pieces_of_what_is_allocated_are_put_together() {
    let state = DiskState::new(1);
    let told = Told { allocated: LEN, ..Told::default() };
    let mut disk = Disk::attach(told, &plan(), &state, &mut [0; 512]).unwrap();
    assert_eq!(disk.write(range(512, 66_048), false, &[1; 65536]), Completion::done(65536));
    let file = disk.into_file();
    assert_eq!(file.writes, [(512, 65536)]);
    assert_eq!(file.queries, 1 + 16, "one for the last sector");
}

#[test]
fn the_first_piece_that_is_not_allocated_ends_the_asking() {
    let state = DiskState::new(1);
    let told = Told { allocated: 8192, ..Told::default() };
    let mut disk = Disk::attach(told, &plan(), &state, &mut [0; 512]).unwrap();
    assert_eq!(disk.write(range(0, 65536), false, &[1; 65536]), Completion::bare(NtStatus::DISK_FULL));
    let file = disk.into_file();
    assert_eq!((file.writes, file.queries), (vec![(LEN - 512, 512)], 1 + 3));
}

#[test]
fn law5_buffers_that_do_not_fit_their_ranges_reach_no_file() {
    let state = DiskState::new(0);
    let refused = Completion::bare(NtStatus::INVALID_PARAMETER);
    assert!(Disk::attach(Told::default(), &plan(), &state, &mut [0; 511]).is_err());
    let told = Told { allocated: LEN, ..Told::default() };
    let mut disk = Disk::attach(told, &plan(), &state, &mut [0; 512]).unwrap();
    for len in [0, 511, 513] {
        assert_eq!(disk.read(range(0, 512), &mut vec![0; len]), refused);
        assert_eq!(disk.write(range(0, 512), false, &vec![1; len]), refused);
    }
    let beyond = range(LEN - 512, LEN + 512);
    assert_eq!(disk.read(beyond, &mut [0; 1024]), refused);
    assert_eq!(disk.write(beyond, false, &[1; 1024]), refused);
    assert!(disk.into_file().writes.is_empty());
}
