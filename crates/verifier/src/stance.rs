//! Whether the words around an answer stand by it: denials, hedges, suppositions and second thoughts.
//!
//! Every function looks at one sentence or two, at most a few hundred bytes, so that extraction stays linear.

use crate::verdict::Reason;

/// Bytes of prose that are searched on either side of an answer.
const WINDOW: usize = 240;

fn head(text: &str) -> &str {
    let mut end = text.len().min(WINDOW);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Whether a word of the text is in a list, in any case; most prose has none, and needs no further look.
fn mentions(text: &str, list: &[&str]) -> bool {
    text.split(|c: char| !c.is_ascii_alphabetic())
        .filter(|w| w.len() > 1)
        .any(|word| list.iter().any(|w| w.len() == word.len() && w.eq_ignore_ascii_case(word)))
}

/// Lower case, no signs of emphasis or mathematics, contractions in full: "That can't be $x$" is "that cannot be x".
fn plain(text: &str) -> String {
    let mut t: String = text.to_lowercase();
    t.retain(|c| !matches!(c, '$' | '\\' | '(' | ')' | '[' | ']' | '*' | '{' | '}' | '_' | '`'));
    if t.contains('’') {
        t = t.replace('’', "'");
    }
    if t.contains('\'') {
        t = t.replace("can't", "cannot").replace("won't", "will not").replace("n't", " not");
        t = t.replace("'s ", " is ").replace("'m ", " am ");
    }
    t
}

/// What a verb says that takes an answer back. Subject and connectives have been removed.
const REFUSALS: &[&str] = &[
    "is wrong",
    "is incorrect",
    "is not correct",
    "is not right",
    "is not it",
    "is not valid",
    "is not possible",
    "is not allowed",
    "is not acceptable",
    "is not admissible",
    "is not the answer",
    "is not the right",
    "is not the correct",
    "is not the final",
    "is not an answer",
    "is not a solution",
    "is not a valid",
    "is not a possible",
    "is not a root",
    "is not in the domain",
    "is impossible",
    "is extraneous",
    "is an extraneous",
    "is invalid",
    "is false",
    "is a mistake",
    "is mistaken",
    "is an error",
    "is ruled out",
    "is excluded",
    "is rejected",
    "is discarded",
    "is eliminated",
    "is out of the question",
    "is too big",
    "is too small",
    "is too large",
    "was wrong",
    "was incorrect",
    "was mistaken",
    "was a mistake",
    "was an error",
    "was ruled out",
    "was excluded",
    "was rejected",
    "was discarded",
    "was eliminated",
    "was not correct",
    "was not right",
    "has been ruled out",
    "has been excluded",
    "has been rejected",
    "fails",
    "failed",
    "does not work",
    "does not satisfy",
    "does not fit",
    "does not hold",
    "does not count",
    "does not make sense",
    "does not solve",
    "does not meet",
    "does not fulfil",
    "does not check out",
    "did not work",
    "will not work",
    "would not work",
    "cannot work",
    "cannot be right",
    "cannot be correct",
    "cannot be true",
    "cannot be valid",
    "cannot be the answer",
    "cannot be the right",
    "cannot be the correct",
    "cannot be a solution",
    "could not be right",
    "could not be correct",
    "could not be the answer",
    "would be wrong",
    "would be incorrect",
    "would be the wrong",
    "would be impossible",
    "should be rejected",
    "should be discarded",
    "should be excluded",
    "should be replaced",
    "must be rejected",
    "must be discarded",
    "must be excluded",
    "must be wrong",
    "contradicts",
    "overcounts",
    "undercounts",
    "violates",
    "leads to a contradiction",
    "gives a contradiction",
    "is a contradiction",
    "seems wrong",
    "comes close",
    "is a lower bound",
    "is an upper bound",
    "is only a",
    "is just a",
    "almost works",
    "nearly works",
    "was my first guess",
    "was my initial guess",
    "was my first attempt",
    "seems incorrect",
    "looks wrong",
];

/// Words before a verb that speak of what stands before them.
const SUBJECTS: &[&str] = &[
    "which",
    "that",
    "this",
    "it",
    "but",
    "though",
    "although",
    "however",
    "and",
    "as",
    "because",
    "since",
    "answer",
    "value",
    "result",
    "the",
    "my",
    "i",
    "wait",
    "hmm",
    "hm",
    "no",
    "oops",
    "oh",
    "actually",
    "sorry",
    "hold",
    "on",
    "hang",
    "unfortunately",
    "clearly",
    "apparently",
    "so",
    "obviously",
    "of",
    "course",
    "yet",
    "also",
    "really",
    "definitely",
    "certainly",
];

/// Removes leading words of [`SUBJECTS`]; whether there were any.
fn predicate(mut t: &str) -> (&str, bool) {
    let mut any = false;
    loop {
        t = t.trim_start_matches([' ', ',', ';', ':', '-', '–', '—', '.', '…', '!', '\n', '"', '\'']);
        let end = t.find(|c: char| !c.is_alphabetic()).unwrap_or(t.len());
        if !SUBJECTS.contains(&&t[..end]) || end == 0 {
            return (t, any);
        }
        any = true;
        t = &t[end..];
    }
}

fn refused(t: &str) -> bool {
    REFUSALS
        .iter()
        .any(|w| t.strip_prefix(w).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphabetic())))
}

