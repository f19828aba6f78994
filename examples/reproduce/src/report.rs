//! `report.html`: what was claimed, what was measured, and what the models wrote.

use anyhow::{Context, Result};
use evaluation::Interval;
use evaluation::figures::{
    BarChart, IntervalChart, LineChart, Mark, Page, Sankey, Scale, Series, ShareChart, Table,
};
use training::write_atomic;

use crate::arms::{Arm, MAIN};
use crate::experiment::{Experiment, SeedOutcome};
use crate::measure::ReadableSample;
use crate::results::{Comparison, Metric, Results, composition, one_seed, pass_per_question};
use crate::sets::SETS;
use crate::world::Approach;

/// Writes `report.html` into the run folder.
pub fn write(
    experiment: &Experiment,
    outcomes: &[SeedOutcome],
    results: &Results,
    seconds: f64,
) -> Result<()> {
    let arms = experiment.arms();
    let mut page =
        Page::new("Mid-training with self-generated data, then RL: a reproduction in a built-in world");
    claim(&mut page, results);
    passes(&mut page, &arms, outcomes, results);
    combinations(&mut page, outcomes, results);
    prior(&mut page, &arms, results);
    curves(&mut page, experiment, &arms)?;
    pre_training(&mut page, outcomes);
    data(&mut page, outcomes, results);
    differences(&mut page, results);
    against_paper(&mut page, results);
    samples(&mut page, experiment, outcomes)?;
    settings(&mut page, experiment, seconds)?;
    write_atomic(experiment.folder.file("report.html"), page.render().as_bytes())?;
    Ok(())
}

fn value<'a>(results: &'a Results, arm: &str, set: &str, metric: &str) -> &'a Metric {
    &results.arms[arm].evals[set][metric]
}

fn interval(metric: &Metric) -> Interval {
    let or_nan = |v: Option<f64>| v.unwrap_or(f64::NAN);
    Interval { mean: or_nan(metric.mean), lo: or_nan(metric.ci95[0]), hi: or_nan(metric.ci95[1]) }
}

fn mean(metric: &Metric) -> String {
    metric.mean.map_or("none".to_string(), |m| format!("{m:.3}"))
}

fn comparison<'a>(results: &'a Results, a: &str, b: &str, set: &str, metric: &str) -> Option<&'a Comparison> {
    results.comparisons.iter().find(|c| c.a == a && c.b == b && c.set == set && c.metric == metric)
}

/// The claim in one sentence, true to the numbers whichever way they fell.
fn claim(page: &mut Page, results: &Results) {
    let of = |arm, metric| mean(value(results, arm, "hard", metric));
    let above = |other| {
        comparison(results, "mid_rl", other, "hard", "pass@1")
            .is_some_and(|c| c.ci95[0].is_some_and(|lo| lo > 0.0))
    };
    let verdict = match (above("base_rl"), above("star_rl")) {
        (true, true) => {
            "RL after mid-training on several approaches solves more of the hard problems than RL alone and than RL after STaR"
        }
        (false, false) => {
            "In this run, RL after mid-training did **not** clearly beat RL alone or RL after STaR on the hard problems"
        }
        _ => {
            "In this run, RL after mid-training clearly beat only one of RL alone and RL after STaR on the hard problems"
        }
    };
    page.lead(&format!(
        "{verdict}: pass@1 **{}** against {} and {}, pass@16 {} against {} and {}.",
        of("mid_rl", "pass@1"),
        of("base_rl", "pass@1"),
        of("star_rl", "pass@1"),
        of("mid_rl", "pass@16"),
        of("base_rl", "pass@16"),
        of("star_rl", "pass@16"),
    ));
    page.text(&format!(
        "A model of about 120,000 weights is pre-trained from nothing on documents that each use one approach. It then \
         writes solutions under four approaches' prompts; those that verify and follow their approach best are kept, and the same \
         model is trained on them without the prompt. GRPO follows, with the same budget for every arm. Seeds: {:?}. Intervals are \
         95 %: {}.",
        results.seeds,
        if results.seeds.len() == 1 { "bootstrap over questions" } else { "t intervals over seeds" },
    ));
    let missed: Vec<u64> = results
        .seeds
        .iter()
        .zip(&results.base)
        .filter(|(_, base)| !base.gate_met)
        .map(|(seed, _)| *seed)
        .collect();
    if !missed.is_empty() {
        page.text(&format!(
            "**Pre-training missed its gate** on seeds {missed:?}: an approach is not reliable on its own kind of part, so nothing \
             here speaks for or against the paper."
        ));
    }
    page.tiles([
        ("mid-trained + RL, hard pass@1", of("mid_rl", "pass@1")),
        ("base + RL", of("base_rl", "pass@1")),
        ("STaR + RL", of("star_rl", "pass@1")),
        ("correct solutions that combine approaches, mid-trained + RL", of("mid_rl", "combined")),
    ]);
}

