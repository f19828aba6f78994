//! Small helpers of the test files.
// burn-ndarray is deprecated upstream and still asked for; not every test file uses every helper.
#![allow(deprecated, dead_code)]

use burn::prelude::*;
use burn::tensor::DType;

/// The backends of this build: both CPU backends, and a GPU where there is one.
pub fn devices() -> Vec<Device> {
    #[allow(unused_mut)]
    let mut all = vec![Device::flex(), Device::ndarray()];
    #[cfg(feature = "cuda")]
    if !Device::enumerate(burn::tensor::DeviceType::Cuda).is_empty() {
        all.push(Device::cuda(0));
    }
    all
}

/// An f32 `[batch, time]` tensor.
pub fn floats(rows: &[Vec<f64>], device: &Device) -> Tensor<2> {
    let shape = [rows.len(), rows.first().map_or(0, Vec::len)];
    let data: Vec<f32> = rows.iter().flatten().map(|&v| v as f32).collect();
    Tensor::from_data(TensorData::new(data, shape), device)
}

/// An f64 `[batch, time]` tensor.
pub fn doubles(rows: &[Vec<f64>], device: &Device) -> Tensor<2> {
    let shape = [rows.len(), rows.first().map_or(0, Vec::len)];
    let data: Vec<f64> = rows.iter().flatten().copied().collect();
    Tensor::from_data(TensorData::new(data, shape), (device, DType::F64))
}

/// A mask.
pub fn mask(rows: &[Vec<bool>], device: &Device) -> Tensor<2, Bool> {
    let shape = [rows.len(), rows.first().map_or(0, Vec::len)];
    let data: Vec<bool> = rows.iter().flatten().copied().collect();
    Tensor::from_data(TensorData::new(data, shape), device)
}

/// The values of a tensor.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.try_into_vec_as().unwrap()
}

/// The gradient of a scalar with respect to a leaf; zeros where it does not reach.
pub fn gradient<const D: usize>(loss: Tensor<1>, leaf: &Tensor<D>) -> Vec<f64> {
    let gradients = loss.backward();
    leaf.grad(&gradients).map_or_else(|| vec![0.0; leaf.shape().num_elements()], values)
}

/// Fails where two lists differ by more than `tolerance`, relative to the larger of one and the value.
#[track_caller]
pub fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f - e).abs() <= tolerance * e.abs().max(1.0),
            "[{i}]: {f}, expected {e}\n{found:?}\n{expected:?}"
        );
    }
}
