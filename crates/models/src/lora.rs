//! Low-rank adapters: attach, train, merge, and read and write them as PEFT does.

use std::collections::HashMap;
use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use serde_json::{Map, Value, json};

use crate::config::{Family, read_json, wrong};
use crate::error::{Error, Result};
use crate::init::uniform;
use crate::layers::{Attention, Linear, LowRank, Mlp};
use crate::model::CausalLm;
use crate::pretrained::{Stored, write_json, write_tensors};
use crate::weights::Weights;

/// Every projection of a block, by the names PEFT knows them under.
const PROJECTIONS: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// Keys of PEFT's configuration that must be off.
const UNKNOWN: [&str; 14] = [
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "rank_pattern",
    "alpha_pattern",
    "bias",
    "lora_bias",
    "modules_to_save",
    "fan_in_fan_out",
    "layers_to_transform",
    "exclude_modules",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
];

/// Which projections get an adapter, and of what size. Hu et al. 2021, <https://arxiv.org/abs/2106.09685>.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraConfig {
    /// Rank of the update, `r`. Default 8.
    pub rank: usize,
    /// The update is scaled by `alpha / rank`. Default 16.
    pub alpha: f64,
    /// Names of projections. Default: all seven of a block.
    pub targets: Vec<String>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self { rank: 8, alpha: 16.0, targets: PROJECTIONS.map(str::to_owned).to_vec() }
    }
}

impl LoraConfig {
    fn check(&self) -> Result<()> {
        if self.rank == 0 || self.rank > 4096 {
            return Err(wrong("r", "a rank between 1 and 4096", &self.rank));
        }
        if !self.alpha.is_finite() {
            return Err(wrong("lora_alpha", "a number", &self.alpha));
        }
        match self.targets.iter().find(|target| !PROJECTIONS.contains(&target.as_str())) {
            Some(target) => Err(wrong("target_modules", &PROJECTIONS.join(", "), target)),
            None if self.targets.is_empty() => {
                Err(wrong("target_modules", &PROJECTIONS.join(", "), &"nothing"))
            }
            None => Ok(()),
        }
    }

    fn names(&self, name: &str) -> bool {
        self.targets.iter().any(|target| name.rsplit('.').next() == Some(target))
    }
}

impl CausalLm {
    /// Freezes all parameters and adds adapters, which alone are trained from here on. Their update begins at zero: `A` is
    /// drawn from a stream of `seed` as PEFT draws it (uniform within `1 / sqrt(inputs)`), `B` is zero.
    ///
    /// # Errors
    /// If the configuration is out of range, or adapters are attached already.
    pub fn attach_lora(self, config: &LoraConfig, seed: u64) -> Result<Self> {
        config.check()?;
        self.attach(config, config.alpha / config.rank as f64, |name, shape, kind| {
            let count = shape.iter().product();
            Ok(match kind {
                Half::A => uniform(seed, &format!("{name}.lora_A"), count, 1.0 / (shape[1] as f64).sqrt()),
                Half::B => vec![0.0; count],
            })
        })
    }

    /// Adds the adapters of a PEFT folder (`adapter_config.json`, `adapter_model.safetensors`) and freezes all other
    /// parameters.
    ///
    /// # Errors
    /// If a file is missing or malformed, asks for what is not implemented (DoRA, patterns of ranks, trained biases, modules
    /// saved whole), does not fit the model, or adapters are attached already.
    pub fn attach_peft(self, dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let path = dir.join("adapter_config.json");
        let (config, scale) = read_config(&path).map_err(|error| error.in_file(&path))?;
        let file = dir.join("adapter_model.safetensors");
        let mut weights = Weights::open_files(vec![file.clone()], None)?;
        let device = self.device().inner();
        let mut read = 0;
        let model = self.attach(&config, scale, |name, shape, half| {
            read += 1;
            let name = peft_name(name, half);
            let tensor: Tensor<2> = weights.read(&name, 0, shape, burn::tensor::DType::F32, &device)?;
            Ok(tensor.into_data().iter::<f32>().collect())
        })?;
        match weights.len() {
            count if count == read => Ok(model),
            count => {
                let reason = format!("{count} tensors, of which {read} have a place in this model");
                Err(Error::Malformed { path: file, reason })
            }
        }
    }