fn passes(page: &mut Page, arms: &[Arm], outcomes: &[SeedOutcome], results: &Results) {
    page.section("How often each arm is right");
    let figures = SETS.iter().map(|set| {
        let mut chart = LineChart::pass_at_k(set.label).y_range(0.0, 1.0);
        for (i, arm) in arms.iter().take(6).enumerate() {
            let points = [1usize, 2, 4, 8, 16].map(|k| {
                let interval = match outcomes {
                    [only] => one_seed(&only.arms[arm.key].sets[set.key], &format!("pass@{k}"), only.seed),
                    _ => {
                        let means = outcomes.iter().map(|o| {
                            let values = pass_per_question(&o.arms[arm.key].sets[set.key], k);
                            values.iter().sum::<f64>() / values.len().max(1) as f64
                        });
                        evaluation::t_interval(&means.collect::<Vec<_>>(), 0.95)
                    }
                };
                (k as f64, interval)
            });
            chart = chart.series(Series::with_intervals(arm.label, points).colour(i));
        }
        (chart.to_svg(), String::new())
    });
    page.figures(figures.collect::<Vec<_>>());
    let mut table = Table::new([
        "arm",
        "set",
        "pass@1",
        "pass@4",
        "pass@16",
        "combining, of correct",
        "correct / samples",
    ]);
    for arm in arms {
        for set in &SETS {
            let cell = |metric| value(results, arm.key, set.key, metric).text();
            let counts = &results.arms[arm.key].counts[set.key];
            table.push([
                arm.label.to_string(),
                set.key.to_string(),
                cell("pass@1"),
                cell("pass@4"),
                cell("pass@16"),
                cell("combined"),
                format!("{} / {}", counts.correct, counts.samples),
            ]);
        }
    }
    page.details("All numbers", |inside| {
        inside.table(&table.caption("`longer`, `code` and `story` are never seen in mid-training or RL; all three layouts occur in pre-training."));
    });
}

fn combinations(page: &mut Page, outcomes: &[SeedOutcome], results: &Results) {
    page.section("Which approaches, and in which combination");
    let shown = ["base_rl", "star_rl", "mid", "mid_rl"];
    let mut bars = BarChart::new(
        "Correct solutions that combine two or more approaches",
        "share",
        shown.map(|k| results.arms[k].label),
    )
    .colours(shown.map(|key| MAIN.iter().position(|arm| arm.key == key).expect("an arm of every run")))
    .y_range(0.0, 1.0);
    for set in ["hard", "one_approach"] {
        bars = bars.group(set, shown.map(|arm| interval(value(results, arm, set, "combined"))));
    }
    page.figure(&bars.to_svg(), "Of the correct samples only; \"none\" where an arm has no correct one. On `one_approach` a combination is never needed.");
    let Some(first) = outcomes.first() else { return };
    let names = Approach::ALL.map(Approach::marker);
    let mut shares = ShareChart::new("Approaches used in all samples of the hard set", names);
    for arm in ["base", "base_rl", "star", "star_rl", "mid", "mid_rl"] {
        let all = composition(&first.arms[arm].sets["hard"], false);
        let count = |name: &str| -> f64 {
            all.sequences
                .iter()
                .map(|s| s.count as f64 * s.approaches.iter().filter(|a| *a == name).count() as f64)
                .sum()
        };
        shares = shares.row(results.arms[arm].label, names.map(count));
    }
    page.figure(&shares.to_svg(), "Each part of a solution counts once.");
    let sankeys = ["mid", "mid_rl"].map(|arm| {
        let data = composition(&first.arms[arm].sets["hard"], true).sankey(3);
        let title = format!("Hard set, correct: {}", results.arms[arm].label);
        (
            Sankey::new(title, data).columns(["first part", "second part"]).colours(names).to_svg(),
            String::new(),
        )
    });
    page.figures(sankeys);
    let mut table = Table::new(["seed", "arm", "set", "sequence", "correct solutions"]);
    for novel in &results.novel {
        table.push([
            novel.seed.to_string(),
            novel.after.to_string(),
            novel.set.to_string(),
            novel.sequence.join(" > "),
            novel.count.to_string(),
        ]);
    }
    let caption = "Sequences found in correct solutions after RL that none of the samples before RL shows, right or wrong.";
    page.details(&format!("Combinations that appear only after RL: {}", results.novel.len()), |inside| {
        inside.table(&table.caption(caption));
    });
}

