//! A random search for pairs that are accepted in one direction only: gold answers and responses of the case file, mutated and
//! set against each other.

use serde::Deserialize;
use verifier::{Gold, Response, Verdict, verify};

#[derive(Deserialize)]
struct Case {
    gold: String,
    response: String,
    kind: String,
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

const PIECES: &[&str] = &[
    "\0",
    "\u{b}",
    "\u{11}",
    " ",
    "$",
    "\\",
    ".",
    "\\.",
    ",",
    ";",
    ":",
    "?",
    "!",
    "'",
    "\"",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "\\{",
    "\\}",
    "|",
    "+",
    "-",
    "*",
    "/",
    "^",
    "_",
    "=",
    "<",
    ">",
    "%",
    "\\%",
    "°",
    "^\\circ",
    "0",
    "1",
    "2",
    "12",
    "x",
    "y",
    "n",
    "k",
    "a",
    "A",
    "C",
    "e",
    "i",
    "pi",
    "\\pi",
    "\\infty",
    "\\text{",
    "\\text{ or }",
    "\\text{ and }",
    " or ",
    " and ",
    "and",
    "m",
    " m",
    " cm",
    "\\text{cm}",
    "units",
    "dollars",
    "\\$",
    "¢",
    "f(x)=",
    "x=",
    "y=",
    "\\pm ",
    "\\frac",
    "\\sqrt",
    "\\overline{",
    "\\ldots",
    "...",
    "_2",
    "_{10}",
    "(mod 5)",
    "\\pmod 5",
    "\\cup ",
    "\\in ",
    "\\mathbb{R}",
    "\\mathbb{Z}",
    "no ",
    "not ",
    "the ",
    "all ",
    " am",
    " pm",
    ":30",
    "½",
    "²",
    "√",
    "\u{200b}",
    "\u{305}",
    "é",
    "答",
    "(A)",
    "one",
    "two",
    " hundred",
    " half",
    "to",
    "is",
    "for all x",
    "where k is an integer",
    "e5",
    "!",
    "\\le ",
    "\\ne ",
    "\\approx ",
    "\\equiv ",
    "\\begin{cases}",
    "\\begin{pmatrix}",
    "&",
    "\\\\",
    "\\end{pmatrix}",
    "\\mathbf{i}",
    "vector i",
];

fn mutate(text: &str, others: &[String], random: &mut Random) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(3) {
        let at = random.below(chars.len() + 1);
        match random.below(7) {
            0 if !chars.is_empty() => {
                chars.remove(at.min(chars.len() - 1));
            }
            1 if chars.len() > 1 => {
                let other = random.below(chars.len());
                chars.swap(at.min(other), other);
            }
            2 => {
                let end = (at + random.below(5)).min(chars.len());
                let copy: Vec<char> = chars[at..end].to_vec();
                chars.splice(at..at, copy);
            }
            3 => {
                let other: Vec<char> = others[random.below(others.len())].chars().collect();
                let from = random.below(other.len());
                let to = (from + 1 + random.below(12)).min(other.len());
                chars.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                chars.splice(at..at, PIECES[random.below(PIECES.len())].chars());
            }
        }
    }
    chars.into_iter().take(400).collect()
}

