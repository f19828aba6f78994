#![cfg_attr(feature = "client", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "client"),
    doc = "Polya's problem-solving approaches as prompts, and the pipeline from a question set to verified, diverse\
           solutions. The examples of the README need the feature `client`."
)]
#![forbid(unsafe_code)]

mod approach;
pub mod batch;
#[cfg(feature = "client")]
pub mod client;
mod embedded;
mod error;
mod family;
mod generate;
pub mod journal;
mod judge;
mod maths;
mod minhash;
pub mod openai;
mod order;
mod output;
mod plan;
mod question;
pub mod recognise;
mod recorded;
mod render;
pub mod rubric;
mod run;
mod select;
pub mod signs;
mod solve;
pub mod text;

pub use approach::{Approach, Exemplar, Level, Phase};
pub use error::{Error, Result};
pub use family::Family;
pub use generate::{Candidate, Finish, FromFn, Generator, Prompted, from_fn, generate_checked, request_seed};
pub use judge::{Judge, JudgeFn, Judged, SignJudge, adherence_checked, judge_fn};
pub use maths::MathsAnswers;
pub use minhash::MinHash;
pub use output::{TrainingExample, Variant, training_example, variants};
pub use plan::{Cell, Plan, PlanConfig, Shape, Shard};
pub use question::{Correctness, Outcome, Question, check_questions};
pub use recognise::{ModelRecogniser, Recognise, SignRecogniser, Solved, approaches_checked};
pub use recorded::Recorded;
pub use render::{
    AnswerFormat, Budget, CountTokens, Message, Prompt, Render, Rendered, Role, Style, Templates,
};
pub use run::{Cost, Request, Scheduler, manifest, run};
pub use select::{
    Attempt, Graded, Keep, NearDuplicates, Selected, SelectionConfig, Yield, grade, select, solved_questions,
};
pub use solve::{Pipeline, solve};
