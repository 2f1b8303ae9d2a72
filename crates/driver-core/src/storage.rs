//! IOCTL_STORAGE_QUERY_PROPERTY: what a disk says about itself.

use driver_abi::NtStatus;

use crate::buffer::{Completion, SystemBuffer};
use crate::record::{Record, u32_at};
use crate::request::DiskFacts;

const DEVICE: u32 = 0;
const ADAPTER: u32 = 1;
const WRITE_CACHE: u32 = 4;
const ACCESS_ALIGNMENT: u32 = 6;
const SEEK_PENALTY: u32 = 7;
const TRIM: u32 = 8;
const LOGICAL_BLOCK_PROVISIONING: u32 = 11;

const STANDARD_QUERY: u32 = 0;
const EXISTS_QUERY: u32 = 1;
/// Every descriptor begins with its version and its size.
const HEADER_BYTES: usize = 8;

/// BusTypeVirtual; BusTypeFileBackedVirtual is known only since Windows 8.
const BUS_VIRTUAL: u8 = 14;
/// What one request may ask for at most. Requests are not copied, so this is only a size that file systems like.
const MOST_TRANSFER_BYTES: u32 = 16 << 20;
const PAGE_BYTES: u32 = 4096;

/// Answers STORAGE_PROPERTY_QUERY {id, kind of query, parameters}.
///
/// Who gives only the 8 bytes of a header gets the header, from which he learns the size; whoever gives less than the
/// whole gets as much as fits.
pub(crate) fn query_property(facts: &DiskFacts, buffer: SystemBuffer<'_>) -> Completion {
    let Some(query) = buffer.head::<8>() else { return Completion::bare(NtStatus::INVALID_PARAMETER) };
    let (Some(id), Some(kind)) = (u32_at(&query, 0), u32_at(&query, 4)) else {
        return Completion::bare(NtStatus::INVALID_PARAMETER);
    };
    let known = match id {
        DEVICE | ADAPTER | WRITE_CACHE | ACCESS_ALIGNMENT | SEEK_PENALTY | TRIM => true,
        LOGICAL_BLOCK_PROVISIONING => facts.trims,
        _ => false,
    };
    match kind {
        STANDARD_QUERY | EXISTS_QUERY if !known => Completion::bare(NtStatus::NOT_SUPPORTED),
        EXISTS_QUERY => Completion::bare(NtStatus::SUCCESS),
        STANDARD_QUERY if buffer.output_len() < HEADER_BYTES => Completion::bare(NtStatus::BUFFER_TOO_SMALL),
        STANDARD_QUERY => describe(facts, id, buffer),
        _ => Completion::bare(NtStatus::NOT_SUPPORTED),
    }
}

fn describe(facts: &DiskFacts, id: u32, buffer: SystemBuffer<'_>) -> Completion {
    let sector = facts.bounds.block().bytes() as u32;
    let status = NtStatus::SUCCESS;
    match id {
        // STORAGE_DEVICE_DESCRIPTOR: device type 8 (0: direct access), removable 10, command queueing 11, vendor 12,
        // product 16, revision 20, serial number 24 (0: none), bus 28, raw properties' length 32; the names behind it.
        DEVICE => {
            let record = descriptor::<64>(40).u8(10, u8::from(facts.removable)).u8(11, 1);
            let record = record.u32(12, 40).u32(16, 51).u32(20, 58).u32(28, u32::from(BUS_VIRTUAL)).u32(32, 24);
            buffer.answer_as(status, record.put(40, b"sparsedisk\0Sparse\0").put(58, b"1.0\0").bytes())
        }
        // STORAGE_ADAPTER_DESCRIPTOR: transfer 8, pages 12, alignment mask 16, PIO 20, scans down 21, command queueing 22,
        // accelerated 23, bus 24.
        ADAPTER => {
            let record = descriptor::<32>(32).u32(8, MOST_TRANSFER_BYTES).u32(12, MOST_TRANSFER_BYTES / PAGE_BYTES + 1);
            buffer.answer_as(status, record.u32(16, facts.alignment_mask).u8(22, 1).u8(24, BUS_VIRTUAL).bytes())
        }
        // STORAGE_WRITE_CACHE_PROPERTY: type 8 (2: write back), enabled 12 (2: yes), changeable 16 (1: no), write-through
        // 20 (2: supported), flush 24, protected from power failure 25, not volatile 26.
        WRITE_CACHE => {
            buffer.answer_as(status, descriptor::<28>(28).u32(8, 2).u32(12, 2).u32(16, 1).u32(20, 2).u8(24, 1).bytes())
        }
        // STORAGE_ACCESS_ALIGNMENT_DESCRIPTOR: cache line 8 and its offset 12, logical sector 16, physical sector 20 and its offset 24.
        ACCESS_ALIGNMENT => {
            buffer.answer_as(status, descriptor::<28>(28).u32(16, sector).u32(20, facts.physical_sector_bytes).bytes())
        }
        // DEVICE_SEEK_PENALTY_DESCRIPTOR. No penalty, whatever lies below: Windows would otherwise defragment the disk,
        // which fills holes, instead of trimming it.
        SEEK_PENALTY => buffer.answer_as(status, descriptor::<12>(12).bytes()),
        // DEVICE_TRIM_DESCRIPTOR: enabled 8.
        TRIM => buffer.answer_as(status, descriptor::<12>(12).u8(8, u8::from(facts.trims)).bytes()),
        // DEVICE_LB_PROVISIONING_DESCRIPTOR: thin, and reads zeroes 8; best granularity 16, in bytes, and its alignment 24; most
        // blocks 32 and most ranges 36 in one request.
        LOGICAL_BLOCK_PROVISIONING => {
            let record = descriptor::<40>(40).u8(8, 0b10_0011).u64(16, u64::from(facts.unit_bytes));
            buffer.answer_as(status, record.u32(32, u32::MAX).u32(36, u32::MAX).bytes())
        }
        _ => Completion::bare(NtStatus::NOT_SUPPORTED),
    }
}

/// The header: the version is the size of the structure without what follows it.
fn descriptor<const N: usize>(version: u32) -> Record<N> {
    Record::new().u32(0, version).u32(4, N as u32)
}
