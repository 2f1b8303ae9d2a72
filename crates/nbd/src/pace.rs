//! When to look for the next requests.
//!
//! A client that keeps many reads under way is served in batches ([`Batching`]); for one that asks for little at a time there is
//! no sleeping in between ([`BusyPoll`]). And the host is told first of what it must fetch from its disk ([`ReadAhead`]).
//!
//! A server that is faster than its client finds one request, answers it, sleeps and is woken for the next, and the client pays
//! for waking it each time. After a batch it is better to look away for a moment while the client is still busy with the
//! replies, and then to find half of what it keeps under way. How long that is, is learned: shorter when more has come, or
//! when the client has run out of replies; longer when less has come. A lone request is never kept waiting.
//!
//! After one or a few requests the next one comes soon, or not for long. To be sent to sleep and to be woken takes longer than the
//! client needs for its part (on a virtual machine much longer), so looking for some microseconds costs no more than sleeping,
//! and the next reply is there in half the time. Whenever nothing has come, more requests go by until the next try.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use crate::sys::{self, Socket};
use crate::{Counters, Limits};

/// The most data of a batch that is worth waiting for.
const BATCH_BYTES: u64 = 256 << 10;

/// After more than so many requests, or so many bytes, the client is busy for longer than it is worth looking for the next.
const FEW: u64 = 4;
const SHORT_BYTES: u64 = 64 << 10;

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

/// What has been learned about one client, and what to do between its batches of requests.
#[derive(Debug)]
pub(crate) struct Pace {
    batching: Option<Batching>,
    /// Whether the client had taken all replies before its last batch was looked for.
    starved: bool,
    busy_poll: Option<BusyPoll>,
    read_ahead: Option<ReadAhead>,
}

impl Pace {
    /// For the thread that serves `socket`.
    pub(crate) fn new(limits: &Limits, socket: &Socket) -> Self {
        let batching = (limits.batch && socket.tells_what_is_untaken()).then(Batching::default);
        if batching.is_some() {
            sys::sleep_precisely();
        }
        Self {
            batching,
            starved: false,
            busy_poll: limits.busy_poll.then(BusyPoll::new).flatten(),
            read_ahead: limits.read_ahead.then(ReadAhead::default),
        }
    }

    /// Learns from a batch of requests. Whether the host is to be told of the reads in the next one.
    pub(crate) fn reads_ahead(&mut self, done: Counters, took: Duration) -> bool {
        let only_short_reads = done.bytes_written == 0 && done.bytes_read > 0 && done.bytes_read <= BATCH_BYTES;
        self.read_ahead.as_mut().is_some_and(|read_ahead| read_ahead.learn(done.requests, only_short_reads, took))
    }

    /// Learns from a batch whose replies have been sent, and looks away while the client is busy with them, if that is
    /// worth it.
    pub(crate) fn look_away(&mut self, done: Counters, socket: &Socket) {
        let Some(batching) = &mut self.batching else { return };
        batching.learn(done.requests, self.starved);
        // Much data is a batch by itself. And writes take us as long as the client, who would run out of replies.
        let several = done.requests > 1 && done.bytes_read <= BATCH_BYTES && done.bytes_written == 0;
        if several && let Some(wait) = batching.wait() {
            thread::sleep(wait);
        }
        self.starved = several && socket.untaken_bytes() == 0;
    }

    /// How long to look for the next request without sleeping; then [`found`](Self::found) wants to know.
    pub(crate) fn looks_for(&mut self, done: Counters) -> Option<Duration> {
        let few = done.requests <= FEW && done.bytes_read + done.bytes_written <= SHORT_BYTES;
        let worth_it = few && self.busy_poll.as_mut().is_some_and(BusyPoll::is_worth_it);
        worth_it.then_some(BusyPoll::LIMIT)
    }

    /// Learns whether something came while it was looked for.
    pub(crate) fn found(&mut self, came: bool) {
        if let Some(busy_poll) = &mut self.busy_poll {
            busy_poll.learn(came);
        }
    }
}

/// How long to look away after a batch.
#[derive(Debug, Default)]
struct Batching {
    /// How many requests the client seems to keep under way.
    depth: u64,
    wait_ns: u32,
}

impl Batching {
    /// How long to look away after a batch of several requests.
    fn wait(&self) -> Option<Duration> {
        (self.wait_ns >= MIN_NS && self.depth > SHALLOW).then(|| Duration::from_nanos(self.wait_ns.into()))
    }

