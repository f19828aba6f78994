//! Log-probabilities and entropies of given tokens from hidden states and the output head.
// burn-ndarray is deprecated upstream and still asked for.
#![allow(deprecated)]

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{
    Autodiff, Backend, DType, Dispatch, DispatchTensorKind, FloatDType, Shape, Slice, TensorMetadata,
    backend_extension, get_device_settings,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{Int, Tensor};

use crate::composed;

/// Log-probability and entropy of every position, from hidden states and the output head, in chunks.
///
/// With `z = hidden headᵀ / temperature` and `p = softmax(z)`: row 0 is `log p[target]`, row 1 the entropy `-Σ p log p`.
///
/// - `hidden` `[n, d]`, `head` `[vocabulary, d]`, `targets` `[n]` with values in `0..vocabulary`.
/// - Result `[2, n]` in nats, in `f32` for `f32` and narrower arguments. Log-probabilities are at most 0, entropies at least 0.
/// - At most `chunk` rows of logits live at any time, forward or backward: the backward pass recomputes them. The
///   value of `chunk` changes memory and speed, not results beyond rounding.
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

/// Whether this build has the extension for the backend of a tensor. A backend can be on in burn but not in this crate's features.
fn has_extension(kind: &DispatchTensorKind) -> bool {
    match kind {
        #[cfg(feature = "flex")]
        DispatchTensorKind::Flex(_) => true,
        #[cfg(feature = "ndarray")]
        DispatchTensorKind::NdArray(_) => true,
        #[cfg(feature = "cuda")]
        DispatchTensorKind::Cube(_) => true,
        DispatchTensorKind::Autodiff(inner) => has_extension(inner),
        #[allow(unreachable_patterns)]
        _ => false,
    }
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

    /// Backward pass: gradients of `hidden` and `head` from the gradient `[2, n]` of the result (`out`).
    fn token_log_probs_backward(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        out: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        temperature: f64,
        chunk: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        drop(out);
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
        if fused(&hidden, &head) {
            return crate::flex::token_log_probs_forward(&hidden, &head, &targets, temperature, chunk);
        }
        composed_forward::<Self>(hidden, head, targets, temperature, chunk)
    }

    fn token_log_probs_backward(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        out: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        temperature: f64,
        chunk: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if fused(&hidden, &head) {
            return crate::flex::token_log_probs_backward(
                &hidden,
                &head,
                &targets,
                &out,
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
                let (hidden, head, targets, out, temperature, chunk) = ops.state;
                let (hidden, head) =
                    B::token_log_probs_backward(hidden, head, targets, out, grad, temperature, chunk);
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
                let out =
                    B::token_log_probs(hidden.clone(), head.clone(), targets.clone(), temperature, chunk);
                prep.finish((hidden, head, targets, out.clone(), temperature, chunk), out)
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
        let count = piece.shape()[0];
        let logits = scaled_logits::<B>(piece, head.clone(), temperature, dtype);
        let log_probs = B::log_softmax(logits, 1);
        let targets = B::int_reshape(B::int_slice(targets.clone(), &[rows]), Shape::from([count, 1]));
        let chosen = B::float_gather(1, log_probs.clone(), targets);
        let entropy = entropy::<B>(log_probs);
        pieces.push(B::float_cat(vec![chosen, entropy], 1));
    }
    if pieces.is_empty() {
        return B::float_zeros(Shape::from([2, 0]), &device, dtype.into());
    }
    let joined = if pieces.len() == 1 { pieces.remove(0) } else { B::float_cat(pieces, 0) };
    B::float_transpose(joined)
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
        let column = |row: usize| {
            let part = B::float_slice(grad.clone(), &[Slice::from(row..row + 1), rows]);
            B::float_reshape(part, Shape::from([count, 1]))
        };
        let (chosen_grad, entropy_grad) = (column(0), column(1));
        // Rows without a gradient are replaced, not multiplied by zero: they may hold NaN.
        let size = B::float_add(B::float_abs(chosen_grad.clone()), B::float_abs(entropy_grad.clone()));
        let silent = B::float_equal_elem(size, 0.0.into(), bools);
        let silent_dim = B::bool_expand(silent.clone(), Shape::from([count, dim]));
        let silent_vocabulary = B::bool_expand(silent, Shape::from([count, vocabulary]));
        let piece = B::float_mask_fill(piece, silent_dim.clone(), 0.0.into());

        let logits = scaled_logits::<B>(piece.clone(), head_t.clone(), temperature, dtype);
        let log_probs = B::log_softmax(logits, 1);
        let probs = B::float_exp(log_probs.clone());
        let entropy = entropy::<B>(log_probs.clone());
        // d entropy / d z = -p (log p + entropy); d log p[target] / d z = onehot - p.
        let surprise = B::float_add(finite::<B>(log_probs), entropy);
        let inner = B::float_add(B::float_mul(surprise, entropy_grad), chosen_grad.clone());
        let logits_grad = B::float_neg(B::float_mul(probs, inner));
        let targets = B::int_reshape(B::int_slice(targets.clone(), &[rows]), Shape::from([count, 1]));
        let logits_grad =
            B::float_scatter(1, logits_grad, targets, chosen_grad, burn::tensor::IndexingUpdateOp::Add);
        let logits_grad = B::float_div_scalar(logits_grad, temperature.into());
        let logits_grad = B::float_mask_fill(logits_grad, silent_vocabulary, 0.0.into());
        let logits_grad = B::float_cast(logits_grad, narrow);
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

/// Whether the fused body serves: `f32`, and a head small enough that a few gradients of it may live at once.
#[cfg(feature = "flex")]
fn fused(hidden: &burn_flex::FlexTensor, head: &burn_flex::FlexTensor) -> bool {
    hidden.dtype() == DType::F32 && head.dtype() == DType::F32 && head.shape().num_elements() <= 1 << 22
}

pub(crate) fn dims<T: TensorMetadata>(tensor: &T) -> [usize; 2] {
    tensor.shape().dims()
}

/// The type sums run in.
pub(crate) fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 { dtype } else { DType::F32 }
}

pub(crate) fn chunks(tokens: usize, chunk: usize) -> impl Iterator<Item = Slice> {
    (0..tokens).step_by(chunk).map(move |start| Slice::from(start..(start + chunk).min(tokens)))
}

fn scaled_logits<B: Backend>(
    hidden: FloatTensor<B>,
    head_t: FloatTensor<B>,
    temperature: f64,
    dtype: DType,
) -> FloatTensor<B> {
    let logits = B::float_cast(B::float_matmul(hidden, head_t), dtype.into());
    if temperature == 1.0 { logits } else { B::float_div_scalar(logits, temperature.into()) }
}

/// `-inf` (probability zero) becomes a large finite number, so that `p log p` is 0 and not NaN.
pub(crate) fn finite<B: Backend>(log_probs: FloatTensor<B>) -> FloatTensor<B> {
    B::float_clamp_min(log_probs, (-1e30).into())
}

/// `[n, vocabulary]` log-probabilities -> `[n, 1]` entropies.
pub(crate) fn entropy<B: Backend>(log_probs: FloatTensor<B>) -> FloatTensor<B> {
    let weighted = B::float_mul(B::float_exp(log_probs.clone()), finite::<B>(log_probs));
    B::float_neg(B::float_sum_dim(weighted, 1))
}
