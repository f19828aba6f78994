//! Which approaches solutions use, alone and together.
//!
//! A solution is given as the list of approaches it uses, in the order of its parts: `["forward", "backward"]` solves
//! a first part forward and a second one backward. Where the parts are not known, [`Signs`] finds approaches in the
//! text by the words that give them away; that list then has each approach once, in order of first appearance.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::intervals::{Interval, bootstrap_ratio};

/// Words and phrases by which a reader recognises each approach.
///
/// ```
/// use evaluation::Signs;
/// let signs = Signs::new([("backward", vec!["working backward", "undo"]), ("symmetry", vec!["by symmetry"])]);
/// assert_eq!(signs.find("By symmetry both halves agree; now undo the last step."), ["symmetry", "backward"]);
/// assert!(signs.find("We undoubtedly add.").is_empty()); // whole words only
/// ```
#[derive(Debug, Clone, Default)]
pub struct Signs {
    approaches: Vec<(String, Vec<String>)>,
}

impl Signs {
    /// Takes `(approach, its signs)`. Case does not matter; a sign that is empty after trimming is left out.
    pub fn new<A: Into<String>, S: AsRef<str>>(
        approaches: impl IntoIterator<Item = (A, impl IntoIterator<Item = S>)>,
    ) -> Self {
        let normal = |sign: S| sign.as_ref().trim().to_lowercase();
        Self {
            approaches: approaches
                .into_iter()
                .map(|(approach, signs)| {
                    (approach.into(), signs.into_iter().map(normal).filter(|sign| !sign.is_empty()).collect())
                })
                .collect(),
        }
    }

    /// The approaches whose signs the text shows, by first appearance (ties: the order given to [`Signs::new`]).
    pub fn find(&self, text: &str) -> Vec<String> {
        let text = text.to_lowercase();
        let mut found: Vec<(usize, &str)> = self
            .approaches
            .iter()
            .filter_map(|(approach, signs)| {
                let first = signs.iter().filter_map(|sign| find_words(&text, sign)).min()?;
                Some((first, approach.as_str()))
            })
            .collect();
        found.sort_by_key(|&(at, _)| at);
        found.into_iter().map(|(_, approach)| approach.to_owned()).collect()
    }
}

/// Where `sign` stands in `text` as whole words.
fn find_words(text: &str, sign: &str) -> Option<usize> {
    let inside = |a: Option<char>, b: Option<char>| match (a, b) {
        (Some(a), Some(b)) => a.is_alphanumeric() && b.is_alphanumeric(),
        _ => false,
    };
    text.match_indices(sign).map(|(at, _)| at).find(|&at| {
        let end = at + sign.len();
        !inside(text[..at].chars().next_back(), sign.chars().next())
            && !inside(sign.chars().next_back(), text[end..].chars().next())
    })
}

/// One solution: whose question it answers, and its approaches in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Solution {
    /// The question; solutions of one question are resampled together.
    pub question: String,
    /// Approaches in the order of the solution's parts.
    pub approaches: Vec<String>,
}

impl Solution {
    /// Puts the two together.
    pub fn new(question: impl Into<String>, approaches: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { question: question.into(), approaches: approaches.into_iter().map(Into::into).collect() }
    }

    /// Whether it uses two or more different approaches.
    pub fn combines(&self) -> bool {
        self.approaches.iter().any(|approach| *approach != self.approaches[0])
    }
}

/// How a set of solutions composes approaches. Build it from the *correct* solutions to speak about those.
///
/// ```
/// use evaluation::{Composition, Solution};
/// let after = Composition::of(&[
///     Solution::new("q1", ["forward", "backward"]),
///     Solution::new("q1", ["forward", "forward"]),
///     Solution::new("q2", ["backward", "forward"]),
/// ]);
/// assert_eq!((after.solutions, after.combining), (3, 2));
/// assert_eq!(after.co_occurrence("forward", "backward"), 2);
/// assert_eq!(after.transitions("forward", "backward"), 1);
/// let before = Composition::of(&[Solution::new("q1", ["forward", "forward"])]);
/// assert_eq!(after.novel_combinations(&before)[0].approaches, ["backward", "forward"]);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Composition {
    /// All approaches seen, in alphabetical order: the order of rows and columns of the matrices.
    pub approaches: Vec<String>,
    /// Solutions counted.
    pub solutions: usize,
    /// Those with two or more different approaches.
    pub combining: usize,
    /// Those in which no approach was recognised.
    pub unrecognised: usize,
    /// `[i][j]`: solutions using both; on the diagonal, solutions using `i` at all.
    pub co_occurrence: Vec<Vec<usize>>,
    /// `[i][j]`: how often `j` directly follows `i` within a solution.
    pub transitions: Vec<Vec<usize>>,
    /// Each set of approaches and how many solutions use exactly it.
    pub combinations: Vec<Share>,
    /// Each ordered list of approaches and how many solutions are exactly it.
    pub sequences: Vec<Share>,
    per_question: Vec<(f64, f64)>,
}

