//! Hostile input: no panic, no deep stack, bounded work. Everything runs on a thread with a 256 kB stack.

use std::time::{Duration, Instant};

use verifier::{Gold, Policy, Response, Verdict, verify, verify_with};

fn boxed(inner: &str) -> String {
    format!("\\boxed{{{inner}}}")
}

fn join(n: usize, separator: &str, item: impl Fn(usize) -> String) -> String {
    (0..n).map(item).collect::<Vec<_>>().join(separator)
}

fn attacks() -> Vec<(&'static str, String, String)> {
    let mut all: Vec<(&'static str, String, String)> = Vec::new();
    let mut add = |name, gold: &str, response: String| all.push((name, gold.to_string(), response));
    let repeat = |s: &str, n: usize| s.repeat(n);
    for (name, piece, n) in [
        ("parentheses", "(", 100_000),
        ("closing", ")", 100_000),
        ("braces", "{", 100_000),
        ("closing braces", "}", 100_000),
        ("brackets", "[", 100_000),
        ("bars", "|", 100_000),
        ("fractions", "\\frac", 20_000),
        ("open fractions", "\\frac{", 10_000),
        ("roots", "\\sqrt{", 10_000),
        ("bare roots", "\\sqrt", 10_000),
        ("powers", "2^", 50_000),
        ("subscripts", "x_", 50_000),
        ("minus", "-", 100_000),
        ("plus-minus", "\\pm1", 25_000),
        ("functions", "\\sin", 20_000),
        ("text", "\\text{", 10_000),
        ("environments", "\\begin{pmatrix}", 7_000),
        ("boxes", "\\boxed{", 14_000),
        ("closed boxes", "\\boxed{1}", 10_000),
        ("joined boxes", "\\boxed{1} or ", 7_000),
        ("dollars", "$", 100_000),
        ("amounts", "$1", 50_000),
        ("bold", "**", 50_000),
        ("hashes", "####", 25_000),
        ("headings", "#### a b c\n", 10_000),
        ("answers", "the answer is ", 8_000),
        ("answers with dollars", "answer is $", 9_000),
        ("thoughts", "<think>", 15_000),
        ("ends of thoughts", "</think>", 12_000),
        ("tags", "<answer>", 12_000),
        ("ors", "3 or ", 20_000),
        ("points", "1.", 50_000),
        ("commas", "1,", 50_000),
        ("slashes", "1/", 50_000),
        ("colons", "1:", 50_000),
        ("units", "5 cm/", 20_000),
        ("numbers in words", "five ", 20_000),
        ("dozens", "45 dozen ", 11_000),
        ("products in words", "7 times ", 12_000),
        ("fractions in words", "2 thirds ", 11_000),
        ("sums with dots", "n+(n-1)+\\cdots+1+", 5_000),
        ("second thoughts", "The answer is 5. Actually, it is ", 3_000),
        ("hesitations", "5. Hmm, so it's ", 6_000),
        ("edits", "the answer is 5 (edit: 5 ", 4_000),
        ("edits of edits", "(edit: 5 ", 11_000),
        ("denied neighbours", "1, not ", 14_000),
        ("rounded neighbours", "5/6, or about ", 7_000),
        ("assignments", "x = 5 and y = ", 7_000),
        ("refusals", "12 is wrong, ", 7_000),
        ("counts", "there are 5 in ", 6_000),
        ("repeated results", "= 5. So 5 in ", 7_000),
        ("nested sums with dots", "2(1+2+\\cdots+", 6_000),
        ("text with mathematics", "\\text{if $n$", 8_000),
        ("italics", "\u{1d465}+", 20_000),
        ("sizes", "4 by ", 20_000),
        ("turns", "the answer is not 3 but ", 4_000),
        ("maybes", "maybe ", 15_000),
        ("nul", "\0", 100_000),
        ("replacement characters", "\u{fffd}", 33_000),
        ("combining", "\u{305}", 50_000),
        ("relations", "x<", 50_000),
        ("backslashes", "\\", 100_000),
        ("left", "\\left(", 16_000),
        ("maps", "x\\mapsto ", 10_000),
        ("conditions", "(k\\in ", 14_000),
        ("remarks", "5 (aa bb) ", 10_000),
        ("quantifiers", "$x$ for all ", 8_000),
        ("roots in prose", "√2 + ", 15_000),
        ("entities", "&lt;", 25_000),
        ("turns", "answer: 5\nQ: ", 7_000),
        ("named boxes", "x=\\boxed{1}, ", 7_000),
        ("dots", "1,2,\\ldots,", 8_000),
        ("sums with dots", "1+2+\\cdots+", 8_000),
        ("bases", "1 (base 2) ", 9_000),
        ("minus words", "minus ", 16_000),
        ("choices", "A, ", 30_000),
        ("to", "3 to ", 16_000),
    ] {
        let text = repeat(piece, n);
        add(name, "5", text.clone());
        add(name, "5", boxed(&text));
        add(name, "5", format!("The answer is {text}5"));
        add(name, &text, "5".into());
    }
    add("factorial signs", "5", repeat("3!", 1) + &repeat("!", 1_000_000));
    add("factorial signs", "5", boxed(&("3".to_string() + &repeat("!", 60_000))));
    add("letters", "5", repeat("a", 1_000_000));
    add("digits", "5", repeat("1", 1_000_000));
    add("blanks", "5", repeat(" ", 1_000_000));
    add("tower", "9^{9^{9^9}}", boxed("9^{9^{9^8}}"));
    add("exponent", "5", boxed(&format!("10^{{{}}}", repeat("9", 4000))));
    add(
        "exponents",
        &format!("10^{{{}}}", repeat("9", 4000)),
        boxed(&format!("10^{{{}8}}", repeat("9", 3999))),
    );
    add("scientific", "5", boxed("1e999999"));
    add("scientific", "1e-4000", boxed("1e-4001"));
    add("binomials", r"\binom{10^{12}}{10^{11}}", boxed(r"\binom{10^{12}}{10^{11}+1}"));
    add("binomials", r"\binom{100000}{50000}", boxed(r"\binom{100000}{49999}"));
    add("factorials", "(10^{9})!", boxed("(10^9+1)!"));
    add("factorials", "100000!", boxed("100001!"));
    add(
        "factorials",
        r"1+2+\cdots+1174{77777!min27777777777-7n97}",
        boxed(r"\pm1+2+\cdots+1174{77777!min27777777777-7n97}"),
    );
    add("sum", "5", boxed(r"\sum_{k=1}^{10^{12}} \frac1k"));
    add("nested sums", r"\sum_{a=1}^{1000}\sum_{b=1}^{1000}\sum_{c=1}^{1000} \sin(abc)", boxed("2"));
    add("power", "(x+1)^{1000000}", boxed("(x+2)^{1000000}"));
    add("terms", &join(4000, "+", |_| r"\sin x".into()), boxed(r"4000\sin x"));
    add(
        "set",
        &join(10_000, ",", |i| i.to_string()),
        boxed(&format!("\\{{{}\\}}", join(10_000, ", ", |i| (9_999 - i).to_string()))),
    );
    add(
        "roots",
        &join(1000, ",", |i| format!("\\sqrt{{{i}}}")),
        boxed(&join(1000, ",", |i| format!("\\sqrt{{{}}}", 1000 - i))),
    );
    add(
        "functions",
        &join(100, ",", |i| format!("e^{{{i}}}+x")),
        boxed(&join(100, ",", |i| format!("x+e^{{{}}}", 100 - i))),
    );
    add(
        "intervals",
        "(0,1)",
        boxed(&join(3000, "\\cup", |i| format!("(\\sqrt{{{}}},\\sqrt{{{}}})", 2 * i, 2 * i + 1))),
    );
    let rows = |n: usize, row: &str| format!("\\begin{{cases}}{}0&x>9\\end{{cases}}", row.repeat(n));
    add("cases", &rows(2000, "\\sin x&x<1\\\\"), boxed("|x|"));
    add("cases", &rows(1, &format!("{}&x<1\\\\", "\\sin(".repeat(40) + "x" + &")".repeat(40))), boxed("|x|"));
    add("cases", &rows(1, "\\sum_{k=1}^{10000}\\sin(kx)&x<1\\\\"), boxed("\\sum_{k=1}^{9999}\\sin(kx)"));
    add("dotted sum", &(join(28, "+", |i| format!("\\sin(n^{{{i}}})")) + "+\\cdots+\\sin(n^n)"), boxed("n"));
    add("builder", r"\{k^{1000}\mid k\in\mathbb{Z},0<k<1000\}", boxed("1,2"));
    // Values at the edge of what the arithmetic represents: these ask for infinities and differences of infinities.
    for huge in [
        r"\sinh(10^{9})",
        r"\tanh(10^{9})",
        r"e^{e^{e^{10}}}-e^{e^{e^{10}}}",
        r"\frac{e^{e^{50}}}{e^{e^{50}}}",
        r"\arcsin(10^{400})",
        r"\tan(10^{4000})",
        r"\ln(0)\cdot0",
        r"0^{10^{20}}-0^{0}",
        r"\sqrt[10^{18}]{10^{-4000}}",
        r"\frac{1}{10^{-4090}}-10^{4090}",
        r"\operatorname{arccosh}(10^{4000})",
        r"\arctan(e^{10^{12}})",
        r"\left(1+10^{-4000}\right)^{10^{4000}}",
        r"\lfloor e^{100}\rfloor-\lceil e^{100}\rceil",
        r"\frac{\sin x}{x^{400}}-e^{x^{400}}",
        r"\cos(i\cdot10^{9})",
    ] {
        add("edge of the range", huge, boxed("1"));
        add("edge of the range", huge, boxed(&format!("{huge}+10^{{-300}}")));
        add("edge of the range", &format!("x+{huge}"), boxed(&format!("{huge}+x+1")));
    }
    add(
        "matrix",
        &format!("\\begin{{pmatrix}}{}\\end{{pmatrix}}", join(9000, "&", |i| i.to_string())),
        boxed("5"),
    );
    all
}

fn on_a_small_stack<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new()
        .stack_size(std::env::var("STACK_KB").map_or(256, |n| n.parse().unwrap()) * 1024)
        .spawn(f)
        .unwrap()
        .join()
        .unwrap()
}

