//! Laws that hold for every answer.

use proptest::prelude::*;
use verifier::{Gold, Response, verify};

fn equal(a: &str, b: &str) -> bool {
    verify(&Gold::parse(a), &Response::answer_only(b)).is_correct()
}

/// 192, or as many as PROPTEST_CASES says.
fn number_of_cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(192, |n| n.parse().unwrap())
}

#[test]
fn a_small_term_beside_a_huge_one_counts() {
    for (a, b) in
        [(r"\tanh(10^9)", "1"), (r"\sinh(1000)", r"\cosh(1000)"), (r"\arctan(e^{1000})", r"\frac{\pi}{2}")]
    {
        assert!(!equal(a, b) && !equal(b, a), "{a} and {b}");
    }
    for x in ["e^{318.71}", "e^{400}", "e^{e^{6}}", "e^{\\left(7\\right)^{3}}", "\\sqrt{2}\\cdot10^{200}"] {
        let (more, swapped) = (format!("{x}+1"), format!("1+{x}"));
        assert!(!equal(x, &more) && !equal(&more, x), "{x}");
        assert!(!equal(&format!("3({x})"), &format!("3({more})")), "{x}");
        assert!(equal(&more, &swapped), "{x}");
    }
}

#[test]
fn a_small_term_beside_a_huge_one_counts_in_functions_too() {
    for (a, b) in [
        ("\\sqrt{x}+e^{1000}", "\\sqrt{x}+e^{1000}\\cdot1+\\ln 2"),
        ("e^{2000}\\sin x+x", "e^{2000}\\sin x"),
        ("e^{1000}(1+|x|)+1", "e^{1000}(1+|x|)"),
        ("y=e^{2000}x+1", "y=e^{2000}x"),
    ] {
        assert!(!equal(a, b) && !equal(b, a), "{a} and {b}");
        assert!(equal(a, a) && equal(b, b));
    }
    assert!(equal("e^{1000}\\sin x+1", "1+e^{1000}\\sin x"));
}

/// Expressions in LaTeX, with values that stay real for positive variables.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (0u32..200).prop_map(|n| n.to_string()),
        (1u32..50, 1u32..50).prop_map(|(a, b)| format!("\\frac{{{a}}}{{{b}}}")),
        (0u32..100, 0u32..100).prop_map(|(a, b)| format!("{a}.{b:02}")),
        prop_oneof![Just("x"), Just("y"), Just("n"), Just("\\pi")].prop_map(str::to_string),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}+{b}")),
            (inner.clone(), inner.clone())
                .prop_map(|(a, b)| format!("\\left({a}\\right)\\cdot\\left({b}\\right)")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}-\\left({b}\\right)")),
            inner.clone().prop_map(|a| format!("\\sqrt{{{a}}}")),
            (inner.clone(), 1u32..4).prop_map(|(a, n)| format!("\\left({a}\\right)^{{{n}}}")),
            inner.prop_map(|a| format!("e^{{{a}}}")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: number_of_cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reflexive(x in expression()) {
        prop_assert!(equal(&x, &x), "{x}");
    }

    #[test]
    fn symmetric(x in expression(), y in expression()) {
        prop_assert_eq!(equal(&x, &y), equal(&y, &x), "{} and {}", x, y);
    }

    #[test]
    fn never_one_more(x in expression()) {
        let more = format!("{x}+1");
        prop_assert!(!equal(&x, &more), "{x}");
        prop_assert!(!equal(&more, &x), "{x}");
    }

    #[test]
    fn sums_and_products_commute(x in expression(), y in expression()) {
        let (sum, swapped) = (format!("({x})+({y})"), format!("({y})+({x})"));
        let (product, reversed) = (format!("({x})({y})"), format!("({y})({x})"));
        // Huge exponentials overflow the arithmetic; they are undecided, never wrong the other way.
        let v = verify(&Gold::parse(&sum), &Response::answer_only(&swapped));
        prop_assert!(v.is_correct() || v.reason == verifier::Reason::Undecided, "{sum} {v:?}");
        let v = verify(&Gold::parse(&product), &Response::answer_only(&reversed));
        prop_assert!(v.is_correct() || v.reason == verifier::Reason::Undecided, "{product} {v:?}");
    }

    #[test]
    fn harmless_rewritings_change_nothing(x in expression(), n in 0usize..8) {
        let rewritten = match n {
            0 => x.replace("\\frac", "\\dfrac"),
            1 => format!("${x}$"),
            2 => format!(" {x} ."),
            3 => x.replace("\\left(", "(").replace("\\right)", ")"),
            4 => x.replace("\\cdot", "\\times "),
            5 => format!("\\({x}\\)"),
            6 => x.replace("\\pi", "π").replace('-', "−"),
            _ => format!("{{{x}}}"),
        };
        prop_assert!(equal(&x, &rewritten), "{x} as {rewritten}");
    }

    #[test]
    fn integers_of_any_size(digits in "[1-9][0-9]{0,60}") {
        let mut grouped = String::new();
        for (i, c) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(c);
        }
        prop_assert!(equal(&digits, &grouped), "{digits} as {grouped}");
        let wrong = format!("{digits}0");
        prop_assert!(!equal(&digits, &wrong));
    }

    #[test]
    fn lists_have_no_order_and_tuples_do(mut items in prop::collection::vec(0i64..1000, 2..6)) {
        let text = |v: &[i64]| v.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        let list = text(&items);
        let original = items.clone();
        items.reverse();
        prop_assert!(equal(&list, &text(&items)));
        let set = format!("\\{{{}\\}}", text(&items));
        prop_assert!(equal(&list, &set), "{}", list);
        if items != original {
            let (tuple, reversed) = (format!("({list})"), format!("({})", text(&items)));
            prop_assert!(!equal(&tuple, &reversed), "{}", tuple);
        }
    }

    #[test]
    fn any_text_is_survived(gold in "\\PC{0,60}", response in "\\PC{0,120}") {
        let g = Gold::parse(&gold);
        let v = verify(&g, &Response::new(&response));
        prop_assert_eq!(v.reward().is_none(), g.answer().is_err());
    }

    #[test]
    fn boxes_win(x in expression(), noise in "[a-z0-9 .,=+]{0,40}") {
        let response = format!("{noise} so \\boxed{{{x}}} done");
        prop_assert!(verify(&Gold::parse(&x), &Response::new(&response)).is_correct(), "{response}");
    }
}
