//! Rows that do the same to more and more: how the cost grows.

use super::contender::Contender;
use super::outcome::Outcome;
use super::row::Series;
use super::sample::Spread;

/// A series that was measured, at two amounts at least.
pub(crate) struct Growth<'a> {
    pub(crate) series: Series,
    /// With the amounts, in order.
    pub(crate) outcomes: Vec<(f64, &'a Outcome)>,
}

impl<'a> Growth<'a> {
    /// All series of these outcomes.
    pub(crate) fn all(outcomes: &'a [Outcome]) -> Vec<Self> {
        let series = Series::ALL.into_iter().map(|series| {
            let of_it = outcomes.iter().filter_map(|outcome| {
                let point = outcome.point.filter(|point| point.series == series)?;
                Some((point.amount, outcome))
            });
            let mut outcomes: Vec<_> = of_it.collect();
            outcomes.sort_by(|one, other| one.0.total_cmp(&other.0));
            Self { series, outcomes }
        });
        series.filter(|growth| growth.outcomes.len() > 1).collect()
    }

    /// Who was measured.
    pub(crate) fn contenders(&self) -> Vec<Contender> {
        let all = self.outcomes.first().map(|(_, outcome)| &outcome.contenders);
        let here = |who: Contender| self.outcomes.iter().all(|(_, outcome)| outcome.measured(who).is_some());
        all.into_iter().flatten().map(|measured| measured.contender).filter(|&who| here(who)).collect()
    }

    /// What it costs a contender: the medians over the amounts.
    pub(crate) fn costs(&self, who: Contender) -> Vec<(f64, f64)> {
        let cost =
            |outcome: &Outcome| Some(Spread::of_samples(self.series.cost(), &outcome.measured(who)?.samples)?.median);
        self.outcomes.iter().filter_map(|&(amount, outcome)| Some((amount, cost(outcome)?))).collect()
    }

    /// By what the cost is multiplied when the amount is doubled.
    pub(crate) fn each_doubling(&self, who: Contender) -> Option<f64> {
        slope(&self.costs(who)).map(f64::exp2)
    }
}

/// The exponent of the power law that is nearest to the points, by least squares of the logarithms.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let points: Vec<(f64, f64)> =
        points.iter().filter(|(x, y)| *x > 0.0 && *y > 0.0).map(|(x, y)| (x.log2(), y.log2())).collect();
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let variance: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let covariance: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    (points.len() > 1 && variance > 0.0).then(|| covariance / variance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_the_exponent() {
        let squares: Vec<(f64, f64)> = (1..5).map(|x| (f64::from(x), 3.0 * f64::from(x * x))).collect();
        assert!((slope(&squares).expect("four points") - 2.0).abs() < 1e-9);
        assert_eq!(slope(&[(1.0, 1.0)]), None);
        assert_eq!(slope(&[]), None);
    }
}
