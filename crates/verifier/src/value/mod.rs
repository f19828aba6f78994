//! What an answer means: scalars, collections, sets of reals, relations, and answers that are no mathematics.

mod choices;
mod clean;
mod convert;
mod dates;
mod labels;
mod lists;
mod read;
mod relations;
mod sets;
mod text;

use crate::{
    lex::{Delim, SyntaxError},
    limits,
    policy::Policy,
    region::Region,
    scalar::Scalar,
    syntax::{Constant, Node},
};
use read::{constant_in_words, integer_in_words, parameter, read_value, subject};

pub use clean::{clean, normal_words, trim};
pub use convert::{convert, is_dots};
pub use relations::linear;
pub use sets::{interval, to_region};
pub(crate) use text::dimensions;
pub use text::is_number_words;

/// A time of day in seconds from midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Seconds from midnight.
    pub seconds: u32,
    /// Whether it was written with am or pm.
    pub marked: bool,
    /// The hour as written, when nothing else was ("3 pm").
    pub bare_hour: Option<u32>,
}

/// The meaning of an answer.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Value {
    Scalar(Box<Scalar>),
    /// Positive or negative infinity; 0 when the sign is open.
    Infinity(i8),
    /// A bare list: unordered, with repetitions.
    List(Vec<Value>),
    /// A set: unordered, without repetitions.
    Set(Vec<Value>),
    /// Ordered items between delimiters. A pair is also an interval.
    Tuple {
        open: Delim,
        close: Delim,
        items: Vec<Value>,
    },
    Region(Region),
    Matrix(Vec<Vec<Value>>),
    /// `name = value`, with the difference of both sides as an equation.
    Assign {
        name: String,
        /// The variable of a function: `x` in `f(x) = 2x`.
        argument: Option<String>,
        value: Box<Value>,
        difference: Option<Box<Scalar>>,
    },
    /// A list of assignments to different names.
    System(Vec<(String, Value)>),
    /// Left minus right side.
    Equation(Box<Scalar>),
    /// Left minus right side is positive (or not negative).
    Inequality {
        difference: Box<Scalar>,
        strict: bool,
    },
    Congruence {
        name: String,
        residue: Box<Scalar>,
        modulus: Box<Scalar>,
    },
    Ratio(Vec<Scalar>),
    Time(Time, Option<Vec<Scalar>>),
    /// A day of the year, in words: `June 20`.
    Date {
        month: u8,
        day: u8,
        year: Option<u32>,
    },
    Choice(char, Option<Box<Value>>),
    Cases(Vec<(Value, Value)>),
    /// Items with dots between them; none is the dots.
    Sequence(Vec<Option<Value>>),
    /// A standard set.
    Numbers(Constant),
    /// `{x | condition}`.
    Builder(Box<Value>, Box<Value>),
    Undefined,
    Text(String),
}

/// An answer as read: its clean text and its meaning.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The text without blanks and dollar signs, for a quick comparison.
    pub clean: String,
    /// The meaning.
    pub value: Value,
    /// The name that an inequality bounds or that is said to lie in a set.
    pub subject: Option<String>,
    /// The free parameter of a family of solutions and the set it runs through, if that is said: `k` in `π/4 + kπ, k ∈ Z`,
    /// `c` in "c x for any constant c".
    pub parameter: Option<(String, Option<Constant>)>,
}

impl Answer {
    /// Reads an answer.
    pub fn read(text: &str, policy: &Policy) -> Result<Answer, SyntaxError> {
        if text.len() > limits::ANSWER_BYTES {
            return Err(SyntaxError::Limit { what: "answer bytes", limit: limits::ANSWER_BYTES });
        }
        let trimmed = trim(text);
        if trimmed.is_empty() {
            return Err(SyntaxError::Empty);
        }
        let end = |c: char| c.is_whitespace() || matches!(c, '$' | '*' | '}');
        if text.trim_end_matches(end).ends_with(['?', '？']) {
            return Err(SyntaxError::Expected { expected: "an answer that is no question", at: text.len() });
        }
        let (value, node) = read_value(trimmed, policy)?;
        let (subject, parameter) = node.map_or((None, None), |n| (subject(&n), parameter(&n)));
        let parameter = parameter
            .or_else(|| constant_in_words(trimmed).map(|name| (name, None)))
            .or_else(|| integer_in_words(trimmed).map(|name| (name, Some(Constant::Integers))))
            .filter(|(name, _)| value.mentions(name));
        Ok(Answer { clean: clean(trimmed), value, subject, parameter })
    }
}

impl Value {
    /// The value with a free variable replaced, in scalars and the collections that hold them.
    pub fn substitute(&self, name: &str, by: &Node) -> Value {
        let all = |v: &[Value]| v.iter().map(|x| x.substitute(name, by)).collect();
        match self {
            Value::Scalar(s) => {
                let mut new = Scalar::new(s.node.substitute(name, by));
                new.unit.clone_from(&s.unit);
                Value::Scalar(Box::new(new))
            }
            Value::List(v) => Value::List(all(v)),
            Value::Set(v) => Value::Set(all(v)),
            Value::Tuple { open, close, items } => {
                Value::Tuple { open: *open, close: *close, items: all(items) }
            }
            Value::System(v) => {
                Value::System(v.iter().map(|(n, x)| (n.clone(), x.substitute(name, by))).collect())
            }
            Value::Assign { name: n, argument, value, .. } => Value::Assign {
                name: n.clone(),
                argument: argument.clone(),
                value: Box::new(value.substitute(name, by)),
                difference: None,
            },
            other => other.clone(),
        }
    }

    fn scalars(&self) -> Vec<&Scalar> {
        match self {
            Value::Scalar(s) => vec![s],
            Value::List(v) | Value::Set(v) | Value::Tuple { items: v, .. } => {
                v.iter().flat_map(Value::scalars).collect()
            }
            Value::System(v) => v.iter().flat_map(|(_, x)| x.scalars()).collect(),
            Value::Assign { value, .. } => value.scalars(),
            _ => Vec::new(),
        }
    }

    /// Whether a free variable occurs in it.
    pub fn mentions(&self, name: &str) -> bool {
        self.scalars().iter().any(|s| s.variables().iter().any(|v| v == name))
    }

    /// Its only variable, if that has a name that integers usually have.
    pub fn integer_name(&self) -> Option<String> {
        let mut names: Vec<&String> = self.scalars().into_iter().flat_map(|s| s.variables()).collect();
        names.sort();
        names.dedup();
        match &names[..] {
            [one] if matches!(one.as_str(), "k" | "l" | "m" | "n" | "N" | "K" | "t") => Some((*one).clone()),
            _ => None,
        }
    }
}

impl Answer {
    /// Whether it means something other than words or a choice.
    pub fn is_mathematics(&self) -> bool {
        // f(x) = words are words
        let mut value = &self.value;
        while let Value::Assign { value: inner, .. } = value {
            value = inner;
        }
        !matches!(value, Value::Text(_) | Value::Choice(..) | Value::Undefined)
    }
}
