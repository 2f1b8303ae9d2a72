//! Linux swap: every page behind its header, but the bad ones.
//!
//! The header is the first page, laid out by the kernel's `union swap_header`: the last ten bytes of the page are the
//! signature, and before them, from byte 1024 on, stand the version, the last page and the bad ones. What the other pages
//! hold is of no use to anybody once the system that wrote it has been shut down.
//!
//! While that system is only hibernated, its memory is in there, and another signature says so: the volume is left alone.
//! A system that is *paused* leaves no sign here, and needs its swap: [`check_surroundings`] looks for signs of one in the
//! rest of the disk.
//!
//! As everything but one page is given away, a signature that was left behind in something else would cost all of it. So
//! a partition must be one for swap by its type, too, and nothing else that is known may have its mark anywhere.

mod surroundings;

use std::collections::BTreeSet;

use block_device::{ByteRange, Disk, Error, ErrorKind, Result};

use crate::disk_cursor::read_at;
pub(crate) use surroundings::check_surroundings;

/// The pages that systems of all kinds have had.
pub(crate) const PAGES_BYTES: [usize; 5] = [4096, 8192, 16384, 32768, 65536];
const SIGNATURE_BYTES: usize = 10;

/// What the signature of a swap volume says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signature {
    /// Swap as it is made today.
    Version1,
    /// As it was before 1998.
    Version0,
    /// It holds the memory of a hibernated system.
    Hibernated,
}

/// The signature in the first page of a volume, of which `head` is the start, and the bytes of that page.
pub(crate) fn signature(head: &[u8]) -> Option<(Signature, usize)> {
    PAGES_BYTES.into_iter().find_map(|page_bytes| {
        let signature = head.get(page_bytes - SIGNATURE_BYTES..page_bytes)?;
        // By the kernel ("S1SUSPEND"; "LINHIB0001" with tuxonice), and by programs that it is left to.
        let hibernated: [&[u8]; 5] =
            [b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001", b"\xED\xC3\x02\xE9\x98\x56\xE5\x0C"];
        let what = match signature {
            b"SWAPSPACE2" => Signature::Version1,
            b"SWAP-SPACE" => Signature::Version0,
            _ if hibernated.iter().any(|known| signature.starts_with(known)) => Signature::Hibernated,
            _ => return None,
        };
        Some((what, page_bytes))
    })
}

/// The free runs of a volume: ranges of it, ascending, joined. After an error it is at its end.
#[derive(Debug)]
pub(crate) struct FreeRuns {
    page_bytes: u64,
    /// The next page to give, and one past the last.
    at: u64,
    end: u64,
    /// Those from `at` on.
    bad: BTreeSet<u64>,
}

impl FreeRuns {
    /// Opens the volume that begins at the first byte of `disk`.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] where it holds a hibernated system or is of the old version, [`ErrorKind::Corrupt`] where
    /// its header contradicts itself or the disk. Those of reading.
    pub(crate) fn open(disk: &Disk) -> Result<Self> {
        let most = PAGES_BYTES[PAGES_BYTES.len() - 1] as u64;
        let mut head = vec![0; usize::try_from(disk.len_bytes().min(most)).expect("64 KiB")];
        read_at(disk, 0, &mut head)?;
        let (page_bytes, version) = match signature(&head) {
            Some((Signature::Version1, page_bytes)) => (page_bytes, u32_at(&head, 1024, u32::from_le_bytes)),
            Some((Signature::Version0, _)) => {
                return Err(refused("it is swap of the old kind (version 0)").advise("make it again with mkswap"));
            }
            Some((Signature::Hibernated, _)) => {
                return Err(refused("it holds the memory of a hibernated system")
                    .advise("start that system and shut it down, or make the swap again with mkswap"));
            }
            None => return Err(corrupt("it has no signature of swap")),
        };
        // Written by a machine of the one byte order or of the other.
        let number: fn([u8; 4]) -> u32 = match version {
            1 => u32::from_le_bytes,
            0x0100_0000 => u32::from_be_bytes,
            other => return Err(refused(format!("its header is of version {other:#x}, which is not known"))),
        };
        let (last_page, bad_pages) = (u32_at(&head, 1028, number), u32_at(&head, 1032, number));
        let has_pages = disk.len_bytes() / page_bytes as u64;
        if last_page == 0 || u64::from(last_page) >= has_pages {
            return Err(corrupt(format!(
                "its last page is {last_page}, and the disk or partition it lies in has {has_pages} of {page_bytes} bytes"
            )));
        }
        let list = &head[BAD_PAGES_AT..page_bytes - SIGNATURE_BYTES];
        if bad_pages as usize > list.len() / 4 {
            return Err(corrupt(format!("it has {bad_pages} bad pages, more than fit in its header")));
        }
        let bad: BTreeSet<u64> = (0..bad_pages as usize).map(|index| u32_at(list, 4 * index, number).into()).collect();
        if bad.len() < bad_pages as usize || bad.iter().any(|&page| page == 0 || page > u64::from(last_page)) {
            return Err(corrupt("its list of bad pages names one twice, or one that it does not have"));
        }
        Ok(Self { page_bytes: page_bytes as u64, at: 1, end: u64::from(last_page) + 1, bad })
    }
}

const BAD_PAGES_AT: usize = 1536;

fn u32_at(bytes: &[u8], at: usize, number: fn([u8; 4]) -> u32) -> u32 {
    number(bytes[at..at + 4].try_into().expect("4 bytes"))
}

const OPERATION: &str = "read as swap";

fn corrupt(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Corrupt, OPERATION).because(reason)
}

fn refused(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Refused, OPERATION).because(reason)
}

impl Iterator for FreeRuns {
    type Item = Result<ByteRange>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.bad.first() == Some(&self.at) {
            self.bad.pop_first();
            self.at += 1;
        }
        if self.at >= self.end {
            return None;
        }
        let end = self.bad.first().copied().unwrap_or(self.end);
        // 2^32 pages of 2^16 bytes.
        let range = ByteRange::new(self.at * self.page_bytes, end * self.page_bytes);
        self.at = end;
        Some(range)
    }
}
