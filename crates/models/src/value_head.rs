//! A value for every position, for PPO.

use std::collections::HashMap;
use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor};

use crate::error::Result;
use crate::init::normal;
use crate::pretrained::{Stored, write_tensors};
use crate::weights::Weights;

/// A linear map from hidden states to one value per position, computed in f32.
///
/// The file has the names that TRL gives such a head: `v_head.summary.weight` and `v_head.summary.bias`.
#[derive(Module, Debug)]
pub struct ValueHead {
    /// `[1, hidden]`.
    weight: Param<Tensor<2>>,
    /// `[1]`.
    bias: Param<Tensor<1>>,
}

impl ValueHead {
    /// A head with normal weights of the given deviation, from a stream of `seed`, and bias zero. With deviation 0 every
    /// value begins at zero.
    #[must_use]
    pub fn init(hidden_size: usize, deviation: f64, seed: u64, device: &Device) -> Self {
        let weight = normal(seed, "v_head.summary.weight", hidden_size, deviation);
        let weight = Tensor::<1>::from_data(weight.as_slice(), (device, DType::F32)).unsqueeze();
        let bias = Tensor::zeros([1], (device, DType::F32));
        Self { weight: Param::from_tensor(weight), bias: Param::from_tensor(bias) }
    }

    /// Values `[batch, time]` of hidden states `[batch, time, hidden]`, as [`CausalLm::hidden`](crate::CausalLm::hidden)
    /// gives them.
    #[must_use]
    pub fn forward(&self, hidden: Tensor<3>) -> Tensor<2> {
        let [batch, time, width] = hidden.dims();
        let hidden = hidden.cast(DType::F32).reshape([batch * time, width]);
        let values = hidden.matmul(self.weight.val().transpose()) + self.bias.val().unsqueeze();
        values.reshape([batch, time])
    }

    /// Writes the head as one safetensors file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let tensors = vec![
            ("v_head.summary.weight".to_owned(), Stored::new(self.weight.val())),
            ("v_head.summary.bias".to_owned(), Stored::new(self.bias.val())),
        ];
        write_tensors(path.as_ref(), tensors, HashMap::from([("format".to_owned(), "pt".to_owned())]))
    }

    /// Reads a head of a model of the given width.
    ///
    /// # Errors
    /// If the file is missing or malformed, or holds tensors of other shapes.
    pub fn load(path: impl AsRef<Path>, hidden_size: usize, device: &Device) -> Result<Self> {
        let mut file = Weights::open_files(vec![path.as_ref().to_owned()], None)?;
        let weight = file.read("v_head.summary.weight", 0, [1, hidden_size], DType::F32, device)?;
        let bias = file.read("v_head.summary.bias", 0, [1], DType::F32, device)?;
        Ok(Self { weight: Param::from_tensor(weight), bias: Param::from_tensor(bias) })
    }
}