#[test]
fn asymmetries_that_were_found_stay_mended() {
    for (a, b) in [
        // Equal but for blanks and dollar signs, yet one is read as words and the other as mathematics.
        ("5 \\text{ cm}", "5 \\ text{ cm}"),
        ("\\text{undefined}", "\\ text{undefined}"),
        ("\\text{convergent}", "\\tex$t{convergent}"),
        ("$ cm3vector i pm$", "$ cm3vect$or i pm$"),
        // The test points depended on the side that named its variables first.
        ("\\angl A = 0^\\circc", "\\angl A =a 0^\\circc"),
        // A unit that is a variable of the other side, with a unit of its own there.
        ("5m^2 m", "+5 m^2"),
        ("5 m", " m5 m"),
        ("3e8 m/s", "3e8  m/sm/s"),
        // They agree where both can be evaluated: at 0, 1 and 2, at 0 and 1, and at 0.
        ("n!!", "n!!!"),
        ("(n+1)!!", "(n+1)!!!"),
        (":2\\%\\begi:3", ":2\\%\\begi\\pmod 5:3"),
        // They agree where t s, which is lost beside 75!, vanishes.
        ("75! cen\\le ts", "75!° cen\\le ts"),
        ("\\p²i(mod 5):4", "\\p²ai(mod 5):4"),
        // A tiny quotient is not sharper than its huge inverse.
        ("12c^\\f(x)=cir0", "121!c^\\f(x)=cir0"),
        ("12\\sin x=0", "100!\\sin x=0"),
        // Words behind a name are words.
        ("B \\cup A", "f(x)=A\\cup B"),
        // A question before other white space than blanks.
        ("(C) 1&", "C\0.\u{11}\u{11}\0?\u{b}"),
        // Only one of two pairs can be an interval.
        ("[0,1]", "(x=0,1)"),
    ] {
        let equal = |a: &str, b: &str| verify(&Gold::parse(a), &Response::answer_only(b)).is_correct();
        assert_eq!(equal(a, b), equal(b, a), "{a:?} and {b:?}");
    }
    assert!(!verify(&Gold::parse("75! cen\\le ts"), &Response::answer_only("75!° cen\\le ts")).is_correct());
    assert!(
        verify(&Gold::parse("\\frac{1}{1+e^{-x^2}}"), &Response::answer_only("\\frac{e^{x^2}}{1+e^{x^2}}"))
            .is_correct()
    );
    assert!(!verify(&Gold::parse("n!!"), &Response::answer_only("n!!!")).is_correct());
    let n = Gold::parse("(n+1)!!");
    assert!(!verify(&n, &Response::answer_only("(n+1)!!!")).is_correct());
    assert!(verify(&n, &Response::answer_only("(1+n)!!")).is_correct());
}

/// Ten thousand pairs, or as many as SYMMETRY_PAIRS says.
#[test]
fn mutated_answers_compare_alike_in_both_directions() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |n| n.parse().unwrap());
    let pairs = number("SYMMETRY_PAIRS", 10_000);
    let mut random = Random(number("SYMMETRY_SEED", 1));
    let mut groups: std::collections::BTreeMap<String, Vec<String>> = Default::default();
    for line in include_str!("cases/cases.jsonl").lines() {
        let case: Case = serde_json::from_str(line).unwrap();
        let gold = Gold::parse(&case.gold);
        if gold.answer().is_err() || case.kind == "extraction" {
            continue;
        }
        let group = groups.entry(case.gold.clone()).or_insert_with(|| vec![case.gold.clone()]);
        group.extend(verify(&gold, &Response::new(&case.response)).extracted);
    }
    let groups: Vec<Vec<String>> = groups.into_values().collect();
    let mut failures = Vec::new();
    let mut accepted = 0;
    for _ in 0..pairs {
        let group = &groups[random.below(groups.len())];
        let other = &groups[random.below(groups.len())];
        let first = &group[random.below(group.len())];
        let second = match random.below(4) {
            0 => &other[random.below(other.len())],
            1 => first,
            _ => &group[random.below(group.len())],
        };
        let (a, b) = match random.below(3) {
            0 => (first.clone(), mutate(second, other, &mut random)),
            1 => {
                let once = mutate(first, other, &mut random);
                (once.clone(), mutate(&once, other, &mut random))
            }
            _ => (mutate(first, other, &mut random), mutate(second, group, &mut random)),
        };
        // Only a gold answer may carry the marks of a response.
        if [&a, &b].iter().any(|t| t.contains("box") || t.contains("####")) {
            continue;
        }
        let there = verify(&Gold::parse(&a), &Response::answer_only(&b));
        let back = verify(&Gold::parse(&b), &Response::answer_only(&a));
        accepted += u64::from(there.is_correct());
        if there.verdict != Verdict::UnparsedGold
            && back.verdict != Verdict::UnparsedGold
            && there.is_correct() != back.is_correct()
        {
            failures.push(format!("{a:?} and {b:?}: {:?} and {:?}", there.reason, back.reason));
        }
    }
    // The search has to see equal pairs too.
    assert!(accepted > pairs / 20, "{accepted} of {pairs} accepted");
    assert!(failures.is_empty(), "{}\n{}", failures.len(), failures.join("\n"));
}
