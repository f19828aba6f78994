//! The decoder on slices: `f32` models on the CPU.
//!
//! One step of a batch is hundreds of small operations. Here a group of rows runs through all of them on one thread: no tensor
//! is made, weights are packed once, and each row has a cache of its own that begins with the prompt's, which the samples of a
//! request share.

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use kernels::host::{HeadCache, PackedWeight, Scratch, Values, add, attend, rms_norm, rotate, swiglu};
use rayon::prelude::*;

use super::engine::{Engine, run_prompts};
use crate::config::Config;
use crate::error::Result;
use crate::layers::{self, Block};
use crate::model::CausalLm;
use crate::ops;
use crate::rope::RotaryTable;
use crate::score::host;

/// Rows of a group, at least: a product of fewer is no faster.
const GROUP: usize = 8;
/// Rows of a group that have a product compute for longer than it takes to read a weight from memory.
const BUSY: usize = 24;
/// Bytes of weights that stay in a cache. Groups of less than [`BUSY`] rows would each read more than that from memory: there the outputs
/// of each product are shared out instead. And prompts of larger models go through the packed weights too: burn's product packs the weight
/// for every call, which costs more than a short prompt's own arithmetic. The model alone decides, so that a prompt's bits do not depend on what
/// is sampled beside it.
const CACHED: usize = 8 << 20;
/// Outputs of a product that are worth a thread's while, times inputs.
const SHARE: usize = 1 << 16;
/// Bytes of weights that are packed, which takes as many again. Larger models sample on tensors.
const PACKED: usize = 8 << 30;

pub(crate) struct HostEngine<'a> {
    model: &'a CausalLm,
    weights: &'a Weights,
    rows: Vec<Row>,
    angles: Angles,
    prompt_logits: Vec<f32>,
    logits: Vec<f32>,
}

/// Keys and values of some positions: all heads of the first layer, then of the second, ...
type Cache = Vec<HeadCache>;

struct Row {
    prompt: Arc<Cache>,
    own: Cache,
}

impl Row {
    fn position(&self) -> usize {
        self.prompt[0].len() + self.own[0].len()
    }
}

/// The weights of a model as products read them.
pub(crate) struct Weights {
    config: Arc<Config>,
    /// How many there are, in bytes.
    bytes: usize,
    embedding: Values,
    layers: Vec<Layer>,
    norm: Values,
    head: PackedWeight,
}

struct Layer {
    attention_norm: Values,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    q_norm: Option<Values>,
    k_norm: Option<Values>,
    mlp_norm: Values,
    gate: Linear,
    up: Linear,
    down: Linear,
}

struct Linear {
    weight: PackedWeight,
    bias: Option<Values>,
    /// The two factors of an adapter, and its scale.
    lora: Option<(PackedWeight, PackedWeight, f32)>,
}

fn packed(weight: Tensor<2>) -> Option<PackedWeight> {
    let shape = weight.dims();
    Some(PackedWeight::new(&Values::of(weight)?, shape))
}

fn optional(param: Option<&Param<Tensor<1>>>) -> Option<Option<Values>> {
    match param {
        None => Some(None),
        Some(param) => Values::of(param.val()).map(Some),
    }
}

impl Linear {
    fn new(linear: &layers::Linear) -> Option<Self> {
        let lora = match &linear.lora {
            None => None,
            Some(lora) => Some((packed(lora.a.val())?, packed(lora.b.val())?, lora.scale as f32)),
        };
        Some(Self { weight: packed(linear.weight.val())?, bias: optional(linear.bias.as_ref())?, lora })
    }

    /// `[batch, time, in]` to `[batch, time, out]`.
    fn on_tensor(&self, x: &Tensor<3>, work: &mut Work) -> Tensor<3> {
        let [batch, time, _] = x.dims();
        let outputs = self.weight.outputs();
        let mut y = vec![0.0; batch * time * outputs];
        let values = Values::of(x.clone()).expect("the weights lie on this device in this type");
        self.forward(&values, &mut y, work);
        Tensor::from_data(TensorData::new(y, [batch, time, outputs]), &x.device())
    }