fn prior(page: &mut Page, arms: &[Arm], results: &Results) {
    page.section("The switch prior");
    page.text("How likely the model is to change its approach between the first and the second part, measured before RL and after. The theory says that RL's speed depends on it.");
    let mut table = Table::new(["arm", "before RL", "after RL", "hard pass@1"]);
    let list = |values: &[Option<f64>]| {
        values
            .iter()
            .map(|v| v.map_or("none".to_string(), |v| format!("{v:.4}")))
            .collect::<Vec<_>>()
            .join(", ")
    };
    for arm in arms.iter().filter(|arm| arm.rl.is_some()) {
        let result = &results.arms[arm.key];
        table.push([
            arm.label.to_string(),
            list(&result.switch_prior_per_seed),
            list(&result.switch_after_per_seed),
            value(results, arm.key, "hard", "pass@1").text(),
        ]);
    }
    page.table(&table);
    thresholds(page, results);
}

/// Time to threshold against the switch prior, where `--full` measured it.
fn thresholds(page: &mut Page, results: &Results) {
    if results.thresholds.is_empty() {
        return;
    }
    page.heading("Time to threshold");
    page.text(
        "The theory predicts that the time RL needs grows as one over the prior. Here the prior is set by dilution: a share of the \
         questions keeps the solutions of all approaches, the others have STaR's; everything else is equal.",
    );
    let of_seed = |seed: Option<u64>| -> Vec<(f64, f64)> {
        let reached = results.thresholds.iter().filter(|t| seed.is_none_or(|seed| t.seed == seed));
        reached.filter_map(|t| Some((t.switch_prior.filter(|p| *p > 0.0)?, t.steps? as f64))).collect()
    };
    let all = of_seed(None);
    if !all.is_empty() {
        let mut chart = LineChart::new("RL steps until half of the samples fit every part")
            .x("switch prior before RL", Scale::Log10)
            .y("steps", Scale::Log10);
        for (i, seed) in results.seeds.iter().enumerate() {
            let series = Series::new(format!("seed {seed}"), of_seed(Some(*seed))).mark(Mark::Dots);
            chart = chart.series(series.colour(i + 1));
        }
        // The theory's slope of -1 through the geometric mean of the points.
        let logs = all.iter().map(|(prior, steps)| (prior * steps).ln());
        let constant = (logs.sum::<f64>() / all.len() as f64).exp();
        let (low, high) = all.iter().fold((f64::MAX, f64::MIN), |(l, h), (x, _)| (l.min(*x), h.max(*x)));
        let line = Series::new("constant / prior", [low, high].map(|x| (x, constant / x)));
        chart = chart.series(line.dashed().colour(0));
        page.figure(
            &chart.to_svg(),
            "Runs that did not get there within the steps allowed are in the table only.",
        );
    }
    let mut table =
        Table::new(["seed", "share of diverse questions", "switch prior", "RL steps to one half"]);
    for t in &results.thresholds {
        table.push([
            t.seed.to_string(),
            t.share.to_string(),
            t.switch_prior.map_or("none".to_string(), |p| format!("{p:.5}")),
            t.steps.map_or(format!("not in {}", t.cap), |s| s.to_string()),
        ]);
    }
    page.table(&table);
}

fn curves(page: &mut Page, experiment: &Experiment, arms: &[Arm]) -> Result<()> {
    page.section("During RL");
    let mut figures = Vec::new();
    for (key, title) in [
        ("reward", "Reward"),
        ("entropy", "Entropy per token (nats)"),
        ("length", "Length (tokens)"),
        ("combined", "Samples that change the approach"),
    ] {
        let mut chart = LineChart::new(title).x("RL step", Scale::Linear).y(key, Scale::Linear);
        for (i, arm) in arms.iter().enumerate().filter(|(_, arm)| arm.rl.is_some()) {
            let runs = experiment
                .seeds
                .iter()
                .map(|seed| metric_curve(experiment, *seed, arm.key, key))
                .collect::<Result<Vec<_>>>()?;
            chart = chart.series(Series::over_runs(arm.label, &runs, 5).colour(i));
        }
        figures.push((chart.to_svg(), String::new()));
    }
    page.figures(figures);
    Ok(())
}