/// "is a popular but incorrect answer", ", which turned out to be wrong", ", a contradiction"
fn rejected_later(same: &str) -> bool {
    if same.starts_with("a contradiction") || same.starts_with("contradiction") {
        return true;
    }
    let verb = ["is ", "was ", "would be "].iter().any(|w| same.starts_with(w));
    const VERDICTS: [&str; 12] = [
        "so it is not the answer",
        "so it is not a solution",
        "so it is wrong",
        "so it fails",
        "turned out to be wrong",
        "turned out to be incorrect",
        "turns out to be wrong",
        "turns out to be incorrect",
        "turned out wrong",
        "turned out to be a mistake",
        "proved wrong",
        "proved to be wrong",
    ];
    const NOUNS: [&str; 8] = [
        "incorrect answer",
        "wrong answer",
        "incorrect guess",
        "wrong guess",
        "incorrect result",
        "wrong result",
        "misconception",
        "common mistake",
    ];
    let ends = |at: usize, w: &str| !same[at + w.len()..].starts_with(|c: char| c.is_ascii_alphabetic());
    VERDICTS.iter().any(|w| same.contains(w))
        || verb && NOUNS.iter().any(|w| same.find(w).is_some_and(|at| ends(at, w)))
}

/// Where the first sentence of normalised prose ends.
fn sentence(t: &str) -> usize {
    let b = t.as_bytes();
    (0..b.len())
        .find(|&i| {
            b[i] == b'\n'
                || matches!(b[i], b'.' | b'!' | b'?' | b';')
                    && b.get(i + 1).is_none_or(u8::is_ascii_whitespace)
        })
        .unwrap_or(t.len())
}

