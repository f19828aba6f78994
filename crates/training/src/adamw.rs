//! AdamW with PyTorch's meaning of every parameter.

use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor};
use kernels::{AdamWState, AdamWStep, adamw_step};
use serde::{Deserialize, Serialize};

use crate::parameters::{parameters, replace};
use crate::tensors::Stored;
use crate::{Error, Gradients, tensors};

/// Which parameters weight decay touches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// All of them: PyTorch's default for a single parameter group.
    #[default]
    All,
    /// Only those of two or more dimensions: not norms and biases, the custom for language models.
    Matrices,
}

/// AdamW's options; names, meanings and defaults are those of `torch.optim.AdamW`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// Learning rate, for loops without a [`Schedule`](crate::Schedule).
    pub lr: f64,
    /// Decay of the first and of the second moment.
    pub betas: (f64, f64),
    /// Added to the denominator after the bias correction.
    pub eps: f64,
    /// Decoupled: the parameter shrinks by `lr * weight_decay` each step, before the update.
    pub weight_decay: f64,
    /// Which parameters weight decay touches.
    pub decay: Decay,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 1e-2, decay: Decay::All }
    }
}

impl AdamWConfig {
    /// Checks ranges.
    ///
    /// # Errors
    /// When a value is out of range, naming it.
    pub fn check(&self) -> Result<(), Error> {
        let fail = |key, expected, found: f64| Err(Error::Config { key, expected, found: found.to_string() });
        match self {
            c if !(c.lr >= 0.0 && c.lr.is_finite()) => fail("lr", "finite and at least 0", c.lr),
            c if !(0.0..1.0).contains(&c.betas.0) => fail("betas", "in [0, 1)", c.betas.0),
            c if !(0.0..1.0).contains(&c.betas.1) => fail("betas", "in [0, 1)", c.betas.1),
            c if !(c.eps >= 0.0 && c.eps.is_finite()) => fail("eps", "finite and at least 0", c.eps),
            c if !(c.weight_decay >= 0.0 && c.weight_decay.is_finite()) => {
                fail("weight_decay", "finite and at least 0", c.weight_decay)
            }
            _ => Ok(()),
        }
    }
}

/// Adam with decoupled weight decay ([Loshchilov and Hutter 2019](https://arxiv.org/abs/1711.05101), algorithm 2).
///
/// With gradient `g`, step `t` counted per parameter from 1:
///
/// ```text
/// p <- p (1 - lr weight_decay)
/// m <- b1 m + (1 - b1) g          v <- b2 v + (1 - b2) g^2
/// p <- p - lr / (1 - b1^t)  m / (sqrt(v) / sqrt(1 - b2^t) + eps)
/// ```
///
/// Moments are kept in f32 whatever the parameters' type, in the order in which the module visits its parameters.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    moments: Vec<Option<Moments>>,
}

#[derive(Clone, Debug)]
struct Moments {
    first: Tensor<1>,
    second: Tensor<1>,
    steps: u64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    config: AdamWConfig,
    /// Steps taken per parameter; `None` where it never had a gradient.
    steps: Vec<Option<u64>>,
}

impl AdamW {
    /// A fresh optimiser: moments start at zero.
    pub fn new(config: AdamWConfig) -> Self {
        Self { config, moments: Vec::new() }
    }

    /// The options.
    pub fn config(&self) -> &AdamWConfig {
        &self.config
    }

    /// One update with learning rate `lr`. Parameters without a gradient are not touched, not even by decay.
    ///
    /// Drop copies of the model (`model.valid()`) before: parameters that are not shared are updated in place.
    ///
    /// # Panics
    /// When the module is not the one the gradients, or earlier steps, belong to.
    pub fn step<M: Module>(&mut self, lr: f64, module: M, mut gradients: Gradients) -> M {
        if gradients.is_empty() {
            return module;
        }
        self.moments.resize_with(self.moments.len().max(gradients.len()), || None);
        assert_eq!(self.moments.len(), gradients.len(), "the optimiser was used with another module");
        let factor = gradients.factor();
        let mut stepper = Stepper {
            lr,
            factor,
            config: &self.config,
            moments: &mut self.moments,
            gradients: &mut gradients,
            index: 0,
        };
        let module = module.map(&mut stepper);
        assert_eq!(stepper.index, self.moments.len(), "the gradients belong to another module");
        module
    }

    /// Takes a copy of the state that [`OptimizerState`] can write on another thread.
    ///
    /// On CPU tensors share their storage until the next step, which then costs one copy.
    pub fn state(&self) -> OptimizerState {
        OptimizerState { config: self.config.clone(), moments: self.moments.clone() }
    }

