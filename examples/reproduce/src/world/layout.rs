//! Three ways to write the same problem: plain, as code, and as a short story. Solutions are written alike in all.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::problem::{Kind, Op, Part, Problem};

/// How a question is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// `? +4 -5 -4 = 12 ;`: start, steps, end.
    Plain,
    /// `def f(x): x += 4 ; x -= 5 ; x -= 4 ; f( ? ) == 12`: steps, start, end.
    Code,
    /// `Ann ends with 12 pears . she began with some , got 4 , lost 5 , lost 4 .`: end, start, steps.
    Story,
}

/// People of the stories.
pub const PEOPLE: [&str; 6] = ["Ann", "Ben", "Cleo", "Dan", "Eva", "Finn"];
/// Things the stories count.
pub const THINGS: [&str; 6] = ["pears", "books", "coins", "shells", "cards", "beads"];
/// Names of functions in code.
pub const FUNCTIONS: [&str; 4] = ["f", "g", "h", "k"];

/// The words of a question. `rng` picks the people and things of a story, and nothing else.
pub fn question(problem: &Problem, layout: Layout, rng: &mut impl Rng) -> Vec<String> {
    let thing = THINGS[rng.random_range(0..THINGS.len())];
    let first = rng.random_range(0..PEOPLE.len());
    let mut words = Vec::new();
    for (i, part) in problem.parts.iter().enumerate() {
        let linked = i > 0;
        match layout {
            Layout::Plain => plain(part, linked, &mut words),
            Layout::Code => code(part, linked, FUNCTIONS[i % FUNCTIONS.len()], &mut words),
            Layout::Story => story(part, linked, PEOPLE[(first + i) % PEOPLE.len()], thing, &mut words),
        }
    }
    words
}

/// The start and end as they are shown: a number, the box, or the previous result.
fn ends(part: &Part, linked: bool, hidden: &str, previous: &str) -> (String, String) {
    let (start, end) = (part.values[0].to_string(), part.values[3].to_string());
    let link = |shown: String| if linked { previous.to_string() } else { shown };
    match part.kind {
        Kind::End => (link(start), hidden.to_string()),
        Kind::Operand => (link(start), end),
        Kind::Start | Kind::Twice => (hidden.to_string(), link(end)),
    }
}

fn hides_operand(part: &Part, step: usize) -> bool {
    step == 1 && matches!(part.kind, Kind::Operand | Kind::Twice)
}

fn plain(part: &Part, linked: bool, words: &mut Vec<String>) {
    let (start, end) = ends(part, linked, "?", "ans");
    words.push(start);
    for (i, op) in part.ops.iter().enumerate() {
        words.push(match (hides_operand(part, i), op) {
            (true, Op::Add(_)) => "+?".to_string(),
            (true, Op::Sub(_)) => "-?".to_string(),
            (_, op) => op.text(),
        });
    }
    words.extend(["=".to_string(), end, ";".to_string()]);
}

fn code(part: &Part, linked: bool, name: &str, words: &mut Vec<String>) {
    let (start, end) = ends(part, linked, "?", "ans");
    words.extend(["def".to_string(), format!("{name}(x):")]);
    for (i, op) in part.ops.iter().enumerate() {
        let (sign, operand) = match op {
            Op::Add(n) => ("+=", n),
            Op::Sub(n) => ("-=", n),
            Op::Mul(n) => ("*=", n),
        };
        let operand = if hides_operand(part, i) { "?".to_string() } else { operand.to_string() };
        words.extend(["x".to_string(), sign.to_string(), operand, ";".to_string()]);
    }
    words.extend([format!("{name}("), start, ")==".to_string(), end, ";".to_string()]);
}

fn story(part: &Part, linked: bool, who: &str, things: &str, words: &mut Vec<String>) {
    let (start, end) = ends(part, linked, "some", "that-many");
    words.extend([who, "ends", "with", &end, things, ".", "began", "with", &start].map(str::to_string));
    for (i, op) in part.ops.iter().enumerate() {
        let (verb, operand) = match op {
            Op::Add(n) => ("got", n),
            Op::Sub(n) => ("lost", n),
            Op::Mul(n) => ("times", n),
        };
        let operand = if hides_operand(part, i) { "some".to_string() } else { operand.to_string() };
        words.extend([",".to_string(), verb.to_string(), operand]);
    }
    words.push(".".to_string());
}