#[test]
fn attacks_are_bounded() {
    on_a_small_stack(|| {
        for (name, gold, response) in attacks() {
            let start = Instant::now();
            let g = Gold::parse(&gold);
            let v = verify(&g, &Response::new(&response));
            let _ = verify(&g, &Response::answer_only(&response));
            let _ = verify_with(&g, &Response::new(&response), &Policy::lenient());
            let spent = start.elapsed();
            // A generous bound against a busy machine and an unoptimised build; a quadratic pass takes minutes here.
            assert!(spent < Duration::from_secs(5), "{name}: {spent:?}");
            if g.answer().is_err() {
                assert_eq!(v.verdict, Verdict::UnparsedGold, "{name}");
            }
        }
    });
}

/// Found by fuzzing: a closing brace was taken for granted.
#[test]
fn an_unclosed_set_of_numbers_before_a_wide_character_is_read() {
    for text in ["\\mathbb{RΩ", "\\mathbb{R\u{1F600}}", "\\mathbb{", "\\mathbb{N"] {
        verify(&Gold::parse(text), &Response::answer_only(text));
        verify(&Gold::parse("1"), &Response::new(boxed(text).as_str()));
    }
}

#[test]
fn deep_but_legal_nesting_is_read_on_a_small_stack() {
    on_a_small_stack(|| {
        let nest = |n: usize| format!("{}x{}", "\\frac{1}{1+".repeat(n), "}".repeat(n));
        let v = verify(&Gold::parse(&nest(12)), &Response::answer_only(&nest(12)));
        assert!(v.is_correct());
        let radicals = |n: usize| format!("{}2{}", "\\sqrt{2+".repeat(n), "}".repeat(n));
        assert!(verify(&Gold::parse("2"), &Response::answer_only(&radicals(16))).is_correct());
        // Beyond the limit the answer is unreadable, not a crash.
        let v = verify(&Gold::parse("2"), &Response::answer_only(&radicals(5000)));
        assert_eq!(v.verdict, Verdict::UnparsedResponse);
    });
}