    fn attach(
        self,
        config: &LoraConfig,
        scale: f64,
        mut values: impl FnMut(&str, [usize; 2], Half) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        let mut model = self.no_grad();
        for (name, linear) in model.projections() {
            if linear.lora.is_some() {
                return Err(Error::Request("adapters are attached already; merge them first".into()));
            }
            if !config.names(&name) {
                continue;
            }
            let weight = linear.weight.val();
            let ([outputs, inputs], device, dtype) = (weight.dims(), weight.device(), weight.dtype());
            let mut half = |shape: [usize; 2], half| -> Result<Param<Tensor<2>>> {
                let data = TensorData::new(values(&name, shape, half)?, shape).convert_dtype(dtype);
                Ok(Param::from_tensor(Tensor::from_data(data, (&device, dtype))))
            };
            let a = half([config.rank, inputs], Half::A)?;
            let b = half([outputs, config.rank], Half::B)?;
            linear.lora = Some(LowRank { a, b, scale });
        }
        Ok(model)
    }

    /// Adds the adapters' updates to the weights and takes the adapters off. All parameters can be trained again.
    #[must_use]
    pub fn merge_lora(mut self) -> Self {
        for (_, linear) in self.projections() {
            if let Some(LowRank { a, b, scale }) = linear.lora.take() {
                let update = b.val().matmul(a.val()).mul_scalar(scale);
                linear.weight = Param::from_tensor((linear.weight.val() + update).detach());
            }
        }
        struct Thaw;
        impl burn::module::ModuleMapper for Thaw {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                param.set_require_grad(true)
            }
        }
        self.map(&mut Thaw)
    }

    /// Writes the adapters as a PEFT folder. `base` is what `base_model_name_or_path` shall say.
    ///
    /// # Errors
    /// If no adapters are attached, the files of this family fuse the adapted projections (Phi-3), or a file cannot be
    /// written.
    pub fn save_peft(&self, dir: impl AsRef<Path>, base: &str) -> Result<()> {
        let dir = dir.as_ref();
        if self.config.family == Family::Phi3 {
            return Err(Error::Request(
                "Phi-3's files fuse the projections: merge the adapters and save the model".into(),
            ));
        }
        let (mut tensors, mut targets, mut size) = (Vec::new(), Vec::new(), None);
        for (name, linear) in self.clone().projections() {
            let Some(LowRank { a, b, scale }) = &linear.lora else { continue };
            size = Some((a.val().dims()[0], *scale));
            tensors.push((peft_name(&name, Half::A), Stored::new(a.val())));
            tensors.push((peft_name(&name, Half::B), Stored::new(b.val())));
            let target = name.rsplit('.').next().unwrap_or_default().to_owned();
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        let (rank, scale) = size.ok_or_else(|| Error::Request("no adapters are attached".into()))?;
        std::fs::create_dir_all(dir).map_err(|source| Error::Write { path: dir.into(), source })?;
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        write_tensors(&dir.join("adapter_model.safetensors"), tensors, metadata)?;
        let config = json!({
            "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "r": rank,
            "lora_alpha": alpha_of(scale, rank), "target_modules": targets, "lora_dropout": 0.0, "bias": "none",
            "fan_in_fan_out": false, "inference_mode": true, "init_lora_weights": true,
        });
        write_json(&dir.join("adapter_config.json"), config.as_object().unwrap_or(&Map::new()))
    }

    /// The projections of all blocks, under the names of Llama's files.
    fn projections(&mut self) -> Vec<(String, &mut Linear)> {
        let mut all = Vec::new();
        for (layer, block) in self.layers.iter_mut().enumerate() {
            let Attention { q_proj, k_proj, v_proj, o_proj, .. } = &mut block.self_attn;
            let Mlp { gate_proj, up_proj, down_proj } = &mut block.mlp;
            let attention = [("q_proj", q_proj), ("k_proj", k_proj), ("v_proj", v_proj), ("o_proj", o_proj)];
            let gated = [("gate_proj", gate_proj), ("up_proj", up_proj), ("down_proj", down_proj)];
            let name = |part: &str, name: &str| format!("model.layers.{layer}.{part}.{name}");
            all.extend(attention.map(|(which, linear)| (name("self_attn", which), linear)));
            all.extend(gated.map(|(which, linear)| (name("mlp", which), linear)));
        }
        all
    }
}

