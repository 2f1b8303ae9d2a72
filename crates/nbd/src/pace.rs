//! When to look for the next requests.
//!
//! A client that keeps many reads under way is served in batches ([`Pace`]); for one that asks for little at a time there is no
//! sleeping in between ([`BusyPoll`]). And the host is told first of what it must fetch from its disk ([`ReadAhead`]).
//!
//! A server that is faster than its client finds one request, answers it, sleeps and is woken for the next, and the client pays
//! for waking it each time. After a batch it is better to look away for a moment while the client is still busy with the
//! replies, and then to find half of what it keeps under way. How long that is, is learned: shorter when more has come, or
//! when the client has run out of replies; longer when less has come. A lone request is never kept waiting.
//!
//! After one or a few requests the next one comes soon, or not for long. To be sent to sleep and to be woken takes longer than the
//! client needs for its part (on a virtual machine much longer), so looking for some microseconds costs no more than sleeping,
//! and the next reply is there in half the time. Whenever nothing has come, more requests go by until the next try.

use std::thread;
use std::time::Duration;

/// Below, going to sleep and waking up costs more than it gains.
const MIN_NS: u32 = 8_000;
/// The most that a request may be kept waiting.
const MAX_NS: u32 = 150_000;
/// How much longer to try.
const STEP_NS: u32 = 1_000;
/// A client that keeps no more than this under way would soon be idle.
const SHALLOW: u64 = 8;
/// A batch that needs no more company.
const ENOUGH: u64 = 32;

/// What has been learned about one client.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// How many requests the client seems to keep under way.
    depth: u64,
    wait_ns: u32,
}

impl Pace {
    /// How long to look away after a batch of several requests.
    pub(crate) fn wait(&self) -> Option<Duration> {
        (self.wait_ns >= MIN_NS && self.depth > SHALLOW).then(|| Duration::from_nanos(self.wait_ns.into()))
    }

    /// Learns from a batch of `requests` that was found; `starved` if the client had taken all replies before.
    pub(crate) fn learn(&mut self, requests: u64, starved: bool) {
        // One that had taken all replies has everything it keeps under way in this batch.
        self.depth = if starved { requests } else { self.depth.max(requests + 1) };
        let wanted = (self.depth / 2).min(ENOUGH);
        self.wait_ns = if starved || requests <= 1 {
            self.wait_ns / 10 * 7
        } else if requests > wanted {
            self.wait_ns / 10 * 9
        } else {
            (self.wait_ns + STEP_NS).clamp(MIN_NS, MAX_NS)
        };
    }
}

/// Whether to look for the next request without sleeping, learned from whether that has helped.
#[derive(Debug)]
pub(crate) struct BusyPoll {
    /// How many times it is not tried before the next try, and was not before the last.
    skip: u32,
    last_skip: u32,
}

impl BusyPoll {
    /// How long to look: a few times what a client needs who is waiting for these replies.
    pub(crate) const LIMIT: Duration = Duration::from_micros(30);
    /// The most requests that go by between two tries in vain.
    const MOST_SKIPPED: u32 = 1023;

    /// `None` where the client has no processor of its own meanwhile.
    pub(crate) fn new() -> Option<Self> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        (processors > 1).then_some(Self { skip: 0, last_skip: 0 })
    }

    /// Whether to look now, after a few requests.
    pub(crate) fn is_worth_it(&mut self) -> bool {
        let now = self.skip == 0;
        self.skip = self.skip.saturating_sub(1);
        now
    }

    /// Learns whether something came.
    pub(crate) fn learn(&mut self, came: bool) {
        self.last_skip = if came { 0 } else { (2 * self.last_skip + 1).min(Self::MOST_SKIPPED) };
        self.skip = self.last_skip;
    }
}

/// Whether reads come from the host's disk, so that it pays to tell the host of all of them first: learned from how long
/// they take.
///
/// The host being told, they take no longer than from its cache. So from time to time it is not told, to see.
#[derive(Debug, Default)]
pub(crate) struct ReadAhead {
    /// How many batches the host is still told of.
    batches: u32,
}

impl ReadAhead {
    /// A short read from the cache takes a few microseconds, from the fastest disks fifty.
    const SLOW: Duration = Duration::from_micros(20);
    /// How many batches go by before it is tried without.
    const BATCHES: u32 = 256;