/// What follows an answer directly: "12 fails", "12, which is wrong", "12. No, that can't be right", "12, maybe 13".
pub(crate) fn after(rest: &str) -> Option<Reason> {
    let rest = head(rest);
    if !rest.bytes().any(|c| c.is_ascii_alphabetic() || c == b'?' || c >= 0x80) {
        return None;
    }
    const TRIGGERS: &[&str] = &[
        "or",
        "not",
        "isn",
        "can",
        "cannot",
        "doesn",
        "didn",
        "won",
        "wasn",
        "maybe",
        "perhaps",
        "possibly",
        "wrong",
        "incorrect",
        "impossible",
        "extraneous",
        "invalid",
        "false",
        "mistake",
        "mistaken",
        "error",
        "ruled",
        "out",
        "excluded",
        "rejected",
        "discarded",
        "eliminated",
        "big",
        "small",
        "large",
        "fails",
        "failed",
        "replaced",
        "contradicts",
        "contradiction",
        "overcounts",
        "undercounts",
        "violates",
        "close",
        "works",
        "guess",
        "attempt",
        "misconception",
        "unsure",
        "plausible",
        "bound",
        "just",
        "but",
        "sure",
        "only",
        "oder",
        "ou",
    ];
    if rest.is_ascii()
        && !rest.contains('?')
        && !rest.trim_start().starts_with("o ")
        && !mentions(rest, TRIGGERS)
    {
        return None;
    }
    let t = plain(rest);
    let t = t.trim_start_matches([' ', ',', '}']);
    // "10, maybe 11", "10 or so, perhaps $11$"
    let other = t.trim_start_matches("or so").trim_start_matches([',', ' ']);
    let value = |t: &str| t.trim_start().starts_with(|c: char| c.is_ascii_digit() || c == '-');
    if ["maybe", "perhaps", "possibly"].iter().any(|w| other.strip_prefix(w).is_some_and(value)) {
        return Some(Reason::Hedged);
    }
    const HEDGES: &[&str] = &[
        "or maybe",
        "or perhaps",
        "or possibly",
        "or it could",
        "or it might",
        "or else",
        "or is it",
        "but i am not sure",
        "not sure",
        "i am not sure",
        "i guess; or",
        "unsure",
        "but i get ",
        "but i got ",
        "but we get ",
        "seems plausible",
        "is plausible",
        "though i am not sure",
        "but it could be",
        "but it might be",
        "but it may be",
        "but maybe",
        "but possibly",
        "but perhaps",
    ];
    if t.starts_with('?') || HEDGES.iter().any(|h| t.starts_with(h)) {
        return Some(Reason::Hedged);
    }
    if ["ではない", "ではありません", "가 아닙", "이 아닙", "가 아니", "이 아니"]
        .iter()
        .any(|w| t.starts_with(w))
    {
        return Some(Reason::Negated);
    }
    if ["是错", "不对", "不正确", "不成立", "不是答案", "是不对", "是不正确", "错误"]
        .iter()
        .any(|w| t.starts_with(w))
    {
        return Some(Reason::Negated);
    }
    let end = sentence(t);
    // In the same sentence the verb may follow at once; in the next one it needs a subject ("This is wrong."). What is
    // impossible there is often the contrary of the answer. An interjection ("Wait.") is no sentence.
    let (same, _) = predicate(&t[..end]);
    if refused(same) || rejected_later(&t[..end]) {
        return Some(Reason::Negated);
    }
    // "36 or more", "36 only if", "36 oder 37"
    let bound = [
        "or more",
        "or higher",
        "or greater",
        "or larger",
        "or above",
        "or fewer",
        "or less",
        "or below",
        "or lower",
        "only if",
    ];
    if bound.iter().any(|w| {
        t.strip_prefix(w).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphabetic()))
            && !t.starts_with("or less than")
            && !t.starts_with("or more than")
    }) {
        return Some(Reason::Hedged);
    }
    if ["oder ", "ou ", "o ", "или ", "または", "hoặc "].iter().any(|w| t.strip_prefix(w).is_some_and(value))
    {
        return Some(Reason::Hedged);
    }
    let mut next = &t[end..];
    for _ in 0..2 {
        let start = next.len() - next.trim_start_matches(['.', '!', '?', ';', ' ', '\n', ',']).len();
        next = &next[start..];
        let end = sentence(next);
        let (said, subject) = predicate(&next[..end]);
        let contrary = ["is impossible", "is not possible", "is a contradiction"];
        if subject && refused(said) && !contrary.iter().any(|w| said.starts_with(w)) {
            return Some(Reason::Negated);
        }
        if !said.is_empty() {
            break;
        }
        next = &next[end..];
    }
    None
}

/// Whether the last words before an answer deny it. `before` is in lower case.
pub(crate) fn denies(before: &str) -> bool {
    const WORDS: &[&str] = &[
        " not",
        "isn't",
        "isn’t",
        "wasn't",
        " never",
        "can't be",
        "can’t be",
        "cannot be",
        "could not be",
        "couldn't be",
        "won't be",
        " not be",
        "cannot equal",
        "can't equal",
        "does not equal",
        "doesn't equal",
        "not equal to",
        "different from",
        "other than",
        "instead of",
        "rather than",
        "≠",
        "!=",
        "\\ne",
        "\\neq",
        " but not",
        " nor",
        " bounded by",
        "differ from",
        "differs from",
        "anything but",
        "everything but",
        " all but",
        " except",
        " except for",
        " apart from",
        " excluding",
        " far from",
        " nowhere near",
        " no longer",
        "no way it is",
        "no way it's",
        "no way that it is",
        " no way that it's",
        "不是",
        "并非",
        "不等于",
        "不为",
        "而不是",
    ];
    WORDS.iter().any(|w| before.ends_with(w)) || rejects(before)
}