/// The `lora_alpha` that gives back the very same factor when it is divided by the rank, a whole number where one does.
fn alpha_of(scale: f64, rank: usize) -> f64 {
    let (rank, near) = (rank as f64, scale * rank as f64);
    let exact = |alpha: &f64| *alpha / rank == scale;
    [near.round(), near, near.next_up(), near.next_down()].into_iter().find(exact).unwrap_or(near)
}

/// The two factors of an update.
#[derive(Clone, Copy)]
enum Half {
    /// `[rank, inputs]`.
    A,
    /// `[outputs, rank]`.
    B,
}

fn peft_name(name: &str, half: Half) -> String {
    let half = match half {
        Half::A => "lora_A",
        Half::B => "lora_B",
    };
    format!("base_model.model.{name}.{half}.weight")
}

/// An `adapter_config.json`: the adapters, and the factor on their updates.
fn read_config(path: &Path) -> Result<(LoraConfig, f64)> {
    let Value::Object(keys) = read_json(path)? else {
        return Err(Error::Malformed { path: path.into(), reason: "expected a JSON object".into() });
    };
    let get = |key: &str| keys.get(key).filter(|value| !value.is_null());
    if get("peft_type").and_then(Value::as_str) != Some("LORA") {
        return Err(wrong("peft_type", "LORA", keys.get("peft_type").unwrap_or(&Value::Null)));
    }
    let off = |value: &Value| match value {
        Value::Bool(on) => !on,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::String(text) => text == "none",
        _ => false,
    };
    for key in UNKNOWN {
        if let Some(value) = get(key).filter(|value| !off(value)) {
            return Err(wrong(key, "nothing: it is not implemented here", value));
        }
    }
    let rank = get("r").and_then(Value::as_u64).and_then(|rank| usize::try_from(rank).ok());
    let rank = rank.ok_or_else(|| wrong("r", "a whole number", keys.get("r").unwrap_or(&Value::Null)))?;
    let alpha = get("lora_alpha").and_then(Value::as_f64).unwrap_or(8.0);
    let targets = match get("target_modules") {
        Some(Value::Array(list)) => {
            list.iter().map(|v| v.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        }
        Some(Value::String(text)) if text == "all-linear" => Some(LoraConfig::default().targets),
        _ => None,
    };
    let targets = targets.ok_or_else(|| {
        wrong("target_modules", "a list of projections", keys.get("target_modules").unwrap_or(&Value::Null))
    })?;
    let config = LoraConfig { rank, alpha, targets };
    config.check()?;
    let stabilised = get("use_rslora").and_then(Value::as_bool) == Some(true);
    let divisor = if stabilised { (rank as f64).sqrt() } else { rank as f64 };
    Ok((config, alpha / divisor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_on_updates_survives_a_file() {
        for rank in 1..200_usize {
            for alpha in [1.0, 0.1, 7.0, 16.0, 49.0, 1.0 / 3.0, -2.5, rank as f64] {
                let scale = alpha / rank as f64;
                assert_eq!(alpha_of(scale, rank) / rank as f64, scale, "alpha {alpha}, rank {rank}");
            }
        }
        // 1 / 49 * 49 is less than 1 in floating point.
        assert_eq!(alpha_of(1.0 / 49.0, 49), 1.0);
    }
}
