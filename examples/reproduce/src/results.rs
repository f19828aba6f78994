//! From counts to `results.json`: pass@k, shares, intervals, comparisons. No times in it.

use std::collections::BTreeMap;

use evaluation::{
    Composition, Interval, Solution, bootstrap_mean, bootstrap_ratio, paired_bootstrap, paired_t, pass_at_k,
    t_interval,
};
use serde::Serialize;

use crate::arms::Arm;
use crate::experiment::SeedOutcome;
use crate::measure::SetOutcome;
use crate::recipe::Recipe;
use crate::sets::SETS;
use crate::threshold::Threshold;

/// The k of pass@k.
pub const KS: [usize; 3] = [1, 4, 16];

/// `results.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// The seeds, in the order of every `per_seed`.
    pub seeds: Vec<u64>,
    /// Every arm.
    pub arms: BTreeMap<&'static str, ArmResult>,
    /// Paired differences between arms.
    pub comparisons: Vec<Comparison>,
    /// Combinations written by mid-trained + RL in correct solutions and never by the mid-trained model.
    pub novel: Vec<Novel>,
    /// Sizes and Vendi scores of the SFT data sets, per seed.
    pub data: BTreeMap<String, DataResult>,
    /// Pre-training: steps and accuracy of each approach on its own kind, per seed.
    pub base: Vec<crate::experiment::BaseOutcome>,
    /// Time to threshold against the switch prior, with `--full`.
    pub thresholds: Vec<Threshold>,
    /// Size of the RL group and number of approaches.
    pub group_size: usize,
    /// Approaches among which self-generation chooses.
    pub approaches: usize,
}

/// One arm.
#[derive(Clone, Debug, Serialize)]
pub struct ArmResult {
    /// What people read.
    pub label: &'static str,
    /// Probability of changing approach between parts before RL: mean over seeds.
    pub switch_prior: Option<f64>,
    /// The same for each seed.
    pub switch_prior_per_seed: Vec<Option<f64>>,
    /// The same after RL.
    pub switch_after_per_seed: Vec<Option<f64>>,
    /// RL steps of the first seed.
    pub rl_steps: u64,
    /// Set -> metric -> value.
    pub evals: BTreeMap<&'static str, BTreeMap<String, Metric>>,
    /// Set -> counts over all seeds.
    pub counts: BTreeMap<&'static str, Counts>,
}

/// A metric over questions (one seed: bootstrap) or over seeds (several: t interval). `null` where there is nothing.
#[derive(Clone, Debug, Serialize)]
pub struct Metric {
    /// The mean.
    pub mean: Option<f64>,
    /// 95 % interval.
    pub ci95: [Option<f64>; 2],
    /// One value a seed.
    pub per_seed: Vec<Option<f64>>,
}

/// How many samples stand behind the shares.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// Samples.
    pub samples: u64,
    /// Correct ones.
    pub correct: u64,
    /// Correct ones that combine approaches.
    pub combined: u64,
    /// Samples without the shape of a solution.
    pub unparsed: u64,
}

/// `a - b`.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Arm.
    pub a: &'static str,
    /// Arm it is compared with.
    pub b: &'static str,
    /// Set.
    pub set: &'static str,
    /// Metric.
    pub metric: String,
    /// The mean difference.
    pub difference: Option<f64>,
    /// Over questions (one seed) or seeds (t).
    pub ci95: [Option<f64>; 2],
    /// Two-sided.
    pub p: Option<f64>,
    /// One difference a seed.
    pub per_seed: Vec<f64>,
    /// Whether the two arms' own intervals do not overlap.
    pub intervals_apart: bool,
}

/// A sequence of approaches that RL brought.
#[derive(Clone, Debug, Serialize)]
pub struct Novel {
    /// Seed.
    pub seed: u64,
    /// Set.
    pub set: &'static str,
    /// Arm before RL, and after.
    pub before: &'static str,
    /// Arm after RL.
    pub after: &'static str,
    /// The approaches in order.
    pub sequence: Vec<String>,
    /// Correct solutions with it.
    pub count: usize,
}

/// One SFT data set.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DataResult {
    /// Instances, per seed.
    pub instances: Vec<usize>,
    /// Vendi score over word bigrams of up to 400 solutions, per seed.
    pub vendi: Vec<f64>,
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// Pass@k of every question.
pub fn pass_per_question(set: &SetOutcome, k: usize) -> Vec<f64> {
    set.questions.iter().map(|q| pass_at_k(q.samples as usize, q.correct as usize, k)).collect()
}

fn combined_per_question(set: &SetOutcome) -> Vec<(f64, f64)> {
    set.questions.iter().map(|q| (q.combined as f64, q.correct as f64)).collect()
}

