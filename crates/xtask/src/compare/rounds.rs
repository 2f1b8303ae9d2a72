//! How often the contenders of a row have their turns.

use std::time::Duration;

use serde::Serialize;

/// However slow they are: of fewer there is no middle half.
pub(crate) const LEAST: usize = 3;

/// The rounds of a row that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Rounds {
    /// So many there are.
    pub(crate) run: usize,
    /// So many were wanted; fewer are run where they are slow.
    pub(crate) wanted: usize,
}

impl Rounds {
    /// As many as are wanted and fit into the budget if each takes as long as the one that warmed up; [`LEAST`] in any case,
    /// unless fewer are wanted.
    pub(crate) fn that_fit(wanted: usize, budget: Duration, warm_up: Duration) -> Self {
        let fit = budget.as_nanos() / warm_up.as_nanos().max(1);
        let fit = usize::try_from(fit).unwrap_or(usize::MAX);
        Self { run: fit.max(LEAST).min(wanted), wanted }
    }

    /// `4 rounds in place of 7`, where they are fewer.
    pub(crate) fn if_fewer(self) -> Option<String> {
        let Self { run, wanted } = self;
        (run < wanted).then(|| format!("{run} rounds in place of {wanted}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_rounds_are_as_many_as_fit_but_three_and_no_more_than_are_wanted() {
        let run =
            |wanted, warm_up| Rounds::that_fit(wanted, Duration::from_secs(90), Duration::from_secs_f64(warm_up)).run;
        assert_eq!([0.0, 1.0, 12.8].map(|quick| run(7, quick)), [7, 7, 7]);
        assert_eq!([13.0, 18.0, 22.6, 31.0, 600.0].map(|slow| run(7, slow)), [6, 5, 3, 3, 3]);
        assert_eq!([1, 2, 3].map(|wanted| run(wanted, 600.0)), [1, 2, 3]);
        assert_eq!(Rounds::that_fit(7, Duration::ZERO, Duration::ZERO).run, 3);
    }

    #[test]
    fn only_fewer_rounds_are_told() {
        assert_eq!(Rounds { run: 4, wanted: 7 }.if_fewer().as_deref(), Some("4 rounds in place of 7"));
        assert_eq!(Rounds { run: 7, wanted: 7 }.if_fewer(), None);
    }
}
