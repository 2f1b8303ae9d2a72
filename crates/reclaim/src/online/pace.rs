use std::fmt;
use std::time::{Duration, Instant};

use block_device::Result;

/// How fast a pass may be.
///
/// While clients are active it reads so many bytes a second at most, so that they hardly notice; while they are idle it is
/// as fast as it can. Each range that it frees counts like [`Pace::BYTES_PER_RANGE`] more.
pub struct Pace {
    limit: Option<Limit>,
}

struct Limit {
    bytes_per_second: u64,
    foreground: Box<dyn Fn() -> Foreground + Send + Sync>,
}

/// What clients have asked for: they are active while this changes, and while something that was begun has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Foreground {
    /// Requests that have begun.
    pub begun: u64,
    /// Those of them that have ended.
    pub ended: u64,
}

impl Pace {
    /// What freeing one range counts like, in bytes that are read: while a file system frees a range of a file, writes to
    /// the file wait.
    pub const BYTES_PER_RANGE: u64 = 64 << 10;
    /// A pace that clients hardly notice on any storage: a pass then costs a hundredth of a processor, and 64 reads a second.
    pub const DEFAULT_BYTES_PER_SECOND: u64 = 16 << 20;
    /// Clients that asked for nothing for so long, and wait for nothing, are idle.
    pub const IDLE_AFTER: Duration = Duration::from_millis(500);

    /// As fast as it can, always.
    #[must_use]
    pub fn unlimited() -> Self {
        Self { limit: None }
    }

    /// At most `bytes_per_second` (at least 1) while clients are active, as `foreground` tells.
    #[must_use]
    pub fn while_active(bytes_per_second: u64, foreground: impl Fn() -> Foreground + Send + Sync + 'static) -> Self {
        Self { limit: Some(Limit { bytes_per_second: bytes_per_second.max(1), foreground: Box::new(foreground) }) }
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit.as_ref().map(|limit| limit.bytes_per_second);
        f.debug_struct("Pace").field("bytes_per_second", &limit).finish_non_exhaustive()
    }
}

/// Keeps a pass to its pace. Without a limit it never asks what time it is.
pub(super) struct Meter<'a>(Option<Limited<'a>>);

struct Limited<'a> {
    limit: &'a Limit,
    /// How many requests had begun when it was looked last.
    seen: u64,
    active_until: Instant,
    /// When what was done last began.
    began: Instant,
    /// When the next may begin, if clients are active.
    not_before: Instant,
}

impl<'a> Meter<'a> {
    /// The longest sleep between two questions whether to go on.
    const SLICE: Duration = Duration::from_millis(50);

    pub(super) fn new(pace: &'a Pace) -> Self {
        Self(pace.limit.as_ref().map(|limit| {
            let now = Instant::now();
            Limited { limit, seen: (limit.foreground)().begun, active_until: now, began: now, not_before: now }
        }))
    }

    /// Waits until it is time for the next window. `may_continue` ends the wait with its error.
    pub(super) fn wait(&mut self, may_continue: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let Some(limited) = &mut self.0 else { return Ok(()) };
        while let Some(left) = limited.time_left(Instant::now()) {
            may_continue()?;
            std::thread::sleep(left.min(Self::SLICE));
        }
        Ok(())
    }

    /// A window was read, and so many ranges of it freed.
    pub(super) fn charge(&mut self, read_bytes: u64, freed_ranges: u64) {
        if let Some(limited) = &mut self.0 {
            limited.charge(read_bytes.saturating_add(freed_ranges.saturating_mul(Pace::BYTES_PER_RANGE)));
        }
    }
}

