//! Run lists ("mapping pairs"): where the clusters of a non-resident attribute lie, in differences.

use block_device::Result;

use super::corrupt;
use crate::used_map::Run;

/// Decodes the run list of an attribute that has `expected` clusters, and visits every run in order: its clusters, or
/// `None` for a hole, and how many there are.
///
/// # Errors
/// `Corrupt` for a list that is cut off, begins below the first cluster, has runs of no clusters, or other clusters than
/// expected. Those of `visit`, which says whether a run lies in the volume.
pub(super) fn decode(list: &[u8], expected: u64, visit: &mut dyn FnMut(Option<u64>, u64) -> Result<()>) -> Result<()> {
    let mut rest = list;
    let (mut cluster, mut total) = (0i64, 0u64);
    loop {
        let Some((&header, after)) = rest.split_first() else {
            return Err(corrupt("a run list has no end"));
        };
        if header == 0 {
            break;
        }
        let (length_bytes, offset_bytes) = (usize::from(header & 0xF), usize::from(header >> 4));
        let (Some((length, after)), true) = (after.split_at_checked(length_bytes), length_bytes > 0) else {
            return Err(corrupt("a run list is cut off"));
        };
        let Some((offset, after)) = after.split_at_checked(offset_bytes) else {
            return Err(corrupt("a run list is cut off"));
        };
        let count = signed(length).and_then(|count| u64::try_from(count).ok()).filter(|&count| count > 0);
        let count = count.ok_or_else(|| corrupt("a run of a run list has no length"))?;
        total = total
            .checked_add(count)
            .filter(|&total| total <= expected)
            .ok_or_else(|| corrupt(format!("a run list has more clusters than the {expected} of its attribute")))?;
        let first = if offset_bytes == 0 {
            None
        } else {
            let at = signed(offset).and_then(|offset| cluster.checked_add(offset)).filter(|&at| at >= 0);
            cluster = at.ok_or_else(|| corrupt("a run list leads below the first cluster"))?;
            Some(cluster.unsigned_abs())
        };
        visit(first, count)?;
        rest = after;
    }
    if total != expected {
        return Err(corrupt(format!("a run list has {total} clusters, and its attribute {expected}")));
    }
    Ok(())
}

/// A little-endian number with a sign in at most eight bytes.
fn signed(bytes: &[u8]) -> Option<i64> {
    let (&last, _) = bytes.split_last()?;
    let mut whole = if last & 0x80 == 0 { [0; 8] } else { [0xFF; 8] };
    whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(whole))
}

/// The runs of a list without holes.
///
/// # Errors
/// As [`decode`], and `Corrupt` for a hole.
pub(super) fn without_holes(list: &[u8], expected: u64, what: &str) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    decode(list, expected, &mut |first, count| {
        let first = first.ok_or_else(|| corrupt(format!("{what} has a hole")))?;
        runs.push(Run { first, count });
        Ok(())
    })?;
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(list: &[u8], expected: u64) -> Result<Vec<(Option<u64>, u64)>> {
        let mut runs = Vec::new();
        decode(list, expected, &mut |first, count| {
            runs.push((first, count));
            Ok(())
        })?;
        Ok(runs)
    }

    #[test]
    fn runs_go_up_and_down_and_have_holes() {
        let list = [0x21, 0x18, 0x34, 0x56, 0x11, 0x02, 0xFF, 0x01, 0x05, 0x22, 0x00, 0x01, 0x00, 0x01, 0];
        assert_eq!(
            runs(&list, 0x18 + 2 + 5 + 0x100).unwrap(),
            [(Some(0x5634), 0x18), (Some(0x5633), 2), (None, 5), (Some(0x5733), 0x100)]
        );
        assert_eq!(runs(&[0], 0).unwrap(), []);
        let eight = [0x88, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(runs(&eight, 1).unwrap(), [(Some(2), 1)]);
    }

    #[test]
    fn law5_a_list_that_is_not_one_is_an_error() {
        let wrong: [&[u8]; 12] = [
            &[],
            &[0x11, 1, 5],
            &[0x11, 1],
            &[0x31, 1, 5, 0],
            &[0x10, 5, 0],
            &[0x11, 0, 5, 0],
            &[0x11, 0xFF, 5, 0],
            &[0x11, 1, 0xFF, 0],
            &[0x11, 2, 5, 0],
            &[0x91, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0x19, 1, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0],
            &[0x81, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0x11, 1, 1, 0],
        ];
        for list in wrong {
            assert!(runs(list, 1).is_err(), "{list:x?}");
        }
    }
}
