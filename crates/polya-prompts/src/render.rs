//! Rendering a question and an approach into a prompt.

use std::fmt;

use minijinja::{Environment, UndefinedBehavior, context};
use serde::{Deserialize, Serialize};

use crate::approach::{Approach, Exemplar};
use crate::error::{Error, Result};
use crate::family::Family;
use crate::text::{normalise, overlap};

/// Who speaks in a chat message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions.
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
}

/// One chat message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// A rendered prompt. Serialises as `{"prompt": ...}` or `{"messages": [...]}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Prompt {
    /// Raw text for a base model.
    #[serde(rename = "prompt")]
    Text(String),
    /// Messages for a chat model.
    #[serde(rename = "messages")]
    Messages(Vec<Message>),
}

impl Prompt {
    /// The whole text, messages joined by empty lines: for counting and searching.
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Messages(m) => m.iter().map(|m| m.content.as_str()).collect::<Vec<_>>().join("\n\n"),
        }
    }
}

/// For which kind of model a prompt is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// A base model: few-shot text to be continued.
    #[default]
    Base,
    /// A chat model: a system message, exemplars as turns, the question as the last turn.
    Chat,
}

/// How the final answer is written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerFormat {
    /// `\boxed{17}`.
    #[default]
    Boxed,
    /// `#### 17`, as in GSM8K.
    Hashes,
    /// No answer line: the solution is the answer, as in code.
    None,
    /// Wording of one's own.
    Custom {
        /// What the model is told.
        instruction: String,
        /// The last line of an exemplar; `{answer}` stands for the answer.
        line: String,
    },
}

impl AnswerFormat {
    /// What the model is told about the answer.
    pub fn instruction(&self) -> &str {
        match self {
            Self::Boxed => "End with the final answer in \\boxed{}.",
            Self::Hashes => "End with a last line of the form: #### answer",
            Self::None => "",
            Self::Custom { instruction, .. } => instruction,
        }
    }

    /// The last line of a worked exemplar.
    pub fn line(&self, answer: &str) -> String {
        match self {
            Self::Boxed => format!("The final answer is $\\boxed{{{answer}}}$."),
            Self::Hashes => format!("#### {answer}"),
            Self::None => String::new(),
            Self::Custom { line, .. } => line.replace("{answer}", answer),
        }
    }
}

/// Jinja templates of a family. Each sees `approach` (`id`, `name`, `questions`, `when`, `instruction`; undefined when a
/// prompt is rendered without an approach), `question`, `answer_instruction`, `hint` (a known answer, or undefined), and
/// `exemplars`, a list of `question`, `solution` (with its answer line) and `answer`.
/// `assistant` and `turn` see one exemplar as `exemplar`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Templates {
    /// The whole text for a base model.
    pub base: String,
    /// Chat: the system message; left out when it renders empty.
    pub system: String,
    /// Chat: a user turn; `question` is the exemplar's or the real one.
    pub user: String,
    /// Chat: the assistant turn of an exemplar.
    pub assistant: String,
    /// Texts at which a base model's response ends: it would go on with a next question.
    pub stop: Vec<String>,
}

impl Default for Templates {
    fn default() -> Self {
        let instructions = "{% if approach and approach.instruction %}{{ approach.instruction }}\n{% endif %}\
            {% if answer_instruction %}{{ answer_instruction }}\n{% endif %}";
        let hint = "{% if hint %}\n(The answer is {{ hint }}. Give the working that leads to it.){% endif %}";
        Self {
            base: format!(
                "{instructions}\n{{% for e in exemplars %}}Question: {{{{ e.question }}}}\nSolution: {{{{ e.solution }}}}\n\n\
                 {{% endfor %}}Question: {{{{ question }}}}{hint}\nSolution:"
            ),
            system: instructions.to_owned(),
            user: format!("{{{{ question }}}}{hint}"),
            assistant: "{{ exemplar.solution }}".to_owned(),
            stop: vec!["\nQuestion:".to_owned()],
        }
    }
}

/// Counts the tokens of a prompt.
pub type CountTokens<'a> = &'a dyn Fn(&Prompt) -> usize;

/// A limit on the length of a prompt: exemplars are left out, last first, until it is met.
#[derive(Clone, Copy)]
pub struct Budget<'a> {
    /// Most tokens a prompt may have.
    pub tokens: usize,
    /// The counter.
    pub count: CountTokens<'a>,
}

impl fmt::Debug for Budget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

/// How to render.
#[derive(Debug, Clone)]
pub struct Render<'a> {
    /// Base or chat.
    pub style: Style,
    /// At most this many exemplars.
    pub exemplars: usize,
    /// Answer format; `None` takes the family's.
    pub answer_format: Option<AnswerFormat>,
    /// Rotates the exemplars: with fewer shown than exist, different seeds show different ones.
    pub rotate: u64,
    /// Token budget.
    pub budget: Option<Budget<'a>>,
    /// An exemplar whose question shares at least this share of word triples with the question (Jaccard) is left out,
    /// and so is one whose question is contained in it or contains it. Chosen so that rewordings go and shared phrases
    /// such as "how many are left" stay.
    pub max_overlap: f64,
}

