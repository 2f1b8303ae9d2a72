//! How often a host is asked for its free space (law 9).

/// What may still be written above a floor of free space before the host is asked again.
///
/// Asking the host before every write would cost a system call each. So a host with space above the floor gives a credit,
/// and writes that may need new space use it up. Others fill the host, too: what they can take between two questions is
/// the floor's business.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpaceCredit {
    bytes: u64,
}

impl SpaceCredit {
    /// The largest credit: after so many bytes that may have been new at most, the host is asked again.
    pub const RECHECK_BYTES: u64 = 16 << 20;

    /// Takes `bytes` from the credit; whether there was so much. Otherwise nothing is taken, and the host is to be asked.
    #[must_use]
    pub const fn spend(&mut self, bytes: u64) -> bool {
        match self.bytes.checked_sub(bytes) {
            Some(rest) => {
                self.bytes = rest;
                true
            }
            None => false,
        }
    }

    /// The host has `free_bytes`: whether `bytes` can be taken and `floor_bytes` be left. What is above that becomes the
    /// new credit.
    #[must_use]
    pub const fn renew(&mut self, free_bytes: u64, floor_bytes: u64, bytes: u64) -> bool {
        self.bytes = 0;
        let Some(above) = free_bytes.checked_sub(floor_bytes) else { return false };
        let Some(above) = above.checked_sub(bytes) else { return false };
        self.bytes = if above < Self::RECHECK_BYTES { above } else { Self::RECHECK_BYTES };
        true
    }

    /// The host said that it is full, or another floor was set: ask before the next write.
    pub const fn forget(&mut self) {
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::SpaceCredit;

    #[test]
    fn law9_what_is_spent_between_two_questions_never_reaches_below_the_floor() {
        for free in [0, 1, 99, 100, 101, 4096, 1 << 30, u64::MAX] {
            let mut credit = SpaceCredit::default();
            if !credit.renew(free, 100, 1) {
                assert!(free < 101);
                assert!(!credit.spend(1));
                continue;
            }
            let mut spent = 1;
            let mut piece = SpaceCredit::RECHECK_BYTES;
            while piece > 0 {
                while credit.spend(piece) {
                    spent += piece;
                }
                piece /= 2;
            }
            assert!(spent <= free - 100 && spent <= SpaceCredit::RECHECK_BYTES + 1, "{spent} of {free}");
        }
    }

    #[test]
    fn law9_a_host_that_said_it_is_full_is_asked_again() {
        let mut credit = SpaceCredit::default();
        assert!(credit.renew(1 << 30, 0, 1));
        assert!(credit.spend(1));
        credit.forget();
        assert!(!credit.spend(1));
    }
}
