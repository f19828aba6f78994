//! One approach: what it is, how to ask for it, worked exemplars, and the signs that show it.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::signs::{Sign, Words};

/// Polya's four phases of solving a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Understanding the problem.
    Understand,
    /// Devising a plan.
    Plan,
    /// Carrying out the plan.
    CarryOut,
    /// Looking back.
    LookBack,
}

/// How hard an exemplar is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Grade school.
    School,
    /// Secondary school.
    Secondary,
    /// Competition.
    Competition,
}

/// A question solved by one approach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exemplar {
    /// The question.
    pub question: String,
    /// The working, without the final answer line: rendering adds that line in the wanted format.
    pub solution: String,
    /// The final answer alone.
    pub answer: String,
    /// How hard it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// A Python expression for the answer, found by another way than the solution's (often by brute force). It is never
    /// rendered or run here; `scripts/check_exemplars.py` compares it with `answer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
}

/// An approach, as read from its file. See the page on writing an approach for the meaning of each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approach {
    /// Identifier: lower-case letters, digits and hyphens.
    pub id: String,
    /// Name for people. It never reaches a training example.
    pub name: String,
    /// The phase it belongs to, where that makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The questions a solver asks, in our own words.
    #[serde(default)]
    pub questions: Vec<String>,
    /// When it helps.
    #[serde(default)]
    pub when: String,
    /// What a model is told to do.
    pub instruction: String,
    /// What sets it apart, as short labels; the order of nested subsets is computed from them.
    #[serde(default)]
    pub facets: Vec<String>,
    /// Ids of approaches close to this one.
    #[serde(default)]
    pub related: Vec<String>,
    /// Phrases by which a reader recognises it.
    #[serde(default)]
    pub signs: Vec<Sign>,
    /// Worked exemplars; rendering takes them in this order.
    #[serde(default, rename = "exemplar")]
    pub exemplars: Vec<Exemplar>,
}

impl Approach {
    /// Reads one approach from TOML. `place` names the text in errors.
    ///
    /// ```
    /// let text = "id = 'back'\nname = 'Backward'\ninstruction = 'Undo each step.'\nsigns = ['undo']";
    /// let approach = polya_prompts::Approach::from_toml_str(text, "example").unwrap();
    /// assert!(approach.matches_signs("First undo the doubling."));
    /// ```
    ///
    /// # Errors
    /// [`Error::Format`] for invalid TOML, unknown keys, a bad id or sign, or empty texts.
    pub fn from_toml_str(text: &str, place: &str) -> Result<Self> {
        let approach: Self = toml::from_str(text).map_err(|e| Error::format(place, e.to_string()))?;
        approach.validate(place)?;
        Ok(approach)
    }

    pub(crate) fn validate(&self, place: &str) -> Result<()> {
        let fail = |message: String| Err(Error::format(place, message));
        let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.id.is_empty() || self.id.len() > 64 || !self.id.chars().all(ok) {
            return fail(format!(
                "`id` must be 1 to 64 lower-case letters, digits or hyphens, found `{}`",
                self.id
            ));
        }
        if self.name.trim().is_empty() {
            return fail(format!("approach `{}` has an empty `name`", self.id));
        }
        for (i, e) in self.exemplars.iter().enumerate() {
            for (key, text) in [("question", &e.question), ("solution", &e.solution), ("answer", &e.answer)] {
                if text.trim().is_empty() {
                    return fail(format!(
                        "exemplar {} of approach `{}` has an empty `{key}`",
                        i + 1,
                        self.id
                    ));
                }
            }
        }
        Ok(())
    }

    /// Whether at least one sign of this approach occurs in the text.
    pub fn matches_signs(&self, text: &str) -> bool {
        self.matches_signs_in(&Words::new(text))
    }

    /// [`Self::matches_signs`] for a text already cut into words.
    pub fn matches_signs_in(&self, text: &Words) -> bool {
        self.signs.iter().any(|s| s.occurs_in(text))
    }

    /// How many different signs of this approach occur in the text.
    pub fn count_signs(&self, text: &Words) -> usize {
        self.signs.iter().filter(|s| s.occurs_in(text)).count()
    }

    /// Whether a response speaks of the approach by its name: as a heading or label (`## Symmetry`, `Approach:
    /// Symmetry`, `the symmetry method`) or with the prompt's instruction copied. Such a response would teach the
    /// model to announce approaches, so selection drops it by default. Using the idea (`by symmetry, ...`) is no leak.
    pub fn leaks_into(&self, response: &str) -> bool {
        let instruction = self.instruction.trim();
        if instruction.len() >= 20 && response.contains(instruction) {
            return true;
        }
        let bare = |text: &str| {
            let kept = Words::new(text);
            let visible = |w: &&String| w.chars().any(char::is_alphanumeric);
            kept.as_slice().iter().filter(visible).cloned().collect::<Vec<_>>()
        };
        const LABELS: [&str; 6] = ["approach", "heuristic", "strategy", "method", "technique", "principle"];
        let label = |w: Option<&String>| w.is_some_and(|w| LABELS.contains(&w.as_str()));
        for name in [bare(&self.name), bare(&self.id)] {
            if name.is_empty() {
                continue;
            }
            for line in response.lines() {
                let words = bare(line);
                if words == name {
                    // A label on a line of its own; but a one-word line in plain text can be ordinary working.
                    if name.len() > 1 || line.trim_start().starts_with(['#', '*']) {
                        return true;
                    }
                }
                for at in 0..(words.len() + 1).saturating_sub(name.len()) {
                    if words[at..at + name.len()] == name[..] {
                        let before = at.checked_sub(1).and_then(|i| words.get(i));
                        if label(before) || label(words.get(at + name.len())) {
                            return true;
                        }
                    }
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symmetry() -> Approach {
        Approach::from_toml_str(
            "id = 'symmetry'\nname = 'Symmetry'\ninstruction = 'Look for parts that can be swapped.'\nsigns = ['by symmetry', 'symmetric*']",
            "test",
        )
        .unwrap()
    }

    #[test]
    fn a_named_approach_leaks_and_a_used_one_does_not() {
        let a = symmetry();
        assert!(a.leaks_into("## Symmetry\nBoth sides agree."));
        assert!(a.leaks_into("Approach: Symmetry. Both sides agree."));
        assert!(a.leaks_into("I use the symmetry method here."));
        assert!(a.leaks_into("Look for parts that can be swapped. So 4."));
        assert!(!a.leaks_into("By symmetry, both halves have area 4."));
        assert!(!a.leaks_into("There is a symmetry between x and y."));
    }

    #[test]
    fn unknown_keys_and_bad_ids_are_errors_that_name_them() {
        let bad = |text: &str| Approach::from_toml_str(text, "a.toml").unwrap_err().to_string();
        assert!(bad("id='a'\nname='A'\ninstruction=''\ncolour='red'").contains("colour"));
        assert!(bad("id='A b'\nname='A'\ninstruction=''").contains("`A b`"));
        assert!(bad("id='a'\nname='A'\ninstruction=''\nsigns=['..']").contains("no words"));
        assert!(
            bad("id='a'\nname='A'\ninstruction=''\n[[exemplar]]\nquestion='q'\nsolution=' '\nanswer='1'")
                .contains("exemplar 1 of approach `a` has an empty `solution`")
        );
    }
}