/// "we must discard x =", "this rules out the case n =".
fn rejects(before: &str) -> bool {
    const VERBS: &[&str] = &[
        "reject",
        "rejected",
        "discard",
        "discarded",
        "exclude",
        "excluded",
        "excludes",
        "eliminate",
        "eliminated",
        "eliminates",
        "rule",
        "rules",
        "ruled",
        "dismiss",
        "throw",
        "disregard",
    ];
    let mut t = before;
    if !mentions(t, VERBS) {
        return false;
    }
    for _ in 0..6 {
        t = t.trim_end_matches([' ', '=', ':', '$']);
        let from = t.rfind(' ').map_or(0, |n| n + 1);
        let word = &t[from..];
        let label = word.len() == 1
            || matches!(
                word,
                "the"
                    | "value"
                    | "values"
                    | "number"
                    | "solution"
                    | "root"
                    | "case"
                    | "answer"
                    | "option"
                    | "possibility"
                    | "of"
                    | "candidate"
            );
        if !label {
            break;
        }
        t = &t[..from];
    }
    let t = t.trim_end();
    [
        " reject",
        " rejected",
        " discard",
        " discarded",
        " exclude",
        " excluded",
        " excludes",
        " eliminate",
        " eliminated",
        " eliminates",
        " rule out",
        " rules out",
        " ruled out",
        " dismiss",
        " throw out",
        " throw away",
        " disregard",
    ]
    .iter()
    .any(|w| t.ends_with(w))
}

/// Whether the last words before an answer leave it open. `before` is in lower case.
pub(crate) fn hedges_before(before: &str) -> bool {
    ["maybe", "perhaps", "possibly", "might be", "could be", "may be", "可能是", "可能为", "也许是", "大概是"]
        .iter()
        .any(|w| before.ends_with(w))
}

/// What the clause before an answer, or before the words that announce it, says of it: "I don't think it is",
/// "Suppose that", "A common mistake is to answer".
pub(crate) fn clause_before(lead: &str) -> Option<Reason> {
    let mut from = lead.len().saturating_sub(WINDOW);
    while !lead.is_char_boundary(from) {
        from += 1;
    }
    let lead = &lead[from..];
    const TRIGGERS: &[&str] = &[
        "think",
        "believe",
        "convinced",
        "doubt",
        "unlikely",
        "mistake",
        "error",
        "naive",
        "naively",
        "tempting",
        "tempted",
        "wrongly",
        "mistakenly",
        "might",
        "may",
        "could",
        "can",
        "seem",
        "said",
        "wrong",
        "people",
        "glance",
        "true",
        "case",
        "false",
        "way",
        "answer",
        "if",
        "suppose",
        "supposing",
        "assume",
        "assuming",
        "imagine",
        "have",
        "assumption",
        "approach",
        "method",
        "forget",
        "forgets",
        "forgetting",
        "neglecting",
    ];
    if !mentions(lead, TRIGGERS) && !lead.contains('ï') {
        return None;
    }
    let t = format!(" {}", plain(lead).trim_start());
    let cut = [
        ",",
        ";",
        ":",
        " but ",
        " so ",
        " instead ",
        " actually ",
        " however ",
        " thus ",
        " hence ",
        " therefore ",
    ]
    .iter()
    .filter_map(|w| t.rfind(w).map(|at| at + w.len() - usize::from(w.starts_with(' '))))
    .max()
    .unwrap_or(0);
    let clause = format!(" {} ", t[cut..].trim());
    const DENIALS: &[&str] = &[
        " do not think ",
        " do not believe ",
        " not convinced ",
        " doubt ",
        " unlikely that ",
        " mistake is ",
        " mistake would ",
        " mistake to ",
        " error is to ",
        " naive ",
        " naïve ",
        " naively ",
        " tempting ",
        " tempted ",
        " wrongly ",
        " mistakenly ",
        " might seem ",
        " when i said ",
        " i was wrong ",
        " was wrong to ",
        " many people ",
        " most people ",
        " some people ",
        " at first glance ",
        " would have been ",
        " wrong assumption ",
        " wrong approach ",
        " wrong method ",
        " incorrect assumption ",
        " incorrect approach ",
        " not true that ",
        " not the case that ",
        " false that ",
        " no way ",
        " if the answer ",
        " whether the answer ",
        " claim that the answer ",
        " suggestion that the answer ",
    ];
    let opening = [
        " if ",
        " suppose ",
        " supposing ",
        " assume ",
        " assuming ",
        " imagine ",
        " let us assume ",
        " let us suppose ",
        " let is assume ",
        " let is suppose ",
    ];
    let doubtless = [" no doubt ", " without doubt ", " without a doubt ", " beyond doubt "];
    // "one might think", "you could believe"
    let opinion = [" might ", " may ", " could ", " can "].iter().any(|modal| {
        clause.find(modal).is_some_and(|at| {
            let rest = &clause[at + modal.len()..];
            [
                "think ",
                "believe ",
                "say ",
                "expect ",
                "guess ",
                "suspect ",
                "conclude ",
                "assume ",
                "be tempted ",
            ]
            .iter()
            .any(|w| rest.starts_with(w))
        })
    }) && [" one ", " you ", " some ", " people ", " many ", " somebody ", " someone "]
        .iter()
        .any(|w| clause.contains(w));
    // "If we forget to carry, we get 25."
    let slip = ["if we forget", "if you forget", "if one forgets", "forgetting ", "neglecting "]
        .iter()
        .any(|w| t.trim_start().starts_with(w));
    let denied = opinion
        || slip
        || DENIALS.iter().any(|w| clause.contains(w)) && !doubtless.iter().any(|w| clause.contains(w));
    // What follows a condition without a comma has numbers before it: "if 300 people come they pay 300 · 10 =".
    let supposed = opening.iter().any(|w| clause.starts_with(w))
        && !clause.contains(" then ")
        && !clause.bytes().any(|c| c.is_ascii_digit());
    (denied || supposed).then_some(Reason::Negated)
}

