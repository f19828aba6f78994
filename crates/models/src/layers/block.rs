//! A decoder block: attention and the gated layer, each behind a norm and added to the stream.

use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};

use super::{Attention, Keys, Mlp};
use crate::config::Config;
use crate::error::Result;
use crate::init::Source;
use crate::ops;
use crate::rope::RotaryTable;

#[derive(Module, Debug)]
pub(crate) struct Block {
    pub input_layernorm: Param<Tensor<1>>,
    pub self_attn: Attention,
    pub post_attention_layernorm: Param<Tensor<1>>,
    pub mlp: Mlp,
    #[module(skip)]
    pub norm_eps: f64,
}

impl Block {
    pub fn new(config: &Config, layer: usize, source: &mut impl Source) -> Result<Self> {
        let name = format!("model.layers.{layer}");
        let mut norm = |which: &str| -> Result<Param<Tensor<1>>> {
            let name = format!("{name}.{which}.weight");
            Ok(Param::from_tensor(source.tensor(&name, [config.hidden_size])?))
        };
        Ok(Self {
            input_layernorm: norm("input_layernorm")?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            self_attn: Attention::new(config, layer, source, &format!("{name}.self_attn"))?,
            mlp: Mlp::new(config, source, &format!("{name}.mlp"))?,
            norm_eps: config.norm_eps,
        })
    }

    /// `[batch, time, hidden]` to the same; also the keys and values of its attention.
    pub fn forward(
        &self,
        x: Tensor<3>,
        table: &RotaryTable,
        segments: Option<Tensor<2, Int>>,
    ) -> (Tensor<3>, Keys) {
        let (attended, keys) = self.self_attn.forward(self.before_attention(x.clone()), table, segments);
        (self.finish(x, attended), keys)
    }

    /// The norm before attention.
    pub fn before_attention(&self, x: Tensor<3>) -> Tensor<3> {
        ops::rms_norm(x, self.input_layernorm.val(), self.norm_eps)
    }

    /// Adds what attention found, then the gated layer.
    pub fn finish(&self, x: Tensor<3>, attended: Tensor<3>) -> Tensor<3> {
        let x = x + attended;
        let normed = self.before_mlp(x.clone());
        x + self.mlp.forward(normed)
    }

    /// The norm before the gated layer.
    pub fn before_mlp(&self, x: Tensor<3>) -> Tensor<3> {
        ops::rms_norm(x, self.post_attention_layernorm.val(), self.norm_eps)
    }
}
