//! What came of a row.

use serde::Serialize;

use super::contender::Contender;
use super::rounds::Rounds;
use super::row::{Bound, Goal, Place, Point};
use super::sample::{Measure, Sample, Spread};

/// A row, measured.
#[derive(Serialize)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) place: Place,
    pub(crate) point: Option<Point>,
    pub(crate) rounds: Rounds,
    /// What is shown of it.
    pub(crate) measures: Vec<Measure>,
    pub(crate) contenders: Vec<Measured>,
    pub(crate) goals: Vec<Judged>,
}

/// A contender's samples, one a round.
#[derive(Serialize)]
pub(crate) struct Measured {
    pub(crate) contender: Contender,
    /// Why there are none.
    pub(crate) missing: Option<String>,
    pub(crate) samples: Vec<Sample>,
}

/// A goal, and what was reached.
#[derive(Serialize)]
pub(crate) struct Judged {
    #[serde(flatten)]
    pub(crate) goal: Goal,
    /// The best of its peers that were there.
    pub(crate) against: Option<Contender>,
    /// Ours divided by that; or our value, where the goal names no peer.
    pub(crate) reached: Option<Spread>,
    /// `None` where it could not be judged.
    pub(crate) met: Option<bool>,
}

impl Outcome {
    pub(crate) fn measured(&self, contender: Contender) -> Option<&Measured> {
        self.contenders.iter().find(|measured| measured.contender == contender && measured.missing.is_none())
    }
}

/// Judges a goal.
pub(crate) fn judge(goal: &Goal, contenders: &[Measured]) -> Judged {
    let measure = goal.measure;
    let ours = contenders.iter().find(|who| who.contender == goal.whose).map_or(&[][..], |ours| &ours.samples);
    let median = |who: &Measured| Spread::of_samples(measure, &who.samples).map(|spread| spread.median);
    let best = contenders
        .iter()
        .filter(|who| goal.peers.contains(&who.contender))
        .filter_map(|who| Some((who, median(who)?)))
        .min_by(
            |(_, one), (_, other)| {
                if measure.more_is_better() { other.total_cmp(one) } else { one.total_cmp(other) }
            },
        )
        .map(|(who, _)| who);
    let reached = match best {
        Some(best) => Spread::of_ratios(measure, ours, &best.samples),
        None if goal.peers.is_empty() => Spread::of_samples(measure, ours),
        None => None,
    };
    Judged {
        goal: goal.clone(),
        against: best.map(|best| best.contender),
        reached,
        met: reached.map(|reached| goal.bound.is_met_by(reached.median)),
    }
}

impl Bound {
    pub(crate) fn in_words(self) -> String {
        match self {
            Self::AtMost(most) => format!("at most {most:.2}"),
            Self::AtLeast(least) => format!("at least {least:.2}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::at_least;
    use super::*;

    fn served(contender: Contender, rate: u64) -> Measured {
        let sample = Sample { wall_seconds: 1.0, operations: rate, ..Sample::default() };
        Measured { contender, missing: None, samples: vec![sample] }
    }

    #[test]
    fn a_goal_is_judged_against_the_best_peer_that_is_there() {
        let peers = [Contender::NbdkitFile, Contender::NbdServer, Contender::QemuNbdUring];
        let goal = at_least(Measure::Rate, 1.2, &peers);
        let here =
            [served(Contender::Ours, 300), served(Contender::NbdkitFile, 100), served(Contender::NbdServer, 200)];
        let judged = judge(&goal, &here);
        assert_eq!(judged.against, Some(Contender::NbdServer));
        assert_eq!((judged.reached.map(|ratio| ratio.median), judged.met), (Some(1.5), Some(true)));
    }

    #[test]
    fn without_a_peer_nothing_is_met() {
        let goal = at_least(Measure::Rate, 1.2, &[Contender::NbdServer]);
        assert_eq!(judge(&goal, &[served(Contender::Ours, 300)]).met, None);
    }

    #[test]
    fn a_goal_is_judged_for_the_one_of_ours_that_it_is_about() {
        let here =
            [served(Contender::Ours, 100), served(Contender::OursUnflushed, 300), served(Contender::CpAuto, 200)];
        let goal = at_least(Measure::Rate, 1.2, &[Contender::CpAuto]);
        assert_eq!(judge(&goal, &here).met, Some(false));
        let goal = goal.met_by(Contender::OursUnflushed);
        assert_eq!(judge(&goal, &here).met, Some(true));
        assert_eq!(judge(&goal, &here[..1]).met, None);
        assert_eq!(goal.in_words(), "sparsedisk --no-flush: operations per second at least 1.20");
    }
}
