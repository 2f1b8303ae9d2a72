//! Who answers when a running server is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use block_device::{Counters, SpaceFigures};
use control::{Answer, Asker, LastPass, Reclaim, RunningPass, Status, Stopped, Trimmed};
use disk_types::{Error, ErrorKind, Result};
use nbd::Census;

use super::Passes;

/// What is known about a server.
pub(crate) struct Desk {
    pub(crate) uri: String,
    pub(crate) since: Instant,
    pub(crate) census: Census,
    pub(crate) counters: Arc<Counters>,
    pub(crate) space: Option<Arc<SpaceFigures>>,
    /// `None` where the disk gives nothing back.
    pub(crate) passes: Option<Arc<Passes>>,
}

impl Answer for Desk {
    fn status(&self) -> Status {
        let Counters {
            reads,
            read_bytes,
            writes,
            written_bytes,
            flushes,
            discards,
            discarded_bytes,
            zeroings,
            zeroed_bytes,
            errors,
            ..
        } = &*self.counters;
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        Status {
            pid: std::process::id(),
            uri: self.uri.clone(),
            serving_ms: ms(self.since.elapsed()),
            connections: self.census.clients(),
            connections_total: self.census.served().connections,
            reads: get(reads),
            read_bytes: get(read_bytes),
            writes: get(writes),
            written_bytes: get(written_bytes),
            trims: get(discards),
            trimmed_bytes: get(discarded_bytes),
            zeroings: get(zeroings),
            zeroed_bytes: get(zeroed_bytes),
            flushes: get(flushes),
            errors: get(errors),
            keep_free_bytes: self.space.as_ref().map_or(0, |space| space.floor_bytes()),
            host_free_bytes: self.space.as_ref().and_then(|space| space.host_free_bytes()),
            refused_for_space: self.space.as_ref().map_or(0, |space| space.refused()),
            reclaim: self.passes.as_deref().map(reclaim),
        }
    }

    fn trim(&self, asker: &mut Asker<'_>) -> Result<Trimmed> {
        match &self.passes {
            Some(passes) => passes.for_asker(asker),
            None => Err(Error::new(ErrorKind::Unsupported, "trim").because("its file system cannot give space back")),
        }
    }

    fn stop_trim(&self) -> Stopped {
        Stopped { was_running: self.passes.as_ref().is_some_and(|passes| passes.stop()) }
    }
}

fn reclaim(passes: &Passes) -> Reclaim {
    let totals = passes.totals();
    Reclaim {
        every_ms: passes.rhythm.every.map(ms),
        rate_bytes: passes.rhythm.rate_bytes,
        passes: totals.passes,
        stopped_passes: totals.stopped_passes,
        looked_at_bytes: totals.looked_at_bytes,
        freed_bytes: totals.freed_bytes,
        running: totals.running.map(|running| RunningPass {
            running_ms: ago(running.since),
            done_bytes: running.done_bytes,
            total_bytes: running.total_bytes,
            freed_bytes: running.freed_bytes,
        }),
        last: totals.last.map(|last| LastPass {
            ago_ms: ago(last.at),
            took_ms: ms(last.took),
            looked_at_bytes: last.looked_at_bytes,
            freed_bytes: last.freed_bytes,
            stopped: last.stopped.map(|kind| kind.name().to_owned()),
        }),
    }
}

/// By a clock that may have been set since.
fn ago(moment: SystemTime) -> u64 {
    ms(moment.elapsed().unwrap_or_default())
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