/// Mean and interval of one metric for one seed's set.
pub fn one_seed(set: &SetOutcome, metric: &str, seed: u64) -> Interval {
    match metric.strip_prefix("pass@").and_then(|k| k.parse().ok()) {
        Some(k) => bootstrap_mean(&pass_per_question(set, k), seed, 0.95),
        None => bootstrap_ratio(&combined_per_question(set), seed, 0.95),
    }
}

fn metric(outcomes: &[SeedOutcome], arm: &str, set: &str, name: &str) -> Metric {
    let each: Vec<Interval> =
        outcomes.iter().map(|o| one_seed(&o.arms[arm].sets[set], name, o.seed)).collect();
    let means: Vec<f64> = each.iter().map(|i| i.mean).filter(|m| m.is_finite()).collect();
    let interval = match (outcomes.len(), means.len()) {
        (1, _) => each[0],
        (_, 0) => Interval::NONE,
        _ => t_interval(&means, 0.95),
    };
    Metric {
        mean: finite(interval.mean),
        ci95: [finite(interval.lo), finite(interval.hi)],
        per_seed: each.iter().map(|i| finite(i.mean)).collect(),
    }
}

/// The names of all metrics.
pub fn metrics() -> Vec<String> {
    KS.iter().map(|k| format!("pass@{k}")).chain(["combined".to_string()]).collect()
}

/// The correct solutions' composition on one set.
pub fn composition(set: &SetOutcome, correct_only: bool) -> Composition {
    let solutions: Vec<Solution> = set
        .sequences
        .iter()
        .flat_map(|(sequence, (all, correct))| {
            let count = if correct_only { *correct } else { *all };
            std::iter::repeat_n(Solution::new("", sequence.split('>')), count as usize)
        })
        .collect();
    Composition::of(&solutions)
}

/// Puts everything together.
pub fn collect(
    recipe: &Recipe,
    arms: &[Arm],
    outcomes: &[SeedOutcome],
    thresholds: Vec<Threshold>,
) -> Results {
    let arm_result = |arm: &Arm| {
        let of = |pick: fn(&crate::experiment::ArmOutcome) -> Option<f64>| -> Vec<Option<f64>> {
            outcomes.iter().map(|o| pick(&o.arms[arm.key])).collect()
        };
        let priors = of(|a| a.switch_prior);
        let known: Vec<f64> = priors.iter().flatten().copied().collect();
        let evals = SETS
            .iter()
            .map(|s| {
                (
                    s.key,
                    metrics()
                        .into_iter()
                        .map(|m| (m.clone(), metric(outcomes, arm.key, s.key, &m)))
                        .collect(),
                )
            })
            .collect();
        let counts = SETS.iter().map(|s| (s.key, counts(outcomes, arm.key, s.key))).collect();
        ArmResult {
            label: arm.label,
            switch_prior: (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64),
            switch_prior_per_seed: priors,
            switch_after_per_seed: of(|a| a.switch_after),
            rl_steps: outcomes.first().map_or(0, |o| o.arms[arm.key].rl_steps),
            evals,
            counts,
        }
    };
    let results: BTreeMap<&'static str, ArmResult> =
        arms.iter().map(|arm| (arm.key, arm_result(arm))).collect();
    let comparisons = comparisons(arms, outcomes, &results);
    let mut data = BTreeMap::<String, DataResult>::new();
    for outcome in outcomes {
        for (start, set) in &outcome.data.instances {
            let entry = data.entry(start.clone()).or_default();
            entry.instances.push(set.len());
            entry.vendi.push(outcome.data.vendi[start]);
        }
    }
    Results {
        seeds: outcomes.iter().map(|o| o.seed).collect(),
        novel: novel(outcomes),
        arms: results,
        comparisons,
        data,
        base: outcomes.iter().map(|o| o.base.clone()).collect(),
        thresholds,
        group_size: recipe.rl.samples,
        approaches: crate::world::Approach::ALL.len(),
    }
}

fn counts(outcomes: &[SeedOutcome], arm: &str, set: &str) -> Counts {
    let mut counts = Counts::default();
    for set in outcomes.iter().map(|o| &o.arms[arm].sets[set]) {
        counts.samples += set.samples;
        counts.unparsed += set.unparsed;
        counts.correct += set.questions.iter().map(|q| q.correct).sum::<u64>();
        counts.combined += set.questions.iter().map(|q| q.combined).sum::<u64>();
    }
    counts
}