    fn forward(&self, x: &[f32], y: &mut [f32], work: &mut Work) {
        work.product(&self.weight, x, y);
        if let Some(bias) = &self.bias {
            y.chunks_exact_mut(bias.len()).for_each(|y| add(y, bias));
        }
        if let Some((a, b, scale)) = &self.lora {
            let rows = y.len() / self.weight.outputs();
            let (mut low, mut wide) = (vec![0.0; rows * a.outputs()], vec![0.0; y.len()]);
            work.product(a, x, &mut low);
            work.product(b, &low, &mut wide);
            wide.iter_mut().for_each(|x| *x *= scale);
            add(y, &wide);
        }
    }
}

/// What one thread needs for its products.
struct Work {
    /// How many threads may share a product.
    tasks: usize,
    scratch: Scratch,
}

impl Work {
    fn product(&mut self, weight: &PackedWeight, x: &[f32], y: &mut [f32]) {
        let tasks = self.tasks.min(weight.len() / SHARE);
        weight.multiply(x, y, tasks, &mut self.scratch);
    }
}

impl Layer {
    fn new(block: &Block) -> Option<Self> {
        let (attention, mlp) = (&block.self_attn, &block.mlp);
        Some(Self {
            attention_norm: Values::of(block.input_layernorm.val())?,
            q: Linear::new(&attention.q_proj)?,
            k: Linear::new(&attention.k_proj)?,
            v: Linear::new(&attention.v_proj)?,
            o: Linear::new(&attention.o_proj)?,
            q_norm: optional(attention.q_norm.as_ref())?,
            k_norm: optional(attention.k_norm.as_ref())?,
            mlp_norm: Values::of(block.post_attention_layernorm.val())?,
            gate: Linear::new(&mlp.gate_proj)?,
            up: Linear::new(&mlp.up_proj)?,
            down: Linear::new(&mlp.down_proj)?,
        })
    }
}

/// Cosines and sines of the first positions, grown as rows do.
#[derive(Default)]
struct Angles {
    /// The length by which the frequencies were chosen.
    reach: usize,
    positions: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Angles {
    fn cover(&mut self, config: &Config, positions: usize, reach: usize) {
        if config.rope.is_long(reach) != config.rope.is_long(self.reach) {
            *self = Self::default();
        }
        self.reach = reach;
        if positions > self.positions {
            let wanted = positions.next_multiple_of(64);
            let (cos, sin) = config.rope.table(self.positions as u32..wanted as u32, reach);
            self.cos.extend(cos);
            self.sin.extend(sin);
            self.positions = wanted;
        }
    }

    fn at(&self, position: usize) -> (&[f32], &[f32]) {
        let half = self.cos.len() / self.positions;
        let place = position * half..(position + 1) * half;
        (&self.cos[place.clone()], &self.sin[place])
    }
}

impl Weights {
    /// `None` for models on other devices or in other types, and for those too large to be packed.
    pub fn pack(model: &CausalLm) -> Option<Self> {
        let bytes = 4 * model.num_params();
        if bytes > PACKED {
            return None;
        }
        Some(Self {
            config: model.config.clone(),
            bytes,
            embedding: Values::of(model.embedding())?,
            layers: model.layers.iter().map(Layer::new).collect::<Option<_>>()?,
            norm: Values::of(model.norm.val())?,
            head: packed(model.head())?,
        })
    }

