//! One evaluation: inputs as tensors, outputs, and the gradients of the outputs.

use std::collections::BTreeMap;

use burn::prelude::*;
use burn::tensor::DType;
use policy_gradient::Diagnostics;

use crate::array::Array;

/// Why a record could not be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The record does not fit the function: a bad line.
    #[error("{0}")]
    Record(String),
    /// The function itself refused the values: an outcome.
    #[error(transparent)]
    Refused(#[from] policy_gradient::Error),
}

type Pull = Box<dyn Fn(&burn::tensor::Gradients) -> Option<Array>>;

/// Inputs of a record on a device, and what has come out of it.
pub struct Call {
    inputs: BTreeMap<String, Array>,
    groups: Option<Vec<u64>>,
    cotangents: Option<BTreeMap<String, Array>>,
    device: Device,
    dtype: DType,
    leaves: Vec<(String, Array, Pull)>,
    /// Outputs in the order they were made.
    pub outputs: Vec<(String, Array)>,
    total: Option<Tensor<1>>,
}

impl Call {
    /// A call on `device` (without autodiff) in `f32` or `f64`.
    pub fn new(
        inputs: BTreeMap<String, Array>,
        groups: Option<Vec<u64>>,
        cotangents: Option<BTreeMap<String, Array>>,
        device: &Device,
        dtype: DType,
    ) -> Self {
        Self {
            inputs,
            groups,
            cotangents,
            device: device.clone().autodiff(),
            dtype,
            leaves: Vec::new(),
            outputs: Vec::new(),
            total: None,
        }
    }

    /// Whether an optional input was given.
    pub fn has(&self, name: &str) -> bool {
        self.inputs.contains_key(name)
    }

    fn array(&self, name: &str) -> Result<&Array, Failure> {
        self.inputs.get(name).ok_or_else(|| Failure::Record(format!("no input `{name}`")))
    }

    /// A list of numbers, one per response.
    pub fn list(&self, name: &str) -> Result<Vec<f64>, Failure> {
        Ok(self.array(name)?.data.clone())
    }

    /// A list of whole numbers that are not negative.
    pub fn lengths(&self, name: &str) -> Result<Vec<usize>, Failure> {
        self.array(name)?
            .data
            .iter()
            .map(|&v| match v >= 0.0 && v.fract() == 0.0 && v < 1e15 {
                true => Ok(v as usize),
                false => Err(Failure::Record(format!("`{name}` should hold whole numbers, found {v}"))),
            })
            .collect()
    }

    /// A list of zeros and ones.
    pub fn flags(&self, name: &str) -> Result<Vec<bool>, Failure> {
        self.array(name)?.data.iter().map(|&v| flag(name, v)).collect()
    }

    /// The group of each response.
    pub fn groups(&self) -> Result<Vec<u64>, Failure> {
        self.groups.clone().ok_or_else(|| Failure::Record("no input `groups`".into()))
    }

    /// A `[batch, time]` tensor that gradients are taken of; one row may come as a list.
    pub fn tokens(&mut self, name: &str) -> Result<Tensor<2>, Failure> {
        let array = self.array(name)?;
        let shape = match array.shape[..] {
            [time] => [1, time],
            [batch, time] => [batch, time],
            _ => return Err(rank(name, array, "[batch, time]")),
        };
        self.leaf(name, shape)
    }

    /// A `[batch, time]` or `[batch, 1]` tensor; a list is one value per row.
    pub fn per_row(&mut self, name: &str) -> Result<Tensor<2>, Failure> {
        let array = self.array(name)?;
        let shape = match array.shape[..] {
            [batch] => [batch, 1],
            [batch, time] => [batch, time],
            _ => return Err(rank(name, array, "[batch], [batch, 1] or [batch, time]")),
        };
        self.leaf(name, shape)
    }

    /// [`per_row`](Self::per_row) if it was given.
    pub fn maybe_per_row(&mut self, name: &str) -> Result<Option<Tensor<2>>, Failure> {
        if self.has(name) { self.per_row(name).map(Some) } else { Ok(None) }
    }

    /// [`tokens`](Self::tokens) if it was given.
    pub fn maybe_tokens(&mut self, name: &str) -> Result<Option<Tensor<2>>, Failure> {
        if self.has(name) { self.tokens(name).map(Some) } else { Ok(None) }
    }