fn metric_curve(experiment: &Experiment, seed: u64, arm: &str, key: &str) -> Result<Vec<(f64, f64)>> {
    let path = experiment.phase(seed, &format!("arm-{arm}")).join("metrics.jsonl");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let point = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        Some((line["step"].as_f64()?, line[key].as_f64()?))
    };
    Ok(text.lines().filter_map(point).collect())
}

/// How each approach was learned in pre-training, on its own kind of part.
fn pre_training(page: &mut Page, outcomes: &[SeedOutcome]) {
    let Some(first) = outcomes.first() else { return };
    page.section("Pre-training");
    let mut chart = LineChart::new(format!(
        "Accuracy of each approach on its own kind, asked for by name, seed {}",
        first.seed
    ))
    .x("pre-training step", Scale::Linear)
    .y("greedy accuracy", Scale::Linear)
    .y_range(0.0, 1.0);
    for (i, approach) in Approach::ALL.into_iter().enumerate() {
        let name = approach.marker();
        let points = first.base.accuracy.iter().filter_map(|(step, of)| Some((*step as f64, *of.get(name)?)));
        chart = chart.series(Series::new(name, points).colour(i + 1));
    }
    page.figure(&chart.to_svg(), "The gate is tried at the end; the report says so where it is missed.");
}

fn data(page: &mut Page, outcomes: &[SeedOutcome], results: &Results) {
    page.section("The self-generated data");
    let mut table = Table::new(["data set", "instances", "Vendi score"]);
    for (name, set) in &results.data {
        let join = |values: Vec<String>| values.join(", ");
        table.push([
            name.clone(),
            join(set.instances.iter().map(ToString::to_string).collect()),
            join(set.vendi.iter().map(|v| format!("{v:.2}")).collect()),
        ]);
    }
    page.table(&table.caption("Vendi score over word bigrams of up to 400 solutions: how many different solutions the set amounts to."));
    let mut table = Table::new(["seed", "approach", "candidates", "correct", "cells solved", "kept"]);
    for outcome in outcomes {
        for (approach, counts) in &outcome.data.yields {
            let cell = |key: &str| counts[key].to_string();
            table.push([
                outcome.seed.to_string(),
                approach.clone(),
                cell("candidates"),
                cell("correct"),
                cell("solved_cells"),
                cell("kept"),
            ]);
        }
    }
    page.details("Yield of each approach", |inside| {
        inside.table(&table);
    });
    page.text(&format!(
        "RL compares groups of {} responses; there are {} approaches.",
        results.group_size, results.approaches
    ));
}

fn differences(page: &mut Page, results: &Results) {
    page.section("Differences");
    for metric in ["pass@1", "pass@16"] {
        let mut chart = IntervalChart::new(format!("Paired differences in {metric}"), "difference");
        for c in results
            .comparisons
            .iter()
            .filter(|c| c.metric == metric && c.a == "mid_rl" && ["base_rl", "star_rl"].contains(&c.b))
        {
            let or_nan = |v: Option<f64>| v.unwrap_or(f64::NAN);
            let interval =
                Interval { mean: or_nan(c.difference), lo: or_nan(c.ci95[0]), hi: or_nan(c.ci95[1]) };
            chart = chart.row(format!("{} - {}, {}", c.a, c.b, c.set), interval, &c.per_seed);
        }
        page.figure(&chart.to_svg(), "");
    }
    let mut table = Table::new(["difference", "set", "metric", "mean", "95 %", "p", "own intervals apart"]);
    for c in &results.comparisons {
        let number = |v: Option<f64>| v.map_or("none".to_string(), |v| format!("{v:+.3}"));
        table.push([
            format!("{} - {}", c.a, c.b),
            c.set.to_string(),
            c.metric.clone(),
            number(c.difference),
            format!("[{}, {}]", number(c.ci95[0]), number(c.ci95[1])),
            c.p.map_or("none".to_string(), |p| format!("{p:.4}")),
            if c.intervals_apart { "yes" } else { "no" }.to_string(),
        ]);
    }
    page.details("All differences", |inside| {
        inside.table(&table);
    });
}

