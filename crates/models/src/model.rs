//! The decoder: embedding, blocks, norm, head.

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::init::{Random, Source};
use crate::layers::{Block, Keys};
use crate::ops;
use crate::rope::RotaryTable;

/// A decoder language model of any supported family.
///
/// The parameters lie on the device they were made on: on `device.autodiff()` every function here can be
/// differentiated; `model.valid()` gives the same weights on the inner device, for sampling and scoring.
#[derive(Module, Debug)]
pub struct CausalLm {
    pub(crate) embed_tokens: Param<Tensor<2>>,
    pub(crate) layers: Vec<Block>,
    pub(crate) norm: Param<Tensor<1>>,
    /// `[vocab, hidden]`, absent where the embedding serves; `[1, hidden]` in a reward model.
    pub(crate) output: Option<Param<Tensor<2>>>,
    #[module(skip)]
    pub(crate) config: Arc<Config>,
}

/// What goes into a forward pass.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Token ids, `[batch, time]`, padded on the right with any valid id.
    pub tokens: Tensor<2, Int>,
    /// The position of each token, `[batch, time]`; `None` counts from 0 in each row.
    pub positions: Option<Tensor<2, Int>>,
    /// Which document each token belongs to, `[batch, time]`; attention stays within a document.
    pub segments: Option<Tensor<2, Int>>,
}

impl Inputs {
    /// Rows that are one sequence each.
    #[must_use]
    pub fn new(tokens: Tensor<2, Int>) -> Self {
        Self { tokens, positions: None, segments: None }
    }

    /// Rows into which several documents are packed.
    #[must_use]
    pub fn packed(tokens: Tensor<2, Int>, positions: Tensor<2, Int>, segments: Tensor<2, Int>) -> Self {
        Self { tokens, positions: Some(positions), segments: Some(segments) }
    }
}

impl From<Tensor<2, Int>> for Inputs {
    fn from(tokens: Tensor<2, Int>) -> Self {
        Self::new(tokens)
    }
}

impl CausalLm {
    /// A model with random weights: normal with the configuration's deviation, unit norms, zero biases. The same
    /// seed gives the same weights on every device, whatever else draws random numbers.
    ///
    /// # Errors
    /// If the configuration is not consistent.
    pub fn init(config: &Config, seed: u64, device: &Device) -> Result<Self> {
        let config = config.clone().checked()?;
        let mut source = Random { seed, deviation: config.initializer_range, device };
        Self::build(config, &mut source)
    }

    /// Puts a model together from a source of tensors, under their Hugging Face names.
    pub(crate) fn build(config: Config, source: &mut impl Source) -> Result<Self> {
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let embed_tokens = Param::from_tensor(source.tensor("model.embed_tokens.weight", [vocab, hidden])?);
        let layers =
            (0..config.layers).map(|layer| Block::new(&config, layer, source)).collect::<Result<_>>()?;
        let norm = Param::from_tensor(source.tensor("model.norm.weight", [hidden])?);
        let output = match crate::weights::head_slot(&config) {
            Some(slot) => {
                Some(Param::from_tensor(source.tensor(&slot.name, [slot.shape[0], slot.shape[1]])?))
            }
            None => None,
        };
        Ok(Self { embed_tokens, layers, norm, output, config: Arc::new(config) })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The device the parameters lie on.
    #[must_use]
    pub fn device(&self) -> Device {
        self.embed_tokens.val().device()
    }

    /// The token embedding, `[vocab, hidden]`; it is the output head too where the configuration ties them.
    #[must_use]
    pub fn embedding(&self) -> Tensor<2> {
        self.embed_tokens.val()
    }

    /// The same model with other rows in the token embedding, `[vocab, hidden]`: to begin training with what is known of
    /// the words, for instance.
    ///
    /// # Errors
    /// If the shape is not that of the present embedding.
    pub fn with_embedding(mut self, embedding: Tensor<2>) -> Result<Self> {
        let (expected, found) = (self.embed_tokens.val().dims(), embedding.dims());
        if expected != found {
            return Err(Error::Request(format!(
                "token embedding: expected shape {expected:?}, found {found:?}"
            )));
        }
        self.embed_tokens = Param::from_tensor(embedding);
        Ok(self)
    }

    /// Hidden states after the final norm, `[batch, time, hidden]`.
    #[must_use]
    pub fn hidden(&self, inputs: Inputs) -> Tensor<3> {
        self.run(inputs, |_| {})
    }

    /// Hidden states as [`hidden`](Self::hidden) gives them, from embeddings `[batch, time, hidden]` that were changed on the
    /// way, as by noise while training. Of the inputs' tokens only the shape counts.
    #[must_use]
    pub fn hidden_from(&self, embeddings: Tensor<3>, inputs: Inputs) -> Tensor<3> {
        self.run_from(embeddings, inputs, |_| {})
    }

    /// Logits of hidden states, `[batch, time, vocab]` in the parameters' type.
    #[must_use]
    pub fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        let [batch, time, width] = hidden.dims();
        let head = self.head();
        let vocab = head.dims()[0];
        hidden.reshape([batch * time, width]).matmul(head.transpose()).reshape([batch, time, vocab])
    }

