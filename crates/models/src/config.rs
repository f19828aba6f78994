//! What a model is: the sizes and switches that a `config.json` states, checked once.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::families;
use crate::rope::{Rope, RopeScaling};

/// The family of an architecture: which tensors exist and what they are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// Llama 2 and 3, SmolLM, SmolLM2, and everything else that says `llama`.
    Llama,
    /// Qwen2 and Qwen2.5: biases on the query, key and value projections.
    Qwen2,
    /// Qwen3: normalised queries and keys, a head size of its own.
    Qwen3,
    /// Mistral: a sliding window.
    Mistral,
    /// SmolLM3: some layers without positions.
    SmolLm3,
    /// Phi-3: fused projections in the files.
    Phi3,
}

/// What the model puts out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Task {
    /// The next token (`*ForCausalLM`).
    CausalLm,
    /// One number per sequence, read at its last token (`*ForSequenceClassification` with one label).
    Reward,
}

/// Everything the forward pass needs to know, checked.
///
/// Build one with [`Config::llama`] for training from scratch, or read a `config.json` with [`Config::from_json`].
/// Keys of the file that mean nothing here are carried through to [`Config::to_json`].
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The family.
    pub family: Family,
    /// What the model puts out.
    pub task: Task,
    /// How many tokens there are.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the gated layer.
    pub intermediate_size: usize,
    /// How many blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Size of a head.
    pub head_dim: usize,
    /// Added to the mean square before its root.
    pub norm_eps: f64,
    /// The longest sequence the model was made for.
    pub max_positions: usize,
    /// The output head is the embedding.
    pub tied: bool,
    /// Query, key and value projections have biases.
    pub qkv_bias: bool,
    /// The output projection of attention has a bias.
    pub output_bias: bool,
    /// The projections of the gated layer have biases.
    pub mlp_bias: bool,
    /// Queries and keys are normalised per head before rotation.
    pub qk_norm: bool,
    /// Rotary embedding.
    pub rope: Rope,
    /// Which layers rotate, one entry per layer.
    pub rope_layers: Vec<bool>,
    /// How many positions back each layer sees (itself included), one entry per layer; `None` sees all.
    pub windows: Vec<Option<usize>>,
    /// The token that begins a text.
    pub bos: Option<u32>,
    /// The tokens that end a text.
    pub eos: Vec<u32>,
    /// The token that fills rows.
    pub pad: Option<u32>,
    /// Standard deviation of initial weights.
    pub initializer_range: f64,
    /// The file's keys, carried through.
    pub(crate) raw: Map<String, Value>,
}

/// The sizes of a Llama-like model to be trained from scratch.
///
/// ```
/// use models::{Config, LlamaShape};
/// let config = Config::llama(LlamaShape { vocab_size: 100, hidden_size: 32, ..LlamaShape::default() }).unwrap();
/// assert_eq!(config.head_dim, 8);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaShape {
    /// How many tokens there are. Default 256.
    pub vocab_size: usize,
    /// Width of the residual stream. Default 64.
    pub hidden_size: usize,
    /// Width of the gated layer. Default 172, about 8/3 of the width.
    pub intermediate_size: usize,
    /// How many blocks. Default 2.
    pub layers: usize,
    /// Query heads. Default 4.
    pub heads: usize,
    /// Key and value heads. Default 4.
    pub kv_heads: usize,
    /// The longest sequence. Default 512.
    pub max_positions: usize,
    /// The base of the rotary frequencies. Default 10,000 (Su et al. 2021).
    pub rope_theta: f64,
    /// Added to the mean square before its root. Default 1e-5, Llama 2's.
    pub norm_eps: f64,
    /// Use the embedding as the output head. Default true.
    pub tied: bool,
    /// Standard deviation of initial weights. Default 0.02.
    pub initializer_range: f64,
    /// The token that begins a text.
    pub bos: Option<u32>,
    /// The tokens that end a text.
    pub eos: Vec<u32>,
    /// The token that fills rows.
    pub pad: Option<u32>,
}

impl Default for LlamaShape {
    fn default() -> Self {
        Self {
            vocab_size: 256,
            hidden_size: 64,
            intermediate_size: 172,
            layers: 2,
            heads: 4,
            kv_heads: 4,
            max_positions: 512,
            rope_theta: 10_000.0,
            norm_eps: 1e-5,
            tied: true,
            initializer_range: 0.02,
            bos: None,
            eos: Vec::new(),
            pad: None,
        }
    }
}

/// Largest size any single dimension may have; a larger one is a broken or hostile file.
const MAX_SIZE: usize = 1 << 24;
/// Most layers a configuration may ask for.
const MAX_LAYERS: usize = 1024;
/// Longest configuration file that is read.
pub(crate) const MAX_JSON: u64 = 64 << 20;