impl Default for Render<'_> {
    fn default() -> Self {
        Self {
            style: Style::Base,
            exemplars: 2,
            answer_format: None,
            rotate: 0,
            budget: None,
            max_overlap: 0.5,
        }
    }
}

impl Render<'_> {
    /// The defaults for a base model: two exemplars, the family's answer format.
    pub fn base() -> Self {
        Self::default()
    }

    /// The defaults for a chat model.
    pub fn chat() -> Self {
        Self { style: Style::Chat, ..Self::default() }
    }
}

/// A prompt and what went into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The prompt.
    pub prompt: Prompt,
    /// Indices of the exemplars shown.
    pub exemplars: Vec<usize>,
    /// Indices of exemplars left out because they resemble the question.
    pub overlapping: Vec<usize>,
}

/// Steps the template engine may take for one prompt: far above any sensible template, low enough to stop a bad one.
const TEMPLATE_FUEL: u64 = 1_000_000;

impl Family {
    /// Renders a question with an approach.
    ///
    /// # Errors
    /// [`Error::UnknownApproach`], [`Error::Template`] or [`Error::OverBudget`].
    pub fn render(&self, approach: &str, question: &str, render: &Render<'_>) -> Result<Prompt> {
        Ok(self.render_detailed(Some(approach), question, None, render)?.prompt)
    }

    /// Renders a question without an approach: the prompt of a STaR baseline, and the form of a training example.
    ///
    /// # Errors
    /// [`Error::Template`] or [`Error::OverBudget`].
    pub fn render_plain(&self, question: &str, render: &Render<'_>) -> Result<Prompt> {
        Ok(self.render_detailed(None, question, None, render)?.prompt)
    }

    /// Renders with everything said: an approach or none, a hint (the known answer, for rationalisation) or none.
    ///
    /// # Errors
    /// [`Error::UnknownApproach`], [`Error::Template`] or [`Error::OverBudget`].
    pub fn render_detailed(
        &self,
        approach: Option<&str>,
        question: &str,
        hint: Option<&str>,
        render: &Render<'_>,
    ) -> Result<Rendered> {
        let approach = approach.map(|id| self.get(id)).transpose()?;
        let pool = approach.map_or(self.plain_exemplars(), |a| &a.exemplars);
        let asked = normalise(question);
        let (mut overlapping, mut usable) = (Vec::new(), Vec::new());
        for at in 0..pool.len() {
            let i = (at as u64).wrapping_add(render.rotate) as usize % pool.len();
            let shown = normalise(&pool[i].question);
            let same = asked.contains(&shown) || !asked.is_empty() && shown.contains(&asked);
            if same || overlap(&asked, &shown) >= render.max_overlap {
                overlapping.push(i);
            } else {
                usable.push(i);
            }
        }
        overlapping.sort_unstable();
        usable.truncate(render.exemplars);
        loop {
            let shown: Vec<&Exemplar> = usable.iter().map(|&i| &pool[i]).collect();
            let prompt = self.fill(approach, question, hint, &shown, render)?;
            let Some(budget) = render.budget else {
                return Ok(Rendered { prompt, exemplars: usable, overlapping });
            };
            let needed = (budget.count)(&prompt);
            if needed <= budget.tokens {
                return Ok(Rendered { prompt, exemplars: usable, overlapping });
            }
            if usable.pop().is_none() {
                return Err(Error::OverBudget {
                    approach: approach.map_or("(none)", |a| &a.id).to_owned(),
                    needed,
                    budget: budget.tokens,
                });
            }
        }
    }

    fn fill(
        &self,
        approach: Option<&Approach>,
        question: &str,
        hint: Option<&str>,
        exemplars: &[&Exemplar],
        render: &Render<'_>,
    ) -> Result<Prompt> {
        let format = render.answer_format.as_ref().unwrap_or_else(|| self.answer_format());
        let shown: Vec<_> = exemplars
            .iter()
            .map(|e| {
                let line = format.line(e.answer.trim());
                let gap = if line.is_empty() { "" } else { "\n" };
                let solution = format!("{}{gap}{line}", e.solution.trim());
                context! { question => e.question.trim(), solution, answer => e.answer.trim() }
            })
            .collect();
        let about = approach.map(|a| {
            context! {
                id => a.id, name => a.name, questions => a.questions, when => a.when.trim(),
                instruction => a.instruction.trim(),
            }
        });
        let shared = context! {
            approach => about, answer_instruction => format.instruction(), hint => hint, exemplars => shown,
        };
        let t = self.templates();
        Ok(match render.style {
            Style::Base => {
                Prompt::Text(self.template("base", &t.base, context! { question => question, ..shared })?)
            }
            Style::Chat => {
                let mut messages = Vec::new();
                let mut push = |role, content: String| messages.push(Message { role, content });
                let system =
                    self.template("system", &t.system, context! { question => question, ..shared.clone() })?;
                if !system.trim().is_empty() {
                    push(Role::System, system.trim_end().to_owned());
                }
                for (e, shown) in exemplars.iter().zip(&shown) {
                    let no_hint = context! { hint => (), ..shared.clone() };
                    let turn = context! { question => e.question.trim(), exemplar => shown, ..no_hint };
                    push(Role::User, self.template("user", &t.user, turn.clone())?);
                    push(Role::Assistant, self.template("assistant", &t.assistant, turn)?);
                }
                push(
                    Role::User,
                    self.template("user", &t.user, context! { question => question, ..shared })?,
                );
                Prompt::Messages(messages)
            }
        })
    }

