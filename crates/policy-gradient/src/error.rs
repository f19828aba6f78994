//! The one error type of the crate.

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a function refused its arguments. Every variant names the argument, what was expected and what was found.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor or slice has another shape than the rest of the call needs.
    #[error("expected {expected:?} for `{argument}`, found {found:?}")]
    Shape {
        /// The argument's name in the function's signature.
        argument: &'static str,
        /// The shape that would fit.
        expected: Vec<usize>,
        /// The shape that was given.
        found: Vec<usize>,
    },
    /// A number lies outside the range in which the formula means anything.
    #[error("expected {expected} for `{argument}`, found {found}")]
    Value {
        /// The argument's or field's name.
        argument: &'static str,
        /// The condition, in words.
        expected: &'static str,
        /// The offending value.
        found: f64,
    },
    /// A group is too small for the estimator.
    #[error("expected at least {expected} responses in group {group}, found {found}")]
    Group {
        /// The group's id.
        group: u64,
        /// The smallest size that works.
        expected: usize,
        /// The size that was given.
        found: usize,
    },
    /// An objective needs a tensor that was not given.
    #[error("expected `{argument}` for {needed_by}, found nothing")]
    Missing {
        /// The argument's name.
        argument: &'static str,
        /// The function or setting that needs it.
        needed_by: &'static str,
    },
    /// A device could not hand its data to the host.
    #[error("could not read `{argument}` from its device: {reason}")]
    Read {
        /// What was being read.
        argument: &'static str,
        /// The backend's words.
        reason: String,
    },
}

/// Checks a tensor's shape against the shape the rest of the call has.
pub(crate) fn same_shape<const D: usize>(
    argument: &'static str,
    found: [usize; D],
    expected: [usize; D],
) -> Result<()> {
    if found == expected {
        Ok(())
    } else {
        Err(Error::Shape { argument, expected: expected.to_vec(), found: found.to_vec() })
    }
}

/// Checks a slice's length.
pub(crate) fn same_length(argument: &'static str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        Ok(())
    } else {
        Err(Error::Shape { argument, expected: vec![expected], found: vec![found] })
    }
}

/// Checks a scalar setting.
pub(crate) fn require(
    argument: &'static str,
    found: f64,
    expected: &'static str,
    holds: impl Fn(f64) -> bool,
) -> Result<()> {
    if holds(found) { Ok(()) } else { Err(Error::Value { argument, expected, found }) }
}
