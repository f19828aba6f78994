//! Small text measures used when comparing questions and solutions.

use std::collections::BTreeSet;

/// Lower case, white space collapsed, everything but letters, digits and arithmetic signs dropped.
pub fn normalise(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut space = false;
    for c in text.chars() {
        if c.is_alphanumeric() || matches!(c, '+' | '-' | '*' | '/' | '=' | '<' | '>' | '^') {
            if space && !out.is_empty() {
                out.push(' ');
            }
            space = false;
            out.extend(c.to_lowercase());
        } else {
            space = true;
        }
    }
    out
}

/// Jaccard similarity of the sets of word triples of two normalised texts; texts under three words compare whole.
pub fn overlap(a: &str, b: &str) -> f64 {
    let (a, b) = (triples(a), triples(b));
    let both = a.intersection(&b).count();
    let either = a.len() + b.len() - both;
    if either == 0 { 1.0 } else { both as f64 / either as f64 }
}

fn triples(text: &str) -> BTreeSet<Vec<&str>> {
    let words: Vec<&str> = text.split(' ').filter(|w| !w.is_empty()).collect();
    if words.len() < 3 {
        return if words.is_empty() { BTreeSet::new() } else { BTreeSet::from([words]) };
    }
    words.windows(3).map(<[&str]>::to_vec).collect()
}

/// Levenshtein distance, for suggestions. Texts are cut to 64 characters.
pub(crate) fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// FNV-1a over 64 bits: a stable hash for ids, shards and seeds, the same on every machine and in every version.
pub fn stable_hash(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut eat = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for part in parts {
        part.bytes().for_each(&mut eat);
        // A separator no UTF-8 text contains, so that ("ab", "c") and ("a", "bc") differ.
        eat(0xff);
    }
    mix(hash)
}

/// The finaliser of SplitMix64: spreads close values over the whole range.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalising_keeps_arithmetic() {
        assert_eq!(normalise("  Let's ADD:\n 3 + 4 = $7$."), "let s add 3 + 4 = 7");
    }

    #[test]
    fn overlap_of_equal_and_of_foreign_texts() {
        assert_eq!(overlap("a b c d", "a b c d"), 1.0);
        assert_eq!(overlap("a b c d", "e f g h"), 0.0);
        assert_eq!(overlap("a b c d", "a b c e"), 1.0 / 3.0);
        assert_eq!(overlap("", ""), 1.0);
    }

    #[test]
    fn edit_distance_by_hand() {
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "ab"), 2);
    }

    #[test]
    fn the_hash_separates_its_parts_and_never_changes() {
        assert_ne!(stable_hash(&["ab", "c"]), stable_hash(&["a", "bc"]));
        assert_eq!(stable_hash(&["q1", "symmetry"]), stable_hash(&["q1", "symmetry"]));
    }
}
