//! Words that mean something: number words, connectors, and English that is never a product of variables.

use num_bigint::BigInt;
use num_rational::BigRational;

/// Short words that are English, not products of one-letter variables.
const SHORT: &[&str] = &[
    "a", "an", "am", "pm", "is", "no", "yes", "or", "and", "the", "to", "of", "in", "if", "at", "by", "on",
    "as", "it", "we", "he", "be", "do", "so", "for", "not", "all", "any", "are", "was", "has", "had", "one",
    "two", "six", "ten", "per", "day", "men", "man", "she", "her", "his", "red", "odd", "even", "out", "can",
    "non", "nor", "but", "now", "our", "its", "box", "car", "dog", "cat", "pen", "egg", "bag", "cup", "pie",
    "toy", "win", "sum", "set", "get", "see", "let", "few", "new", "old", "off", "own", "boy", "girl", "bob",
    "tom", "jim", "sam", "ann", "amy", "joe", "dan", "ben", "mon", "tue", "wed", "thu", "fri", "sat", "sun",
    "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "dne", "row", "top", "max",
    "min", "blue", "tie", "up", "only", "each", "both", "none", "left", "more", "less", "than", "that",
    "with", "from", "sq",
];

/// Whether a run of letters is a short English word (any case).
pub fn is_short_word(run: &str) -> bool {
    run.len() <= 4 && SHORT.iter().any(|w| w.eq_ignore_ascii_case(run))
}

fn small(word: &str) -> Option<u64> {
    Some(match word {
        "zero" => 0,
        "one" => 1,
        "two" => 2,
        "three" => 3,
        "four" => 4,
        "five" => 5,
        "six" => 6,
        "seven" => 7,
        "eight" => 8,
        "nine" => 9,
        "ten" => 10,
        "eleven" => 11,
        "twelve" => 12,
        "thirteen" => 13,
        "fourteen" => 14,
        "fifteen" => 15,
        "sixteen" => 16,
        "seventeen" => 17,
        "eighteen" => 18,
        "nineteen" => 19,
        "twenty" => 20,
        "thirty" => 30,
        "forty" | "fourty" => 40,
        "fifty" => 50,
        "sixty" => 60,
        "seventy" => 70,
        "eighty" => 80,
        "ninety" => 90,
        _ => return None,
    })
}

/// The denominator that a word names: 3 for `third` and `thirds`.
pub fn part(word: &str) -> Option<u64> {
    let word = word.strip_suffix('s').unwrap_or(word);
    Some(match word {
        "half" | "halve" => 2,
        "third" => 3,
        "quarter" | "fourth" => 4,
        "fifth" => 5,
        "sixth" => 6,
        "seventh" => 7,
        "eighth" => 8,
        "ninth" => 9,
        "tenth" => 10,
        "twelfth" => 12,
        "hundredth" => 100,
        _ => return None,
    })
}

/// The number that a sequence of lower-case words starts with, and how many words it takes: `twenty one`, `two thirds`,
/// `three and a half`, `one hundred and five`, `half`.
pub fn number(words: &[&str]) -> Option<(BigRational, usize)> {
    let q = |n: u64, d: u64| BigRational::new(BigInt::from(n), BigInt::from(d));
    let word = |i: usize| words.get(i).copied().unwrap_or("");
    if matches!(word(0), "half") {
        return Some((q(1, 2), 1));
    }
    // A scale alone counts once.
    match word(0) {
        "hundred" => return Some((q(100, 1), 1)),
        "thousand" => return Some((q(1000, 1), 1)),
        "million" => return Some((q(1_000_000, 1), 1)),
        _ => {}
    }
    if matches!(word(0), "a" | "an") {
        return match part(word(1)) {
            Some(d) if !word(1).ends_with('s') => Some((q(1, d), 2)),
            _ => match word(1) {
                // "a hundred and five" is "one hundred and five"
                "dozen" | "hundred" | "thousand" | "million" | "billion" | "trillion" => {
                    let mut one = words[..words.len().min(24)].to_vec();
                    one[0] = "one";
                    number(&one)
                }
                _ => None,
            },
        };
    }
    let (mut total, mut current, mut used, mut last_small) = (0u64, 0u64, 0usize, None::<u64>);
    while used < words.len() && used < 24 {
        let w = word(used);
        if let Some(n) = small(w) {
            match last_small {
                Some(previous) if !(previous >= 20 && previous % 10 == 0 && (1..10).contains(&n)) => break,
                _ => {}
            }
            current += n;
            last_small = Some(n);
        } else if w == "hundred" && used > 0 && current > 0 && current < 100 {
            current *= 100;
            last_small = None;
        } else if let Some(scale) = match w {
            "thousand" => Some(1000u64),
            "million" => Some(1_000_000),
            "billion" => Some(1_000_000_000),
            "trillion" => Some(1_000_000_000_000),
            _ => None,
        } {
            if used == 0 || current == 0 {
                break;
            }
            total += current * scale;
            current = 0;
            last_small = None;
        } else if w == "dozen" && used > 0 && current > 0 {
            current *= 12;
            last_small = Some(0);
        } else if w == "and" && used > 0 && small(word(used + 1)).is_some() && last_small.is_none() {
            // "one hundred and five"
        } else {
            break;
        }
        used += 1;
    }
    if used == 0 {
        return None;
    }
    let mut value = q(total + current, 1);
    if let Some(d) = part(word(used)).filter(|_| total == 0 && (1..100).contains(&current)) {
        return Some((value / q(d, 1), used + 1));
    }
    if word(used) == "and" {
        if let Some(d) = part(word(used + 2)).filter(|_| matches!(word(used + 1), "a" | "an" | "one")) {
            value += q(1, d);
            used += 3;
        } else if let (Some(n), Some(d)) = (small(word(used + 1)), part(word(used + 2))) {
            value += q(n, d);
            used += 3;
        }
    }
    Some((value, used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_words() {
        let read = |t: &str| {
            let words: Vec<&str> = t.split(' ').collect();
            number(&words).map(|(v, n)| (v.to_string(), n))
        };
        assert_eq!(read("twenty one apples"), Some(("21".into(), 2)));
        assert_eq!(read("one hundred and five"), Some(("105".into(), 4)));
        assert_eq!(read("two thirds"), Some(("2/3".into(), 2)));
        assert_eq!(read("three and a half"), Some(("7/2".into(), 4)));
        assert_eq!(read("three million two hundred thousand"), Some(("3200000".into(), 5)));
        assert_eq!(read("three four"), Some(("3".into(), 1)));
        assert_eq!(read("apples"), None);
    }
}
