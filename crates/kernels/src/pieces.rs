//! What log-probabilities from hidden states and from logits share: a few rows of logits at a time, forward and backward.
// burn-ndarray is deprecated upstream and still asked for.
#![allow(deprecated)]

use burn::backend::{
    Backend, DType, DispatchTensorKind, FloatDType, Shape, Slice, TensorMetadata,
    tensor::{BoolTensor, Device, FloatTensor, IntTensor},
};
use burn::tensor::{BoolDType, IndexingUpdateOp};

/// Whether this build has the extension for the backend of a tensor. A backend can be on in burn but not in this crate's features.
pub(crate) fn has_extension(kind: &DispatchTensorKind) -> bool {
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

/// Logits over the temperature, in a type.
pub(crate) fn scaled<B: Backend>(
    logits: FloatTensor<B>,
    temperature: f64,
    dtype: FloatDType,
) -> FloatTensor<B> {
    let logits = B::float_cast(logits, dtype);
    if temperature == 1.0 { logits } else { B::float_div_scalar(logits, temperature.into()) }
}

/// Log-probabilities of the targets and entropies, `[rows, 2]`, of these rows' logits.
pub(crate) fn chosen_and_entropy<B: Backend>(
    logits: FloatTensor<B>,
    targets: &IntTensor<B>,
    rows: Slice,
) -> FloatTensor<B> {
    let targets = column_of::<B>(targets, rows, logits.shape()[0]);
    let log_probs = B::log_softmax(logits, 1);
    let chosen = B::float_gather(1, log_probs.clone(), targets);
    B::float_cat(vec![chosen, entropy::<B>(log_probs)], 1)
}

/// Pieces of `[rows, 2]` as one `[2, n]`.
pub(crate) fn joined<B: Backend>(
    mut pieces: Vec<FloatTensor<B>>,
    device: &Device<B>,
    dtype: FloatDType,
) -> FloatTensor<B> {
    if pieces.is_empty() {
        return B::float_zeros(Shape::from([2, 0]), device, dtype);
    }
    B::float_transpose(if pieces.len() == 1 { pieces.remove(0) } else { B::float_cat(pieces, 0) })
}

/// The gradients that reach some rows, `[rows, 1]` each.
pub(crate) struct PieceGrad<B: Backend> {
    rows: Slice,
    chosen: FloatTensor<B>,
    entropy: FloatTensor<B>,
    /// Where both are zero. Such rows are replaced, not multiplied by zero: they may hold NaN.
    pub silent: BoolTensor<B>,
}

impl<B: Backend> PieceGrad<B> {
    /// These rows of `grad`, `[2, n]`.
    pub fn of(grad: &FloatTensor<B>, rows: Slice, bools: BoolDType) -> Self {
        let column = |row: usize| {
            let part = B::float_slice(grad.clone(), &[Slice::from(row..row + 1), rows]);
            let count = part.shape()[1];
            B::float_reshape(part, Shape::from([count, 1]))
        };
        let (chosen, entropy) = (column(0), column(1));
        let size = B::float_add(B::float_abs(chosen.clone()), B::float_abs(entropy.clone()));
        let silent = B::float_equal_elem(size, 0.0.into(), bools);
        Self { rows, chosen, entropy, silent }
    }

    /// The gradient of these rows' logits before the temperature, from those after it.
    pub fn of_logits(
        self,
        logits: FloatTensor<B>,
        targets: &IntTensor<B>,
        temperature: f64,
        narrow: FloatDType,
    ) -> FloatTensor<B> {
        let [count, vocabulary] = dims(&logits);
        let log_probs = B::log_softmax(logits, 1);
        let probs = B::float_exp(log_probs.clone());
        // d entropy / d z = -p (log p + entropy); d log p[target] / d z = onehot - p.
        let surprise = B::float_add(finite::<B>(log_probs.clone()), entropy::<B>(log_probs));
        let inner = B::float_add(B::float_mul(surprise, self.entropy), self.chosen.clone());
        let grad = B::float_neg(B::float_mul(probs, inner));
        let targets = column_of::<B>(targets, self.rows, count);
        let grad = B::float_scatter(1, grad, targets, self.chosen, IndexingUpdateOp::Add);
        let grad = if temperature == 1.0 { grad } else { B::float_div_scalar(grad, temperature.into()) };
        let silent = B::bool_expand(self.silent, Shape::from([count, vocabulary]));
        B::float_cast(B::float_mask_fill(grad, silent, 0.0.into()), narrow)
    }
}

fn column_of<B: Backend>(targets: &IntTensor<B>, rows: Slice, count: usize) -> IntTensor<B> {
    B::int_reshape(B::int_slice(targets.clone(), &[rows]), Shape::from([count, 1]))
}

/// `-inf` (probability zero) becomes a large finite number, so that `p log p` is 0 and not NaN.
fn finite<B: Backend>(log_probs: FloatTensor<B>) -> FloatTensor<B> {
    B::float_clamp_min(log_probs, (-1e30).into())
}

/// `[n, vocabulary]` log-probabilities -> `[n, 1]` entropies.
fn entropy<B: Backend>(log_probs: FloatTensor<B>) -> FloatTensor<B> {
    let weighted = B::float_mul(B::float_exp(log_probs.clone()), finite::<B>(log_probs));
    B::float_neg(B::float_sum_dim(weighted, 1))
}