    /// A `[rows, columns]` tensor.
    pub fn matrix(&mut self, name: &str) -> Result<Tensor<2>, Failure> {
        let array = self.array(name)?;
        let [rows, columns] = array.shape[..] else { return Err(rank(name, array, "[rows, columns]")) };
        self.leaf(name, [rows, columns])
    }

    /// A `[batch, time, width]` tensor.
    pub fn cube(&mut self, name: &str) -> Result<Tensor<3>, Failure> {
        let array = self.array(name)?;
        let [batch, time, width] = array.shape[..] else {
            return Err(rank(name, array, "[batch, time, width]"));
        };
        self.leaf(name, [batch, time, width])
    }

    fn leaf<const D: usize>(&mut self, name: &str, shape: [usize; D]) -> Result<Tensor<D>, Failure> {
        let array = self.array(name)?.clone();
        let data = match self.dtype {
            DType::F64 => TensorData::new(array.data.clone(), shape),
            _ => TensorData::new(array.data.iter().map(|&v| v as f32).collect::<Vec<_>>(), shape),
        };
        let tensor = Tensor::<D>::from_data(data, (&self.device, self.dtype)).require_grad();
        let (handle, form) = (tensor.clone(), array.shape.clone());
        let pull = move |gradients: &burn::tensor::Gradients| {
            let data = handle.grad(gradients)?.try_into_vec_as::<f64>().ok()?;
            Some(Array { shape: form.clone(), data })
        };
        self.leaves.push((name.to_owned(), array, Box::new(pull)));
        Ok(tensor)
    }

    /// The mask, all true if it was not given.
    pub fn mask(&self, shape: [usize; 2]) -> Result<Tensor<2, Bool>, Failure> {
        let Some(array) = self.inputs.get("mask") else {
            return Ok(Tensor::full(shape, true, &self.device));
        };
        self.flag_tensor("mask", array)
    }

    /// A `[batch, time]` tensor of zeros and ones, if it was given.
    pub fn maybe_flags(&self, name: &str) -> Result<Option<Tensor<2, Bool>>, Failure> {
        self.inputs.get(name).map(|array| self.flag_tensor(name, array)).transpose()
    }

    fn flag_tensor(&self, name: &str, array: &Array) -> Result<Tensor<2, Bool>, Failure> {
        let shape = match array.shape[..] {
            [time] => [1, time],
            [batch, time] => [batch, time],
            _ => return Err(rank(name, array, "[batch, time]")),
        };
        let flags: Vec<bool> = array.data.iter().map(|&v| flag(name, v)).collect::<Result<_, _>>()?;
        Ok(Tensor::from_data(TensorData::new(flags, shape), &self.device))
    }

    /// Token ids, `[batch, time]`.
    pub fn ids(&self, name: &str) -> Result<Tensor<2, Int>, Failure> {
        let array = self.array(name)?;
        let shape = match array.shape[..] {
            [time] => [1, time],
            [batch, time] => [batch, time],
            _ => return Err(rank(name, array, "[batch, time]")),
        };
        let ids: Vec<i64> = array
            .data
            .iter()
            .map(|&v| match v.fract() == 0.0 && v.abs() < 1e15 {
                true => Ok(v as i64),
                false => Err(Failure::Record(format!("`{name}` should hold token ids, found {v}"))),
            })
            .collect::<Result<_, _>>()?;
        Ok(Tensor::from_data(TensorData::new(ids, shape), &self.device))
    }

