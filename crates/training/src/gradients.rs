//! Gradients summed over micro-batches.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor, TensorData, Transaction};

use crate::{GradientReducer, parameters};

/// Numbers that are summed over workers in one message: 64 MiB, so that latency is paid seldom and copies stay small.
const BUCKET: usize = 16 << 20;

/// Gradients of a module's parameters, summed over micro-batches, in visit order and in f32.
///
/// Losses are sums over tokens, so gradients of micro-batches add up to the full batch's exactly; one
/// [`scale`](Self::scale) by the inverse of the *global* token count makes the mean of them. A factor is kept
/// beside the tensors and applied by the optimiser, so scaling and clipping cost nothing per parameter.
///
/// A parameter that no loss touched has no gradient, and the optimiser leaves it alone, as PyTorch does for
/// `grad = None`.
#[derive(Debug)]
pub struct Gradients {
    tensors: Vec<Option<Tensor<1>>>,
    factor: f64,
}

impl Default for Gradients {
    fn default() -> Self {
        Self::new()
    }
}

impl Gradients {
    /// No gradients yet.
    pub fn new() -> Self {
        Self { tensors: Vec::new(), factor: 1.0 }
    }

    /// Adds one backward pass: `gradients.add(loss.sum.backward(), &model)`.
    ///
    /// # Panics
    /// When the module has another number of parameters than the one added before.
    pub fn add<M: Module>(&mut self, mut gradients: burn::tensor::Gradients, module: &M) {
        self.add_part(&mut gradients, module);
    }

    /// Adds a module's part of a backward pass and leaves the rest: for a loss that trains two modules, each with gradients
    /// and an optimiser of its own, as a policy and its value head.
    ///
    /// # Panics
    /// When the module has another number of parameters than the one added before.
    pub fn add_part<M: Module>(&mut self, gradients: &mut burn::tensor::Gradients, module: &M) {
        self.apply_factor();
        let first = self.tensors.is_empty();
        let mut adder = Adder { gradients, into: &mut self.tensors, index: 0, first };
        module.visit(&mut adder);
        let visited = adder.index;
        assert_eq!(visited, self.tensors.len(), "gradients of another module were added");
    }

    /// Multiplies all gradients, as in `scale(1.0 / tokens)`.
    pub fn scale(&mut self, factor: f64) {
        self.factor *= factor;
    }

    /// The Euclidean norm over all parameters together: 0 without gradients; not finite if any entry is not.
    pub fn global_norm(&self) -> f64 {
        if self.is_empty() {
            return 0.0;
        }
        // All sums are read at once: on a GPU each read waits for the device.
        let mut sums = Transaction::default();
        for tensor in self.tensors.iter().flatten() {
            sums = sums.register(tensor.clone().square().sum());
        }
        let squares = sums.execute().into_iter().map(|sum| sum.iter::<f64>().sum::<f64>());
        squares.sum::<f64>().sqrt() * self.factor.abs()
    }

    /// Scales all gradients so that their global norm is at most `max_norm`; returns the norm before.
    ///
    /// PyTorch's `clip_grad_norm_`: the factor is `min(1, max_norm / (norm + 1e-6))`. A norm that is not finite
    /// is returned and nothing is changed: see [`NonFinite`](crate::NonFinite).
    pub fn clip_global_norm(&mut self, max_norm: f64) -> f64 {
        let norm = self.global_norm();
        if norm.is_finite() {
            self.factor *= (max_norm / (norm + 1e-6)).min(1.0);
        }
        norm
    }

