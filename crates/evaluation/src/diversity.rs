//! How different the texts of a set are from each other.
//!
//! All measures take texts as token sequences (words, characters or token ids: anything that can be hashed), because
//! what a token is changes the numbers; [`words`] is the usual splitter. Compare sets of equal size only: every
//! measure here depends on how many texts there are.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use nalgebra::DMatrix;
use rand::{Rng, SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};

/// Lower-case words and single punctuation marks.
///
/// ```
/// assert_eq!(evaluation::words("So 3+4 = 7."), ["so", "3", "+", "4", "=", "7", "."]);
/// ```
pub fn words(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut word = String::new();
    for character in text.chars() {
        if character.is_alphanumeric() {
            word.extend(character.to_lowercase());
            continue;
        }
        if !word.is_empty() {
            tokens.push(std::mem::take(&mut word));
        }
        if !character.is_whitespace() {
            tokens.push(character.to_string());
        }
    }
    if !word.is_empty() {
        tokens.push(word);
    }
    tokens
}

/// The n-grams of a text in order of first appearance, so that sums over them always add up in the same order, and how
/// often each occurs. A text shorter than `n` counts as one n-gram, itself.
fn grams<T: Hash + Eq>(tokens: &[T], n: usize) -> Vec<(&[T], f64)> {
    if tokens.len() < n {
        return vec![(tokens, 1.0)];
    }
    let mut places = HashMap::new();
    let mut counts: Vec<(&[T], f64)> = Vec::new();
    for gram in tokens.windows(n) {
        let place = *places.entry(gram).or_insert(counts.len());
        match counts.get_mut(place) {
            Some((_, count)) => *count += 1.0,
            None => counts.push((gram, 1.0)),
        }
    }
    counts
}

/// The Vendi score of texts: the effective number of different ones, from 1 (all alike) to their number (nothing in
/// common). Friedman and Dieng 2023, <https://arxiv.org/abs/2210.02410>.
///
/// `exp(-sum_i l_i ln l_i)` over the eigenvalues `l` of `K / n`, where `K[i, j]` is the cosine of the two texts'
/// n-gram count vectors, averaged over the orders 1 to `ngram`. Texts shorter than an order stand for themselves
/// there, so that `K[i, i] = 1` always. An empty set scores 0.
///
/// The spectrum is taken of whichever is smaller, the `n x n` kernel or the `f x f` covariance of the `f` n-gram
/// features, at cost `O(min(n, f)^3)`. Above a thousand long texts use [`vendi_score_sampled`], or the mean over
/// questions of each question's score, which is what 16 solutions per question are compared by.
///
/// ```
/// use evaluation::{vendi_score, words};
/// let alike = ["a b c", "a b c"].map(words);
/// let apart = ["a b c", "x y z"].map(words);
/// assert!((vendi_score(&alike, 2) - 1.0).abs() < 1e-9);
/// assert!((vendi_score(&apart, 2) - 2.0).abs() < 1e-9);
/// ```
///
/// # Panics
/// If `ngram` is zero.
pub fn vendi_score<T: Hash + Eq>(texts: &[impl AsRef<[T]>], ngram: usize) -> f64 {
    assert!(ngram >= 1, "n-grams have at least one token");
    if texts.is_empty() {
        return 0.0;
    }
    // A sparse matrix: rows are texts, entries (feature, weight), rows of length one.
    let mut features: HashMap<(usize, &[T]), usize> = HashMap::new();
    let mut rows = Vec::with_capacity(texts.len());
    for text in texts {
        let mut row = Vec::new();
        for order in 1..=ngram {
            let counts = grams(text.as_ref(), order);
            let norm = counts.iter().map(|(_, count)| count * count).sum::<f64>().sqrt();
            for (gram, count) in counts {
                let next = features.len();
                let feature = *features.entry((order, gram)).or_insert(next);
                row.push((feature, count / (norm * (ngram as f64).sqrt())));
            }
        }
        row.sort_unstable_by_key(|&(feature, _)| feature);
        rows.push(row);
    }
    let (n, f) = (texts.len(), features.len());
    let matrix = if n <= f {
        let dot = |a: &[(usize, f64)], b: &[(usize, f64)]| {
            let (mut i, mut j, mut sum) = (0, 0, 0.0);
            while i < a.len() && j < b.len() {
                match a[i].0.cmp(&b[j].0) {
                    std::cmp::Ordering::Less => i += 1,
                    std::cmp::Ordering::Greater => j += 1,
                    std::cmp::Ordering::Equal => {
                        sum += a[i].1 * b[j].1;
                        (i, j) = (i + 1, j + 1);
                    }
                }
            }
            sum
        };
        let mut kernel = DMatrix::zeros(n, n);
        for i in 0..n {
            for j in 0..=i {
                let value = dot(&rows[i], &rows[j]) / n as f64;
                kernel[(i, j)] = value;
                kernel[(j, i)] = value;
            }
        }
        kernel
    } else {
        let mut covariance = DMatrix::zeros(f, f);
        for row in &rows {
            for &(a, x) in row {
                for &(b, y) in row {
                    covariance[(a, b)] += x * y / n as f64;
                }
            }
        }
        covariance
    };
    from_spectrum(matrix)
}

