//! The gated layer: `down(silu(gate(x)) * up(x))`.

use burn::module::Module;
use burn::tensor::Tensor;

use super::Linear;
use crate::config::Config;
use crate::error::Result;
use crate::init::Source;
use crate::ops;

#[derive(Module, Debug)]
pub(crate) struct Mlp {
    pub gate_proj: Linear,
    pub up_proj: Linear,
    pub down_proj: Linear,
}

impl Mlp {
    pub fn new(config: &Config, source: &mut impl Source, name: &str) -> Result<Self> {
        let (hidden, inner, bias) = (config.hidden_size, config.intermediate_size, config.mlp_bias);
        Ok(Self {
            gate_proj: Linear::new(source, &format!("{name}.gate_proj"), [inner, hidden], bias)?,
            up_proj: Linear::new(source, &format!("{name}.up_proj"), [inner, hidden], bias)?,
            down_proj: Linear::new(source, &format!("{name}.down_proj"), [hidden, inner], bias)?,
        })
    }

    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let gate = self.gate_proj.forward(x.clone());
        let up = self.up_proj.forward(x);
        self.down_proj.forward(ops::swiglu(gate, up))
    }
}