    /// One token more for each of these rows.
    fn step(&self, rows: &mut [Row], tokens: &[u32], angles: &Angles, tasks: usize, logits: &mut [f32]) {
        let config = &self.config;
        let (count, dim, hidden) = (rows.len(), config.head_dim, config.hidden_size);
        let eps = config.norm_eps as f32;
        let mut work = Work { tasks, scratch: Scratch::default() };
        let mut x = Vec::with_capacity(count * hidden);
        for token in tokens {
            x.extend_from_slice(&self.embedding[*token as usize * hidden..][..hidden]);
        }
        let positions: Vec<usize> = rows.iter().map(Row::position).collect();
        let (mut normed, mut added) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        let mut q = vec![0.0; count * config.heads * dim];
        let mut heads = q.clone();
        let mut k = vec![0.0; count * config.kv_heads * dim];
        let mut v = k.clone();
        let mut gate = vec![0.0; count * config.intermediate_size];
        let mut up = gate.clone();
        for (index, layer) in self.layers.iter().enumerate() {
            normed.copy_from_slice(&x);
            rms_norm(&mut normed, &layer.attention_norm, eps);
            layer.q.forward(&normed, &mut q, &mut work);
            layer.k.forward(&normed, &mut k, &mut work);
            layer.v.forward(&normed, &mut v, &mut work);
            for (x, norm) in [(&mut q, &layer.q_norm), (&mut k, &layer.k_norm)] {
                if let Some(norm) = norm {
                    rms_norm(x, norm, eps);
                }
            }
            let lines = rows
                .par_iter_mut()
                .zip(&positions)
                .zip(q.par_chunks_exact_mut(config.heads * dim))
                .zip(k.par_chunks_exact_mut(config.kv_heads * dim))
                .zip(v.par_chunks_exact(config.kv_heads * dim))
                .zip(heads.par_chunks_exact_mut(config.heads * dim))
                .with_min_len(count.div_ceil(tasks));
            lines.for_each_init(Vec::new, |weights, (((((row, position), q), k), v), heads)| {
                if config.rope_layers[index] {
                    let (cos, sin) = angles.at(*position);
                    rotate(q, dim, cos, sin);
                    rotate(k, dim, cos, sin);
                }
                let hidden = config.windows[index].map_or(0, |window| (position + 1).saturating_sub(window));
                let group = config.heads / config.kv_heads * dim;
                let caches = index * config.kv_heads..(index + 1) * config.kv_heads;
                let caches = row.prompt[caches.clone()].iter().zip(&mut row.own[caches]);
                let news = k.chunks_exact(dim).zip(v.chunks_exact(dim));
                let queries = q.chunks_exact(group).zip(heads.chunks_exact_mut(group));
                for (((prompt, own), (key, value)), (q, heads)) in caches.zip(news).zip(queries) {
                    own.push(key, value);
                    attend(q, dim, prompt, own, hidden, heads, weights);
                }
            });
            layer.o.forward(&heads, &mut added, &mut work);
            add(&mut x, &added);
            normed.copy_from_slice(&x);
            rms_norm(&mut normed, &layer.mlp_norm, eps);
            layer.gate.forward(&normed, &mut gate, &mut work);
            layer.up.forward(&normed, &mut up, &mut work);
            swiglu(&mut gate, &up);
            layer.down.forward(&gate, &mut added, &mut work);
            add(&mut x, &added);
        }
        rms_norm(&mut x, &self.norm, eps);
        work.product(&self.head, &x, logits);
    }
}

impl<'a> HostEngine<'a> {
    /// `weights` are the model's own.
    pub fn new(model: &'a CausalLm, weights: &'a Weights) -> Self {
        let (prompt_logits, logits) = (Vec::new(), Vec::new());
        Self { model, weights, rows: Vec::new(), angles: Angles::default(), prompt_logits, logits }
    }

    /// Runs prompts through the packed weights, with attention on tensors: the logits after each. `keep` receives the keys and values of each
    /// layer.
    fn prefill(&self, prompts: &[(&[u32], usize)], mut keep: impl FnMut(layers::Keys)) -> Result<Vec<f32>> {
        let texts: Vec<&[u32]> = prompts.iter().map(|(prompt, _)| *prompt).collect();
        let tokens = self.model.batch(&texts)?;
        let [_, time] = tokens.dims();
        let table = RotaryTable::new(&self.model.config.rope, 0..time as u32, time, &self.model.device());
        let mut work = Work { tasks: rayon::current_num_threads(), scratch: Scratch::default() };
        let mut x = self.model.embed(tokens);
        for (block, layer) in self.model.layers.iter().zip(&self.weights.layers) {
            let normed = block.before_attention(x.clone());
            let [q, k, v] = [&layer.q, &layer.k, &layer.v].map(|linear| linear.on_tensor(&normed, &mut work));
            let (q, keys) = block.self_attn.split(q, k, v, &table);
            let heads =
                ops::causal_attention(q, keys.k.clone(), keys.v.clone(), None, block.self_attn.window);
            keep(keys);
            x = x + layer.o.on_tensor(&layers::join(heads), &mut work);
            let normed = block.before_mlp(x.clone());
            let [gate, up] = [&layer.gate, &layer.up].map(|linear| linear.on_tensor(&normed, &mut work));
            x = x + layer.down.on_tensor(&ops::swiglu(gate, up), &mut work);
        }
        let (hidden, width) = (host(self.model.finish(x)), self.model.config.hidden_size);
        let mut last = Vec::with_capacity(texts.len() * width);
        for (row, text) in texts.iter().enumerate() {
            last.extend_from_slice(&hidden[(row * time + text.len() - 1) * width..][..width]);
        }
        let mut logits = vec![0.0; texts.len() * self.model.config.vocab_size];
        work.product(&self.weights.head, &last, &mut logits);
        Ok(logits)
    }