    /// Writes moments and step counts as a safetensors file. It is made durable by the checkpoint it is part of.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.state().save(path)
    }

    /// Reads what [`save`](Self::save) wrote, for the module it belongs to. The options are `config`'s.
    ///
    /// # Errors
    /// When the file is damaged, or its shapes are not the module's.
    pub fn load<M: Module>(path: impl AsRef<Path>, config: AdamWConfig, module: &M) -> Result<Self, Error> {
        let path = path.as_ref();
        let (mut found, metadata) = tensors::read(path)?;
        let header: Header = serde_json::from_str(&metadata)
            .map_err(|error| Error::damaged(path, format!("its header: {error}")))?;
        let infos = parameters(module);
        let mismatch = |reason| Error::Mismatch { path: path.to_owned(), reason };
        if header.steps.is_empty() {
            return Ok(Self::new(config));
        }
        if header.steps.len() != infos.len() {
            return Err(mismatch(format!(
                "it has moments for {} parameters, the model {}",
                header.steps.len(),
                infos.len()
            )));
        }
        let device: Device = module.devices().first().cloned().unwrap_or_default().inner();
        let mut moments = Vec::with_capacity(infos.len());
        for (index, (info, steps)) in infos.iter().zip(header.steps).enumerate() {
            let Some(steps) = steps else {
                moments.push(None);
                continue;
            };
            let mut read = |kind: &str| {
                let name = format!("{kind}.{index}");
                let data = found
                    .remove(&name)
                    .ok_or_else(|| Error::damaged(path, format!("`{name}` is missing")))?;
                let expected: usize = info.shape.iter().product();
                if data.shape().as_slice() != [expected] {
                    let shape = data.shape().as_slice().to_vec();
                    let reason = format!("`{}` has {expected} entries, its moments {shape:?}", info.path);
                    return Err(mismatch(reason));
                }
                Ok(Tensor::<1>::from_data(data, (&device, DType::F32)))
            };
            moments.push(Some(Moments { first: read("first")?, second: read("second")?, steps }));
        }
        Ok(Self { config, moments })
    }
}

/// A copy of an optimiser's state, to be written while training goes on.
#[derive(Clone, Debug)]
pub struct OptimizerState {
    config: AdamWConfig,
    moments: Vec<Option<Moments>>,
}

impl OptimizerState {
    /// Writes moments and step counts as a safetensors file. It is made durable by the checkpoint it is part of.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let steps = self.moments.iter().map(|entry| entry.as_ref().map(|entry| entry.steps)).collect();
        let header = Header { config: self.config.clone(), steps };
        let mut entries = Vec::with_capacity(self.moments.len() * 2);
        for (index, entry) in self.moments.iter().enumerate() {
            let Some(entry) = entry else { continue };
            entries.push((format!("first.{index}"), Stored::new(entry.first.clone())));
            entries.push((format!("second.{index}"), Stored::new(entry.second.clone())));
        }
        let header = serde_json::to_string(&header).map_err(|error| Error::damaged(path.as_ref(), error))?;
        tensors::write(path.as_ref(), &entries, &header)
    }
}

struct Stepper<'a> {
    lr: f64,
    factor: f64,
    config: &'a AdamWConfig,
    moments: &'a mut [Option<Moments>],
    gradients: &'a mut Gradients,
    index: usize,
}

impl ModuleMapper for Stepper<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let index = self.index;
        self.index += 1;
        assert!(index < self.moments.len(), "the gradients belong to another module");
        let Some(gradient) = self.gradients.take(index) else { return param };
        let decays = self.config.decay == Decay::All || D >= 2;
        replace(param, |tensor| {
            let (shape, dtype) = (tensor.shape(), tensor.dtype());
            let flat: Tensor<1> = tensor.reshape([-1]);
            let flat = if dtype == DType::F32 { flat } else { flat.cast(DType::F32) };
            let moments = self.moments[index].take().unwrap_or_else(|| Moments {
                first: gradient.zeros_like(),
                second: gradient.zeros_like(),
                steps: 0,
            });
            let (flat, moments) = self.update(flat, gradient, moments, decays);
            self.moments[index] = Some(moments);
            let flat = if dtype == DType::F32 { flat } else { flat.cast(dtype) };
            flat.reshape(shape)
        })
    }
}

impl Stepper<'_> {
    fn update(
        &self,
        parameter: Tensor<1>,
        gradient: Tensor<1>,
        moments: Moments,
        decays: bool,
    ) -> (Tensor<1>, Moments) {
        let gradient = if self.factor == 1.0 { gradient } else { gradient.mul_scalar(self.factor) };
        let steps = moments.steps + 1;
        let step = AdamWStep {
            lr: self.lr,
            beta1: self.config.betas.0,
            beta2: self.config.betas.1,
            eps: self.config.eps,
            weight_decay: if decays { self.config.weight_decay } else { 0.0 },
            step: steps,
        };
        let state = AdamWState { first: moments.first, second: moments.second };
        let (parameter, AdamWState { first, second }) = adamw_step(parameter, gradient, state, &step);
        (parameter, Moments { first, second, steps })
    }
}