/// [`vendi_score`] of at most `max_items` texts, drawn without replacement from a stream of `seed`.
///
/// A sample has a lower score than its set (the score never exceeds the number of items): compare samples of equal
/// size only. With `texts.len() <= max_items` it is the exact score.
pub fn vendi_score_sampled<T: Hash + Eq>(
    texts: &[impl AsRef<[T]>],
    ngram: usize,
    max_items: usize,
    seed: u64,
) -> f64 {
    if texts.len() <= max_items {
        return vendi_score(texts, ngram);
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut chosen = index::sample(&mut random, texts.len(), max_items).into_vec();
    chosen.sort_unstable();
    let sample: Vec<&[T]> = chosen.into_iter().map(|i| texts[i].as_ref()).collect();
    vendi_score(&sample, ngram)
}

/// The Vendi score under the cosine of given embeddings, such as mean-pooled hidden states.
///
/// Cost `O(min(n, d)^3)`. An empty set scores 0.
///
/// # Errors
/// An embedding of another length than the first, with a non-finite entry, or all zero (it has no direction).
///
/// ```
/// let score = evaluation::vendi_score_embeddings(&[vec![1.0, 0.0], vec![0.0, 2.0], vec![0.0, 5.0]]).unwrap();
/// // Eigenvalues 1/3 and 2/3.
/// assert!((score - (3f64.ln() - 2.0 / 3.0 * 2f64.ln()).exp()).abs() < 1e-9);
/// ```
pub fn vendi_score_embeddings(embeddings: &[impl AsRef<[f32]>]) -> Result<f64> {
    let Some(first) = embeddings.first() else { return Ok(0.0) };
    let (n, d) = (embeddings.len(), first.as_ref().len());
    let mut rows = DMatrix::zeros(n, d);
    for (index, embedding) in embeddings.iter().enumerate() {
        let embedding = embedding.as_ref();
        let fault = |problem: String| Err(Error::Embedding { index, problem });
        if embedding.len() != d {
            return fault(format!("expected {d} entries as in the first, found {}", embedding.len()));
        }
        if let Some(at) = embedding.iter().position(|value| !value.is_finite()) {
            return fault(format!("entry {at} is {}", embedding[at]));
        }
        let norm = embedding.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
        if norm == 0.0 {
            return fault("all entries are zero: it has no direction".into());
        }
        for (at, &value) in embedding.iter().enumerate() {
            rows[(index, at)] = f64::from(value) / (norm * (n as f64).sqrt());
        }
    }
    Ok(from_spectrum(if n <= d { &rows * rows.transpose() } else { rows.transpose() * &rows }))
}

/// `exp` of the entropy of a symmetric matrix of trace one.
fn from_spectrum(matrix: DMatrix<f64>) -> f64 {
    let entropy: f64 = matrix
        .symmetric_eigenvalues()
        .iter()
        // Rounding leaves eigenvalues such as -1e-17 where the true one is zero.
        .map(|&value| if value > 0.0 { -value * value.ln() } else { 0.0 })
        .sum();
    entropy.exp()
}

/// distinct-n: different n-grams as a share of all n-grams of all texts (Li et al. 2016). `None` when no text is as
/// long as `n`.
///
/// ```
/// use evaluation::{distinct_n, words};
/// assert_eq!(distinct_n(&["a b a b"].map(words), 2), Some(2.0 / 3.0)); // ab, ba, ab
/// ```
///
/// # Panics
/// If `n` is zero.
pub fn distinct_n<T: Hash + Eq>(texts: &[impl AsRef<[T]>], n: usize) -> Option<f64> {
    let mut all = 0usize;
    let mut different = HashSet::new();
    for text in texts {
        for gram in text.as_ref().windows(n) {
            all += 1;
            different.insert(gram);
        }
    }
    (all > 0).then(|| different.len() as f64 / all as f64)
}

/// self-BLEU: the mean BLEU of each text against all others as references (Zhu et al. 2018). High means alike.
///
/// Orders 1 to `max_n` with equal weights; a clipped count of zero becomes 0.1 (the first smoothing of Chen and
/// Cherry 2014); brevity penalty against the reference closest in length, the shorter of two equally close. An order
/// for which the text is too short counts as zero matches of one n-gram. Linear in the number of tokens. `None` with
/// fewer than two texts.
///
/// ```
/// use evaluation::{self_bleu, words};
/// assert_eq!(self_bleu(&["a b c d e", "a b c d e"].map(words), 4), Some(1.0));
/// assert!(self_bleu(&["a b c d e", "v w x y z"].map(words), 4).unwrap() < 0.05);
/// ```
///
/// # Panics
/// If `max_n` is zero.
pub fn self_bleu<T: Hash + Eq>(texts: &[impl AsRef<[T]>], max_n: usize) -> Option<f64> {
    assert!(max_n >= 1, "BLEU needs at least unigrams");
    if texts.len() < 2 {
        return None;
    }
    // For every n-gram the largest count in one text, whose text that is, and the largest count elsewhere.
    let mut log_precision = vec![0.0; texts.len()];
    for n in 1..=max_n {
        let per_text: Vec<_> = texts.iter().map(|text| gram_counts(text.as_ref(), n)).collect();
        let mut best: HashMap<&[T], (usize, usize, usize)> = HashMap::new();
        for (index, counts) in per_text.iter().enumerate() {
            for (gram, &count) in counts {
                let entry = best.entry(gram).or_insert((0, index, 0));
                if count > entry.0 {
                    *entry = (count, index, entry.0);
                } else {
                    entry.2 = entry.2.max(count);
                }
            }
        }
        for (index, counts) in per_text.iter().enumerate() {
            let total = counts.values().sum::<usize>().max(1) as f64;
            let clipped: usize = counts
                .iter()
                .map(|(gram, &count)| {
                    let (most, owner, second) = best[gram];
                    count.min(if owner == index { second } else { most })
                })
                .sum();
            let matches = if clipped == 0 { 0.1 } else { clipped as f64 };
            log_precision[index] += (matches / total).ln() / max_n as f64;
        }
    }
    let lengths: Vec<usize> = texts.iter().map(|text| text.as_ref().len()).collect();
    let mut sorted = lengths.clone();
    sorted.sort_unstable();
    let sum: f64 = lengths
        .iter()
        .zip(&log_precision)
        .map(|(&length, &log_precision)| {
            let reference = closest_other(&sorted, length);
            let penalty = if length == 0 {
                f64::NEG_INFINITY
            } else if length < reference {
                1.0 - reference as f64 / length as f64
            } else {
                0.0
            };
            (log_precision + penalty).exp()
        })
        .sum();
    Some(sum / texts.len() as f64)
}

fn gram_counts<T: Hash + Eq>(tokens: &[T], n: usize) -> HashMap<&[T], usize> {
    let mut counts = HashMap::new();
    for gram in tokens.windows(n) {
        *counts.entry(gram).or_insert(0) += 1;
    }
    counts
}

/// The length closest to `length` among the others: `sorted` holds `length` itself once.
fn closest_other(sorted: &[usize], length: usize) -> usize {
    let at = sorted.partition_point(|&other| other < length);
    let below = at.checked_sub(1).map(|i| sorted[i]);
    let above = sorted.get(at + 1).copied();
    match (below, above) {
        (Some(below), Some(above)) if above - length < length - below => above,
        (Some(below), _) => below,
        (None, above) => above.unwrap_or(length),
    }
}

/// Levenshtein distance of two token sequences: the fewest insertions, deletions and replacements.
///
/// Time is the product of the lengths, memory the shorter one.
///
/// ```
/// assert_eq!(evaluation::edit_distance(b"kitten", b"sitting"), 3);
/// ```
pub fn edit_distance<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    let mut row: Vec<usize> = (0..=short.len()).collect();
    for (i, x) in long.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in short.iter().enumerate() {
            let replace = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[short.len()]
}

/// Mean edit distance of pairs, each divided by the longer text's length: 0 for equal texts, 1 for nothing shared.
///
/// All pairs if there are at most `max_pairs`; otherwise `max_pairs` pairs drawn with replacement from a stream of
/// `seed`. `None` with fewer than two texts.
pub fn mean_edit_distance<T: PartialEq>(
    texts: &[impl AsRef<[T]>],
    max_pairs: usize,
    seed: u64,
) -> Option<f64> {
    let n = texts.len();
    let distance = |i: usize, j: usize| {
        let (a, b) = (texts[i].as_ref(), texts[j].as_ref());
        edit_distance(a, b) as f64 / a.len().max(b.len()).max(1) as f64
    };
    if n < 2 || max_pairs == 0 {
        return None;
    }
    let pairs = n * (n - 1) / 2;
    if pairs <= max_pairs {
        let sum: f64 = (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| distance(i, j)).sum();
        return Some(sum / pairs as f64);
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let sum: f64 = (0..max_pairs)
        .map(|_| {
            let i = random.random_range(0..n);
            let j = random.random_range(0..n - 1);
            distance(i, if j >= i { j + 1 } else { j })
        })
        .sum();
    Some(sum / max_pairs as f64)
}

/// Every measure of one set at once, for a data set's table.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Diversity {
    /// How many texts.
    pub texts: usize,
    /// [`vendi_score_sampled`] with bigrams and at most 512 texts.
    pub vendi: f64,
    /// How many texts that score was taken of: its upper bound.
    pub vendi_of: usize,
    /// [`distinct_n`] of unigrams.
    pub distinct_1: Option<f64>,
    /// [`distinct_n`] of bigrams.
    pub distinct_2: Option<f64>,
    /// [`self_bleu`] with four orders.
    pub self_bleu: Option<f64>,
    /// [`mean_edit_distance`] of at most 2,000 pairs.
    pub edit_distance: Option<f64>,
}

impl Diversity {
    /// Measures a set of token sequences; `seed` decides which texts and pairs are drawn from a large one.
    pub fn of<T: Hash + Eq>(texts: &[impl AsRef<[T]>], seed: u64) -> Self {
        Self {
            texts: texts.len(),
            vendi: vendi_score_sampled(texts, 2, 512, seed),
            vendi_of: texts.len().min(512),
            distinct_1: distinct_n(texts, 1),
            distinct_2: distinct_n(texts, 2),
            self_bleu: self_bleu(texts, 4),
            edit_distance: mean_edit_distance(texts, 2000, seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn vendi_of_two_half_alike_texts() {
        // Unigram vectors (1,1,0) and (0,1,1): cosine 1/2, eigenvalues 3/4 and 1/4.
        let score = vendi_score(&[["a", "b"], ["b", "c"]], 1);
        let expected = (-(0.75f64 * 0.75f64.ln() + 0.25 * 0.25f64.ln())).exp();
        assert!((score - expected).abs() < 1e-12, "{score} against {expected}");
    }

    #[test]
    fn both_sides_of_the_spectrum_agree() {
        // Nine texts over two letters: more texts than unigram features, so the covariance is used; repeated twice
        // over as embeddings it must be equal to the direct kernel.
        let texts: Vec<Vec<u8>> = (0u8..9).map(|i| vec![i % 2, (i / 3) % 2, i % 2, 0]).collect();
        let counts: Vec<Vec<f32>> = texts
            .iter()
            .map(|text| {
                let ones = text.iter().filter(|&&token| token == 1).count() as f32;
                // Padding with zeros makes d > n, hence the kernel side.
                let mut row = vec![text.len() as f32 - ones, ones];
                row.resize(20, 0.0);
                row
            })
            .collect();
        let a = vendi_score(&texts, 1);
        let b = vendi_score_embeddings(&counts).unwrap();
        assert!((a - b).abs() < 1e-6, "{a} against {b}");
    }

    #[test]
    fn vendi_is_the_same_to_the_last_bit() {
        let texts: Vec<Vec<u32>> =
            (0..60u32).map(|i| (0..20).map(|j| (i * 7 + j * j * (i % 11) + j / 3) % 5).collect()).collect();
        let first = vendi_score(&texts, 2);
        assert!((0..8).all(|_| vendi_score(&texts, 2) == first));
    }

    #[test]
    fn embeddings_are_checked() {
        let ragged = vendi_score_embeddings(&[vec![1.0], vec![1.0, 2.0]]).unwrap_err();
        assert!(ragged.to_string().contains("embedding 1: expected 1 entries"), "{ragged}");
        assert!(vendi_score_embeddings(&[vec![0.0, 0.0]]).is_err());
        assert!(vendi_score_embeddings(&[vec![f32::NAN]]).is_err());
        assert_eq!(vendi_score_embeddings(&Vec::<Vec<f32>>::new()).unwrap(), 0.0);
    }

    #[test]
    fn closest_reference_length() {
        assert_eq!(closest_other(&[3, 5, 9], 5), 3);
        assert_eq!(closest_other(&[3, 7, 9], 7), 9);
        assert_eq!(closest_other(&[5, 5], 5), 5);
        assert_eq!(closest_other(&[2, 8], 2), 8);
    }

    fn texts() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(0u8..6, 0..12), 1..14)
    }

    proptest! {
        #[test]
        fn vendi_lies_between_one_and_n_and_ignores_order(texts in texts(), ngram in 1usize..4) {
            let score = vendi_score(&texts, ngram);
            prop_assert!(score >= 1.0 - 1e-9 && score <= texts.len() as f64 + 1e-9, "{}", score);
            let reversed: Vec<_> = texts.iter().rev().cloned().collect();
            prop_assert!((vendi_score(&reversed, ngram) - score).abs() < 1e-9);
            let twice: Vec<_> = texts.iter().chain(&texts).cloned().collect();
            prop_assert!((vendi_score(&twice, ngram) - score).abs() < 1e-8);
        }

        #[test]
        fn vendi_of_identical_is_one_and_of_orthogonal_is_n(n in 1usize..12, length in 1usize..6, ngram in 1usize..4) {
            let alike: Vec<Vec<usize>> = (0..n).map(|_| (0..length).collect()).collect();
            prop_assert!((vendi_score(&alike, ngram) - 1.0).abs() < 1e-9);
            let apart: Vec<Vec<usize>> = (0..n).map(|i| (0..length).map(|j| i * length + j).collect()).collect();
            prop_assert!((vendi_score(&apart, ngram) - n as f64).abs() < 1e-9);
        }

        #[test]
        fn edit_distance_is_a_metric(a in "[ab]{0,8}", b in "[ab]{0,8}", c in "[ab]{0,8}") {
            let d = |x: &str, y: &str| edit_distance(x.as_bytes(), y.as_bytes());
            prop_assert_eq!(d(&a, &b), d(&b, &a));
            prop_assert_eq!(d(&a, &b) == 0, a == b);
            prop_assert!(d(&a, &c) <= d(&a, &b) + d(&b, &c));
            prop_assert!(d(&a, &b) >= a.len().abs_diff(b.len()) && d(&a, &b) <= a.len().max(b.len()));
        }

        #[test]
        fn self_bleu_and_distinct_lie_in_the_unit_interval(texts in texts()) {
            if let Some(bleu) = self_bleu(&texts, 4) {
                prop_assert!((0.0..=1.0 + 1e-12).contains(&bleu));
            }
            if let Some(distinct) = distinct_n(&texts, 2) {
                prop_assert!(distinct > 0.0 && distinct <= 1.0);
            }
            if let Some(distance) = mean_edit_distance(&texts, 10, 0) {
                prop_assert!((0.0..=1.0).contains(&distance));
            }
        }
    }
}
