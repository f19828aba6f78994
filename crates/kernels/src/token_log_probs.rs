//! Log-probabilities and entropies of given tokens from hidden states and the output head.
// burn-ndarray is deprecated upstream and still asked for.
#![allow(deprecated)]

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{
    Autodiff, Backend, DType, Dispatch, FloatDType, Shape, Slice, TensorMetadata, backend_extension,
    get_device_settings,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{Int, Tensor};

use crate::composed;
use crate::pieces::{PieceGrad, chosen_and_entropy, chunks, dims, has_extension, joined, scaled, wide};

/// Log-probability and entropy of every position, from hidden states and the output head, in chunks.
///
/// With `z = hidden headᵀ / temperature` and `p = softmax(z)`: row 0 is `log p[target]`, row 1 the entropy `-Σ p log p`.
///
/// - `hidden` `[n, d]`, `head` `[vocabulary, d]`, `targets` `[n]` with values in `0..vocabulary`.
/// - Result `[2, n]` in nats, in `f32` for `f32` and narrower arguments. Log-probabilities are at most 0, entropies at least 0.
/// - No more logits live at any time, forward or backward, than `chunk` rows of the vocabulary have (a fused forward pass: that many
///   per thread, and far fewer where `chunk` is large); the backward pass recomputes them. The value of `chunk` changes memory and
///   speed, not results beyond rounding.
///
/// Differentiable in `hidden` and `head`, from both rows. A position whose two gradients are zero (masked out by the
/// loss) sends exactly zero, even where its hidden state is NaN. With `n = 0` the result is `[2, 0]`, with a graph.
///
/// # Panics
/// If shapes do not fit, `chunk` is 0 or `temperature` is not positive; a target outside the vocabulary is the backend's panic.
pub fn token_log_probs(
    hidden: Tensor<2>,
    head: Tensor<2>,
    targets: Tensor<1, Int>,
    temperature: f64,
    chunk: usize,
) -> Tensor<2> {
    let [tokens, dim] = hidden.dims();
    let [_, found] = head.dims();
    assert!(
        found == dim,
        "token_log_probs: expected `[vocabulary, {dim}]`, found `{:?}` for `head`",
        head.dims()
    );
    let [found] = targets.dims();
    assert!(found == tokens, "token_log_probs: expected `[{tokens}]`, found `[{found}]` for `targets`");
    assert!(chunk > 0, "token_log_probs: a chunk needs at least one row");
    assert!(temperature > 0.0, "token_log_probs: expected a positive temperature, found {temperature}");
    let hidden = hidden.into_dispatch();
    if !has_extension(&hidden.kind) {
        return composed::token_log_probs(Tensor::from_dispatch(hidden), head, targets, temperature);
    }
    Tensor::from_dispatch(<Dispatch as TokenLogProbsOps>::token_log_probs(
        hidden,
        head.into_dispatch(),
        targets.into_dispatch(),
        temperature,
        chunk,
    ))
}

/// The backend extension behind [`token_log_probs`]. Default bodies are composed of the backend's own operations.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cuda"),
    Autodiff,
)]
pub trait TokenLogProbsOps: Backend {
    /// Forward pass: `[2, n]`.
    fn token_log_probs(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        temperature: f64,
        chunk: usize,
    ) -> FloatTensor<Self> {
        composed_forward::<Self>(hidden, head, targets, temperature, chunk)
    }

    /// Forward pass, and what this backend's backward pass wants kept.
    fn token_log_probs_keeping(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        temperature: f64,
        chunk: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let out = Self::token_log_probs(hidden, head, targets, temperature, chunk);
        (out.clone(), out)
    }

    /// Backward pass: gradients of `hidden` and `head` from the gradient `[2, n]` of the result.
    fn token_log_probs_backward(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        kept: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        temperature: f64,
        chunk: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        drop(kept);
        composed_backward::<Self>(hidden, head, targets, grad, temperature, chunk)
    }
}

#[cfg(feature = "flex")]
impl TokenLogProbsOps for burn::backend::Flex {
    fn token_log_probs(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        temperature: f64,
        chunk: usize,
    ) -> FloatTensor<Self> {
        Self::token_log_probs_keeping(hidden, head, targets, temperature, chunk).0
    }

    fn token_log_probs_keeping(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        temperature: f64,
        chunk: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if fused(&hidden, &head) {
            return crate::flex::token_log_probs_forward(&hidden, &head, &targets, temperature, chunk);
        }
        let out = composed_forward::<Self>(hidden, head, targets, temperature, chunk);
        (out.clone(), out)
    }

    fn token_log_probs_backward(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        kept: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        temperature: f64,
        chunk: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if fused(&hidden, &head) {
            return crate::flex::token_log_probs_backward(
                &hidden,
                &head,
                &targets,
                &kept,
                &grad,
                temperature,
                chunk,
            );
        }
        composed_backward::<Self>(hidden, head, targets, grad, temperature, chunk)
    }
}
#[cfg(feature = "ndarray")]
#[allow(deprecated)]
impl TokenLogProbsOps for burn::backend::NdArray {}
#[cfg(feature = "cuda")]
impl TokenLogProbsOps for burn::backend::Cube {}

