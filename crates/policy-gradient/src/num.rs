//! Small tensor helpers shared by all modules: the working precision, masking by selection, host copies.

use burn::prelude::*;
use burn::tensor::{DType, Element};

use crate::error::{Error, Result};

/// The type reductions run in: f64 stays f64, everything else becomes f32.
pub(crate) fn working(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

/// The tensor without its graph, in the given precision, with zero wherever the mask is false.
pub(crate) fn constant(tensor: Tensor<2>, mask: &Tensor<2, Bool>, dtype: DType) -> Tensor<2> {
    let tensor = tensor.without_autodiff();
    let tensor = if tensor.dtype() == dtype { tensor } else { tensor.cast(dtype) };
    zero_outside(tensor, mask)
}

/// Keeps the graph; selects, so that NaN and infinity outside the mask vanish from value and gradient.
pub(crate) fn zero_outside(tensor: Tensor<2>, mask: &Tensor<2, Bool>) -> Tensor<2> {
    tensor.mask_fill(mask.clone().bool_not(), 0.0)
}

/// The mask on the inner device, where constants are computed.
pub(crate) fn inner_mask(mask: Tensor<2, Bool>) -> Tensor<2, Bool> {
    mask.without_autodiff()
}

/// `value` where `condition` holds, `other` elsewhere.
pub(crate) fn choose(condition: Tensor<2, Bool>, value: Tensor<2>, other: Tensor<2>) -> Tensor<2> {
    other.mask_where(condition, value)
}

/// A per-row `[batch, 1]` or per-token `[batch, time]` tensor, expanded to `[batch, time]`.
pub(crate) fn expand(argument: &'static str, tensor: Tensor<2>, shape: [usize; 2]) -> Result<Tensor<2>> {
    let found = tensor.dims();
    if found == shape {
        Ok(tensor)
    } else if found == [shape[0], 1] {
        Ok(tensor.expand(shape))
    } else {
        Err(Error::Shape { argument, expected: shape.to_vec(), found: found.to_vec() })
    }
}

/// A tensor whose value is `value` and whose derivative with respect to `carrier` is `slope`.
///
/// The value is taken as it is: the carrier adds an exact zero. Where the carrier is not finite the slope is dropped,
/// since nothing can be learned from a token of probability zero.
pub(crate) fn attach(value: Tensor<2>, slope: Tensor<2>, carrier: &Tensor<2>) -> Tensor<2> {
    if !carrier.is_autodiff() {
        return value;
    }
    let dtype = value.dtype();
    let carrier = if carrier.dtype() == dtype { carrier.clone() } else { carrier.clone().cast(dtype) };
    let lost = carrier.clone().without_autodiff().is_finite().bool_not();
    let dead = slope.clone().is_finite().bool_not();
    let carrier = carrier.mask_fill(lost.bool_or(dead.clone()), 0.0);
    let zero = carrier.clone() - carrier.detach();
    Tensor::from_inner(value) + Tensor::from_inner(slope.mask_fill(dead, 0.0)) * zero
}

/// `1 - exp(x)` for `x <= 0`; by its series near zero, where the difference would lose all digits.
pub(crate) fn one_minus_exp(x: Tensor<2>) -> Tensor<2> {
    let mut series = x.ones_like();
    for n in [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0] {
        series = (series * x.clone()).div_scalar(n).add_scalar(1.0);
    }
    let series = series * x.clone().neg();
    let closed = x.clone().exp().neg().add_scalar(1.0);
    choose(x.abs().lower_elem(0.5), series, closed)
}

/// The number of counted tokens of each row, `[batch, 1]`, at least one.
pub(crate) fn lengths(mask: &Tensor<2, Bool>, dtype: DType) -> Tensor<2> {
    let ones = mask.clone().float();
    let ones = if ones.dtype() == dtype { ones } else { ones.cast(dtype) };
    ones.sum_dim(1).clamp_min(1.0)
}

/// The mean over a row's counted tokens, `[batch, 1]`, of values that are zero outside the mask; keeps the graph.
pub(crate) fn row_mean(values: Tensor<2>, lengths: &Tensor<2>) -> Tensor<2> {
    let dtype = lengths.dtype();
    let values = if values.dtype() == dtype { values } else { values.cast(dtype) };
    values.sum_dim(1) / lengths.clone()
}

/// Copies a tensor to the host in f64.
pub(crate) fn to_host<const D: usize>(argument: &'static str, tensor: Tensor<D>) -> Result<Vec<f64>> {
    let data = read(argument, tensor.without_autodiff().try_into_data())?;
    // The common type by itself: the general conversion goes element by element.
    match data.as_slice::<f32>() {
        Ok(values) => Ok(values.iter().map(|&v| f64::from(v)).collect()),
        Err(_) => read(argument, data.convert::<f64>().try_into_vec()),
    }
}

/// A tensor's values as they are stored, `f32` or `f64` as the caller knows them to be.
pub(crate) fn to_words<T: Element>(argument: &'static str, tensor: Tensor<2>) -> Result<Vec<T>> {
    let data = read(argument, tensor.without_autodiff().try_into_data())?;
    read(argument, data.try_into_vec())
}

/// A number as it is stored; arithmetic is done in f64.
pub(crate) trait Word: Copy {
    fn wide(self) -> f64;
    fn narrow(value: f64) -> Self;
}

impl Word for f32 {
    fn wide(self) -> f64 {
        f64::from(self)
    }

    fn narrow(value: f64) -> Self {
        value as f32
    }
}

impl Word for f64 {
    fn wide(self) -> f64 {
        self
    }

    fn narrow(value: f64) -> Self {
        value
    }
}

/// Copies a mask to the host.
pub(crate) fn mask_to_host(argument: &'static str, mask: Tensor<2, Bool>) -> Result<Vec<bool>> {
    let data = read(argument, mask.without_autodiff().try_into_data())?;
    read(argument, data.convert::<bool>().try_into_vec())
}

fn read<T, E: std::fmt::Debug>(argument: &'static str, result: std::result::Result<T, E>) -> Result<T> {
    result.map_err(|error| Error::Read { argument, reason: format!("{error:?}") })
}

/// A tensor from host values, on the same device and in the working precision of `like`, without a graph.
pub(crate) fn from_host(values: Vec<f64>, shape: [usize; 2], like: &Tensor<2>) -> Tensor<2> {
    if working(like.dtype()) != DType::F64 {
        return from_host_on(values, shape, &like.device());
    }
    let device = like.device().without_autodiff();
    Tensor::from_data(TensorData::new(values, shape), (&device, DType::F64))
}

/// An f32 tensor from host values, without a graph.
pub(crate) fn from_host_on(values: Vec<f64>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    from_words(values.into_iter().map(|v| v as f32).collect(), shape, device)
}

/// [`from_host_on`] of values that are stored so.
pub(crate) fn from_words(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), (&device.clone().without_autodiff(), DType::F32))
}
