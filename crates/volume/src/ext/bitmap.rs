//! The bits of a bitmap, least significant first: a set bit is a cluster in use.

/// The first bit from `from` on that is `wanted`; `end` if there is none before it.
pub(super) fn find(bytes: &[u8], from: usize, end: usize, wanted: bool) -> usize {
    let mut at = from;
    while at < end {
        let (first, bit) = (at / 64 * 8, at % 64);
        let word = word(bytes, first);
        let here = (if wanted { word } else { !word }) >> bit;
        if here != 0 {
            return (at + here.trailing_zeros() as usize).min(end);
        }
        at += 64 - bit;
    }
    end
}

/// How many of the first `end` bits are clear.
pub(super) fn count_clear(bytes: &[u8], end: usize) -> usize {
    let whole = end / 64;
    let set: u32 = (0..whole).map(|index| word(bytes, index * 8).count_ones()).sum();
    let rest = end % 64;
    let last = if rest == 0 { 0 } else { (word(bytes, whole * 8) & ((1 << rest) - 1)).count_ones() };
    end - (set + last) as usize
}

/// Sets the bits from `from` to `end`.
pub(super) fn set(bytes: &mut [u8], from: usize, end: usize) {
    let mut at = from;
    while at < end {
        if at.is_multiple_of(8) && end - at >= 8 {
            bytes[at / 8] = 0xFF;
            at += 8;
        } else {
            bytes[at / 8] |= 1 << (at % 8);
            at += 1;
        }
    }
}

/// Eight bytes; those beyond the end are zero.
fn word(bytes: &[u8], first: usize) -> u64 {
    match bytes.get(first..first + 8) {
        Some(eight) => u64::from_le_bytes(eight.try_into().expect("8 bytes")),
        None => bytes[first..].iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_found_counted_and_set_as_one_by_one() {
        for len in [1, 8, 9, 63, 64, 65, 130, 200] {
            for seed in 1_u64..40 {
                let mut bytes = vec![0; usize::div_ceil(len, 8)];
                let (from, end) = ((seed * 7919) as usize % len, (seed * 104_729) as usize % (len + 1));
                set(&mut bytes, from, end);
                let is_set = |at: usize| bytes[at / 8] >> (at % 8) & 1 == 1;
                assert!((0..len).all(|at| is_set(at) == (from..end).contains(&at)));
                assert_eq!(count_clear(&bytes, len), (0..len).filter(|&at| !is_set(at)).count());
                for start in 0..len {
                    for wanted in [true, false] {
                        let naive = (start..len).find(|&at| is_set(at) == wanted).unwrap_or(len);
                        assert_eq!(find(&bytes, start, len, wanted), naive);
                    }
                }
            }
        }
    }
}
