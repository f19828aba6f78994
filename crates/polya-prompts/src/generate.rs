//! What the pipeline asks of a model: prompts in, candidates out.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::render::Prompt;
use crate::text::stable_hash;

/// Why a response ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finish {
    /// The model ended it, or a stop text was met.
    Stop,
    /// The token limit cut it.
    Length,
    /// Something else a server reported, such as `content_filter`. Counts as unfinished.
    #[serde(untagged)]
    Other(String),
}

impl Finish {
    /// Whether the response is whole.
    pub fn is_finished(&self) -> bool {
        *self == Self::Stop
    }
}

/// One sampled response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The response.
    pub text: String,
    /// Its token ids; empty when the source does not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub token_ids: Vec<u32>,
    /// Log-probability of each token, in nats; empty when the source does not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logprobs: Vec<f32>,
    /// Number of response tokens, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// Why it ended.
    pub finish: Finish,
}

impl Candidate {
    /// A finished response of which only the text is known.
    pub fn finished(text: impl Into<String>) -> Self {
        Self { text: text.into(), token_ids: vec![], logprobs: vec![], tokens: None, finish: Finish::Stop }
    }
}

/// A prompt with what a generator needs to know about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompted {
    /// Identifies the request; a generator derives its random streams from it and the seed.
    pub id: String,
    /// The prompt.
    pub prompt: Prompt,
    /// How many candidates are wanted.
    pub samples: usize,
    /// Index of the first of them: with adaptive sampling a later round continues where an earlier one ended.
    pub first_sample: usize,
    /// Seed of this request, for servers that take one: see [`request_seed`].
    pub seed: u64,
}

/// A seed that depends on the run's seed, the request's id and the first sample alone, so that neither batching nor
/// order nor sharding changes results. At most 2^31 - 1: some servers read a signed 32-bit number.
pub fn request_seed(seed: u64, request: &str, first_sample: usize) -> u64 {
    stable_hash(&[&seed.to_string(), request, &first_sample.to_string()]) >> 33
}

/// A source of candidates: a model in the process, a server, a recording.
///
/// ```
/// use polya_prompts::{Candidate, Generator, Prompt, Prompted, from_fn};
///
/// let mut echo = from_fn(|p: &Prompted| Ok(vec![Candidate::finished(p.prompt.text()); p.samples]));
/// let one = Prompted { id: "q".into(), prompt: Prompt::Text("hi".into()), samples: 2, first_sample: 0, seed: 0 };
/// assert_eq!(echo.generate(&[one])?[0].len(), 2);
/// # Ok::<(), polya_prompts::Error>(())
/// ```
pub trait Generator {
    /// Returns, for each prompt in order, exactly [`Prompted::samples`] candidates.
    ///
    /// # Errors
    /// Whatever the source reports, usually as [`Error::Backend`].
    fn generate(&mut self, batch: &[Prompted]) -> Result<Vec<Vec<Candidate>>>;
}

impl<G: Generator + ?Sized> Generator for &mut G {
    fn generate(&mut self, batch: &[Prompted]) -> Result<Vec<Vec<Candidate>>> {
        (**self).generate(batch)
    }
}

impl<G: Generator + ?Sized> Generator for Box<G> {
    fn generate(&mut self, batch: &[Prompted]) -> Result<Vec<Vec<Candidate>>> {
        (**self).generate(batch)
    }
}

/// A [`Generator`] from a function of one prompt.
pub fn from_fn<F>(f: F) -> FromFn<F>
where
    F: FnMut(&Prompted) -> Result<Vec<Candidate>>,
{
    FromFn(f)
}

/// See [`from_fn`].
#[derive(Debug, Clone)]
pub struct FromFn<F>(F);

impl<F: FnMut(&Prompted) -> Result<Vec<Candidate>>> Generator for FromFn<F> {
    fn generate(&mut self, batch: &[Prompted]) -> Result<Vec<Vec<Candidate>>> {
        batch.iter().map(&mut self.0).collect()
    }
}

/// Calls a generator and checks that it kept its promise on counts.
///
/// # Errors
/// The generator's own, or [`Error::Contract`] with the counts expected and found.
pub fn generate_checked(generator: &mut dyn Generator, batch: &[Prompted]) -> Result<Vec<Vec<Candidate>>> {
    let out = generator.generate(batch)?;
    let broken = |message: String| Err(Error::Contract { who: "the generator".into(), message });
    if out.len() != batch.len() {
        return broken(format!("returned {} lists for {} prompts", out.len(), batch.len()));
    }
    for (p, c) in batch.iter().zip(&out) {
        if c.len() != p.samples {
            return broken(format!("returned {} candidates for `{}`, expected {}", c.len(), p.id, p.samples));
        }
        for c in c.iter().filter(|c| !c.logprobs.is_empty() && !c.token_ids.is_empty()) {
            if c.logprobs.len() != c.token_ids.len() {
                return broken(format!(
                    "returned {} log-probabilities for {} tokens of `{}`",
                    c.logprobs.len(),
                    c.token_ids.len(),
                    p.id
                ));
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generator_that_lies_about_counts_is_named() {
        let mut g = from_fn(|_: &Prompted| Ok(vec![Candidate::finished("x")]));
        let p = Prompted {
            id: "q".into(),
            prompt: Prompt::Text("p".into()),
            samples: 2,
            first_sample: 0,
            seed: 0,
        };
        let e = generate_checked(&mut g, &[p]).unwrap_err().to_string();
        assert_eq!(e, "the generator returned 1 candidates for `q`, expected 2");
    }

    #[test]
    fn finish_reads_what_servers_say() {
        let read = |s: &str| serde_json::from_str::<Finish>(s).unwrap();
        assert_eq!(read("\"stop\""), Finish::Stop);
        assert_eq!(read("\"length\""), Finish::Length);
        assert_eq!(read("\"content_filter\""), Finish::Other("content_filter".into()));
        assert_eq!(serde_json::to_string(&read("\"abort\"")).unwrap(), "\"abort\"");
    }

    #[test]
    fn seeds_fit_31_bits_and_differ_by_sample() {
        assert!(request_seed(0, "q/a", 0) < 1 << 31);
        assert_ne!(request_seed(0, "q/a", 0), request_seed(0, "q/a", 1));
        assert_ne!(request_seed(0, "q/a", 0), request_seed(1, "q/a", 0));
    }
}
