//! One AdamW update of one parameter.

#[cfg(any(feature = "flex", feature = "cube"))]
use burn::backend::{DType, Dispatch, DispatchTensorKind, TensorMetadata};
use burn::tensor::Tensor;

use crate::composed;
#[cfg(feature = "cube")]
use crate::cube::CubeOps;
#[cfg(feature = "flex")]
use crate::flex::FlexOps;

/// Everything [`adamw_step`] needs besides tensors. PyTorch's names, meaning and order of operations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// Learning rate of this step.
    pub lr: f64,
    /// Decay of the first moment (PyTorch's default: 0.9).
    pub beta1: f64,
    /// Decay of the second moment (PyTorch's default: 0.999).
    pub beta2: f64,
    /// Added to the root of the second moment (PyTorch's default: 1e-8).
    pub eps: f64,
    /// Decoupled weight decay (PyTorch's default: 1e-2).
    pub weight_decay: f64,
    /// Number of this update, counted from 1: it sets the bias corrections.
    pub step: u64,
}

impl AdamWStep {
    pub(crate) fn bias_correction1(&self) -> f64 {
        1.0 - self.beta1.powf(self.step as f64)
    }

    pub(crate) fn bias_correction2(&self) -> f64 {
        1.0 - self.beta2.powf(self.step as f64)
    }
}

/// The moments of one parameter, kept in `f32`.
#[derive(Debug, Clone)]
pub struct AdamWState<const D: usize> {
    /// Running mean of the gradient.
    pub first: Tensor<D>,
    /// Running mean of its square.
    pub second: Tensor<D>,
}

/// One step of AdamW (Loshchilov & Hutter 2019, <https://arxiv.org/abs/1711.05101>, algorithm 2) as `torch.optim.AdamW` computes it:
///
/// ```text
/// param  <- param (1 - lr weight_decay)
/// first  <- beta1 first  + (1 - beta1) grad
/// second <- beta2 second + (1 - beta2) grad²
/// param  <- param - lr / (1 - beta1^step) first / (sqrt(second) / sqrt(1 - beta2^step) + eps)
/// ```
///
/// Takes tensors of the inner device (no graph) and returns them updated.
///
/// # Panics
/// If shapes differ or `step` is 0.
pub fn adamw_step<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    state: AdamWState<D>,
    step: &AdamWStep,
) -> (Tensor<D>, AdamWState<D>) {
    let expected = param.dims();
    for (name, found) in
        [("grad", grad.dims()), ("first", state.first.dims()), ("second", state.second.dims())]
    {
        assert!(found == expected, "adamw_step: expected `{expected:?}`, found `{found:?}` for `{name}`");
    }
    assert!(step.step > 0, "adamw_step: steps are counted from 1");
    #[cfg(any(feature = "flex", feature = "cube"))]
    let (param, grad, state) = {
        let (param, grad) = (param.into_dispatch(), grad.into_dispatch());
        let (first, second) = (state.first.into_dispatch(), state.second.into_dispatch());
        let numbers = [
            1.0 - step.lr * step.weight_decay,
            step.beta1,
            step.beta2,
            step.lr / step.bias_correction1(),
            step.bias_correction2().sqrt(),
            step.eps,
        ]
        .map(|x| x as f32);
        let tensors = [&param, &grad, &first, &second];
        // The kind of an inner device: no graph.
        let all = |of: fn(&DispatchTensorKind) -> bool| {
            tensors.iter().all(|tensor| tensor.dtype() == DType::F32 && of(&tensor.kind))
        };
        let join = |(param, first, second)| {
            let (first, second) = (Tensor::from_dispatch(first), Tensor::from_dispatch(second));
            (Tensor::from_dispatch(param), AdamWState { first, second })
        };
        #[cfg(feature = "flex")]
        if all(|kind| matches!(kind, DispatchTensorKind::Flex(_))) {
            return join(Dispatch::fused_adamw(param, grad, first, second, numbers));
        }
        #[cfg(feature = "cube")]
        if all(|kind| matches!(kind, DispatchTensorKind::Cube(_))) {
            return join(Dispatch::cube_adamw(param, grad, first, second, numbers));
        }
        let grad = Tensor::from_dispatch(grad);
        let (param, state) = join((param, first, second));
        (param, grad, state)
    };
    composed::adamw_step(param, grad, state, step)
}