    /// Sums gradients over all workers, each of which holds a copy of `module`. Afterwards all have the same.
    ///
    /// A parameter that some worker's losses did not touch counts as zero there, so a worker without data in this step just
    /// calls this too; one that nobody's losses touched stays without gradient.
    ///
    /// # Panics
    /// When gradients of another module were added.
    pub fn reduce<M: Module>(&mut self, reducer: &mut dyn GradientReducer, module: &M) {
        if reducer.workers() == 1 {
            return;
        }
        self.apply_factor();
        let sizes: Vec<usize> = parameters(module).iter().map(|info| info.shape.iter().product()).collect();
        if self.tensors.is_empty() {
            self.tensors.resize_with(sizes.len(), || None);
        }
        assert_eq!(self.tensors.len(), sizes.len(), "the gradients belong to another module");
        let device = module.devices().first().cloned().unwrap_or_default().inner();
        let mut touched: Vec<f32> =
            self.tensors.iter().map(|tensor| if tensor.is_some() { 1.0 } else { 0.0 }).collect();
        reducer.sum(&mut touched);
        let touched: Vec<usize> = (0..sizes.len()).filter(|index| touched[*index] > 0.0).collect();
        let mut rest = touched.as_slice();
        while !rest.is_empty() {
            let mut total = 0;
            let fits = |index: &&usize| {
                total += sizes[**index];
                total <= BUCKET
            };
            let (bucket, after) = rest.split_at(rest.iter().take_while(fits).count().max(1));
            self.reduce_bucket(bucket, &sizes, reducer, &device);
            rest = after;
        }
    }

    /// Sums some parameters' gradients in one message.
    fn reduce_bucket(
        &mut self,
        bucket: &[usize],
        sizes: &[usize],
        reducer: &mut dyn GradientReducer,
        device: &Device,
    ) {
        // All are read at once: on a GPU each read waits for the device.
        let mine: Vec<Option<Tensor<1>>> = bucket.iter().map(|index| self.tensors[*index].take()).collect();
        let reads = mine.iter().flatten().cloned().fold(Transaction::default(), Transaction::register);
        let mut found = reads.execute().into_iter();
        let mut values = Vec::with_capacity(bucket.iter().map(|index| sizes[*index]).sum());
        for (tensor, index) in mine.iter().zip(bucket) {
            match tensor.as_ref().and_then(|_| found.next()) {
                Some(data) => values.extend(data.iter::<f32>()),
                None => values.resize(values.len() + sizes[*index], 0.0),
            }
        }
        reducer.sum(&mut values);
        let mut rest = values.as_slice();
        for index in bucket {
            let (sums, after) = rest.split_at(sizes[*index]);
            self.tensors[*index] =
                Some(Tensor::from_data(TensorData::new(sums.to_vec(), [sums.len()]), device));
            rest = after;
        }
    }

    /// Whether no gradient was added.
    pub fn is_empty(&self) -> bool {
        self.tensors.iter().all(Option::is_none)
    }

    /// The number of parameters visited, with or without gradient.
    pub(crate) fn len(&self) -> usize {
        self.tensors.len()
    }

    pub(crate) fn take(&mut self, index: usize) -> Option<Tensor<1>> {
        self.tensors[index].take()
    }

    pub(crate) fn factor(&self) -> f64 {
        self.factor
    }

    /// One parameter's gradient, flat, in visit order: for tests and diagnostics.
    pub fn get(&self, index: usize) -> Option<Tensor<1>> {
        let tensor = self.tensors.get(index)?.clone()?;
        Some(if self.factor == 1.0 { tensor } else { tensor.mul_scalar(self.factor) })
    }

    fn apply_factor(&mut self) {
        let factor = std::mem::replace(&mut self.factor, 1.0);
        if factor != 1.0 {
            for tensor in self.tensors.iter_mut().flatten() {
                tensor.inplace(|tensor| tensor.mul_scalar(factor));
            }
        }
    }
}

struct Adder<'a> {
    gradients: &'a mut burn::tensor::Gradients,
    into: &'a mut Vec<Option<Tensor<1>>>,
    index: usize,
    first: bool,
}

impl ModuleVisitor for Adder<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.base();
        let gradient = if tensor.is_require_grad() { tensor.grad_remove(self.gradients) } else { None };
        let gradient = gradient.map(|gradient| {
            let flat = gradient.reshape([-1]);
            if flat.dtype() == DType::F32 { flat } else { flat.cast(DType::F32) }
        });
        if self.first {
            self.into.push(gradient);
        } else if let (Some(slot), Some(gradient)) = (self.into.get_mut(self.index), gradient) {
            *slot = Some(match slot.take() {
                Some(sum) => sum.add(gradient),
                None => gradient,
            });
        }
        self.index += 1;
    }
}
