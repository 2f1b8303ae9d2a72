//! `docs/BENCHMARKS.md`: what people wrote, then what was measured.

use std::fmt::{self, Write};
use std::fs;
use std::path::Path;

use super::Result;
use super::machine::Machine;
use super::outcome::{Judged, Outcome};
use super::plot;
use super::report::{number, with_spread};
use super::rounds::LEAST;
use super::runner::Scale;
use super::sample::{Measure, Spread};
use super::series::Growth;

/// What follows is replaced by each run; what comes before is left as it is.
const MARK: &str = "<!-- From here on: written by `cargo xtask compare`. -->";
const PICTURES: &str = "benchmarks";

/// Writes the document and its pictures into `directory`.
pub(crate) fn write(directory: &Path, machine: &Machine, scale: Scale, outcomes: &[Outcome]) -> Result<()> {
    let path = directory.join("BENCHMARKS.md");
    let before = fs::read_to_string(&path).unwrap_or_else(|_| "# Benchmarks\n\n".to_owned());
    let written = before.split(MARK).next().unwrap_or_default();
    let growth = Growth::all(outcomes);
    let pictures = directory.join(PICTURES);
    fs::create_dir_all(&pictures)?;
    for growth in &growth {
        plot::draw(growth, &pictures.join(format!("{}.svg", growth.series.name())))?;
    }
    let measured = measured(machine, scale, outcomes, &growth)?;
    Ok(fs::write(path, format!("{}\n\n{MARK}\n\n{measured}", written.trim_end()))?)
}

fn measured(
    machine: &Machine,
    scale: Scale,
    outcomes: &[Outcome],
    growth: &[Growth],
) -> std::result::Result<String, fmt::Error> {
    let mut page = String::new();
    let out = &mut page;
    facts(out, machine, scale)?;
    goals(out, outcomes, growth)?;
    writeln!(out, "\n## Every row\n")?;
    writeln!(
        out,
        "Medians, and how far from them the quartiles lie, between which the middle half of the runs is. {LEGEND}."
    )?;
    for outcome in outcomes.iter().filter(|outcome| outcome.point.is_none()) {
        let fewer = outcome.rounds.if_fewer().map_or_else(String::new, |fewer| format!("; {fewer}"));
        writeln!(out, "\n### {}\n\n`cargo xtask compare {}`{fewer}\n", outcome.title, outcome.name)?;
        table(out, outcome)?;
    }
    for growth in growth {
        series(out, growth)?;
    }
    Ok(page)
}

const LEGEND: &str = "\"CPU each\" is what the server took for an operation, its children's time too: for 1 MiB rows that is per MiB; \
\"client's\" is what fio took, the same on all rows if the servers were alike. \"wall\" is from the start of a program to its end, \
\"flushed\" until what it changed is flushed as well: sparsedisk flushes before it ends; the peers, and sparsedisk with --no-flush, leave that to the system. \
\"peak\" is the resident set at its largest, mapped pages of files among it; of a server with a process for each client, of its largest";

fn facts(out: &mut String, machine: &Machine, scale: Scale) -> fmt::Result {
    writeln!(out, "## Where and when\n\n| | |\n| --- | --- |")?;
    let mut fact = |name: &str, value: &str| writeln!(out, "| {name} | {} |", value.replace('|', "/"));
    fact("date", &machine.date)?;
    fact("commit", &machine.commit)?;
    fact("processors", &format!("{} x {}", machine.processors, machine.processor))?;
    fact("memory", &machine.memory)?;
    fact("kernel", &machine.kernel)?;
    fact("tmpfs rows", &machine.memory_place)?;
    fact("disk rows", &machine.disk_place)?;
    fact("load average before and after", &format!("{} and {}", machine.load.0, machine.load.1))?;
    fact(
        "rounds",
        &format!(
            "{} of {} s under fio, {} of tools; fewer, but {LEAST} at least, where they would take more than {} s",
            scale.rounds,
            scale.runtime.as_secs_f64(),
            scale.tool_rounds,
            scale.budget.as_secs_f64()
        ),
    )?;
    fact("sparsedisk", &format!("{}, {}, `--release`", machine.ours, machine.rustc))?;
    for peer in &machine.peers {
        fact(peer.program, peer.version.as_deref().unwrap_or("**missing**"))?;
    }
    if machine.was_busy() {
        writeln!(out, "\nSomething else was running when this began: believe processor time, not the clock.")?;
    }
    Ok(())
}

