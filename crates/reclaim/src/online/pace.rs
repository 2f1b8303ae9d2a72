use std::fmt;

/// How fast a pass may be.
///
/// While clients are active it reads so many bytes a second on average, so that they hardly notice; while they are idle it
/// is as fast as it can.
pub struct Pace {
    limit: Option<Limit>,
}

struct Limit {
    bytes_per_second: u64,
    foreground: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl Pace {
    /// As fast as it can, always.
    #[must_use]
    pub fn unlimited() -> Self {
        Self { limit: None }
    }

    /// At most `bytes_per_second` (at least 1) while clients are active. `foreground` gives a number that changes whenever
    /// a client asks for something, such as how many requests there have been.
    #[must_use]
    pub fn while_active(bytes_per_second: u64, foreground: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { limit: Some(Limit { bytes_per_second: bytes_per_second.max(1), foreground: Box::new(foreground) }) }
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit.as_ref().map(|limit| limit.bytes_per_second);
        f.debug_struct("Pace").field("bytes_per_second", &limit).finish_non_exhaustive()
    }
}