    /// Learns from a batch of so many requests. Whether the host is to be told of the next batch.
    pub(crate) fn learn(&mut self, requests: u64, only_short_reads: bool, took: Duration) -> bool {
        let slow = only_short_reads && took.as_nanos() > u128::from(requests) * Self::SLOW.as_nanos();
        self.batches = if slow { Self::BATCHES } else { self.batches.saturating_sub(1) };
        self.batches > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_told_of_reads_while_they_are_slow() {
        let (slow, fast) = (Duration::from_millis(1), Duration::from_micros(30));
        let mut read_ahead = ReadAhead::default();
        assert!(!read_ahead.learn(16, true, fast));
        assert!(!read_ahead.learn(16, false, slow), "writes may take long");
        assert!(read_ahead.learn(16, true, slow));
        let told = (0..1000).take_while(|_| read_ahead.learn(16, true, fast)).count();
        assert_eq!(told, ReadAhead::BATCHES as usize - 1);
    }

    #[test]
    fn a_client_that_never_hurries_is_hardly_ever_looked_for() {
        let mut busy_poll = BusyPoll { skip: 0, last_skip: 0 };
        let mut looks = 0;
        for _ in 0..100_000 {
            if busy_poll.is_worth_it() {
                busy_poll.learn(false);
                looks += 1;
            }
        }
        assert!(looks < 120, "{looks}");
        // One that hurries from now on is noticed, and then always looked for.
        while !busy_poll.is_worth_it() {}
        for _ in 0..100 {
            busy_poll.learn(true);
            assert!(busy_poll.is_worth_it());
        }
    }

    /// Nanoseconds from a request's arrival to a sleeping server's looking for it, for a reply's being taken and the next
    /// request's being sent, and for a request's being answered.
    const WAKE_NS: u64 = 8_000;
    const CLIENT_NS: u64 = 6_000;
    const SERVER_NS: u64 = 2_000;

    /// A client that keeps requests under way, and is busy while it has replies.
    struct Client {
        replies: u64,
        requests: u64,
        spare_ns: u64,
    }

    impl Client {
        fn go_on(&mut self, ns: u64) {
            self.spare_ns += ns;
            let taken = (self.spare_ns / CLIENT_NS).min(self.replies);
            self.spare_ns = if taken == self.replies { 0 } else { self.spare_ns % CLIENT_NS };
            self.replies -= taken;
            self.requests += taken;
        }
    }

    /// How many requests of a client that keeps `depth` of them under way come at a time in the end, for how many nanoseconds
    /// the server looks away before, and in how many of a hundred batches the client has run out of replies.
    fn settled(depth: u64) -> (u64, u64, u64) {
        let mut pace = Pace::default();
        let mut client = Client { replies: 0, requests: depth, spare_ns: 0 };
        let (mut batch, mut batches, mut requests, mut away_ns, mut starved_batches) = (0, 0, 0, 0, 0);
        for round in 0..20_000 {
            let several = batch > 1;
            let wait_ns = pace.wait().filter(|_| several).map_or(0, |wait| wait.as_nanos() as u64);
            client.go_on(wait_ns);
            let starved = several && client.replies == 0;
            if client.requests == 0 {
                client.go_on(CLIENT_NS - client.spare_ns);
                client.go_on(WAKE_NS);
            }
            batch = std::mem::take(&mut client.requests);
            client.go_on(batch * SERVER_NS);
            client.replies += batch;
            pace.learn(batch, starved);
            if round >= 10_000 {
                batches += 1;
                requests += batch;
                away_ns += wait_ns;
                starved_batches += u64::from(starved);
            }
        }
        (requests / batches, away_ns / batches, starved_batches * 100 / batches)
    }

    #[test]
    fn a_lone_request_is_never_kept_waiting() {
        let (requests, looked_away, _) = settled(1);
        assert_eq!((requests, looked_away), (1, 0));
    }

    #[test]
    fn a_busy_client_is_served_in_batches_of_up_to_half_of_its_depth_and_does_not_starve() {
        for depth in [8, 16, 32, 64, 1024] {
            let (requests, looked_away, starved) = settled(depth);
            assert!(requests >= 3 && requests <= depth / 2 + 1, "{requests} of {depth}");
            assert!(requests <= ENOUGH + 2, "{requests} of {depth}");
            assert!(looked_away <= u64::from(MAX_NS), "{looked_away} ns at depth {depth}");
            assert!(starved < 5, "in {starved} of 100 batches at depth {depth}");
        }
    }

    #[test]
    fn a_client_that_takes_its_replies_at_once_is_kept_waiting_no_more() {
        let mut pace = Pace::default();
        for _ in 0..100 {
            pace.learn(8, false);
            pace.learn(4, false);
        }
        assert!(pace.wait().is_some());
        for _ in 0..10 {
            pace.learn(4, true);
        }
        assert_eq!(pace.wait(), None);
    }
}
