//! How a function is described to those who have never seen it.

use serde_json::{Value, json};

use crate::call::{Call, Failure};

/// What runs a function once its parameters are read.
pub type Run = Box<dyn Fn(&mut Call) -> Result<(), Failure> + Send + Sync>;

/// A parameter.
pub struct Param {
    /// Its key.
    pub name: &'static str,
    /// Its type, explained under `types` where it is not a plain number.
    pub kind: &'static str,
    /// The value when it is left out, as JSON; `None` where it must be given.
    pub default: Option<Value>,
    /// What it does, and its range.
    pub about: &'static str,
}

/// An input array.
pub struct Input {
    /// Its key.
    pub name: &'static str,
    /// `float`, `bool`, `int` or `id`.
    pub kind: &'static str,
    /// Its shapes.
    pub shape: &'static str,
    /// Whether it may be left out.
    pub optional: bool,
    /// What it holds.
    pub about: &'static str,
}

/// An output array.
pub struct Output {
    /// Its key.
    pub name: &'static str,
    /// Its shape.
    pub shape: &'static str,
    /// Whether gradients flow from it.
    pub differentiable: bool,
    /// What it holds.
    pub about: &'static str,
}

/// One function of the crate.
pub struct Function {
    /// Its path in `policy_gradient`, with dots.
    pub name: &'static str,
    /// What it computes.
    pub about: &'static str,
    /// Its parameters.
    pub params: Vec<Param>,
    /// Its inputs.
    pub inputs: Vec<Input>,
    /// Its outputs.
    pub outputs: Vec<Output>,
    /// Reads parameters.
    pub prepare: fn(Value) -> Result<Run, String>,
}

impl Function {
    /// The description as JSON.
    pub fn to_json(&self) -> Value {
        let params: Vec<Value> = self
            .params
            .iter()
            .map(|p| match &p.default {
                Some(default) => {
                    json!({"name": p.name, "type": p.kind, "default": default, "about": p.about})
                }
                None => json!({"name": p.name, "type": p.kind, "required": true, "about": p.about}),
            })
            .collect();
        let inputs: Vec<Value> = self
            .inputs
            .iter()
            .map(|i| {
                json!({"name": i.name, "kind": i.kind, "shape": i.shape, "required": !i.optional, "about": i.about})
            })
            .collect();
        let outputs: Vec<Value> = self
            .outputs
            .iter()
            .map(|o| {
                json!({
                    "name": o.name,
                    "shape": o.shape,
                    "differentiable": o.differentiable,
                    "about": o.about,
                })
            })
            .collect();
        json!({
            "function": self.name,
            "about": self.about,
            "params": params,
            "inputs": inputs,
            "outputs": outputs,
        })
    }
}

/// A parameter with a default.
pub fn param(name: &'static str, kind: &'static str, default: Value, about: &'static str) -> Param {
    Param { name, kind, default: Some(default), about }
}

/// A parameter that must be given.
pub fn required(name: &'static str, kind: &'static str, about: &'static str) -> Param {
    Param { name, kind, default: None, about }
}

/// An input that must be given.
pub fn input(name: &'static str, kind: &'static str, shape: &'static str, about: &'static str) -> Input {
    Input { name, kind, shape, optional: false, about }
}

/// An input that may be left out.
pub fn optional(name: &'static str, kind: &'static str, shape: &'static str, about: &'static str) -> Input {
    Input { name, kind, shape, optional: true, about }
}

/// An output that gradients are taken of.
pub fn loss(name: &'static str, shape: &'static str, about: &'static str) -> Output {
    Output { name, shape, differentiable: true, about }
}

/// An output without gradients.
pub fn plain(name: &'static str, shape: &'static str, about: &'static str) -> Output {
    Output { name, shape, differentiable: false, about }
}
