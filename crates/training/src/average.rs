//! Exponential moving average of weights.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};

use crate::parameters::replace;

/// An exponential moving average of a module's parameters, in f32: `a <- decay a + (1 - decay) p`.
///
/// It starts at the first parameters it sees, so it needs no bias correction. A checkpoint holds it as a model: save what
/// [`apply`](Self::apply) gives, and let a new average see that first when the run goes on (exact for parameters in f32).
#[derive(Clone, Debug)]
pub struct WeightAverage {
    decay: f64,
    values: Vec<Tensor<1>>,
}

impl WeightAverage {
    /// An average with this decay, as in 0.999.
    pub fn new(decay: f64) -> Self {
        Self { decay, values: Vec::new() }
    }

    /// Takes the parameters after a step.
    pub fn update<M: Module>(&mut self, module: &M) {
        let first = self.values.is_empty();
        module.visit(&mut Updater { decay: self.decay, values: &mut self.values, index: 0, first });
    }

    /// The module with its parameters replaced by their averages.
    ///
    /// # Panics
    /// When the module is not the one that was averaged.
    pub fn apply<M: Module>(&self, module: M) -> M {
        module.map(&mut Applier { values: &self.values, index: 0 })
    }
}

struct Updater<'a> {
    decay: f64,
    values: &'a mut Vec<Tensor<1>>,
    index: usize,
    first: bool,
}

impl ModuleVisitor for Updater<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value: Tensor<1> = param.base().inner().reshape([-1]).cast(DType::F32);
        if self.first {
            // A copy: the parameter itself is updated in place.
            self.values.push(value.mul_scalar(1.0));
        } else {
            let weight = 1.0 - self.decay;
            let decay = self.decay;
            self.values[self.index]
                .inplace(|average| average.mul_scalar(decay).add(value.mul_scalar(weight)));
        }
        self.index += 1;
    }
}

struct Applier<'a> {
    values: &'a [Tensor<1>],
    index: usize,
}

impl ModuleMapper for Applier<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let average = self.values[self.index].clone();
        self.index += 1;
        replace(param, |old| average.reshape(old.shape()).cast(old.dtype()))
    }
}
