//! Zeroes: how they are asked for, what came of it, and how they are found.

/// How zeroes may be made (law 3: write-zeroes is not discard).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZeroMode {
    /// The range may be deallocated. Otherwise it is allocated afterwards, so that later writes need no new space.
    pub may_unmap: bool,
    /// Fail with [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), having changed nothing, rather than be as
    /// slow as writing zeroes.
    pub fast_only: bool,
}

/// What a request for zeroes did to the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroEffect {
    /// The whole blocks were deallocated; the parts of blocks at the edges hold zeroes.
    Deallocated,
    /// It is allocated, and marked as never written: nothing was transferred.
    Marked,
    /// Zeroes were written.
    Written,
}

/// Whether every byte is zero. An empty slice is.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    const LANES: usize = 128;
    let mut chunks = bytes.chunks_exact(LANES);
    // Data is usually told apart by its first bytes; the wide fold below is for runs that really are zero.
    if bytes.first().is_some_and(|&first| first != 0) {
        return false;
    }
    chunks.all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
        && bytes.chunks_exact(LANES).remainder().iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::is_zero;

    #[test]
    fn one_byte_anywhere_is_found() {
        for len in [0, 1, 7, 127, 128, 129, 4096, 4100] {
            let mut bytes = alloc::vec![0u8; len];
            assert!(is_zero(&bytes), "{len} zeroes");
            for at in 0..len {
                bytes[at] = 0x80;
                assert!(!is_zero(&bytes), "byte {at} of {len}");
                bytes[at] = 0;
            }
        }
    }
}