/// Doubt within the sentence that gives an answer.
pub(crate) fn hedge_inside(sentence: &str) -> bool {
    let lower = sentence.to_ascii_lowercase();
    const WORDS: &[&str] = &[
        " maybe",
        " perhaps",
        " possibly",
        " or it could",
        " or it might",
        "not sure",
        "otherwise, it is",
        "otherwise it is",
        "otherwise, the answer",
        "otherwise the answer",
        "(possibly",
        "(maybe",
        "(perhaps",
        "?)",
    ];
    WORDS.iter().any(|h| lower.contains(h))
}

/// Whether a text breaks off: it ends with an operator, an opening, or a word that needs another after it.
pub(crate) fn breaks_off(text: &str) -> bool {
    let t = text.trim_end();
    let Some(last) = t.chars().next_back() else { return false };
    if matches!(last, '+' | '=' | '×' | '·' | '÷' | '^' | '(' | '<' | '/' | '−' | '\\')
        || last == '-' && t.ends_with(" -")
    {
        return !t.ends_with("\\)") && !t.ends_with("++");
    }
    if !last.is_ascii_alphabetic() {
        return false;
    }
    let from = t.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len();
    let word = &t[from..];
    from > 0
        && t[..from].ends_with(' ')
        && matches!(
            word,
            "the"
                | "an"
                | "of"
                | "to"
                | "and"
                | "or"
                | "by"
                | "we"
                | "is"
                | "are"
                | "must"
                | "then"
                | "which"
                | "that"
                | "with"
                | "for"
                | "from"
                | "add"
                | "subtract"
                | "multiply"
                | "divide"
                | "plus"
                | "minus"
                | "so"
                | "because"
                | "if"
                | "when"
                | "where"
                | "since"
                | "but"
                | "as"
                | "equals"
                | "than"
                | "into"
                | "its"
                | "this"
                | "these"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_an_answer() {
        for denied in [
            " is wrong.",
            ", which is incorrect",
            ". No, that's wrong.",
            ". That can't be right.",
            " does not satisfy the equation",
            " would be the wrong answer",
            "$, but that overcounts.",
            "}\n\nHmm, this is wrong. I need more time",
            ". But this contradicts the condition.",
        ] {
            assert_eq!(after(denied), Some(Reason::Negated), "{denied}");
        }
        for fine in [
            ". This is not the same as 5.",
            ", not 13",
            ", since 13 fails",
            ". We are done.",
            " apples",
            ", which is prime.",
        ] {
            assert_eq!(after(fine), None, "{fine}");
        }
        assert_eq!(after(" or maybe 13"), Some(Reason::Hedged));
    }

    #[test]
    fn what_leads_to_an_answer() {
        for denied in
            ["I don't think ", "A common mistake is to answer ", "Suppose ", "The naive count gives "]
        {
            assert!(clause_before(denied).is_some(), "{denied}");
        }
        for fine in [
            "There is no doubt that ",
            "If x > 0, then ",
            "It is tempting to say 11, but ",
            "The number of mistakes is ",
        ] {
            assert!(clause_before(fine).is_none(), "{fine}");
        }
        assert!(denies(" we must discard x ="));
        assert!(!denies(" we keep x ="));
    }

    #[test]
    fn texts_that_break_off() {
        assert!(breaks_off("which gives 64 +") && breaks_off("we must subtract the"));
        assert!(!breaks_off("it is 64") && !breaks_off("64 apples") && !breaks_off("(the"));
    }
}
