//! Polya's problem-solving approaches as prompts, and the pipeline from a question set to verified, diverse solutions.
#![forbid(unsafe_code)]

mod approach;
mod error;
mod family;
mod generate;
mod judge;
mod minhash;
mod question;
mod render;
mod select;
pub mod signs;
pub mod text;

pub use approach::{Approach, Exemplar, Level, Phase};
pub use error::{Error, Result};
pub use family::Family;
pub use generate::{Candidate, Finish, FromFn, Generator, Prompted, from_fn, generate_checked, request_seed};
pub use judge::{Judge, JudgeFn, Judged, SignJudge, adherence_checked, judge_fn};
pub use minhash::MinHash;
pub use question::{Correctness, Outcome, Question, check_questions};
pub use render::{
    AnswerFormat, Budget, CountTokens, Message, Prompt, Render, Rendered, Role, Style, Templates,
};
pub use select::{
    Attempt, Graded, Keep, NearDuplicates, Selected, SelectionConfig, Yield, grade, select, solved_questions,
};
