//! Tensors as slices.

use std::ops::Deref;

use burn::backend::{DType, DispatchTensorKind};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

/// The values of an `f32` tensor that lies on the CPU backend flex, row by row, without a copy where they are stored so.
#[derive(Debug, Clone)]
pub struct Values(FlexTensor);

impl Values {
    /// `None` for another backend (also flex under autodiff) or another type.
    #[must_use]
    pub fn of<const D: usize>(tensor: Tensor<D>) -> Option<Self> {
        match tensor.into_dispatch().kind {
            DispatchTensorKind::Flex(tensor) => {
                let tensor = tensor.float();
                (tensor.dtype() == DType::F32).then(|| Self(tensor.to_contiguous()))
            }
            #[allow(unreachable_patterns)]
            _ => None,
        }
    }
}

impl Deref for Values {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.0.as_slice().expect("contiguous and f32")
    }
}
