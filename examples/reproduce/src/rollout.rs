//! From words to samples: encoding prompts, sampling, decoding.

use anyhow::{Context, Result};
use models::{CausalLm, Finish, Request, Sample, Sampling, generate};
use polya_prompts::{Family, Render};
use tokenizers::Tokenizer;

use crate::sets::Question;
use crate::world::{Approach, vocabulary};

/// The text side of the world: its approaches and its tokenizer.
pub struct Text {
    /// The approaches, as data.
    pub family: Family,
    /// Word-level.
    pub tokenizer: Tokenizer,
    /// Id of the end word.
    pub eos: u32,
    /// Id of the padding word.
    pub pad: u32,
}

impl Text {
    /// Reads the embedded approaches and builds the tokenizer.
    pub fn new() -> Result<Text> {
        let family = Family::from_toml_str(include_str!("../approaches/world.toml"))?;
        let tokenizer = vocabulary::tokenizer();
        let id = |word| tokenizer.token_to_id(word).context("the world's vocabulary has its special words");
        Ok(Text { eos: id(vocabulary::EOS)?, pad: id(vocabulary::PAD)?, family, tokenizer })
    }

    /// The ids of a text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.tokenizer.encode(text, false).map_err(anyhow::Error::msg)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of ids, without special words.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.tokenizer.decode(ids, true).map_err(anyhow::Error::msg)
    }

    /// The prompt of a question, with or without an approach.
    pub fn prompt(&self, approach: Option<Approach>, question: &str) -> Result<String> {
        let render = Render::base();
        let prompt = match approach {
            Some(approach) => self.family.render(approach.marker(), question, &render)?,
            None => self.family.render_plain(question, &render)?,
        };
        Ok(prompt.text())
    }
}

/// One sampled response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The solution as text, without the end word.
    pub text: String,
    /// Whether it ended by itself.
    pub finished: bool,
    /// Prompt ids.
    pub prompt: Vec<u32>,
    /// The raw sample: ids and log-probabilities.
    pub sample: Sample,
}

/// Prompts to be sampled: each question with an optional approach.
pub struct Ask<'a> {
    /// Key of the random stream.
    pub id: u64,
    /// The question.
    pub question: &'a Question,
    /// Named in the prompt, or not.
    pub approach: Option<Approach>,
    /// How many responses.
    pub samples: usize,
}

/// The most words a solution of this many parts can have, and the end word.
pub fn longest(parts: usize) -> usize {
    parts * crate::world::check::PART_WORDS + 3
}

/// Samples every ask; results in order.
pub fn sample(
    model: &CausalLm,
    text: &Text,
    asks: &[Ask],
    temperature: f64,
    seed: u64,
) -> Result<Vec<Vec<Response>>> {
    let parts = asks.iter().map(|a| a.question.problem.parts.len()).max().unwrap_or(1);
    let requests = asks
        .iter()
        .map(|ask| {
            let prompt = text.encode(&text.prompt(ask.approach, &ask.question.text)?)?;
            Ok(Request { id: ask.id, prompt, samples: ask.samples })
        })
        .collect::<Result<Vec<_>>>()?;
    let sampling = Sampling {
        max_new_tokens: longest(parts),
        temperature,
        eos: vec![text.eos],
        batch_size: 256,
        seed,
        ..Sampling::default()
    };
    let samples = generate(model, &requests, &sampling, &mut ())?;
    requests
        .into_iter()
        .zip(samples)
        .map(|(request, samples)| {
            samples
                .into_iter()
                .map(|sample| {
                    let finished = sample.finish == Finish::Stop;
                    Ok(Response {
                        text: text.decode(&sample.tokens)?,
                        finished,
                        prompt: request.prompt.clone(),
                        sample,
                    })
                })
                .collect()
        })
        .collect()
}
