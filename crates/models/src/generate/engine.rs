//! Running rows through the model with cached keys and values.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use crate::error::Result;
use crate::layers::Keys;
use crate::model::{CausalLm, Inputs};
use crate::rope::RotaryTable;
use crate::score::host;

/// Runs a changing set of rows, in order.
pub(crate) trait Engine {
    /// Runs prompts and appends the given number of rows for each.
    fn admit(&mut self, prompts: &[(&[u32], usize)]) -> Result<()>;
    /// The logits after the given prompt of the last admission.
    fn prompt_logits(&self, prompt: usize) -> &[f32];
    /// Appends one token to each row; gives the logits of all rows, one after another.
    fn step(&mut self, tokens: &[u32]) -> Result<&[f32]>;
    /// Keeps the rows marked true.
    fn retain(&mut self, keep: &[bool]);
}

/// Runs prompts side by side; gives the logits after each, one after another, and the length to which they were padded. `keep` receives
/// the keys and values of each layer.
pub(crate) fn run_prompts(
    model: &CausalLm,
    prompts: &[(&[u32], usize)],
    keep: impl FnMut(Keys),
) -> Result<(Vec<f32>, usize)> {
    let texts: Vec<&[u32]> = prompts.iter().map(|(prompt, _)| *prompt).collect();
    let hidden = model.run(Inputs::new(model.batch(&texts)?), keep);
    let [_, time, width] = hidden.dims();
    let last: Vec<i32> = texts.iter().enumerate().map(|(row, p)| (row * time + p.len() - 1) as i32).collect();
    let last = Tensor::<1, Int>::from_data(TensorData::from(last.as_slice()), &model.device());
    let hidden = hidden.reshape([texts.len() * time, width]).select(0, last).unsqueeze_dim(1);
    Ok((host(model.logits(hidden)), time))
}

/// The cache as tensors, on any device. All rows write the same column of it: a row that entered late begins in a later
/// column, and a mask hides what lies before. Columns that no row sees any more are cut off when rows leave or enter.
pub(crate) struct TensorEngine<'a> {
    model: &'a CausalLm,
    /// Per layer, `[rows, kv_heads, capacity, dim]`.
    cache: Vec<Keys>,
    /// The first column of each row.
    starts: Vec<usize>,
    /// Rows of the cache in use; a row leaves lazily.
    live: Vec<usize>,
    column: usize,
    capacity: usize,
    /// Attend to all columns of the cache, those not yet written hidden by the mask: shapes then change once in
    /// [`GROWTH`] steps and no part of the cache is copied. On a GPU that is far cheaper than the columns it saves.
    whole: bool,
    /// The length of one of the prompts: it decides between sets of rotary frequencies, and all rows agree.
    reach: usize,
    prompt_logits: Vec<f32>,
    logits: Vec<f32>,
}

/// Columns the cache grows by.
const GROWTH: usize = 64;

impl<'a> TensorEngine<'a> {
    pub fn new(model: &'a CausalLm) -> Self {
        Self {
            model,
            cache: Vec::new(),
            starts: Vec::new(),
            live: Vec::new(),
            column: 0,
            capacity: 0,
            whole: !on_cpu(&model.device()),
            reach: 0,
            prompt_logits: Vec::new(),
            logits: Vec::new(),
        }
    }

    fn vocab(&self) -> usize {
        self.model.config.vocab_size
    }

    /// Drops rows that left and columns nobody sees, with room for `ahead` more columns and at least `least` in use.
    fn compact(&mut self, least: usize, ahead: usize) {
        let device = self.model.device();
        let first = self.starts.iter().copied().min().unwrap_or(self.column);
        let used = self.column - first;
        let shift = least.saturating_sub(used);
        let capacity = used + shift + ahead;
        if !self.cache.is_empty() && !self.live.is_empty() {
            let rows: Vec<i32> = self.live.iter().map(|r| *r as i32).collect();
            let rows = Tensor::<1, Int>::from_data(TensorData::from(rows.as_slice()), &device);
            for Keys { k, v } in &mut self.cache {
                for tensor in [k, v] {
                    tensor.inplace(|old| {
                        let [_, heads, _, dim] = old.dims();
                        let dtype = old.dtype();
                        let old = old.narrow(2, first, used).select(0, rows.clone());
                        let new = Tensor::zeros([rows.dims()[0], heads, capacity, dim], (&device, dtype));
                        new.slice_assign([0..rows.dims()[0], 0..heads, shift..shift + used, 0..dim], old)
                    });
                }
            }
        } else {
            self.cache.clear();
        }
        for start in &mut self.starts {
            *start = *start - first + shift;
        }
        self.live = (0..self.starts.len()).collect();
        self.column = used + shift;
        self.capacity = capacity;
    }
}