    /// The caches of prompts from the keys and values of one layer, `[prompts, kv_heads, time, dim]` each.
    fn fill(caches: &mut [Cache], lengths: &[usize], keys: layers::Keys) {
        let [_, heads, time, dim] = keys.k.dims();
        let (k, v) = (host(keys.k), host(keys.v));
        caches.par_iter_mut().zip(lengths).enumerate().for_each(|(prompt, (cache, length))| {
            for head in prompt * heads..(prompt + 1) * heads {
                let mut new = HeadCache::default();
                for position in head * time..head * time + length {
                    let place = position * dim..(position + 1) * dim;
                    new.push(&k[place.clone()], &v[place]);
                }
                cache.push(new);
            }
        });
    }
}

impl Engine for HostEngine<'_> {
    fn admit(&mut self, prompts: &[(&[u32], usize)]) -> Result<()> {
        let mut caches = vec![Cache::new(); prompts.len()];
        let lengths: Vec<usize> = prompts.iter().map(|(prompt, _)| prompt.len()).collect();
        let keep = |keys| Self::fill(&mut caches, &lengths, keys);
        self.prompt_logits = if self.weights.bytes > CACHED {
            self.prefill(prompts, keep)?
        } else {
            run_prompts(self.model, prompts, keep)?.0
        };
        for (cache, (_, copies)) in caches.into_iter().zip(prompts) {
            let own = vec![HeadCache::default(); cache.len()];
            let prompt = Arc::new(cache);
            self.rows.extend((0..*copies).map(|_| Row { prompt: Arc::clone(&prompt), own: own.clone() }));
        }
        let longest = lengths.into_iter().max().unwrap_or(0);
        self.angles.cover(&self.weights.config, longest, longest);
        Ok(())
    }

    fn prompt_logits(&self, prompt: usize) -> &[f32] {
        let vocab = self.weights.config.vocab_size;
        &self.prompt_logits[prompt * vocab..(prompt + 1) * vocab]
    }

    fn step(&mut self, tokens: &[u32]) -> Result<&[f32]> {
        let vocab = self.weights.config.vocab_size;
        let positions = self.rows.iter().map(Row::position).max().map_or(0, |last| last + 1);
        self.angles.cover(&self.weights.config, positions, self.angles.reach);
        self.logits.resize(self.rows.len() * vocab, 0.0);
        let threads = rayon::current_num_threads();
        let group = self.rows.len().div_ceil(threads).next_multiple_of(GROUP);
        let alone = group >= self.rows.len() || (group < BUSY && self.weights.bytes > CACHED);
        let (group, tasks) = if alone { (self.rows.len().max(1), threads) } else { (group, 1) };
        let (weights, angles) = (self.weights, &self.angles);
        self.rows
            .par_chunks_mut(group)
            .zip(tokens.par_chunks(group))
            .zip(self.logits.par_chunks_mut(group * vocab))
            .for_each(|((rows, tokens), logits)| weights.step(rows, tokens, angles, tasks, logits));
        Ok(&self.logits)
    }

    fn retain(&mut self, keep: &[bool]) {
        let mut keep = keep.iter();
        self.rows.retain(|_| *keep.next().unwrap_or(&true));
    }
}