fn against_paper(page: &mut Page, results: &Results) {
    page.section("Paper and ours");
    page.text("The paper's figures are for Llama-3.2-3B-Instruct on mathematics benchmarks; ours are for a tiny model on box chains. Only signs can be compared.");
    let of = |arm: &str, set: &str, metric: &str| {
        results.arms.get(arm).map_or("not run".to_string(), |a| a.evals[set][metric].text())
    };
    let mut table = Table::new(["claim", "paper", "ours"]);
    table.push([
        "pass@k after RL, mid-trained against vanilla RL",
        "48.09 (n=16) against 44.21, mean pass@64",
        &format!(
            "{} against {}, hard pass@16",
            of("mid_rl", "hard", "pass@16"),
            of("base_rl", "hard", "pass@16")
        ),
    ]);
    table.push([
        "the same against STaR + RL",
        "48.09 against 45.69",
        &format!("{} against {}", of("mid_rl", "hard", "pass@16"), of("star_rl", "hard", "pass@16")),
    ]);
    table.push([
        "pass@1 of mid-trained alone below STaR's",
        "yes",
        &format!("{} against {}, hard pass@1", of("mid", "hard", "pass@1"), of("star", "hard", "pass@1")),
    ]);
    table.push([
        "solutions that combine approaches, before and after RL",
        "23.3 and 56.7 %",
        &format!("{} and {}, hard", of("mid", "hard", "combined"), of("mid_rl", "hard", "combined")),
    ]);
    table.push([
        "wrong chains + RL below vanilla RL",
        "yes",
        &format!(
            "{} against {}, hard pass@1",
            of("wrong_rl", "hard", "pass@1"),
            of("base_rl", "hard", "pass@1")
        ),
    ]);
    table.push([
        "depth above breadth after RL",
        "about 7 % better",
        &format!(
            "{} against {}, hard pass@1",
            of("depth_rl", "hard", "pass@1"),
            of("breadth_rl", "hard", "pass@1")
        ),
    ]);
    page.table(&table.caption("What differs: the model, the questions, four approaches instead of up to 64, exact working instead of a reward model for adherence, two-part problems in RL after one-part problems in mid-training."));
}

fn samples(page: &mut Page, experiment: &Experiment, outcomes: &[SeedOutcome]) -> Result<()> {
    page.section("Ten problems, side by side");
    page.text("The first sample of three arms on the first ten hard problems. `?` is the hidden number, `ans` the result of the part before.");
    let Some(first) = outcomes.first() else { return Ok(()) };
    let arms = ["base_rl", "star_rl", "mid_rl"];
    let mut columns = Vec::new();
    for arm in arms {
        columns.push(read_samples(experiment, first.seed, arm)?);
    }
    for i in 0..10.min(columns[0].len()) {
        page.heading(&format!("`{}`", columns[0][i].prompt.trim_end_matches(" solution")));
        let cards: Vec<(&str, String, bool)> = arms
            .iter()
            .zip(&columns)
            .filter_map(|(arm, column)| {
                column.get(i).map(|s| (*arm, s.response.replace(" ;", " ;\n"), s.correct))
            })
            .collect();
        page.cards(cards.iter().map(|(arm, text, correct)| (*arm, text.as_str(), Some(*correct))));
    }
    Ok(())
}

/// The first sample of each question of the hard set.
fn read_samples(experiment: &Experiment, seed: u64, arm: &str) -> Result<Vec<ReadableSample>> {
    let path = experiment.phase(seed, &format!("arm-{arm}")).join("samples/hard.jsonl");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let all = text.lines().map(serde_json::from_str).collect::<Result<Vec<ReadableSample>, _>>()?;
    Ok(all.into_iter().step_by(2).collect())
}

fn settings(page: &mut Page, experiment: &Experiment, seconds: f64) -> Result<()> {
    page.section("Settings");
    page.text(&format!(
        "This call took {seconds:.0} s on {} threads. The recipe was set on other seeds than the ones reported; every arm has the same RL settings unless `tuned` says otherwise.",
        experiment.threads
    ));
    let recipe = toml::to_string_pretty(&experiment.recipe)?;
    page.details("Recipe", |inside| {
        inside.code(&recipe);
    });
    Ok(())
}