/// A combination or sequence of approaches and how often it occurs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// The approaches: alphabetical in a combination, in order in a sequence.
    pub approaches: Vec<String>,
    /// Solutions with it.
    pub count: usize,
    /// `count` over all solutions.
    pub share: f64,
}

impl Composition {
    /// Counts solutions.
    pub fn of(solutions: &[Solution]) -> Self {
        let approaches: Vec<String> = solutions
            .iter()
            .flat_map(|solution| solution.approaches.iter().cloned())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let index: BTreeMap<&str, usize> =
            approaches.iter().enumerate().map(|(i, approach)| (approach.as_str(), i)).collect();
        let n = approaches.len();
        let mut co_occurrence = vec![vec![0; n]; n];
        let mut transitions = vec![vec![0; n]; n];
        let mut combinations: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
        let mut sequences: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
        let mut questions: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        let (mut combining, mut unrecognised) = (0, 0);
        for solution in solutions {
            let sequence: Vec<usize> =
                solution.approaches.iter().map(|approach| index[approach.as_str()]).collect();
            let set: Vec<usize> = sequence.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
            for &i in &set {
                for &j in &set {
                    co_occurrence[i][j] += 1;
                }
            }
            for pair in sequence.windows(2) {
                transitions[pair[0]][pair[1]] += 1;
            }
            combining += usize::from(set.len() > 1);
            unrecognised += usize::from(set.is_empty());
            let question = questions.entry(&solution.question).or_default();
            question.0 += f64::from(u8::from(set.len() > 1));
            question.1 += 1.0;
            *combinations.entry(set).or_default() += 1;
            *sequences.entry(sequence).or_default() += 1;
        }
        let shares = |counts: BTreeMap<Vec<usize>, usize>| {
            let mut shares: Vec<Share> = counts
                .into_iter()
                .map(|(list, count)| Share {
                    approaches: list.into_iter().map(|i| approaches[i].clone()).collect(),
                    count,
                    share: count as f64 / solutions.len() as f64,
                })
                .collect();
            shares.sort_by_key(|share| std::cmp::Reverse(share.count));
            shares
        };
        Self {
            solutions: solutions.len(),
            combining,
            unrecognised,
            co_occurrence,
            transitions,
            combinations: shares(combinations),
            sequences: shares(sequences),
            per_question: questions.into_values().collect(),
            approaches,
        }
    }

    /// Finds the approaches of `(question, text)` pairs by their signs, then counts.
    pub fn from_signs<'a>(signs: &Signs, texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let solutions: Vec<Solution> =
            texts.into_iter().map(|(question, text)| Solution::new(question, signs.find(text))).collect();
        Self::of(&solutions)
    }

    /// The share of solutions combining two or more approaches; `None` of no solutions.
    pub fn share_combining(&self) -> Option<f64> {
        (self.solutions > 0).then(|| self.combining as f64 / self.solutions as f64)
    }

    /// That share with a bootstrap interval over questions ([`bootstrap_ratio`]).
    pub fn combining_interval(&self, seed: u64, level: f64) -> Interval {
        bootstrap_ratio(&self.per_question, seed, level)
    }

    /// Solutions that use both approaches; with twice the same one, solutions that use it.
    pub fn co_occurrence(&self, a: &str, b: &str) -> usize {
        self.entry(&self.co_occurrence, a, b)
    }

    /// How often `to` directly follows `from`.
    pub fn transitions(&self, from: &str, to: &str) -> usize {
        self.entry(&self.transitions, from, to)
    }

    fn entry(&self, matrix: &[Vec<usize>], a: &str, b: &str) -> usize {
        let at = |name: &str| self.approaches.iter().position(|approach| approach == name);
        at(a).zip(at(b)).map_or(0, |(a, b)| matrix[a][b])
    }

    /// The share of solutions that use each approach, in the order of [`Composition::approaches`].
    pub fn usage(&self) -> Vec<(&str, f64)> {
        let share = |i: usize| self.co_occurrence[i][i] as f64 / self.solutions as f64;
        self.approaches.iter().enumerate().map(|(i, approach)| (approach.as_str(), share(i))).collect()
    }

    /// Combinations of two or more approaches that occur here and never in `before`, most frequent first.
    pub fn novel_combinations(&self, before: &Self) -> Vec<Share> {
        novel(&self.combinations, &before.combinations)
    }

    /// Ordered lists with two or more different approaches that occur here and never in `before`.
    pub fn novel_sequences(&self, before: &Self) -> Vec<Share> {
        novel(&self.sequences, &before.sequences)
    }

    /// The share of solutions whose combination never occurs in `before`; `None` of no solutions.
    pub fn share_novel(&self, before: &Self) -> Option<f64> {
        let novel: usize = self.novel_combinations(before).iter().map(|share| share.count).sum();
        (self.solutions > 0).then(|| novel as f64 / self.solutions as f64)
    }

    /// Data for a Sankey figure: a column per position, a node per approach there, bands for what follows what.
    /// Positions from `max_positions` on are left out; solutions that end earlier simply end.
    pub fn sankey(&self, max_positions: usize) -> SankeyData {
        type Place<'a> = (usize, &'a str);
        let mut nodes: BTreeMap<Place, usize> = BTreeMap::new();
        let mut links: BTreeMap<(Place, Place), usize> = BTreeMap::new();
        for sequence in &self.sequences {
            let places: Vec<(usize, &str)> =
                sequence.approaches.iter().take(max_positions).map(String::as_str).enumerate().collect();
            for &place in &places {
                *nodes.entry(place).or_default() += sequence.count;
            }
            for pair in places.windows(2) {
                *links.entry((pair[0], pair[1])).or_default() += sequence.count;
            }
        }
        let place: BTreeMap<(usize, &str), usize> =
            nodes.keys().enumerate().map(|(i, &key)| (key, i)).collect();
        SankeyData {
            nodes: nodes
                .iter()
                .map(|(&(column, name), &value)| SankeyNode {
                    column,
                    name: name.to_owned(),
                    value: value as f64,
                })
                .collect(),
            links: links
                .iter()
                .map(|((from, to), &value)| SankeyLink {
                    from: place[from],
                    to: place[to],
                    value: value as f64,
                })
                .collect(),
        }
    }
}

