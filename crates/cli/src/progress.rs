//! A bar on the terminal, when it takes long enough to want one.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::context::Context;

/// Work that is over sooner shows nothing.
const PATIENCE: Duration = Duration::from_millis(500);

/// How far a verb has come. Shown on standard error, only if that is a terminal, never with `-q` or `--json`.
pub(crate) struct Progress {
    wanted: bool,
    started: Instant,
    shown: bool,
    phase: Option<(&'static str, ProgressBar)>,
}

impl Progress {
    /// Nothing done yet.
    pub(crate) fn new(context: &Context) -> Self {
        let wanted = !context.quiet() && !context.json() && std::io::stderr().is_terminal();
        Self { wanted, started: Instant::now(), shown: false, phase: None }
    }

    /// `done_bytes` of `total_bytes` of the work named `phase` are done.
    pub(crate) fn update(&mut self, phase: &'static str, done_bytes: u64, total_bytes: u64) {
        if !self.wanted {
            return;
        }
        if self.phase.as_ref().is_none_or(|(name, _)| *name != phase) {
            self.clear();
            // Hidden at first, so that its speed is measured from the beginning.
            self.phase = Some((phase, bar(phase, self.target())));
        }
        let Some((_, bar)) = &self.phase else { return };
        if !self.shown && self.started.elapsed() >= PATIENCE {
            self.shown = true;
            bar.set_draw_target(self.target());
        }
        bar.set_length(total_bytes);
        bar.set_position(done_bytes);
    }

    fn target(&self) -> ProgressDrawTarget {
        if self.shown { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() }
    }

    fn clear(&mut self) {
        if let Some((_, bar)) = self.phase.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn bar(phase: &'static str, target: ProgressDrawTarget) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, target).with_prefix(phase);
    let template = "{prefix} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
    bar.set_style(ProgressStyle::with_template(template).expect("a template that the tests build"));
    bar
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressDrawTarget;

    #[test]
    fn the_bars_template_is_valid() {
        super::bar("reading", ProgressDrawTarget::hidden()).abandon();
    }
}
