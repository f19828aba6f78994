//! Polya's problem-solving approaches as prompts, and the pipeline from a question set to verified, diverse solutions.
#![forbid(unsafe_code)]

mod approach;
mod error;
mod family;
mod render;
pub mod signs;
pub mod text;

pub use approach::{Approach, Exemplar, Level, Phase};
pub use error::{Error, Result};
pub use family::Family;
pub use render::{
    AnswerFormat, Budget, CountTokens, Message, Prompt, Render, Rendered, Role, Style, Templates,
};