impl<B: TokenLogProbsOps, C: CheckpointStrategy> TokenLogProbsOps for Autodiff<B, C> {
    fn token_log_probs(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        temperature: f64,
        chunk: usize,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct TokenLogProbs;

        impl<B: TokenLogProbsOps> Backward<B, 2> for TokenLogProbs {
            type State = (FloatTensor<B>, FloatTensor<B>, IntTensor<B>, FloatTensor<B>, f64, usize);

            fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = grads.consume::<B>(&ops.node);
                let (hidden, head, targets, kept, temperature, chunk) = ops.state;
                let (hidden, head) =
                    B::token_log_probs_backward(hidden, head, targets, kept, grad, temperature, chunk);
                let [hidden_node, head_node] = ops.parents;
                if let Some(node) = hidden_node {
                    grads.register::<B>(node.id, hidden);
                }
                if let Some(node) = head_node {
                    grads.register::<B>(node.id, head);
                }
            }
        }

        let prep = TokenLogProbs.prepare::<C>([hidden.node(), head.node()]).compute_bound().stateful();
        let (hidden, head) = (hidden.into_primitive(), head.into_primitive());
        match prep {
            OpsKind::Tracked(prep) => {
                let (out, kept) = B::token_log_probs_keeping(
                    hidden.clone(),
                    head.clone(),
                    targets.clone(),
                    temperature,
                    chunk,
                );
                prep.finish((hidden, head, targets, kept, temperature, chunk), out)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::token_log_probs(hidden, head, targets, temperature, chunk))
            }
        }
    }
}

fn composed_forward<B: Backend>(
    hidden: FloatTensor<B>,
    head: FloatTensor<B>,
    targets: IntTensor<B>,
    temperature: f64,
    chunk: usize,
) -> FloatTensor<B> {
    let [tokens, dim] = dims(&hidden);
    let dtype = wide(hidden.dtype());
    let device = hidden.device();
    let head = B::float_transpose(head);
    let mut pieces = Vec::new();
    for rows in chunks(tokens, chunk) {
        let piece = B::float_slice(hidden.clone(), &[rows, Slice::from(0..dim)]);
        let logits = scaled_logits::<B>(piece, head.clone(), temperature, dtype);
        pieces.push(chosen_and_entropy::<B>(logits, &targets, rows));
    }
    joined::<B>(pieces, &device, dtype.into())
}

fn composed_backward<B: Backend>(
    hidden: FloatTensor<B>,
    head: FloatTensor<B>,
    targets: IntTensor<B>,
    grad: FloatTensor<B>,
    temperature: f64,
    chunk: usize,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let [tokens, dim] = dims(&hidden);
    let [vocabulary, _] = dims(&head);
    let narrow: FloatDType = hidden.dtype().into();
    let dtype = wide(hidden.dtype());
    let device = hidden.device();
    let bools = get_device_settings::<B>(&device).bool_dtype;
    let head_t = B::float_transpose(head.clone());
    let grad = B::float_cast(grad, dtype.into());
    let mut head_grad = B::float_zeros(Shape::from([vocabulary, dim]), &device, dtype.into());
    let mut pieces = Vec::new();
    for rows in chunks(tokens, chunk) {
        let piece = B::float_slice(hidden.clone(), &[rows, Slice::from(0..dim)]);
        let count = piece.shape()[0];
        let piece_grad = PieceGrad::<B>::of(&grad, rows, bools);
        let silent = B::bool_expand(piece_grad.silent.clone(), Shape::from([count, dim]));
        let piece = B::float_mask_fill(piece, silent, 0.0.into());

        let logits = scaled_logits::<B>(piece.clone(), head_t.clone(), temperature, dtype);
        let logits_grad = piece_grad.of_logits(logits, &targets, temperature, narrow);
        let part = B::float_matmul(B::float_transpose(logits_grad.clone()), piece);
        head_grad = B::float_add(head_grad, B::float_cast(part, dtype.into()));
        pieces.push(B::float_matmul(logits_grad, head.clone()));
    }
    let hidden_grad = if pieces.is_empty() {
        B::float_zeros(Shape::from([0, dim]), &device, narrow)
    } else {
        B::float_cat(pieces, 0)
    };
    (hidden_grad, B::float_cast(head_grad, narrow))
}

/// Whether the fused body serves.
#[cfg(feature = "flex")]
fn fused(hidden: &burn_flex::FlexTensor, head: &burn_flex::FlexTensor) -> bool {
    hidden.dtype() == DType::F32 && head.dtype() == DType::F32
}

fn scaled_logits<B: Backend>(
    hidden: FloatTensor<B>,
    head_t: FloatTensor<B>,
    temperature: f64,
    dtype: DType,
) -> FloatTensor<B> {
    scaled::<B>(B::float_matmul(hidden, head_t), temperature, dtype.into())
}