    /// The output head, `[vocab, hidden]`: the embedding where it is tied.
    #[must_use]
    pub fn head(&self) -> Tensor<2> {
        match &self.output {
            Some(head) => head.val(),
            None => self.embed_tokens.val(),
        }
    }

    /// The forward pass; `keep` receives the keys and values of each layer.
    pub(crate) fn run(&self, inputs: Inputs, keep: impl FnMut(Keys)) -> Tensor<3> {
        self.run_from(self.embed(inputs.tokens.clone()), inputs, keep)
    }

    fn run_from(&self, mut x: Tensor<3>, inputs: Inputs, mut keep: impl FnMut(Keys)) -> Tensor<3> {
        let Inputs { tokens, positions, segments } = inputs;
        let time = tokens.dims()[1];
        let device = tokens.device().inner();
        let table = match positions {
            None => RotaryTable::new(&self.config.rope, 0..time as u32, time, &device),
            Some(positions) => {
                let positions: Vec<i64> = positions.into_data().iter().collect();
                let longest = positions.iter().max().map_or(0, |p| *p as usize + 1);
                RotaryTable::new(&self.config.rope, positions.into_iter().map(|p| p as u32), longest, &device)
            }
        };

        for layer in &self.layers {
            let (next, keys) = layer.forward(x, &table, segments.clone());
            keep(keys);
            x = next;
        }
        self.finish(x)
    }

    /// Rows of the embedding, `[batch, time, hidden]`, of tokens `[batch, time]`.
    #[must_use]
    pub fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [batch, time] = tokens.dims();
        let weight = self.embed_tokens.val();
        let width = weight.dims()[1];
        weight.select(0, tokens.reshape([batch * time])).reshape([batch, time, width])
    }

    /// The final norm.
    pub(crate) fn finish(&self, x: Tensor<3>) -> Tensor<3> {
        ops::rms_norm(x, self.norm.val(), self.config.norm_eps)
    }

    /// Token ids as a tensor `[rows, time]`, padded on the right with token 0.
    pub(crate) fn batch(&self, rows: &[&[u32]]) -> Result<Tensor<2, Int>> {
        let time = rows.iter().map(|r| r.len()).max().unwrap_or(0).max(1);
        let mut ids = vec![0i32; rows.len() * time];
        for (row, out) in rows.iter().zip(ids.chunks_exact_mut(time)) {
            for (token, id) in row.iter().zip(out) {
                if *token as usize >= self.config.vocab_size {
                    return Err(Error::Request(format!(
                        "token {token} is not below the vocabulary size {}",
                        self.config.vocab_size
                    )));
                }
                *id = *token as i32;
            }
        }
        let data = burn::tensor::TensorData::new(ids, [rows.len(), time]);
        Ok(Tensor::from_data(data, &self.device()))
    }
}
