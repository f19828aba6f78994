//! `x W^T + b`, with the weight as Hugging Face stores it, and a low-rank adapter where one is attached.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::error::Result;
use crate::init::Source;

/// A linear projection.
#[derive(Module, Debug)]
pub(crate) struct Linear {
    /// `[out, in]`.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// The adapter.
    pub lora: Option<LowRank>,
}

/// `scale * x A^T B^T`, added to a projection.
#[derive(Module, Debug)]
pub(crate) struct LowRank {
    /// `[rank, in]`.
    pub a: Param<Tensor<2>>,
    /// `[out, rank]`.
    pub b: Param<Tensor<2>>,
    #[module(skip)]
    pub scale: f64,
}

impl Linear {
    pub fn new(source: &mut impl Source, name: &str, shape: [usize; 2], bias: bool) -> Result<Self> {
        Ok(Self {
            weight: Param::from_tensor(source.tensor(&format!("{name}.weight"), shape)?),
            bias: if bias {
                Some(Param::from_tensor(source.tensor(&format!("{name}.bias"), [shape[0]])?))
            } else {
                None
            },
            lora: None,
        })
    }

    /// `[batch, time, in]` to `[batch, time, out]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, time, input] = x.dims();
        let weight = self.weight.val();
        let output = weight.dims()[0];
        let x = x.reshape([batch * time, input]);
        let mut y = x.clone().matmul(weight.transpose());
        if let Some(bias) = &self.bias {
            y = y + bias.val().unsqueeze();
        }
        if let Some(LowRank { a, b, scale }) = &self.lora {
            let low = x.matmul(a.val().transpose());
            y = y + low.matmul(b.val().transpose()).mul_scalar(*scale);
        }
        y.reshape([batch, time, output])
    }
}