    /// Learns from a batch of `requests` that was found; `starved` if the client had taken all replies before.
    fn learn(&mut self, requests: u64, starved: bool) {
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
struct BusyPoll {
    /// How many times it is not tried before the next try, and was not before the last.
    skip: u32,
    last_skip: u32,
}

impl BusyPoll {
    /// How long to look: a few times what a client needs who is waiting for these replies.
    const LIMIT: Duration = Duration::from_micros(30);
    /// The most requests that go by between two tries in vain.
    const MOST_SKIPPED: u32 = 1023;

    /// `None` where the client has no processor of its own meanwhile.
    fn new() -> Option<Self> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        (processors > 1).then_some(Self { skip: 0, last_skip: 0 })
    }

    /// Whether to look now, after a few requests.
    fn is_worth_it(&mut self) -> bool {
        let now = self.skip == 0;
        self.skip = self.skip.saturating_sub(1);
        now
    }

    /// Learns whether something came.
    fn learn(&mut self, came: bool) {
        self.last_skip = if came { 0 } else { (2 * self.last_skip + 1).min(Self::MOST_SKIPPED) };
        self.skip = self.last_skip;
    }
}

/// Whether reads come from the host's disk, so that it pays to tell the host of all of them first: learned from how long
/// they take.
///
/// The host being told, they take no longer than from its cache. So from time to time it is not told, to see.
#[derive(Debug, Default)]
struct ReadAhead {
    /// How many batches the host is still told of.
    batches: u32,
}

impl ReadAhead {
    /// A short read from the cache takes a few microseconds, from the fastest disks fifty.
    const SLOW: Duration = Duration::from_micros(20);
    /// How many batches go by before it is tried without.
    const BATCHES: u32 = 256;

    /// Learns from a batch of so many requests. Whether the host is to be told of the next batch.
    fn learn(&mut self, requests: u64, only_short_reads: bool, took: Duration) -> bool {
        let slow = only_short_reads && took.as_nanos() > u128::from(requests) * Self::SLOW.as_nanos();
        self.batches = if slow { Self::BATCHES } else { self.batches.saturating_sub(1) };
        self.batches > 0
    }
}

/// Whether flushes take so little that one need not be carried out beside other requests, which takes longer itself. Learned
/// from all that one client has asked for.
#[derive(Debug, Default)]
pub(crate) struct FlushPace {
    /// How many were fast, one after the other.
    fast: AtomicU32,
}

impl FlushPace {
    /// What it takes to wake a thread and be woken by it.
    const FAST: Duration = Duration::from_micros(50);
    /// So many in turn, because the second of two flushes has nothing to do.
    const IN_TURN: u32 = 16;

    /// Whether the next is expected to be fast.
    pub(crate) fn is_fast(&self) -> bool {
        self.fast.load(Relaxed) >= Self::IN_TURN
    }

    /// Learns how long one took.
    pub(crate) fn learn(&self, took: Duration) {
        let fast = if took < Self::FAST { self.fast.load(Relaxed).saturating_add(1) } else { 0 };
        self.fast.store(fast, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushes_are_fast_once_many_in_turn_were() {
        let (slow, fast) = (Duration::from_millis(5), Duration::from_micros(2));
        let pace = FlushPace::default();
        for took in [slow, fast].repeat(100) {
            assert!(!pace.is_fast());
            pace.learn(took);
        }
        (0..FlushPace::IN_TURN).for_each(|_| pace.learn(fast));
        assert!(pace.is_fast());
        pace.learn(slow);
        assert!(!pace.is_fast());
    }

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
        let mut batching = Batching::default();
        let mut client = Client { replies: 0, requests: depth, spare_ns: 0 };
        let (mut batch, mut batches, mut requests, mut away_ns, mut starved_batches) = (0, 0, 0, 0, 0);
        for round in 0..20_000 {
            let several = batch > 1;
            let wait_ns = batching.wait().filter(|_| several).map_or(0, |wait| wait.as_nanos() as u64);
            client.go_on(wait_ns);
            let starved = several && client.replies == 0;
            if client.requests == 0 {
                client.go_on(CLIENT_NS - client.spare_ns);
                client.go_on(WAKE_NS);
            }
            batch = std::mem::take(&mut client.requests);
            client.go_on(batch * SERVER_NS);
            client.replies += batch;
            batching.learn(batch, starved);
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
        let mut batching = Batching::default();
        for _ in 0..100 {
            batching.learn(8, false);
            batching.learn(4, false);
        }
        assert!(batching.wait().is_some());
        for _ in 0..10 {
            batching.learn(4, true);
        }
        assert_eq!(batching.wait(), None);
    }
}