    fn template(&self, name: &str, source: &str, values: minijinja::Value) -> Result<String> {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        env.set_fuel(Some(TEMPLATE_FUEL));
        env.render_str(source, values).map_err(|e| Error::Template {
            template: name.to_owned(),
            family: self.id().to_owned(),
            message: e.to_string(),
        })
    }

    /// Renders one prompt of each kind, so that a broken template is found when the family is read.
    pub(crate) fn try_templates(&self) -> Result<()> {
        for style in [Style::Base, Style::Chat] {
            let render = Render { style, ..Render::default() };
            for approach in [self.approaches().first().map(|a| a.id.as_str()), None] {
                for hint in [None, Some("0")] {
                    self.render_detailed(approach, "?", hint, &render)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family() -> Family {
        Family::from_toml_str(
            r#"
            id = "f"
            name = "F"
            [[approach]]
            id = "a"
            name = "Working backward"
            instruction = "Undo the last step first."
            [[approach.exemplar]]
            question = "A number is doubled and becomes 8. Which number?"
            solution = "Halve 8."
            answer = "4"
            [[approach.exemplar]]
            question = "Tom gave away 3 of his pens and kept 9 pens. How many had he?"
            solution = "Give back 3."
            answer = "12"
            "#,
        )
        .unwrap()
    }

    #[test]
    fn exemplars_that_resemble_the_question_are_left_out() {
        let f = family();
        let q = "Tom gave away 3 of his pens and kept 9 pens. How many had he at first?";
        let r = f.render_detailed(Some("a"), q, None, &Render::base()).unwrap();
        assert_eq!((r.exemplars, r.overlapping), (vec![0], vec![1]));
        let r = f.render_detailed(Some("a"), "Something else?", None, &Render::base()).unwrap();
        assert_eq!((r.exemplars, r.overlapping), (vec![0, 1], vec![]));
    }

    #[test]
    fn the_budget_drops_exemplars_then_fails_by_name() {
        let f = family();
        let count = |p: &Prompt| p.text().split_whitespace().count();
        let full = count(&f.render("a", "What?", &Render::base()).unwrap());
        let with = |tokens| Render { budget: Some(Budget { tokens, count: &count }), ..Render::base() };
        let r = f.render_detailed(Some("a"), "What?", None, &with(full)).unwrap();
        assert_eq!(r.exemplars, [0, 1]);
        let r = f.render_detailed(Some("a"), "What?", None, &with(full - 1)).unwrap();
        assert_eq!(r.exemplars, [0]);
        let e = f.render_detailed(Some("a"), "What?", None, &with(3)).unwrap_err().to_string();
        assert!(e.contains("approach `a`") && e.contains("budget is 3"), "{e}");
    }

    #[test]
    fn rotation_shows_other_exemplars() {
        let f = family();
        let one = Render { exemplars: 1, rotate: 1, ..Render::base() };
        assert_eq!(f.render_detailed(Some("a"), "What?", None, &one).unwrap().exemplars, [1]);
    }

    #[test]
    fn prompts_do_not_name_the_approach() {
        let f = family();
        for render in [Render::base(), Render::chat()] {
            let text = f.render("a", "What?", &render).unwrap().text().to_lowercase();
            assert!(!text.contains("working backward"));
        }
    }

    #[test]
    fn a_hint_is_given_with_the_last_question_only() {
        let f = family();
        let r = f.render_detailed(Some("a"), "What?", Some("77"), &Render::chat()).unwrap();
        let Prompt::Messages(m) = r.prompt else { panic!() };
        assert!(m.last().unwrap().content.contains("77"));
        assert!(m[..m.len() - 1].iter().all(|m| !m.content.contains("77")));
    }

    #[test]
    fn an_endless_template_runs_out_of_fuel() {
        let text = "id='f'\nname='F'\n[templates]\nbase='{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}'\n[[approach]]\nid='a'\nname='A'";
        assert!(Family::from_toml_str(text).unwrap_err().to_string().contains("fuel"));
    }
}
