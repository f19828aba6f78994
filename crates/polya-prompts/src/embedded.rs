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
    "analogy",
    "case-analysis",
    "draw-a-figure",
    "find-pattern",
    "indirect-proof",
    "set-up-equations",
    "step-by-step",
    "work-backward",
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
}