fn goals(out: &mut String, outcomes: &[Outcome], growth: &[Growth]) -> fmt::Result {
    let judged = || outcomes.iter().flat_map(|outcome| outcome.goals.iter().map(move |goal| (outcome, goal)));
    let met = judged().filter(|(_, judged)| judged.met == Some(true)).count();
    writeln!(out, "\n## Goals\n")?;
    writeln!(
        out,
        "{met} of {} are met. A ratio is ours divided by the best of the peers that the goal names: the median of the rounds' ratios, \
         and between what the middle half of them lies.\n",
        judged().count()
    )?;
    writeln!(out, "| work | goal | of | reached | |\n| --- | --- | --- | --- | --- |")?;
    for (outcome, judged) in judged() {
        let verdict = match judged.met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "**not measured**",
        };
        let (title, goal) = (&outcome.title, judged.goal.in_words());
        writeln!(out, "| {title} | {goal} | {} | {} | {verdict} |", of(judged), reached(judged))?;
    }
    for growth in growth {
        let Some((who, factor)) = growth
            .contenders()
            .first()
            .and_then(|&who| Some((who, growth.each_doubling(who)?)))
            .filter(|it| it.0.is_ours())
        else {
            continue;
        };
        let most = growth.series.most_each_doubling();
        let verdict = if factor <= most { "met" } else { "**missed**" };
        let (title, cost) = (growth.series.title(), growth.series.cost().in_words());
        writeln!(
            out,
            "| {title} | {cost} at most {most:.2} times as much | {} | {factor:.2} | {verdict} |",
            who.name()
        )?;
    }
    Ok(())
}

fn of(judged: &Judged) -> String {
    let peers: Vec<_> = judged.goal.peers.iter().map(|peer| peer.name()).collect();
    judged.against.map_or_else(|| peers.join(", "), |peer| peer.name().to_owned())
}

fn reached(judged: &Judged) -> String {
    let text = |Spread { median, lower, upper }| format!("{median:.3} ({lower:.3} to {upper:.3})");
    judged.reached.map_or_else(String::new, text)
}

fn table(out: &mut String, outcome: &Outcome) -> fmt::Result {
    let headings: Vec<_> = outcome.measures.iter().map(|measure| measure.heading()).collect();
    writeln!(out, "| | {} |\n| --- |{}", headings.join(" | "), " ---: |".repeat(headings.len()))?;
    for who in &outcome.contenders {
        let cells: Vec<String> = match &who.missing {
            Some(why) => vec![why.replace(['|', '\n'], " ")],
            None => outcome
                .measures
                .iter()
                .map(|&measure| Spread::of_samples(measure, &who.samples).map_or_else(|| "-".to_owned(), with_spread))
                .collect(),
        };
        writeln!(out, "| {} | {} |", who.contender.name(), cells.join(" | "))?;
    }
    Ok(())
}

fn series(out: &mut String, growth: &Growth) -> fmt::Result {
    writeln!(out, "\n### Growth: {}\n", growth.series.title())?;
    writeln!(out, "![{}]({PICTURES}/{}.svg)\n", growth.series.title(), growth.series.name())?;
    let measures: Vec<Measure> = growth.outcomes.first().map_or_else(Vec::new, |(_, outcome)| {
        outcome
            .measures
            .iter()
            .copied()
            .filter(|measure| !matches!(measure, Measure::ClientEach | Measure::Allocated))
            .collect()
    });
    let contenders = growth.contenders();
    write!(out, "| {} |", growth.series.axis())?;
    for who in &contenders {
        measures.iter().try_for_each(|measure| write!(out, " {}: {} |", who.name(), measure.heading()))?;
    }
    writeln!(out, "\n| ---: |{}", " ---: |".repeat(contenders.len() * measures.len()))?;
    for (amount, outcome) in &growth.outcomes {
        write!(out, "| {} |", number(*amount))?;
        for &who in &contenders {
            for &measure in &measures {
                let samples = outcome.measured(who).map_or(&[][..], |measured| &measured.samples);
                let text =
                    Spread::of_samples(measure, samples).map_or_else(|| "-".to_owned(), |spread| number(spread.median));
                write!(out, " {text} |")?;
            }
        }
        writeln!(out)?;
    }
    let fewer: Vec<String> = growth
        .outcomes
        .iter()
        .filter_map(|(amount, outcome)| Some(format!("{}: {}", number(*amount), outcome.rounds.if_fewer()?)))
        .collect();
    if !fewer.is_empty() {
        writeln!(out, "\n{}.", fewer.join("; "))?;
    }
    let factors: Vec<String> = contenders
        .iter()
        .filter_map(|&who| Some(format!("{} {:.2}", who.name(), growth.each_doubling(who)?)))
        .collect();
    writeln!(out, "\n{}, multiplied by each doubling: {}.", growth.series.cost().in_words(), factors.join(", "))
}