/// The pairs the paper's claims are about.
const PAIRS: [(&str, &str); 14] = [
    ("mid_rl", "base_rl"),
    ("mid_rl", "star_rl"),
    ("mid_rl", "mid"),
    ("mid", "star"),
    ("mid", "base"),
    ("base_rl", "base"),
    ("wrong_rl", "base_rl"),
    ("mid_rl", "wrong_rl"),
    ("depth_rl", "breadth_rl"),
    ("mid_rl", "n1_rl"),
    ("mid_rl", "n2_rl"),
    ("mid_rl", "base_rl_extra"),
    ("mid_rl", "base_rl_explore"),
    ("mid_rl", "base_rl_prompted"),
];

fn comparisons(
    arms: &[Arm],
    outcomes: &[SeedOutcome],
    results: &BTreeMap<&'static str, ArmResult>,
) -> Vec<Comparison> {
    let run = |key: &str| arms.iter().any(|arm| arm.key == key);
    let mut found = Vec::new();
    for (a, b) in PAIRS.into_iter().filter(|(a, b)| run(a) && run(b)) {
        for set in &SETS {
            for name in metrics() {
                let (of_a, of_b) = (&results[a].evals[set.key][&name], &results[b].evals[set.key][&name]);
                let per_seed: Vec<f64> = of_a
                    .per_seed
                    .iter()
                    .zip(&of_b.per_seed)
                    .filter_map(|(a, b)| Some((*a)? - (*b)?))
                    .collect();
                let (interval, p) = match (outcomes, name.strip_prefix("pass@").and_then(|k| k.parse().ok()))
                {
                    ([only], Some(k)) => {
                        let values = |arm: &str| pass_per_question(&only.arms[arm].sets[set.key], k);
                        let paired = paired_bootstrap(&values(a), &values(b), only.seed, 0.95);
                        (paired.difference, paired.p)
                    }
                    ([_], None) => {
                        let mean = per_seed.first().copied().unwrap_or(f64::NAN);
                        (Interval { mean, lo: f64::NAN, hi: f64::NAN }, f64::NAN)
                    }
                    _ => {
                        let test = paired_t(&per_seed);
                        (test.interval(), test.p)
                    }
                };
                let apart = |above: &Metric, below: &Metric| {
                    above.ci95[0].zip(below.ci95[1]).is_some_and(|(lo, hi)| lo > hi)
                };
                found.push(Comparison {
                    a,
                    b,
                    set: set.key,
                    metric: name.clone(),
                    difference: finite(interval.mean),
                    ci95: [finite(interval.lo), finite(interval.hi)],
                    p: finite(p),
                    per_seed,
                    intervals_apart: apart(of_a, of_b) || apart(of_b, of_a),
                });
            }
        }
    }
    found
}

fn novel(outcomes: &[SeedOutcome]) -> Vec<Novel> {
    let mut found = Vec::new();
    for outcome in outcomes {
        for (before, after) in [("base", "base_rl"), ("star", "star_rl"), ("mid", "mid_rl")] {
            for set in &SETS {
                // New means: the model before RL never wrote it, right or wrong.
                let old = composition(&outcome.arms[before].sets[set.key], false);
                for share in composition(&outcome.arms[after].sets[set.key], true).novel_sequences(&old) {
                    let sequence = share.approaches;
                    found.push(Novel {
                        seed: outcome.seed,
                        set: set.key,
                        before,
                        after,
                        sequence,
                        count: share.count,
                    });
                }
            }
        }
    }
    found
}

impl Metric {
    /// `0.512 [0.480, 0.544]`, or `none`.
    pub fn text(&self) -> String {
        match (self.mean, self.ci95) {
            (Some(mean), [Some(lo), Some(hi)]) => format!("{mean:.3} [{lo:.3}, {hi:.3}]"),
            (Some(mean), _) => format!("{mean:.3}"),
            _ => "none".to_string(),
        }
    }
}

/// The table printed at the end of a run.
pub fn summary(arms: &[Arm], results: &Results) -> String {
    let mut table = evaluation::figures::Table::new([
        "arm",
        "hard pass@1",
        "hard pass@16",
        "combined",
        "longer pass@1",
        "code pass@1",
        "story pass@1",
        "switch prior",
    ]);
    for arm in arms {
        let result = &results.arms[arm.key];
        let cell = |set: &str, metric: &str| result.evals[set][metric].text();
        table.push([
            arm.label.to_string(),
            cell("hard", "pass@1"),
            cell("hard", "pass@16"),
            cell("hard", "combined"),
            cell("longer", "pass@1"),
            cell("code", "pass@1"),
            cell("story", "pass@1"),
            result.switch_prior.map_or("none".to_string(), |p| format!("{p:.4}")),
        ]);
    }
    table.to_text()
}
