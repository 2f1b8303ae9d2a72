//! Passes over a served disk: by the clock, and for whoever asks; one at a time.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use block_device::Counters;
use control::{Asker, Trimmed};
use disk_types::{Error, ErrorKind, Result};
use reclaim::online::{Foreground, Online, Outcome, Pace, Totals};
use reclaim::{Observer, Phase};
use sparse_file::SparseFile;

use crate::on_drop::OnDrop;
use crate::size::Bytes;

/// When passes run, and how fast.
#[derive(Clone, Copy)]
pub(crate) struct Rhythm {
    /// How often one begins by itself.
    pub(crate) every: Option<Duration>,
    /// Bytes a second while clients are active; `None` without a limit.
    pub(crate) rate_bytes: Option<u64>,
}

/// What runs passes.
pub(crate) struct Passes {
    online: Online,
    image: Arc<SparseFile>,
    pace: Pace,
    pub(crate) rhythm: Rhythm,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Whether a pass is running.
    running: bool,
    /// Whether somebody has asked for a pass, and waits for its end.
    asked: bool,
    /// How often it was asked to stop. A pass stops when this is no longer what it was when the pass was asked for.
    stops: u64,
    /// Whether the server is ending.
    closing: bool,
}

impl Passes {
    /// Passes by `online` over `image`; `counters` tell how active the clients are.
    pub(crate) fn new(online: Online, image: Arc<SparseFile>, rhythm: Rhythm, counters: Arc<Counters>) -> Self {
        let pace = match rhythm.rate_bytes {
            Some(rate_bytes) => Pace::while_active(rate_bytes, move || foreground(&counters)),
            None => Pace::unlimited(),
        };
        Self { online, image, pace, rhythm, state: Mutex::default(), changed: Condvar::new() }
    }

    /// What they have done so far.
    pub(crate) fn totals(&self) -> Totals {
        self.online.totals()
    }

    /// Runs a pass whenever it is time, until [`close`](Self::close). The first begins one span after the start.
    pub(crate) fn keep_time(&self) {
        let Some(every) = self.rhythm.every else { return };
        let mut due = Instant::now() + every;
        while self.wait_until(due) {
            self.by_the_clock();
            // What was missed while a pass was running is not made up for.
            while due <= Instant::now() {
                due += every;
            }
        }
    }

    /// Runs a pass for `asker`, whom one that runs by the clock makes room for.
    ///
    /// # Errors
    /// [`ErrorKind::InUse`] while another asks for the same, [`ErrorKind::Interrupted`] where it was stopped; what failed.
    pub(crate) fn for_asker(&self, asker: &mut Asker<'_>) -> Result<Trimmed> {
        let mut state = self.state();
        if state.asked {
            return Err(Error::new(ErrorKind::InUse, "trim")
                .because("somebody else has asked for the same, and waits for its end")
                .advise("`sparsedisk info` shows how far it is"));
        }
        state.asked = true;
        let asked = state.stops;
        let _asking = OnDrop(|| self.change(|state| state.asked = false));
        while state.running {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.running = true;
        drop(state);
        let _running = OnDrop(|| self.change(|state| state.running = false));
        let mut watch = Watch { passes: self, stops: asked, asker: Some(asker), looked_at: None };
        let outcome = self.online.pass(&self.pace, &mut watch)?;
        if let Some(stopped) = outcome.stopped {
            if stopped.advice().is_some() {
                return Err(stopped);
            }
            return Err(stopped.advise(format!(
                "{} came back before it stopped, and the image is whole; run it again for the rest",
                Bytes(outcome.freed_bytes)
            )));
        }
        Ok(Trimmed {
            looked_at_bytes: outcome.looked_at_bytes,
            freed_bytes: outcome.freed_bytes,
            freed_ranges: outcome.freed_ranges,
            allocated_before_bytes: outcome.allocated_before_bytes,
            allocated_after_bytes: outcome.allocated_after_bytes,
        })
    }

    /// Stops the pass that is running or about to, and says whether one was.
    pub(crate) fn stop(&self) -> bool {
        let mut was_running = false;
        self.change(|state| {
            was_running = state.running || state.asked;
            state.stops += 1;
        });
        was_running
    }

    /// Stops the pass that is running, and lets none begin any more.
    pub(crate) fn close(&self) {
        self.change(|state| state.closing = true);
    }

    fn by_the_clock(&self) {
        let mut state = self.state();
        if state.asked || state.running {
            return;
        }
        state.running = true;
        let stops = state.stops;
        drop(state);
        let _running = OnDrop(|| self.change(|state| state.running = false));
        let mut watch = Watch { passes: self, stops, asker: None, looked_at: None };
        match self.online.pass(&self.pace, &mut watch) {
            Ok(Outcome { stopped: Some(error), .. }) | Err(error) if error.kind() != ErrorKind::Interrupted => {
                tracing::warn!("a pass ended early; the next goes on: {error}");
            }
            Ok(Outcome { looked_at_bytes, freed_bytes, freed_ranges, stopped, .. }) => {
                let ended_early = stopped.is_some();
                tracing::info!(looked_at_bytes, freed_bytes, freed_ranges, ended_early, "a pass ended");
            }
            Err(_) => {}
        }
    }

    /// Waits for the moment; false once the server is ending.
    fn wait_until(&self, due: Instant) -> bool {
        let mut state = self.state();
        while !state.closing {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }
}

/// What clients have asked for.
fn foreground(counters: &Counters) -> Foreground {
    // In this order: what ends in between has begun.
    let ended = counters.ended();
    Foreground { begun: counters.begun.load(Relaxed), ended }
}

/// Lets a pass go on while whoever began it wants it.
struct Watch<'a, 'b> {
    passes: &'a Passes,
    stops: u64,
    asker: Option<&'a mut Asker<'b>>,
    /// When it was last looked for others who may write to the image.
    looked_at: Option<Instant>,
}

impl Watch<'_, '_> {
    /// How often that is, as far as the pass asks.
    const LOOK_EVERY: Duration = Duration::from_secs(10);

    /// Succeeds unless somebody else may write to the image, past our locks (law 4).
    fn nobody_else_writes(&mut self) -> Result<()> {
        if self.looked_at.is_some_and(|at| at.elapsed() < Self::LOOK_EVERY) {
            return Ok(());
        }
        self.looked_at = Some(Instant::now());
        match self.passes.image.writer() {
            None => Ok(()),
            Some(writer) => Err(Error::new(ErrorKind::InUse, "trim")
                .because(format!("{writer} has the image open for writing too, and what it writes could be lost"))
                .advise("nothing is freed until it has closed it; serve an image to one, and let others be clients")),
        }
    }
}

impl Observer for Watch<'_, '_> {
    fn progress(&mut self, _: Phase, done_bytes: u64, total_bytes: u64) {
        if let Some(asker) = &mut self.asker {
            asker.progress(done_bytes, total_bytes);
        }
    }

    fn may_continue(&mut self) -> Result<()> {
        let stopped = |why| Err(Error::new(ErrorKind::Interrupted, "trim").because(why));
        {
            let state = self.passes.state();
            if state.closing {
                return stopped("the server is ending");
            }
            if state.stops != self.stops {
                return stopped("interrupted");
            }
            if state.asked && self.asker.is_none() {
                return stopped("somebody asks for a pass of their own");
            }
        }
        self.asker.as_ref().map_or(Ok(()), |asker| asker.may_continue())?;
        self.nobody_else_writes()
    }
}
