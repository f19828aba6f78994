//! MinHash: a sketch of a text from which the Jaccard similarity of two texts' word shingles can be estimated.
//!
//! Broder, "On the resemblance and containment of documents" (1997).

use crate::text::{mix, normalise, stable_hash};

/// A sketch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinHash(Vec<u64>);

impl MinHash {
    /// Sketches the normalised text. A text shorter than one shingle counts as one.
    pub fn new(text: &str, shingle: usize, hashes: usize) -> Self {
        let text = normalise(text);
        let words: Vec<&str> = text.split(' ').filter(|w| !w.is_empty()).collect();
        let mut least = vec![u64::MAX; hashes];
        let size = shingle.clamp(1, words.len().max(1));
        for window in words.windows(size) {
            let base = stable_hash(window);
            for (i, slot) in least.iter_mut().enumerate() {
                *slot = (*slot).min(mix(base ^ mix(i as u64 + 1)));
            }
        }
        Self(least)
    }

    /// The estimated Jaccard similarity, in `[0, 1]`. Sketches of different sizes have nothing in common.
    pub fn similarity(&self, other: &Self) -> f64 {
        if self.0.len() != other.0.len() || self.0.is_empty() {
            return 0.0;
        }
        let same = self.0.iter().zip(&other.0).filter(|(a, b)| a == b).count();
        same as f64 / self.0.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_up_to_case_and_punctuation_is_one() {
        let a = MinHash::new("Add 3 and 4, then halve it.", 3, 64);
        assert_eq!(a.similarity(&MinHash::new("add 3 AND 4 then halve it", 3, 64)), 1.0);
        assert!(a.similarity(&MinHash::new("Begin from the end and undo each step", 3, 64)) < 0.1);
    }

    #[test]
    fn the_estimate_is_near_the_true_similarity() {
        // 40 and 40 distinct words, 30 shared: with single words as shingles the similarity is 30 / 50.
        let list = |from: usize| (from..from + 40).map(|i| format!("w{i}")).collect::<Vec<_>>().join(" ");
        let s = MinHash::new(&list(0), 1, 2048).similarity(&MinHash::new(&list(10), 1, 2048));
        assert!((s - 0.6).abs() < 0.05, "{s}");
    }
}