impl Limited<'_> {
    /// How long it is until the next window may begin; `None` if it begins now.
    fn time_left(&mut self, now: Instant) -> Option<Duration> {
        let Foreground { begun, ended } = (self.limit.foreground)();
        if begun != self.seen || begun > ended {
            self.seen = begun;
            self.active_until = now + Pace::IDLE_AFTER;
        }
        let left = self.not_before.saturating_duration_since(now);
        if now < self.active_until && !left.is_zero() {
            return Some(left);
        }
        // What was not waited for while clients were idle is not owed when they come back.
        self.began = now;
        None
    }

    fn charge(&mut self, bytes: u64) {
        // A rate of bytes a second and no more than a day: neither overflows.
        let seconds = (bytes as f64 / self.limit.bytes_per_second as f64).min(86_400.0);
        self.not_before = self.began + Duration::from_secs_f64(seconds);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;

    const MIB: u64 = 1 << 20;

    /// A pass in front of a clock that only the test moves.
    struct Walk {
        begun: Arc<AtomicU64>,
        ended: Arc<AtomicU64>,
        pace: Pace,
        now: Instant,
    }

    impl Walk {
        fn at(bytes_per_second: u64) -> Self {
            let [begun, ended] = [(); 2].map(|()| Arc::<AtomicU64>::default());
            let counters = (Arc::clone(&begun), Arc::clone(&ended));
            let foreground = move || Foreground { begun: counters.0.load(Relaxed), ended: counters.1.load(Relaxed) };
            let pace = Pace::while_active(bytes_per_second, foreground);
            Self { begun, ended, pace, now: Instant::now() }
        }

        fn limited(&self) -> Limited<'_> {
            let mut meter = Meter::new(&self.pace);
            let mut limited = meter.0.take().expect("there is a limit");
            (limited.active_until, limited.began, limited.not_before) = (self.now, self.now, self.now);
            limited
        }

        fn ask(&self) {
            self.begun.fetch_add(1, Relaxed);
            self.ended.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn while_clients_are_active_a_window_begins_when_the_one_before_is_paid_for() {
        let walk = Walk::at(MIB);
        let mut limited = walk.limited();
        walk.ask();
        assert_eq!(limited.time_left(walk.now), None);
        limited.charge(MIB / 4);
        assert_eq!(limited.time_left(walk.now), Some(Duration::from_millis(250)));
        assert_eq!(limited.time_left(walk.now + Duration::from_millis(249)), Some(Duration::from_millis(1)));
        assert_eq!(limited.time_left(walk.now + Duration::from_millis(250)), None);
    }

    #[test]
    fn while_clients_are_idle_nothing_waits_and_nothing_is_owed() {
        let walk = Walk::at(MIB);
        let mut limited = walk.limited();
        for _ in 0..1000 {
            assert_eq!(limited.time_left(walk.now), None);
            limited.charge(MIB);
        }
        // The first request is noticed at the next window, and what is owed is that one.
        walk.ask();
        assert_eq!(limited.time_left(walk.now), Some(Duration::from_secs(1)));
        assert_eq!(limited.time_left(walk.now + Pace::IDLE_AFTER), None, "idle again");
    }

    #[test]
    fn a_client_that_waits_for_a_slow_request_is_not_idle() {
        let walk = Walk::at(MIB);
        let mut limited = walk.limited();
        walk.begun.fetch_add(1, Relaxed);
        assert_eq!(limited.time_left(walk.now), None);
        limited.charge(60 * MIB);
        let later = walk.now + 30 * Pace::IDLE_AFTER;
        assert_eq!(limited.time_left(later), Some(Duration::from_secs(45)), "it still waits");
        walk.ended.fetch_add(1, Relaxed);
        assert!(limited.time_left(later).is_some(), "it may ask for more");
        assert_eq!(limited.time_left(later + Pace::IDLE_AFTER), None);
    }

    #[test]
    fn a_rate_of_nothing_is_slow_and_no_failure() {
        let walk = Walk::at(0);
        let mut limited = walk.limited();
        limited.charge(u64::MAX);
        walk.ask();
        assert!(limited.time_left(walk.now).is_some());
        assert!(format!("{:?}", walk.pace).contains("bytes_per_second: Some(1)"));
    }
}
