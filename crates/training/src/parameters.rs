//! Parameters in visit order: the one numbering that every process and every run agree on.

use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};

use crate::tensors::Stored;
use crate::{Error, tensors};

/// A float parameter of a module, as its visitor met it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterInfo {
    /// Dotted path of field names, as in `layers.0.attention.query.weight`.
    pub path: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// Whether the optimiser will move it.
    pub trainable: bool,
}

/// Lists a module's float parameters in visit order.
pub fn parameters<M: Module>(module: &M) -> Vec<ParameterInfo> {
    let mut lister = Lister::default();
    module.visit(&mut lister);
    lister.found
}

#[derive(Default)]
struct Lister {
    path: Vec<String>,
    found: Vec<ParameterInfo>,
}

impl ModuleVisitor for Lister {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let shape = param.lazy_shape();
        self.found.push(ParameterInfo {
            path: self.path.join("."),
            shape: shape.as_slice().to_vec(),
            trainable: param.is_require_grad(),
        });
    }
}

/// Writes every float parameter of a module, under its path and in its own type, as a safetensors file.
///
/// For modules without a format of their own: a value head, adapters, an average of weights. A language model
/// is better saved as a Hugging Face folder. The file is made durable by the checkpoint it is part of.
///
/// # Errors
/// When the file cannot be written.
pub fn save_parameters<M: Module>(module: &M, path: impl AsRef<Path>) -> Result<(), Error> {
    let mut reader = Reader { path: Vec::new(), found: Vec::new() };
    module.visit(&mut reader);
    tensors::write(path.as_ref(), &reader.found, "{}")
}

struct Reader {
    path: Vec<String>,
    found: Vec<(String, Stored)>,
}

impl ModuleVisitor for Reader {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.push((self.path.join("."), Stored::new(param.base().inner())));
    }
}

/// Reads what [`save_parameters`] wrote back into a module of the same shape.
///
/// # Errors
/// When the file is damaged, or a parameter is missing, surplus, or of another shape or type.
pub fn load_parameters<M: Module>(module: M, path: impl AsRef<Path>) -> Result<M, Error> {
    let path = path.as_ref();
    let (found, _) = tensors::read(path)?;
    let expected = parameters(&module);
    for info in &expected {
        let Some(data) = found.get(&info.path) else {
            return Err(mismatch(path, format!("`{}` is missing", info.path)));
        };
        if data.shape().as_slice() != info.shape {
            return Err(mismatch(
                path,
                format!("`{}` is {:?} there and {:?} here", info.path, data.shape().as_slice(), info.shape),
            ));
        }
    }
    if found.len() != expected.len() {
        return Err(mismatch(
            path,
            format!("it holds {} tensors, the module {}", found.len(), expected.len()),
        ));
    }
    Ok(module.map(&mut Writer { path: Vec::new(), found }))
}

fn mismatch(path: &Path, reason: String) -> Error {
    Error::Mismatch { path: path.to_owned(), reason }
}

struct Writer {
    path: Vec<String>,
    found: std::collections::BTreeMap<String, TensorData>,
}

impl ModuleMapper for Writer {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.found.remove(&self.path.join(".")) {
            Some(data) => replace(param, |old| Tensor::from_data(data, (&old.device(), old.dtype()))),
            None => param,
        }
    }
}

/// Gives a parameter a new value, computed off the graph, and keeps its place in training.
pub(crate) fn replace<const D: usize>(
    param: Param<Tensor<D>>,
    update: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Param<Tensor<D>> {
    let (id, tensor, mapper) = param.consume();
    let require_grad = tensor.is_require_grad();
    let strategy = tensor.gradient_checkpointing_strategy();
    let value = update(tensor.inner());
    let value = match strategy {
        // The strategy is part of the tensor: one that lost it would refuse to meet its inputs.
        Some(strategy) => {
            let lifted = Tensor::from_inner(value).with_gradient_checkpointing_strategy(strategy);
            if require_grad { lifted.require_grad() } else { lifted }
        }
        None => value,
    };
    Param::from_mapped_value(id, value, mapper)
}
