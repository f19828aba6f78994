//! Log-probabilities and entropies of given tokens from logits that already exist.
// burn-ndarray is deprecated upstream and still asked for.
#![allow(deprecated)]

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{
    Autodiff, Backend, Dispatch, DispatchTensorKind, FloatDType, Shape, Slice, TensorMetadata,
    backend_extension, get_device_settings,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{Int, Tensor};

use crate::composed;
use crate::token_log_probs::{chunks, dims, entropy, finite, wide};

/// Log-probability and entropy of every position, from logits.
///
/// With `z = logits / temperature` and `p = softmax(z)`: row 0 is `log p[target]`, row 1 the entropy `-Σ p log p`.
/// Prefer [`token_log_probs`](crate::token_log_probs), which never makes the logits; this is for models that hand out
/// nothing else.
///
/// - `logits` `[n, vocabulary]`, `targets` `[n]` with values in `0..vocabulary`. A logit of `-inf` has probability zero.
/// - Result `[2, n]` in nats, in `f32` for `f32` and narrower arguments.
/// - Beside the logits, `chunk` rows live at any time; the backward pass adds the one buffer of their gradient. No
///   softmax is kept for it.
///
/// Differentiable in `logits`, from both rows. A position whose two gradients are zero sends exactly zero, even where
/// its logits are NaN. With `n = 0` the result is `[2, 0]`, with a graph.
///
/// # Panics
/// If shapes do not fit, `chunk` is 0 or `temperature` is not positive; a target outside the vocabulary is the backend's panic.
pub fn logit_log_probs(
    logits: Tensor<2>,
    targets: Tensor<1, Int>,
    temperature: f64,
    chunk: usize,
) -> Tensor<2> {
    let [tokens, _] = logits.dims();
    let [found] = targets.dims();
    assert!(found == tokens, "logit_log_probs: expected `[{tokens}]`, found `[{found}]` for `targets`");
    assert!(chunk > 0, "logit_log_probs: a chunk needs at least one row");
    assert!(temperature > 0.0, "logit_log_probs: expected a positive temperature, found {temperature}");
    let logits = logits.into_dispatch();
    if !has_extension(&logits.kind) {
        return composed::logit_log_probs(Tensor::from_dispatch(logits), targets, temperature);
    }
    Tensor::from_dispatch(<Dispatch as LogitLogProbsOps>::logit_log_probs(
        logits,
        targets.into_dispatch(),
        temperature,
        chunk,
    ))
}

/// Whether this build has the extension for the backend of a tensor.
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

/// The backend extension behind [`logit_log_probs`], composed of the backend's own operations.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cuda"),
    Autodiff,
)]
pub trait LogitLogProbsOps: Backend {
    /// Forward pass: `[2, n]`.
    fn logit_log_probs(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        temperature: f64,
        chunk: usize,
    ) -> FloatTensor<Self> {
        forward::<Self>(logits, targets, temperature, chunk)
    }

    /// Backward pass: the gradient of `logits` from the gradient `[2, n]` of the result.
    fn logit_log_probs_backward(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        grad: FloatTensor<Self>,
        temperature: f64,
        chunk: usize,
    ) -> FloatTensor<Self> {
        backward::<Self>(logits, targets, grad, temperature, chunk)
    }
}

#[cfg(feature = "flex")]
impl LogitLogProbsOps for burn::backend::Flex {}
#[cfg(feature = "ndarray")]
#[allow(deprecated)]
impl LogitLogProbsOps for burn::backend::NdArray {}
#[cfg(feature = "cuda")]
impl LogitLogProbsOps for burn::backend::Cube {}

impl<B: LogitLogProbsOps, C: CheckpointStrategy> LogitLogProbsOps for Autodiff<B, C> {
    fn logit_log_probs(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        temperature: f64,
        chunk: usize,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct LogitLogProbs;

        impl<B: LogitLogProbsOps> Backward<B, 1> for LogitLogProbs {
            type State = (FloatTensor<B>, IntTensor<B>, f64, usize);

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = grads.consume::<B>(&ops.node);
                let (logits, targets, temperature, chunk) = ops.state;
                let [node] = ops.parents;
                if let Some(node) = node {
                    let logits = B::logit_log_probs_backward(logits, targets, grad, temperature, chunk);
                    grads.register::<B>(node.id, logits);
                }
            }
        }