impl Config {
    /// A Llama-like model of the given sizes.
    ///
    /// # Errors
    /// If the sizes do not fit each other.
    pub fn llama(shape: LlamaShape) -> Result<Self> {
        if shape.heads == 0 {
            return Err(wrong("num_attention_heads", "at least 1", &0));
        }
        let head_dim = shape.hidden_size / shape.heads;
        let config = Self {
            family: Family::Llama,
            task: Task::CausalLm,
            vocab_size: shape.vocab_size,
            hidden_size: shape.hidden_size,
            intermediate_size: shape.intermediate_size,
            layers: shape.layers,
            heads: shape.heads,
            kv_heads: shape.kv_heads,
            head_dim,
            norm_eps: shape.norm_eps,
            max_positions: shape.max_positions,
            tied: shape.tied,
            qkv_bias: false,
            output_bias: false,
            mlp_bias: false,
            qk_norm: false,
            rope: Rope { theta: shape.rope_theta, dim: head_dim, scaling: RopeScaling::None },
            rope_layers: vec![true; shape.layers.min(MAX_LAYERS)],
            windows: vec![None; shape.layers.min(MAX_LAYERS)],
            bos: shape.bos,
            eos: shape.eos,
            pad: shape.pad,
            initializer_range: shape.initializer_range,
            raw: Map::new(),
        };
        if !shape.hidden_size.is_multiple_of(shape.heads) {
            return Err(wrong("hidden_size", "a multiple of num_attention_heads", &shape.hidden_size));
        }
        config.checked()
    }

    /// Reads a `config.json`.
    ///
    /// # Errors
    /// If the file cannot be read, is not JSON, or does not describe a model this crate knows.
    pub fn read(path: &Path) -> Result<Self> {
        let value = read_json(path)?;
        let Value::Object(object) = value else {
            return Err(Error::Malformed { path: path.into(), reason: "expected a JSON object".into() });
        };
        Self::from_json(object).map_err(|error| error.in_file(path))
    }

    /// Interprets the keys of a `config.json`.
    ///
    /// # Errors
    /// If a key is missing, contradicts another, or the architecture is unknown.
    pub fn from_json(object: Map<String, Value>) -> Result<Self> {
        families::read(object)?.checked()
    }

    /// The keys of a `config.json` that both transformers 4 and 5 understand.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        families::write(self)
    }

    /// Query heads that share one key and value head.
    #[must_use]
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// How many numbers the model has.
    #[must_use]
    pub fn parameters(&self) -> usize {
        crate::weights::layout(self).iter().map(|slot| slot.shape.iter().product::<usize>()).sum()
    }

    pub(crate) fn checked(self) -> Result<Self> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", self.heads),
            ("num_key_value_heads", self.kv_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_positions),
        ];
        for (key, size) in sizes {
            if size == 0 || size > MAX_SIZE {
                return Err(wrong(key, "between 1 and 16777216", &size));
            }
        }
        if self.layers == 0 || self.layers > MAX_LAYERS {
            return Err(wrong("num_hidden_layers", "between 1 and 1024", &self.layers));
        }
        if self.heads * self.head_dim > MAX_SIZE {
            return Err(wrong("head_dim", "heads times head size of at most 16777216", &self.head_dim));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(wrong("num_key_value_heads", "a divisor of num_attention_heads", &self.kv_heads));
        }
        let rope = &self.rope;
        if rope.dim == 0 || !rope.dim.is_multiple_of(2) || rope.dim > self.head_dim {
            return Err(wrong("head_dim", "an even number of rotated dimensions within the head", &rope.dim));
        }
        if !(rope.theta.is_finite() && rope.theta > 1.0) {
            return Err(wrong("rope_theta", "a number above 1", &rope.theta));
        }
        if let RopeScaling::LongRope { short, long, .. } = &rope.scaling
            && (short.len() != rope.dim / 2 || long.len() != rope.dim / 2)
        {
            return Err(wrong("rope_scaling", "as many factors as rotated pairs", &short.len()));
        }
        if !(self.norm_eps.is_finite() && self.norm_eps >= 0.0) {
            return Err(wrong("rms_norm_eps", "a small positive number", &self.norm_eps));
        }
        if !(self.initializer_range.is_finite() && self.initializer_range >= 0.0) {
            return Err(wrong("initializer_range", "a small positive number", &self.initializer_range));
        }
        if self.windows.len() != self.layers {
            return Err(wrong("layer_types", "one entry per layer", &self.windows.len()));
        }
        if self.rope_layers.len() != self.layers {
            return Err(wrong("no_rope_layers", "one entry per layer", &self.rope_layers.len()));
        }
        if self.windows.contains(&Some(0)) {
            return Err(wrong("sliding_window", "at least 1", &0));
        }
        Ok(self)
    }
}

pub(crate) fn wrong(key: &str, expected: &str, found: &dyn std::fmt::Display) -> Error {
    Error::Config { key: key.into(), expected: expected.into(), found: found.to_string() }
}

/// Reads a JSON file of bounded size.
pub(crate) fn read_json(path: &Path) -> Result<Value> {
    let text = read_bounded(path, MAX_JSON)?;
    serde_json::from_slice(&text)
        .map_err(|error| Error::Malformed { path: path.into(), reason: format!("not valid JSON: {error}") })
}

/// Reads a file of at most `limit` bytes.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    use std::io::Read;
    let read = |source| Error::Read { path: path.into(), source };
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(read)?.take(limit + 1).read_to_end(&mut bytes).map_err(read)?;
    if bytes.len() as u64 > limit {
        return Err(Error::Malformed { path: path.into(), reason: format!("larger than {limit} bytes") });
    }
    Ok(bytes)
}
