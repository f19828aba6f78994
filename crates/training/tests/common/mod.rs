//! A small network that several tests train.

#![allow(dead_code)]

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use rand::Rng;

/// Embedding, a running mean over the past, one layer, and an untied head.
#[derive(Module, Debug)]
pub struct Net {
    pub embedding: Param<Tensor<2>>,
    pub weight: Param<Tensor<2>>,
    pub bias: Param<Tensor<1>>,
    pub head: Param<Tensor<2>>,
}

impl Net {
    pub fn from_values(values: [Vec<f32>; 4], vocabulary: usize, width: usize, device: &Device) -> Self {
        let [embedding, weight, bias, head] = values;
        let matrix = |values: Vec<f32>, rows: usize| {
            Param::from_tensor(Tensor::from_data(TensorData::new(values, [rows, width]), device))
        };
        Self {
            embedding: matrix(embedding, vocabulary),
            weight: matrix(weight, width),
            bias: Param::from_tensor(Tensor::from_data(TensorData::new(bias, [width]), device)),
            head: matrix(head, vocabulary),
        }
    }

    pub fn random(vocabulary: usize, width: usize, seed: u64, device: &Device) -> Self {
        let mut random = training::stream(seed, "weights", 0, 0, 0);
        let mut draw = |count: usize, scale: f32| -> Vec<f32> {
            (0..count).map(|_| random.random_range(-scale..scale)).collect()
        };
        let scale = (3.0 / width as f32).sqrt();
        let values = [
            draw(vocabulary * width, 0.9),
            draw(width * width, scale),
            draw(width, 0.1),
            draw(vocabulary * width, scale),
        ];
        Self::from_values(values, vocabulary, width, device)
    }

    /// `[batch, time]` -> `[batch, time, width]`; `segments` keeps documents of a packed row apart.
    pub fn hidden(&self, tokens: Tensor<2, Int>, segments: Option<Tensor<2, Int>>) -> Tensor<3> {
        let [batch, time] = tokens.dims();
        let width = self.bias.val().dims()[0];
        let flat: Tensor<1, Int> = tokens.reshape([-1]);
        let x = self.embedding.val().select(0, flat).reshape([batch, time, width]);
        let device = x.device();
        let row = Tensor::<1, Int>::arange(0..time as i64, &device);
        let earlier = row.clone().unsqueeze_dim::<2>(0).lower_equal(row.unsqueeze_dim::<2>(1));
        let mut weights = earlier.float().unsqueeze_dim::<3>(0).repeat_dim(0, batch);
        if let Some(segments) = segments {
            let same = segments.clone().unsqueeze_dim::<3>(1).equal(segments.unsqueeze_dim::<3>(2));
            weights = weights.mul(same.float());
        }
        let past = weights.clone().matmul(x.clone()).div(weights.sum_dim(2));
        let weight = self.weight.val().unsqueeze_dim::<3>(0);
        let bias = self.bias.val().unsqueeze_dims::<3>(&[0, 1]);
        activation::tanh(past.matmul(weight).add(bias)).add(x)
    }

    pub fn values(&self) -> Vec<Vec<f32>> {
        let flat = |data: TensorData| data.iter::<f32>().collect::<Vec<_>>();
        vec![
            flat(self.embedding.val().to_data()),
            flat(self.weight.val().to_data()),
            flat(self.bias.val().to_data()),
            flat(self.head.val().to_data()),
        ]
    }
}

pub fn devices() -> Vec<Device> {
    #[allow(deprecated)]
    let ndarray = Device::ndarray();
    vec![Device::flex().autodiff(), ndarray.autodiff()]
}

pub fn largest_difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
