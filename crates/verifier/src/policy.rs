//! Every judgement call, each with its default.

use serde::{Deserialize, Serialize};

/// What a percent sign means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Percent {
    /// `15%` is 0.15 and nothing else.
    #[default]
    Fraction,
    /// The sign is dropped: `15%` is 15.
    Ignore,
    /// `15%` may be read as 0.15 or as 15, whichever matches.
    Either,
}

/// What is done with units of measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Units {
    /// A missing unit is accepted, a different unit is not.
    #[default]
    Optional,
    /// Units are dropped on both sides.
    Ignore,
    /// Both sides must carry the same unit, or neither.
    Required,
    /// As `Optional`, and convertible units are converted: `1 km` is `1000 m`, `180°` is `π`.
    Convert,
}

/// How an ordered answer relates to an unordered one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// A bare comma list is unordered and equals the set of its items; a parenthesised tuple is ordered and is not a list.
    #[default]
    Unordered,
    /// A bare comma list is ordered.
    Ordered,
    /// A bare list equals a tuple with the same items in the same order, and a set with the same items.
    Either,
}

/// What a base subscript means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// `2112_6` is the number 476; the bare digits `2112` are another number.
    #[default]
    Required,
    /// Bare digits are accepted for a numeral with a base.
    Optional,
}

/// Which of several boxes counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Boxes {
    /// The last one, together with boxes that a comma, "and" or "or" joins to it.
    #[default]
    LastJoined,
    /// Only the last one.
    Last,
}

/// How numbers with commas and points are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Separators {
    /// `1,234.5`: a comma before exactly three digits groups thousands, the point is decimal.
    #[default]
    English,
    /// `1.234,5`: the comma is decimal, the point groups thousands.
    European,
}

/// Every judgement call in one place. `Policy::default()` is the strict mathematics; see [`Policy::lenient`] and
/// [`Policy::strict`] for the neighbours. Unknown keys in a serialised policy are errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// The percent sign. Default [`Percent::Fraction`].
    pub percent: Percent,
    /// A decimal equals a value that rounds to it when it has at least this many significant digits. Default 8.
    pub significant_digits: u32,
    /// If positive, two real numbers are equal when they differ by at most this fraction of the gold value.
    /// Makes the comparison asymmetric. Default 0.
    pub relative_tolerance: f64,
    /// Units. Default [`Units::Optional`].
    pub units: Units,
    /// Lists, sets and tuples. Default [`Order::Unordered`].
    pub order: Order,
    /// Whether an interval equals the inequality that describes it. Default true.
    pub interval_is_inequality: bool,
    /// Whether `x = 5` equals `5`, and `f(x) = 2x` equals `2x`. Default true.
    pub drop_assignment: bool,
    /// Bases of numerals. Default [`Base::Required`].
    pub base: Base,
    /// Whether `2/4` is accepted for `1/2`. Default true. When false, the response must not hold a fraction of integers
    /// that can be reduced.
    pub unreduced: bool,
    /// Several boxes. Default [`Boxes::LastJoined`].
    pub boxes: Boxes,
    /// Whether only the text after the last `</think>` counts (and an unclosed `<think>` hides everything after it).
    /// Default true.
    pub after_think: bool,
    /// Whether answers are extracted from prose ("the answer is 5", the last number) when nothing is boxed or tagged. Default true.
    pub prose: bool,
    /// Whether multiple-choice letters are recognised: `(C)`, `C.` and `\text{C}` are all the choice C. Default true.
    pub choices: bool,
    /// Whether words are compared when an answer is not mathematics ("Monday"). Default true.
    pub text: bool,
    /// Thousands and decimal separators. Default [`Separators::English`].
    pub separators: Separators,
    /// Longest response that is read, in bytes; longer ones are read from their end. Default 1 MiB.
    pub max_bytes: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            percent: Percent::default(),
            significant_digits: 8,
            relative_tolerance: 0.0,
            units: Units::default(),
            order: Order::default(),
            interval_is_inequality: true,
            drop_assignment: true,
            base: Base::default(),
            unreduced: true,
            boxes: Boxes::default(),
            after_think: true,
            prose: true,
            choices: true,
            text: true,
            separators: Separators::default(),
            max_bytes: 1 << 20,
        }
    }
}

impl Policy {
    /// What is wrong with the numbers of a policy, if anything: the tolerance is finite and not negative, digits and bytes
    /// at least 1.
    ///
    /// # Errors
    /// A sentence that names the value.
    pub fn check(&self) -> Result<(), String> {
        if !(self.relative_tolerance.is_finite() && self.relative_tolerance >= 0.0) {
            return Err(format!(
                "relative_tolerance must be 0 or a positive number, found {}",
                self.relative_tolerance
            ));
        }
        if self.significant_digits == 0 {
            return Err("significant_digits must be at least 1, found 0".into());
        }
        if self.max_bytes == 0 {
            return Err("max_bytes must be at least 1, found 0".into());
        }
        Ok(())
    }

    /// For scoring benchmarks kindly: percent either way, three digits are enough for a decimal, units are converted,
    /// lists equal tuples, bases may be missing.
    pub fn lenient() -> Self {
        Policy {
            percent: Percent::Either,
            significant_digits: 3,
            units: Units::Convert,
            order: Order::Either,
            base: Base::Optional,
            ..Policy::default()
        }
    }

    /// For rewards that must not be gamed: no rounding at all, the response must box or tag its answer, reduced
    /// fractions, only the last box, units as in the gold answer.
    pub fn strict() -> Self {
        Policy {
            significant_digits: u32::MAX,
            units: Units::Required,
            unreduced: false,
            boxes: Boxes::Last,
            prose: false,
            ..Policy::default()
        }
    }
}
