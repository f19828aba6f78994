//! The families that ship with the crate, embedded from `families/`.

use std::sync::LazyLock;

use crate::family::Family;

macro_rules! files {
    ($family:literal: $($id:literal),+ $(,)?) => {
        &[$(($id, include_str!(concat!("../families/", $family, "/", $id, ".toml")))),+]
    };
}

type Files = &'static [(&'static str, &'static str)];

const MATHS: Files = files!["maths":
    "act-it-out",
    "analogy",
    "assume-solved",
    "auxiliary-element",
    "auxiliary-problem",
    "back-to-definitions",
    "bar-model",
    "bijection",
    "both-ends",
    "bright-idea",
    "carry-the-units",
    "case-analysis",
    "change-representation",
    "check-by-substitution",
    "check-determinacy",
    "check-special-cases",
    "combine-rates",
    "complement",
    "decompose-recombine",
    "double-count",
    "draw-a-figure",
    "estimate-and-check",
    "extremal-principle",
    "extreme-cases",
    "false-position",
    "filter-the-data",
    "find-invariant",
    "find-pattern",
    "generalise",
    "guess-check-adjust",
    "indirect-proof",
    "induction",
    "introduce-notation",
    "keep-exact",
    "make-a-table",
    "organised-list",
    "pair-and-group",
    "parity",
    "pigeonhole",
    "recursion",
    "related-problem",
    "relax-a-condition",
    "restate-the-problem",
    "reuse-the-method",
    "rule-out",
    "running-ledger",
    "see-at-a-glance",
    "separate-conditions",
    "set-up-equations",
    "simpler-numbers",
    "simplify-first",
    "solve-another-way",
    "specialise",
    "squeeze",
    "step-by-step",
    "subgoals",
    "substitution",
    "symmetry",
    "test-by-dimension",
    "two-loci",
    "unit-rate",
    "unknown-data-condition",
    "vary-the-problem",
    "work-backward",
];

const CODE: Files = files!["code":
    "contract-first",
    "iterate-with-state",
    "recursive-code",
    "right-data-structure",
    "subfunctions",
    "trace-by-hand",
];

const NARRATIVE: Files = files!["narrative":
    "assign-by-strengths",
    "clue-table",
    "means-motive-opportunity",
    "rule-out-suspects",
    "timeline",
];

fn embedded(id: &str, header: &str, files: Files) -> Family {
    Family::assemble(&format!("embedded family `{id}`"), header, files)
        .unwrap_or_else(|e| panic!("the embedded family `{id}` is tested to be valid: {e}"))
}

impl Family {
    /// The mathematics family: Polya's approaches.
    pub fn maths() -> Self {
        static FAMILY: LazyLock<Family> =
            LazyLock::new(|| embedded("maths", include_str!("../families/maths/family.toml"), MATHS));
        FAMILY.clone()
    }

    /// Approaches to programming problems.
    pub fn code() -> Self {
        static FAMILY: LazyLock<Family> =
            LazyLock::new(|| embedded("code", include_str!("../families/code/family.toml"), CODE));
        FAMILY.clone()
    }

    /// Approaches to questions about a story: who did it, who should do what.
    pub fn narrative() -> Self {
        static FAMILY: LazyLock<Family> = LazyLock::new(|| {
            embedded("narrative", include_str!("../families/narrative/family.toml"), NARRATIVE)
        });
        FAMILY.clone()
    }
}