        let prep = LogitLogProbs.prepare::<C>([logits.node()]).compute_bound().stateful();
        let logits = logits.into_primitive();
        match prep {
            OpsKind::Tracked(prep) => {
                let out = B::logit_log_probs(logits.clone(), targets.clone(), temperature, chunk);
                prep.finish((logits, targets, temperature, chunk), out)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::logit_log_probs(logits, targets, temperature, chunk)),
        }
    }
}

fn forward<B: Backend>(
    logits: FloatTensor<B>,
    targets: IntTensor<B>,
    temperature: f64,
    chunk: usize,
) -> FloatTensor<B> {
    let [tokens, vocabulary] = dims(&logits);
    let device = logits.device();
    let dtype: FloatDType = wide(logits.dtype()).into();
    let mut pieces = Vec::new();
    for rows in chunks(tokens, chunk) {
        let piece = B::float_slice(logits.clone(), &[rows, Slice::from(0..vocabulary)]);
        let count = piece.shape()[0];
        let log_probs = B::log_softmax(scaled::<B>(piece, temperature, dtype), 1);
        let targets = B::int_reshape(B::int_slice(targets.clone(), &[rows]), Shape::from([count, 1]));
        let chosen = B::float_gather(1, log_probs.clone(), targets);
        pieces.push(B::float_cat(vec![chosen, entropy::<B>(log_probs)], 1));
    }
    if pieces.is_empty() {
        return B::float_zeros(Shape::from([2, 0]), &device, dtype);
    }
    let joined = if pieces.len() == 1 { pieces.remove(0) } else { B::float_cat(pieces, 0) };
    B::float_transpose(joined)
}

fn backward<B: Backend>(
    logits: FloatTensor<B>,
    targets: IntTensor<B>,
    grad: FloatTensor<B>,
    temperature: f64,
    chunk: usize,
) -> FloatTensor<B> {
    let [tokens, vocabulary] = dims(&logits);
    let device = logits.device();
    let narrow: FloatDType = logits.dtype().into();
    let dtype: FloatDType = wide(logits.dtype()).into();
    let bools = get_device_settings::<B>(&device).bool_dtype;
    let grad = B::float_cast(grad, dtype);
    let mut result = B::float_zeros(Shape::from([tokens, vocabulary]), &device, narrow);
    for rows in chunks(tokens, chunk) {
        let slices = [rows, Slice::from(0..vocabulary)];
        let piece = B::float_slice(logits.clone(), &slices);
        let count = piece.shape()[0];
        let column = |row: usize| {
            let part = B::float_slice(grad.clone(), &[Slice::from(row..row + 1), rows]);
            B::float_reshape(part, Shape::from([count, 1]))
        };
        let (chosen_grad, entropy_grad) = (column(0), column(1));
        // Rows without a gradient are replaced, not multiplied by zero: they may hold NaN.
        let size = B::float_add(B::float_abs(chosen_grad.clone()), B::float_abs(entropy_grad.clone()));
        let silent = B::float_equal_elem(size, 0.0.into(), bools);
        let silent = B::bool_expand(silent, Shape::from([count, vocabulary]));

        let log_probs = B::log_softmax(scaled::<B>(piece, temperature, dtype), 1);
        let probs = B::float_exp(log_probs.clone());
        // d entropy / d z = -p (log p + entropy); d log p[target] / d z = onehot - p.
        let surprise = B::float_add(finite::<B>(log_probs.clone()), entropy::<B>(log_probs));
        let inner = B::float_add(B::float_mul(surprise, entropy_grad), chosen_grad.clone());
        let piece = B::float_neg(B::float_mul(probs, inner));
        let targets = B::int_reshape(B::int_slice(targets.clone(), &[rows]), Shape::from([count, 1]));
        let piece = B::float_scatter(1, piece, targets, chosen_grad, burn::tensor::IndexingUpdateOp::Add);
        let piece = if temperature == 1.0 { piece } else { B::float_div_scalar(piece, temperature.into()) };
        let piece = B::float_cast(B::float_mask_fill(piece, silent, 0.0.into()), narrow);
        result = B::float_slice_assign(result, &slices, piece);
    }
    result
}

fn scaled<B: Backend>(piece: FloatTensor<B>, temperature: f64, dtype: FloatDType) -> FloatTensor<B> {
    let piece = B::float_cast(piece, dtype);
    if temperature == 1.0 { piece } else { B::float_div_scalar(piece, temperature.into()) }
}
