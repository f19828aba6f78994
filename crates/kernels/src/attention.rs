//! Causal attention for training and prefill.

#[cfg(feature = "flex")]
use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};

use crate::composed;
#[cfg(feature = "flex")]
use crate::flex::{FlexOps, reaches};

/// Causal scaled dot-product attention with grouped queries.
///
/// `softmax(q kᵀ / sqrt(dim)) v` over the keys a query may see (Vaswani et al. 2017, <https://arxiv.org/abs/1706.03762>, equation
/// 1). Query head `h` reads key head `h / (heads / kv_heads)` (Ainslie et al. 2023, <https://arxiv.org/abs/2305.13245>).
///
/// - `q` `[batch, heads, rows, dim]`; `k`, `v` `[batch, kv_heads, columns, dim]`, `columns >= rows`: the queries are the *last* `rows`
///   positions, so a prefix may come from a cache. Query `i` sees keys up to and including `columns - rows + i`.
/// - `segments` `[batch, time]`: only keys with the query's own segment number are seen (packed documents). Needs
///   `rows == columns`.
/// - `window`: only the last `window` positions are seen, the query's own included (Mistral's sliding window).
///
/// Returns `[batch, heads, rows, dim]`. Differentiable in `q`, `k` and `v`. A query always sees itself, so there is no empty row.
///
/// # Panics
/// If shapes do not fit, `heads` is not a multiple of `kv_heads`, or `window` is zero.
pub fn causal_attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    segments: Option<Tensor<2, Int>>,
    window: Option<usize>,
) -> Tensor<4> {
    let [batch, heads, rows, dim] = q.dims();
    let [_, kv_heads, columns, _] = k.dims();
    for (name, found) in [("k", k.dims()), ("v", v.dims())] {
        let expected = [batch, kv_heads, columns, dim];
        assert!(
            found == expected,
            "causal_attention: expected `{expected:?}`, found `{found:?}` for `{name}`"
        );
    }
    assert!(
        kv_heads > 0 && heads % kv_heads == 0,
        "causal_attention: {heads} query heads are not a multiple of {kv_heads} key heads"
    );
    assert!(columns >= rows, "causal_attention: {rows} queries but only {columns} keys");
    assert!(window != Some(0), "causal_attention: a window of zero sees nothing");
    if let Some(segments) = &segments {
        let found = segments.dims();
        assert!(
            rows == columns && found == [batch, columns],
            "causal_attention: expected `[{batch}, {columns}]` and as many queries as keys, found `{found:?}` and {rows} queries \
             for `segments`"
        );
    }
    #[cfg(feature = "flex")]
    let (q, k, v) = {
        let (q, k, v) = (q.into_dispatch(), k.into_dispatch(), v.into_dispatch());
        if reaches(&q) && reaches(&k) && reaches(&v) {
            let none = || Tensor::<2, Int>::zeros([1, 0], &Tensor::<4>::from_dispatch(q.clone()).device());
            let segments = segments.unwrap_or_else(none).into_dispatch();
            let window = window.unwrap_or(usize::MAX >> 12);
            return Tensor::from_dispatch(Dispatch::fused_attention(q, k, v, segments, window));
        }
        (Tensor::from_dispatch(q), Tensor::from_dispatch(k), Tensor::from_dispatch(v))
    };
    composed::causal_attention(q, k, v, segments, window)
}
