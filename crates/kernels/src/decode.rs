//! What sampling needs: one step of attention against a cache, and log-probabilities of the next token.

use burn::tensor::{Int, Tensor};

use crate::composed;

/// Attention of one new token per row against its key-value cache.
///
/// - `q` `[batch, heads, dim]`: the new token's queries.
/// - `k`, `v` `[batch, kv_heads, capacity, dim]`: the cache, the new token's own key and value already written.
/// - `lengths` `[batch]`: how many slots of each row count, at least 1. Later slots get weight zero and must hold finite values.
///
/// Returns `[batch, heads, dim]`. For inference: use it on the inner device.
///
/// # Panics
/// If shapes do not fit or `heads` is not a multiple of `kv_heads`.
pub fn decode_attention(q: Tensor<3>, k: Tensor<4>, v: Tensor<4>, lengths: Tensor<1, Int>) -> Tensor<3> {
    let [batch, heads, dim] = q.dims();
    let [_, kv_heads, capacity, _] = k.dims();
    for (name, found) in [("k", k.dims()), ("v", v.dims())] {
        let expected = [batch, kv_heads, capacity, dim];
        assert!(
            found == expected,
            "decode_attention: expected `{expected:?}`, found `{found:?}` for `{name}`"
        );
    }
    assert!(
        kv_heads > 0 && heads % kv_heads == 0,
        "decode_attention: {heads} query heads are not a multiple of {kv_heads} key heads"
    );
    let [found] = lengths.dims();
    assert!(found == batch, "decode_attention: expected `[{batch}]`, found `[{found}]` for `lengths`");
    composed::decode_attention(q, k, v, lengths)
}

/// Log-softmax of each row of logits, in `f32` whatever the type of the logits: `x - log(sum(exp(x)))`.
///
/// `logits` `[batch, vocabulary]` → `[batch, vocabulary]` (nats). A logit of `-inf` stays `-inf`.
pub fn log_softmax(logits: Tensor<2>) -> Tensor<2> {
    composed::log_softmax(logits)
}