impl Engine for TensorEngine<'_> {
    fn admit(&mut self, prompts: &[(&[u32], usize)]) -> Result<()> {
        let model = self.model;
        let device = model.device();
        let longest = prompts.iter().map(|(p, _)| p.len()).max().unwrap_or(0);
        self.reach = longest;
        let mut fresh = Vec::new();
        let (logits, time) = run_prompts(model, prompts, |keys| fresh.push(keys))?;
        self.prompt_logits = logits;

        self.compact(longest, GROWTH);
        let (column, capacity) = (self.column, self.capacity);
        // Each copy of a prompt ends at the current column. What lies before its start is hidden, so any number will do there.
        let mut places: Vec<i32> = Vec::new();
        for (row, (text, copies)) in prompts.iter().enumerate() {
            for column in (0..longest).cycle().take(longest * copies) {
                places.push((row * time + (column + text.len()).saturating_sub(longest)) as i32);
            }
        }
        let rows = places.len() / longest.max(1);
        let places = Tensor::<1, Int>::from_data(TensorData::from(places.as_slice()), &device);
        let place = |x: Tensor<4>| {
            let [_, heads, _, dim] = x.dims();
            let dtype = x.dtype();
            let values =
                x.swap_dims(1, 2).reshape([prompts.len() * time, heads * dim]).select(0, places.clone());
            let values = values.reshape([rows, longest, heads, dim]).swap_dims(1, 2);
            Tensor::zeros([rows, heads, capacity, dim], (&device, dtype))
                .slice_assign([0..rows, 0..heads, column - longest..column, 0..dim], values)
        };
        let old = std::mem::take(&mut self.cache);
        let mut old = old.into_iter();
        for Keys { k, v } in fresh {
            let (k, v) = (place(k), place(v));
            self.cache.push(match old.next() {
                Some(before) => {
                    Keys { k: Tensor::cat(vec![before.k, k], 0), v: Tensor::cat(vec![before.v, v], 0) }
                }
                None => Keys { k, v },
            });
        }
        for (text, copies) in prompts {
            self.starts.extend(std::iter::repeat_n(column - text.len(), *copies));
        }
        self.live = (0..self.starts.len()).collect();
        Ok(())
    }

    fn prompt_logits(&self, prompt: usize) -> &[f32] {
        let vocab = self.vocab();
        &self.prompt_logits[prompt * vocab..(prompt + 1) * vocab]
    }

    fn step(&mut self, tokens: &[u32]) -> Result<&[f32]> {
        let held = self.cache.first().map_or(0, |keys| keys.k.dims()[0]);
        if self.column == self.capacity || self.live.len() * 4 < held * 3 {
            let room = if self.column == self.capacity { GROWTH } else { self.capacity - self.column };
            self.compact(0, room);
        }
        let model = self.model;
        let device = model.device();
        let held = self.cache.first().map_or(0, |keys| keys.k.dims()[0]);
        // Rows that left but still lie in the cache run along with token 0.
        let (mut ids, mut starts) = (vec![0i32; held], vec![0usize; held]);
        for ((row, token), start) in self.live.iter().zip(tokens).zip(&self.starts) {
            (ids[*row], starts[*row]) = (*token as i32, *start);
        }
        let column = self.column;
        let columns = if self.whole { self.capacity } else { column + 1 };
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [held, 1]), &device);
        let positions = starts.iter().map(|start| (column - start) as u32);
        let table = RotaryTable::new(&model.config.rope, positions, self.reach, &device);
        let mut masks: Vec<(Option<usize>, Option<Tensor<4, Bool>>)> = Vec::new();
        let mut x = model.embed(ids);
        for (layer, keys) in model.layers.iter().zip(&mut self.cache) {
            let attention = &layer.self_attn;
            let (q, new) = attention.project(layer.before_attention(x.clone()), &table);
            let [_, heads, _, dim] = new.k.dims();
            let range = [0..held, 0..heads, column..column + 1, 0..dim];
            keys.k.inplace(|k| k.slice_assign(range.clone(), new.k));
            keys.v.inplace(|v| v.slice_assign(range, new.v));
            if !masks.iter().any(|(window, _)| *window == attention.window) {
                let mask = hidden_columns(&starts, column + 1, columns, attention.window);
                let mask =
                    mask.map(|m| Tensor::from_data(TensorData::new(m, [held, 1, 1, columns]), &device));
                masks.push((attention.window, mask));
            }
            let mask =
                masks.iter().find(|(window, _)| *window == attention.window).and_then(|(_, m)| m.clone());
            let mut seen = keys.clone();
            if columns < self.capacity {
                seen = Keys { k: seen.k.narrow(2, 0, columns), v: seen.v.narrow(2, 0, columns) };
            }
            x = layer.finish(x, attention.attend(q, seen, mask));
        }
        self.column += 1;
        let hidden = model.finish(x);
        let hidden = if self.live.len() == held {
            hidden
        } else {
            let rows: Vec<i32> = self.live.iter().map(|r| *r as i32).collect();
            hidden.select(0, Tensor::from_data(TensorData::from(rows.as_slice()), &device))
        };
        self.logits = host(model.logits(hidden));
        Ok(&self.logits)
    }

    fn retain(&mut self, keep: &[bool]) {
        let mut kept = keep.iter();
        self.live.retain(|_| *kept.next().unwrap_or(&true));
        let mut kept = keep.iter();
        self.starts.retain(|_| *kept.next().unwrap_or(&true));
    }
}

/// True where a row does not see one of `columns` columns, of which `written` are written; nothing where every row sees all.
fn hidden_columns(
    starts: &[usize],
    written: usize,
    columns: usize,
    window: Option<usize>,
) -> Option<Vec<bool>> {
    let first = |start: usize| start.max(written.saturating_sub(window.unwrap_or(written)));
    if written == columns && starts.iter().all(|start| first(*start) == 0) {
        return None;
    }
    let row = |start: &usize| {
        let seen = first(*start)..written;
        (0..columns).map(move |column| !seen.contains(&column))
    };
    Some(starts.iter().flat_map(row).collect())
}

/// Whether a device is one of the CPU backends of this build.
fn on_cpu(device: &Device) -> bool {
    #[cfg(feature = "flex")]
    if *device == Device::flex() {
        return true;
    }
    #[cfg(feature = "ndarray")]
    #[allow(deprecated)]
    if *device == Device::ndarray() {
        return true;
    }
    let _ = device;
    false
}