fn novel(after: &[Share], before: &[Share]) -> Vec<Share> {
    let known: BTreeSet<&[String]> = before.iter().map(|share| share.approaches.as_slice()).collect();
    let combines = |list: &[String]| list.iter().any(|approach| *approach != list[0]);
    let is_new = |share: &&Share| combines(&share.approaches) && !known.contains(share.approaches.as_slice());
    after.iter().filter(is_new).cloned().collect()
}

/// Nodes and links of a Sankey figure; drawn by [`crate::figures::Sankey`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SankeyData {
    /// Nodes, column by column.
    pub nodes: Vec<SankeyNode>,
    /// Links between nodes of different columns.
    pub links: Vec<SankeyLink>,
}

/// A box of a Sankey figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SankeyNode {
    /// Column from the left, from zero.
    pub column: usize,
    /// Label; equal names share a colour.
    pub name: String,
    /// Height, in solutions.
    pub value: f64,
}

/// A band of a Sankey figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SankeyLink {
    /// Index of the node it leaves.
    pub from: usize,
    /// Index of the node it reaches.
    pub to: usize,
    /// Width, in solutions.
    pub value: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_in_nothing_out() {
        let none = Composition::of(&[]);
        assert_eq!(none.share_combining(), None);
        assert!(none.combining_interval(0, 0.95).mean.is_nan());
        assert!(none.sankey(4).nodes.is_empty());
        let unrecognised = Composition::of(&[Solution::new("q", Vec::<String>::new())]);
        assert_eq!((unrecognised.solutions, unrecognised.unrecognised, unrecognised.combining), (1, 1, 0));
    }

    #[test]
    fn novel_needs_two_approaches_and_absence_before() {
        let before = Composition::of(&[Solution::new("q", ["a", "b"])]);
        let after = Composition::of(&[
            Solution::new("q", ["b", "a"]),
            Solution::new("q", ["c"]),
            Solution::new("q", ["a", "c", "a"]),
            Solution::new("q", ["a", "c"]),
        ]);
        let combinations = after.novel_combinations(&before);
        assert_eq!(combinations.len(), 1);
        assert_eq!((combinations[0].approaches.join("+"), combinations[0].count), ("a+c".into(), 2));
        assert_eq!(after.novel_sequences(&before).len(), 3);
        assert_eq!(after.share_novel(&before), Some(0.5));
    }

    fn solutions() -> impl Strategy<Value = Vec<Solution>> {
        let solution = (0u8..4, prop::collection::vec(0u8..4, 0..5)).prop_map(|(question, approaches)| {
            Solution::new(format!("q{question}"), approaches.into_iter().map(|a| format!("a{a}")))
        });
        prop::collection::vec(solution, 0..20)
    }

    proptest! {
        #[test]
        fn counts_are_consistent(solutions in solutions()) {
            let all = Composition::of(&solutions);
            let sum = |shares: &[Share]| shares.iter().map(|share| share.count).sum::<usize>();
            prop_assert_eq!(sum(&all.combinations), solutions.len());
            prop_assert_eq!(sum(&all.sequences), solutions.len());
            prop_assert_eq!(all.combining, solutions.iter().filter(|solution| solution.combines()).count());
            for i in 0..all.approaches.len() {
                for j in 0..all.approaches.len() {
                    prop_assert_eq!(all.co_occurrence[i][j], all.co_occurrence[j][i]);
                    prop_assert!(all.co_occurrence[i][j] <= all.co_occurrence[i][i]);
                }
            }
            prop_assert!(all.novel_combinations(&all).is_empty());
            // Bands leaving a node never exceed it.
            let sankey = all.sankey(8);
            for (index, node) in sankey.nodes.iter().enumerate() {
                let out: f64 = sankey.links.iter().filter(|link| link.from == index).map(|link| link.value).sum();
                let into: f64 = sankey.links.iter().filter(|link| link.to == index).map(|link| link.value).sum();
                prop_assert!(out <= node.value && (node.column == 0 || into == node.value));
            }
        }
    }
}