    /// Adds an output that gradients are taken of.
    ///
    /// # Errors
    /// [`Failure::Record`] for a cotangent of another shape.
    pub fn differentiable<const D: usize>(
        &mut self,
        name: &str,
        tensor: Tensor<D>,
        shape: &[usize],
    ) -> Result<(), Failure> {
        let (dims, dtype) = (tensor.dims(), tensor.dtype());
        let weights = match &mut self.cotangents {
            None => Some(Tensor::<D>::ones(dims, (&self.device, dtype))),
            Some(given) => match given.remove(name) {
                None => None,
                Some(array) if array.data.len() != dims.iter().product::<usize>() => {
                    return Err(Failure::Record(format!(
                        "expected {dims:?} for the cotangent of `{name}`, found {:?}",
                        array.shape
                    )));
                }
                Some(array) => {
                    let data = match dtype {
                        DType::F64 => TensorData::new(array.data, dims),
                        _ => TensorData::new(array.data.iter().map(|&v| v as f32).collect::<Vec<_>>(), dims),
                    };
                    Some(Tensor::<D>::from_data(data, (&self.device, dtype)))
                }
            },
        };
        if let Some(weights) = weights {
            // An infinite loss must not turn a weight of zero into NaN.
            let silent = weights.clone().equal_elem(0.0);
            let part = (tensor.clone() * weights).mask_fill(silent, 0.0).sum();
            self.total = Some(match self.total.take() {
                Some(total) => total + part,
                None => part,
            });
        }
        self.output(name, tensor, shape);
        Ok(())
    }

    /// Adds an output without gradients.
    pub fn output<const D: usize>(&mut self, name: &str, tensor: Tensor<D>, shape: &[usize]) {
        let data = tensor.try_into_vec_as::<f64>().unwrap_or_default();
        self.outputs.push((name.to_owned(), Array { shape: shape.to_vec(), data }));
    }

    /// Adds a mask as zeros and ones.
    pub fn output_flags(&mut self, name: &str, tensor: Tensor<2, Bool>) {
        let shape = tensor.dims().to_vec();
        let data = tensor.try_into_vec_as::<bool>().unwrap_or_default();
        let data = data.into_iter().map(|b| f64::from(u8::from(b))).collect();
        self.outputs.push((name.to_owned(), Array { shape, data }));
    }

    /// Adds a list.
    pub fn output_list(&mut self, name: &str, data: Vec<f64>) {
        self.outputs.push((name.to_owned(), Array::list(data)));
    }

    /// Adds a number.
    pub fn output_number(&mut self, name: &str, value: f64) {
        self.outputs.push((name.to_owned(), Array::scalar(value)));
    }

    /// Adds what a loss tells about itself.
    pub fn output_diagnostics(&mut self, diagnostics: &Diagnostics) {
        let summary = diagnostics.summary();
        for (name, value) in [
            ("tokens", summary.tokens),
            ("approx_kl_k1", summary.approx_kl_k1),
            ("approx_kl_k3", summary.approx_kl_k3),
            ("clip_fraction_low", summary.clip_fraction_low),
            ("clip_fraction_high", summary.clip_fraction_high),
            ("capped_fraction", summary.capped_fraction),
            ("bounded_fraction", summary.bounded_fraction),
            ("ratio_mean", summary.ratio_mean),
            ("ratio_max", summary.ratio_max),
            ("effective_sample_size", summary.effective_sample_size),
        ] {
            self.output_number(name, value);
        }
        if let Some(entropy) = summary.entropy {
            self.output_number("entropy_mean", entropy);
        }
    }

    /// Gradients of all float inputs, zero for those held constant; none where no output has a graph.
    ///
    /// # Errors
    /// [`Failure::Record`] for a cotangent that names no differentiable output.
    pub fn gradients(&mut self) -> Result<Vec<(String, Array)>, Failure> {
        if let Some(name) = self.cotangents.as_ref().and_then(|given| given.keys().next()) {
            return Err(Failure::Record(format!("`{name}` has a cotangent but is no differentiable output")));
        }
        let Some(total) = self.total.take() else { return Ok(Vec::new()) };
        let zeros = |array: &Array| Array { shape: array.shape.clone(), data: vec![0.0; array.data.len()] };
        let gradients = total.backward();
        Ok(self
            .leaves
            .iter()
            .map(|(name, array, pull)| (name.clone(), pull(&gradients).unwrap_or_else(|| zeros(array))))
            .collect())
    }
}

fn flag(name: &str, value: f64) -> Result<bool, Failure> {
    match value {
        0.0 => Ok(false),
        1.0 => Ok(true),
        _ => Err(Failure::Record(format!("`{name}` should hold 0 and 1, or booleans, found {value}"))),
    }
}

fn rank(name: &str, array: &Array, expected: &str) -> Failure {
    Failure::Record(format!("expected {expected} for input `{name}`, found {:?}", array.shape))
}
