//! Grouped-query attention with rotary positions; optional biases, query and key norms, a window.

use burn::module::{Module, Param};
use burn::tensor::activation::softmax;
use burn::tensor::{Bool, DType, Int, Tensor};

use super::Linear;
use crate::config::Config;
use crate::error::Result;
use crate::init::Source;
use crate::ops;
use crate::rope::RotaryTable;

#[derive(Module, Debug)]
pub(crate) struct Attention {
    pub q_proj: Linear,
    pub k_proj: Linear,
    pub v_proj: Linear,
    pub o_proj: Linear,
    pub q_norm: Option<Param<Tensor<1>>>,
    pub k_norm: Option<Param<Tensor<1>>>,
    #[module(skip)]
    pub head_dim: usize,
    #[module(skip)]
    pub norm_eps: f64,
    #[module(skip)]
    pub rotates: bool,
    #[module(skip)]
    pub window: Option<usize>,
}

/// Keys and values of some positions, `[batch, kv_heads, time, dim]` each.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub k: Tensor<4>,
    pub v: Tensor<4>,
}

impl Attention {
    pub fn new(config: &Config, layer: usize, source: &mut impl Source, name: &str) -> Result<Self> {
        let (hidden, dim) = (config.hidden_size, config.head_dim);
        let (queries, keys) = (config.heads * dim, config.kv_heads * dim);
        let mut norm = |which: &str| -> Result<Option<Param<Tensor<1>>>> {
            if !config.qk_norm {
                return Ok(None);
            }
            Ok(Some(Param::from_tensor(source.tensor(&format!("{name}.{which}.weight"), [dim])?)))
        };
        let (q_norm, k_norm) = (norm("q_norm")?, norm("k_norm")?);
        let bias = config.qkv_bias;
        Ok(Self {
            q_proj: Linear::new(source, &format!("{name}.q_proj"), [queries, hidden], bias)?,
            k_proj: Linear::new(source, &format!("{name}.k_proj"), [keys, hidden], bias)?,
            v_proj: Linear::new(source, &format!("{name}.v_proj"), [keys, hidden], bias)?,
            o_proj: Linear::new(source, &format!("{name}.o_proj"), [hidden, queries], config.output_bias)?,
            q_norm,
            k_norm,
            head_dim: dim,
            norm_eps: config.norm_eps,
            rotates: config.rope_layers[layer],
            window: config.windows[layer],
        })
    }

    /// Queries, and keys with values, of `x`: rotated, `[batch, heads, time, dim]`.
    pub fn project(&self, x: Tensor<3>, table: &RotaryTable) -> (Tensor<4>, Keys) {
        let (q, k) = (self.q_proj.forward(x.clone()), self.k_proj.forward(x.clone()));
        self.split(q, k, self.v_proj.forward(x), table)
    }

    /// The same of queries, keys and values that have been projected, `[batch, time, heads * dim]`.
    pub fn split(&self, q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, table: &RotaryTable) -> (Tensor<4>, Keys) {
        let q = self.heads(q, self.q_norm.as_ref(), Some(table));
        let k = self.heads(k, self.k_norm.as_ref(), Some(table));
        (q, Keys { k, v: self.heads(v, None, None) })
    }

    fn heads(&self, x: Tensor<3>, norm: Option<&Param<Tensor<1>>>, table: Option<&RotaryTable>) -> Tensor<4> {
        let [batch, time, width] = x.dims();
        let (dim, heads) = (self.head_dim, width / self.head_dim);
        let x = match norm {
            Some(weight) => ops::rms_norm(x.reshape([batch, time * heads, dim]), weight.val(), self.norm_eps)
                .reshape([batch, time, heads, dim]),
            None => x.reshape([batch, time, heads, dim]),
        };
        let x = match table {
            Some(table) if self.rotates => rotate(x, table),
            _ => x,
        };
        x.swap_dims(1, 2)
    }

    /// Puts the heads of `[batch, heads, time, dim]` together and projects them.
    pub fn output(&self, heads: Tensor<4>) -> Tensor<3> {
        self.o_proj.forward(join(heads))
    }

    /// Attention within `x`; the keys and values are returned for those who keep them.
    pub fn forward(
        &self,
        x: Tensor<3>,
        table: &RotaryTable,
        segments: Option<Tensor<2, Int>>,
    ) -> (Tensor<3>, Keys) {
        let (q, keys) = self.project(x, table);
        let heads = ops::causal_attention(q, keys.k.clone(), keys.v.clone(), segments, self.window);
        (self.output(heads), keys)
    }

    /// One new position per row: q `[rows, heads, 1, dim]` sees the cached columns that `hidden`, `[rows, 1, 1, columns]`,
    /// leaves visible. The queries of a group share their keys, so they are folded into the row axis of one product.
    /// The softmax runs in f32.
    pub fn attend(&self, q: Tensor<4>, keys: Keys, hidden: Option<Tensor<4, Bool>>) -> Tensor<3> {
        let [rows, heads, _, dim] = q.dims();
        let [_, kv_heads, columns, _] = keys.k.dims();
        let group = heads / kv_heads;
        let q = q.reshape([rows, kv_heads, group, dim]);
        let dtype = q.dtype();
        let wide = dtype == DType::F32 || dtype == DType::F64;
        let scores = q.matmul(keys.k.transpose());
        let scores = if wide { scores } else { scores.cast(DType::F32) };
        let mut scores = scores.mul_scalar(1.0 / (dim as f64).sqrt());
        if let Some(hidden) = hidden {
            scores = scores.mask_fill(hidden.expand([rows, kv_heads, group, columns]), -1e30);
        }
        let weights = softmax(scores, 3);
        let weights = if wide { weights } else { weights.cast(dtype) };
        self.output(weights.matmul(keys.v).reshape([rows, heads, 1, dim]))
    }
}

/// The heads of `[batch, heads, time, dim]` side by side, `[batch, time, heads * dim]`.
pub(crate) fn join(heads: Tensor<4>) -> Tensor<3> {
    let [batch, count, time, dim] = heads.dims();
    heads.swap_dims(1, 2).reshape([batch, time, count * dim])
}

/// Rotates the first dimensions of each head; `x` is `[batch, time, heads, dim]`. A table with one row per position of
/// each sequence (packed batches) is applied to the batch laid out as one sequence.
fn rotate(x: Tensor<4>, table: &RotaryTable) -> Tensor<4> {
    let [batch, time, heads, dim] = x.dims();
    let [rows, half] = table.cos.dims();
    let x = if rows == time { x } else { x.reshape([1, batch * time, heads, dim]) };
    let turned = if 2 * half == dim {
        ops::rotary(x, table.cos.clone(), table.sin.clone())
    } else {
        let first = x.clone().narrow(3, 0, 2 * half);
        let rest = x.narrow(3, 2 * half, dim - 2 * half);
        Tensor::cat(vec![ops::rotary(first, table.cos.clone(), table.sin.clone()), rest], 3)
    };
    turned.reshape([batch, time, heads, dim])
}