#[test]
fn the_limit_of_nesting_holds_for_every_construct() {
    on_a_small_stack(|| {
        for (open, close) in [
            ("(", ")"),
            ("[", "]"),
            ("\\{", "\\}"),
            ("{", "}"),
            ("\\sqrt{", "}"),
            ("\\frac{1}{", "}"),
            ("2^{", "}"),
            ("\\sin(", ")"),
            ("|", "|"),
            ("\\lfloor ", "\\rfloor "),
            ("-", ""),
            ("\\pm", ""),
            ("1+(2\\cdot", ")"),
            ("\\begin{pmatrix}", "\\end{pmatrix}"),
            ("\\sum_{k=1}^{2}(", ")"),
            ("\\log_{", "}5"),
            ("x=", ""),
            ("\\binom{2}{", "}"),
        ] {
            for n in [1, 10, 20, 40, 54, 55, 56, 57, 60, 200, 5000] {
                let text = format!("{}3{}", open.repeat(n), close.repeat(n));
                let gold = Gold::parse(&text);
                let _ = verify(&gold, &Response::answer_only(&text));
                let _ = verify(&Gold::parse("3+x"), &Response::answer_only(&text));
            }
        }
    });
}

/// Time grows with the length, not with its square.
#[test]
fn time_is_linear() {
    let time = |n: usize, piece: &str| {
        let text = piece.repeat(n);
        let gold = Gold::parse("5");
        (0..9)
            .map(|_| {
                let start = Instant::now();
                let _ = verify(&gold, &Response::new(&text));
                start.elapsed()
            })
            .min()
            .unwrap()
    };
    for piece in
        ["\\boxed{1} ", "the answer is: ", "$1", "3 or ", "#### x y\n", "**1** ", "maybe 3 ", "solution = "]
    {
        let (small, large) = (time(4_000, piece), time(40_000, piece));
        assert!(large < small * 60 + Duration::from_millis(50), "{piece:?}: {small:?} then {large:?}");
    }
}
