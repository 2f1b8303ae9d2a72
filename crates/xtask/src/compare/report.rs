//! Outcomes as text.

use std::fmt::Write;

use super::outcome::{Judged, Outcome};
use super::sample::Spread;
use super::series::Growth;

/// A row for the terminal.
pub(crate) fn page(outcome: &Outcome) -> String {
    let measures = &outcome.measures;
    let fewer = outcome.rounds.if_fewer().map_or_else(String::new, |fewer| format!(", {fewer}"));
    let mut page = format!("\n{} ({}){fewer}\n{:<32}", outcome.title, outcome.name, "");
    for measure in measures {
        let _ = write!(page, "{:>22}", measure.heading());
    }
    page.push('\n');
    for who in &outcome.contenders {
        let _ = write!(page, "  {:<30}", who.contender.name());
        if let Some(why) = &who.missing {
            let _ = writeln!(page, "{why}");
            continue;
        }
        for &measure in measures {
            let text = Spread::of_samples(measure, &who.samples).map_or_else(|| "-".to_owned(), with_spread);
            let _ = write!(page, "{text:>22}");
        }
        page.push('\n');
    }
    for judged in &outcome.goals {
        let _ = writeln!(page, "  {}", goal(judged));
    }
    page
}

/// How costs grow, for the terminal.
pub(crate) fn growth(growth: &[Growth]) -> String {
    let mut page = String::new();
    for growth in growth {
        let _ = writeln!(
            page,
            "\n{}: {}, multiplied by each doubling",
            growth.series.title(),
            growth.series.cost().in_words()
        );
        for who in growth.contenders() {
            if let Some(factor) = growth.each_doubling(who) {
                let _ = writeln!(page, "  {:<30}{factor:>8.2}", who.name());
            }
        }
    }
    page
}

/// `CPU per operation at most 0.40 of nbdkit file: 0.44 (0.41 to 0.47), missed`
fn goal(judged: &Judged) -> String {
    let peers: Vec<_> = judged.goal.peers.iter().map(|peer| peer.name()).collect();
    let of = match judged.against {
        Some(peer) => format!(" of {}", peer.name()),
        None if peers.is_empty() => String::new(),
        None => format!(" of {}", peers.join(", ")),
    };
    format!("{}{of}: {}", judged.goal.in_words(), reached(judged))
}

/// `0.44 (0.41 to 0.47), missed`
fn reached(judged: &Judged) -> String {
    match (judged.reached, judged.met) {
        (Some(Spread { median, lower, upper }), Some(met)) => {
            format!("{median:.3} ({lower:.3} to {upper:.3}), {}", if met { "met" } else { "MISSED" })
        }
        _ => "not measured".to_owned(),
    }
}

/// `181,000 -3 +2 %`
pub(crate) fn with_spread(spread: Spread) -> String {
    let Spread { median, lower, upper } = spread;
    let percent = |value: f64| if median == 0.0 { 0.0 } else { ((value - median) / median * 100.0).round() };
    match (percent(lower) + 0.0, percent(upper) + 0.0) {
        (0.0, 0.0) => number(median),
        (below, above) => format!("{} {below:.0} +{above:.0} %", number(median)),
    }
}

/// Three digits that count, at least.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        below if below < 0.01 => 5,
        below if below < 0.1 => 4,
        below if below < 1.0 => 3,
        below if below < 10.0 => 2,
        below if below < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), String::new()), |(a, b)| (a, format!(".{b}")));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 && digit.is_ascii_digit() && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + &rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_show_three_digits_that_count() {
        let shown = [0.0, 0.001234, 0.1234, 9.876, 181_234.5, 1_000_000.0].map(number);
        assert_eq!(shown, ["0", "0.00123", "0.123", "9.88", "181,234", "1,000,000"]);
    }
}
