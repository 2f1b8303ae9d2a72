//! What a run took, and what many runs say together.

use serde::Serialize;

/// What one run of one contender took.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Sample {
    /// From the start to the end of the load: of a tool, of its process; of a server, of the client's run.
    pub(crate) wall_seconds: f64,
    /// Of a tool that leaves its work in the file cache: the same, and the flush of what it changed. `None` where nothing
    /// is flushed.
    pub(crate) flushed_seconds: Option<f64>,
    /// User and system time of the tool or server, its children's too.
    pub(crate) processor_seconds: f64,
    /// Requests answered by a server; 1 for a tool.
    pub(crate) operations: u64,
    /// User and system time of the client.
    pub(crate) client_processor_seconds: Option<f64>,
    /// The most that the process had in memory, mapped pages of the file cache among it.
    pub(crate) peak_rss_bytes: u64,
    /// What it has in memory while nothing happens, its children's added.
    pub(crate) idle_rss_bytes: Option<u64>,
    /// What was left allocated, or what the result has allocated.
    pub(crate) allocated_bytes: Option<u64>,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Measure {
    /// Operations a second, by the clock.
    Rate,
    /// Microseconds of the server's processor time for each operation.
    ProcessorEach,
    /// Microseconds of the client's processor time for each operation.
    ClientEach,
    /// Seconds by the clock until the process ended.
    Wall,
    /// Seconds by the clock until what it changed is flushed.
    Flushed,
    /// Seconds of processor time.
    Processor,
    /// MiB of memory at most.
    PeakRss,
    /// MiB of memory while nothing happens.
    IdleRss,
    /// MiB allocated afterwards.
    Allocated,
}

impl Measure {
    pub(crate) const fn heading(self) -> &'static str {
        match self {
            Self::Rate => "per s",
            Self::ProcessorEach => "CPU µs each",
            Self::ClientEach => "client's CPU µs each",
            Self::Wall => "wall s",
            Self::Flushed => "flushed s",
            Self::Processor => "CPU s",
            Self::PeakRss => "peak MiB",
            Self::IdleRss => "idle MiB",
            Self::Allocated => "allocated MiB",
        }
    }

    /// How a goal calls it.
    pub(crate) const fn in_words(self) -> &'static str {
        match self {
            Self::Rate => "operations per second",
            Self::ProcessorEach => "CPU per operation",
            Self::ClientEach => "client's CPU per operation",
            Self::Wall => "wall",
            Self::Flushed => "wall until flushed",
            Self::Processor => "CPU",
            Self::PeakRss => "peak memory in MiB",
            Self::IdleRss => "memory in MiB",
            Self::Allocated => "allocated MiB",
        }
    }

    pub(crate) const fn more_is_better(self) -> bool {
        matches!(self, Self::Rate)
    }

    pub(crate) fn of(self, sample: &Sample) -> Option<f64> {
        const MIB: f64 = 1024.0 * 1024.0;
        let operations = sample.operations as f64;
        match self {
            Self::Rate => Some(operations / sample.wall_seconds),
            Self::ProcessorEach => Some(sample.processor_seconds * 1e6 / operations),
            Self::ClientEach => sample.client_processor_seconds.map(|seconds| seconds * 1e6 / operations),
            Self::Wall => Some(sample.wall_seconds),
            Self::Flushed => sample.flushed_seconds,
            Self::Processor => Some(sample.processor_seconds),
            Self::PeakRss => Some(sample.peak_rss_bytes as f64 / MIB),
            Self::IdleRss => sample.idle_rss_bytes.map(|bytes| bytes as f64 / MIB),
            Self::Allocated => sample.allocated_bytes.map(|bytes| bytes as f64 / MIB),
        }
    }
}

/// The median of several values, and between what the middle half of them lies: one run that something disturbed does not show.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    /// The first quartile.
    pub(crate) lower: f64,
    /// The third quartile.
    pub(crate) upper: f64,
}

impl Spread {
    /// `None` of no values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        // Between two values in proportion.
        let at = |share: f64| {
            let place = share * last as f64;
            let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        Some(Self { median: at(0.5), lower: at(0.25), upper: at(0.75) })
    }

    /// Of a measure of samples, those that have it.
    pub(crate) fn of_samples(measure: Measure, samples: &[Sample]) -> Option<Self> {
        Self::of(samples.iter().filter_map(|sample| measure.of(sample)))
    }

    /// Of the ratios of two contenders' runs in the same round: what slows a whole round down changes nothing.
    pub(crate) fn of_ratios(measure: Measure, ours: &[Sample], theirs: &[Sample]) -> Option<Self> {
        let ratio = |(ours, theirs)| Some(measure.of(ours)? / measure.of(theirs)?);
        Self::of(ours.iter().zip(theirs).filter_map(ratio))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_of_rounds_does_not_see_a_slow_round() {
        let run = |wall_seconds| Sample { wall_seconds, operations: 1, ..Sample::default() };
        let (ours, theirs) = ([run(1.0), run(10.0), run(1.0)], [run(2.0), run(20.0), run(2.0)]);
        let ratio = Spread::of_ratios(Measure::Wall, &ours, &theirs);
        assert_eq!(ratio, Some(Spread { median: 0.5, lower: 0.5, upper: 0.5 }));
    }

    #[test]
    fn quartiles_lie_between_values_in_proportion() {
        assert_eq!(Spread::of([4.0, 1.0, 3.0, 2.0]), Some(Spread { median: 2.5, lower: 1.75, upper: 3.25 }));
        assert_eq!(Spread::of([7.0]), Some(Spread { median: 7.0, lower: 7.0, upper: 7.0 }));
        assert_eq!(Spread::of([]), None);
    }
}
