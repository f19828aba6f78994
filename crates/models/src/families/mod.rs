//! One file per family: how its `config.json` is read. The parts they share are in `layers`.
//!
//! To add a family: a file here that turns its keys into a [`Config`], an entry in [`Family`] and [`FAMILIES`], the
//! names of its tensors in `weights::layout` where they differ from Llama's, and a case in the golden script.

mod llama;
mod mistral;
mod phi3;
mod qwen2;
mod qwen3;
mod smollm3;

use serde_json::{Map, Value, json};

use crate::config::{Config, Family, Task, wrong};
use crate::error::{Error, Result};
use crate::rope::{Rope, RopeScaling};

/// What distinguishes a family in a `config.json`.
struct Entry {
    family: Family,
    model_type: &'static str,
    prefix: &'static str,
    read: fn(&Keys) -> Result<Config>,
}

const FAMILIES: [Entry; 6] = [
    Entry { family: Family::Llama, model_type: "llama", prefix: "Llama", read: llama::read },
    Entry { family: Family::Qwen2, model_type: "qwen2", prefix: "Qwen2", read: qwen2::read },
    Entry { family: Family::Qwen3, model_type: "qwen3", prefix: "Qwen3", read: qwen3::read },
    Entry { family: Family::Mistral, model_type: "mistral", prefix: "Mistral", read: mistral::read },
    Entry { family: Family::SmolLm3, model_type: "smollm3", prefix: "SmolLM3", read: smollm3::read },
    Entry { family: Family::Phi3, model_type: "phi3", prefix: "Phi3", read: phi3::read },
];

fn entry(family: Family) -> &'static Entry {
    FAMILIES.iter().find(|e| e.family == family).unwrap_or(&FAMILIES[0])
}

/// Reads the keys of a `config.json`.
pub(crate) fn read(object: Map<String, Value>) -> Result<Config> {
    let keys = Keys(&object);
    let unknown = |found: &str| Error::Architecture {
        found: found.chars().take(100).collect(),
        known: FAMILIES
            .iter()
            .map(|e| format!("{0}ForCausalLM, {0}ForSequenceClassification", e.prefix))
            .collect::<Vec<_>>()
            .join(", "),
    };
    let architecture = match object.get("architectures") {
        Some(Value::Array(names)) => match names.as_slice() {
            [Value::String(name)] => Some(name.as_str()),
            _ => return Err(wrong("architectures", "a list with one name", &object["architectures"])),
        },
        None | Some(Value::Null) => None,
        Some(other) => return Err(wrong("architectures", "a list with one name", other)),
    };
    let model_type = keys.text("model_type")?;
    let (entry, task) = match (architecture, model_type) {
        (Some(name), model_type) => {
            let (entry, task) = FAMILIES
                .iter()
                .find_map(|e| match name.strip_prefix(e.prefix) {
                    Some("ForCausalLM") => Some((e, Task::CausalLm)),
                    Some("ForSequenceClassification") => Some((e, Task::Reward)),
                    _ => None,
                })
                .ok_or_else(|| unknown(name))?;
            if let Some(model_type) = model_type
                && model_type != entry.model_type
            {
                return Err(wrong("model_type", &format!("`{}` for {name}", entry.model_type), &model_type));
            }
            (entry, task)
        }
        (None, Some(name)) => {
            let entry = FAMILIES.iter().find(|e| e.model_type == name).ok_or_else(|| unknown(name))?;
            (entry, Task::CausalLm)
        }
        (None, None) => return Err(wrong("architectures", "the name of the architecture", &"nothing")),
    };
    let mut config = (entry.read)(&keys)?;
    config.family = entry.family;
    config.task = task;
    if task == Task::Reward {
        check_single_label(&keys)?;
    }
    config.raw = object;
    Ok(config)
}

/// The ending and filling tokens of a `generation_config.json`.
pub(crate) fn special_tokens(object: &Map<String, Value>) -> Result<(Vec<u32>, Option<u32>)> {
    let keys = Keys(object);
    Ok((keys.tokens("eos_token_id")?, keys.token("pad_token_id")?))
}

/// A reward model has one label. The number of labels is stated directly or by the map of their names.
fn check_single_label(keys: &Keys) -> Result<()> {
    let labels = match (keys.number("num_labels")?, keys.0.get("id2label")) {
        (Some(n), _) => n,
        (None, Some(Value::Object(map))) => map.len(),
        // transformers assumes two labels where nothing is said.
        (None, _) => 2,
    };
    if labels == 1 { Ok(()) } else { Err(wrong("num_labels", "1 (a reward model)", &labels)) }
}

/// The keys of a `config.json` with typed access; `null` counts as absent.
pub(super) struct Keys<'a>(&'a Map<String, Value>);

impl<'a> Keys<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|v| !v.is_null())
    }

    fn number(&self, key: &str) -> Result<Option<usize>> {
        self.get(key).map(|v| whole(key, v)).transpose()
    }

    fn size(&self, key: &str) -> Result<usize> {
        self.number(key)?.ok_or_else(|| wrong(key, "a whole number", &"nothing"))
    }

    fn real(&self, key: &str, default: f64) -> Result<f64> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.as_f64().ok_or_else(|| wrong(key, "a number", value)),
        }
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| wrong(key, "true or false", value)),
        }
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(|| wrong(key, "a text", value)),
        }
    }

    fn list(&self, key: &str) -> Result<Option<&'a [Value]>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(value) => Err(wrong(key, "a list", value)),
        }
    }

    /// One token id, or none where it is negative (a custom of old files).
    fn token(&self, key: &str) -> Result<Option<u32>> {
        match self.get(key) {
            Some(value) if value.as_i64().is_some_and(|n| n < 0) => Ok(None),
            _ => Ok(self.tokens(key)?.first().copied()),
        }
    }

    /// One token id or a list of them.
    pub(super) fn tokens(&self, key: &str) -> Result<Vec<u32>> {
        let one = |value: &Value| {
            value.as_u64().and_then(|n| u32::try_from(n).ok()).ok_or_else(|| wrong(key, "a token id", value))
        };
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => list.iter().map(one).collect(),
            Some(value) => Ok(vec![one(value)?]),
        }
    }

    /// The layers' windows from `layer_types`, or from `default` by layer.
    fn windows(
        &self,
        layers: usize,
        window: Option<usize>,
        default: fn(usize, &Keys) -> Result<bool>,
    ) -> Result<Vec<Option<usize>>> {
        if let Some(list) = self.list("layer_types")? {
            return list
                .iter()
                .map(|kind| match kind.as_str() {
                    Some("full_attention") => Ok(None),
                    Some("sliding_attention") => match window {
                        Some(window) => Ok(Some(window)),
                        None => Err(wrong("sliding_window", "a number, as layer_types asks for", &"nothing")),
                    },
                    _ => Err(wrong("layer_types", "full_attention or sliding_attention", kind)),
                })
                .collect();
        }
        (0..layers.min(1024)).map(|layer| Ok(if default(layer, self)? { window } else { None })).collect()
    }
}

fn whole(key: &str, value: &Value) -> Result<usize> {
    value.as_u64().and_then(|n| usize::try_from(n).ok()).ok_or_else(|| wrong(key, "a whole number", value))
}

/// What every family shares; each then changes what is its own.
fn base(keys: &Keys, rms_norm_eps: f64, theta: f64, tied: bool) -> Result<Config> {
    if let Some(activation) = keys.text("hidden_act")?
        && activation != "silu"
        && activation != "swish"
    {
        return Err(wrong("hidden_act", "silu", &activation));
    }
    if let Some(quantization) = keys.get("quantization_config") {
        return Err(wrong("quantization_config", "unquantised weights", quantization));
    }
    let (hidden_size, heads) = (keys.size("hidden_size")?, keys.size("num_attention_heads")?);
    if heads == 0 {
        return Err(wrong("num_attention_heads", "at least 1", &0));
    }
    let head_dim = match keys.number("head_dim")? {
        Some(dim) => dim,
        None if hidden_size % heads == 0 => hidden_size / heads,
        None => return Err(wrong("hidden_size", "a multiple of num_attention_heads", &hidden_size)),
    };
    let layers = keys.size("num_hidden_layers")?;
    let max_positions = keys.number("max_position_embeddings")?.unwrap_or(2048);
    Ok(Config {
        family: Family::Llama,
        task: Task::CausalLm,
        vocab_size: keys.size("vocab_size")?,
        hidden_size,
        intermediate_size: keys.size("intermediate_size")?,
        layers,
        heads,
        kv_heads: keys.number("num_key_value_heads")?.unwrap_or(heads),
        head_dim,
        norm_eps: keys.real("rms_norm_eps", rms_norm_eps)?,
        max_positions,
        tied: keys.flag("tie_word_embeddings", tied)?,
        qkv_bias: false,
        output_bias: false,
        mlp_bias: false,
        qk_norm: false,
        rope: rope(keys, head_dim, max_positions, theta)?,
        rope_layers: vec![true; layers.min(1024)],
        windows: vec![None; layers.min(1024)],
        bos: keys.token("bos_token_id")?,
        eos: match keys.get("eos_token_id") {
            Some(value) if value.as_i64().is_some_and(|n| n < 0) => Vec::new(),
            _ => keys.tokens("eos_token_id")?,
        },
        pad: keys.token("pad_token_id")?,
        initializer_range: keys.real("initializer_range", 0.02)?,
        raw: Map::new(),
    })
}

/// Reads `rope_scaling` with `rope_theta` (transformers 4) or `rope_parameters` (transformers 5).
fn rope(keys: &Keys, head_dim: usize, max_positions: usize, default_theta: f64) -> Result<Rope> {
    // Where both are there, version 5 takes the older one, which is the only one that version 4 knows.
    let named = |key: &str| match keys.get(key) {
        None => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map.clone()).filter(|map| !map.is_empty())),
        Some(other) => Err(wrong(key, "an object", other)),
    };
    let section = match named("rope_scaling")? {
        Some(map) => map,
        None => named("rope_parameters")?.unwrap_or_default(),
    };
    let inner = Keys(&section);
    let theta = inner.real("rope_theta", keys.real("rope_theta", default_theta)?)?;
    let partial = inner.real("partial_rotary_factor", keys.real("partial_rotary_factor", 1.0)?)?;
    if !(partial > 0.0 && partial <= 1.0) {
        return Err(wrong("partial_rotary_factor", "a number in (0, 1]", &partial));
    }
    let dim = (head_dim as f64 * partial) as usize;
    let original = match inner.number("original_max_position_embeddings")? {
        Some(n) => n,
        None => keys.number("original_max_position_embeddings")?.unwrap_or(max_positions),
    };
    let needed = |key: &str| {
        let value = inner.real(key, f64::NAN)?;
        if value.is_finite() && value > 0.0 {
            Ok(value)
        } else {
            Err(wrong(key, "a positive number", &value))
        }
    };
    let kind = match inner.text("rope_type")? {
        Some(kind) => kind,
        None => inner.text("type")?.unwrap_or("default"),
    };
    let scaling = match kind {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: needed("factor")? },
        "llama3" => RopeScaling::Llama3 {
            factor: needed("factor")?,
            low_freq_factor: needed("low_freq_factor")?,
            high_freq_factor: needed("high_freq_factor")?,
            original_positions: original,
        },
        "yarn" => {
            let factor = match inner.get("factor") {
                Some(_) => needed("factor")?,
                None => max_positions as f64 / original as f64,
            };
            let scale = |m: f64| if factor <= 1.0 { 1.0 } else { 0.1 * m * factor.ln() + 1.0 };
            let (mscale, all_dim) = (inner.real("mscale", 0.0)?, inner.real("mscale_all_dim", 0.0)?);
            let implied =
                if mscale != 0.0 && all_dim != 0.0 { scale(mscale) / scale(all_dim) } else { scale(1.0) };
            let or = |value: f64, default: f64| if value == 0.0 { default } else { value };
            RopeScaling::Yarn {
                factor,
                attention_factor: inner.real("attention_factor", implied)?,
                beta_fast: or(inner.real("beta_fast", 32.0)?, 32.0),
                beta_slow: or(inner.real("beta_slow", 1.0)?, 1.0),
                original_positions: original,
                truncate: inner.flag("truncate", true)?,
            }
        }
        "longrope" | "su" => {
            let factors = |key: &str| -> Result<Vec<f32>> {
                let list = inner.list(key)?.ok_or_else(|| wrong(key, "a list of numbers", &"nothing"))?;
                list.iter()
                    .map(|v| v.as_f64().map(|f| f as f32).ok_or_else(|| wrong(key, "a list of numbers", v)))
                    .collect()
            };
            let factor = match inner.get("factor") {
                Some(_) => needed("factor")?,
                None => max_positions as f64 / original as f64,
            };
            let implied =
                if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / (original as f64).ln()).sqrt() };
            RopeScaling::LongRope {
                short: factors("short_factor")?,
                long: factors("long_factor")?,
                attention_factor: inner.real("attention_factor", implied)?,
                original_positions: original,
            }
        }
        other => return Err(wrong("rope_type", "default, linear, llama3, yarn or longrope", &other)),
    };
    Ok(Rope { theta, dim, scaling })
}

/// The keys of a `config.json` for `config`: those of the file it came from, with what this crate knows on top.
pub(crate) fn write(config: &Config) -> Map<String, Value> {
    let entry = entry(config.family);
    let mut object = config.raw.clone();
    let suffix = match config.task {
        Task::CausalLm => "ForCausalLM",
        Task::Reward => "ForSequenceClassification",
    };
    let mut set = |key: &str, value: Value| {
        object.insert(key.into(), value);
    };
    set("architectures", json!([format!("{}{suffix}", entry.prefix)]));
    set("model_type", json!(entry.model_type));
    set("vocab_size", json!(config.vocab_size));
    set("hidden_size", json!(config.hidden_size));
    set("intermediate_size", json!(config.intermediate_size));
    set("num_hidden_layers", json!(config.layers));
    set("num_attention_heads", json!(config.heads));
    set("num_key_value_heads", json!(config.kv_heads));
    set("head_dim", json!(config.head_dim));
    set("hidden_act", json!("silu"));
    set("rms_norm_eps", json!(config.norm_eps));
    set("max_position_embeddings", json!(config.max_positions));
    set("tie_word_embeddings", json!(config.tied));
    set("initializer_range", json!(config.initializer_range));
    set("bos_token_id", json!(config.bos));
    set("pad_token_id", json!(config.pad));
    set(
        "eos_token_id",
        match config.eos.as_slice() {
            [] => Value::Null,
            [one] => json!(one),
            many => json!(many),
        },
    );
    if config.task == Task::Reward {
        set("num_labels", json!(1));
        set("id2label", json!({"0": "LABEL_0"}));
        set("label2id", json!({"LABEL_0": 0}));
    }
    // Version 4 knows only `rope_theta` and `rope_scaling`, and version 5 still reads them.
    let newer = object.remove("rope_parameters").is_some();
    if newer || !object.contains_key("rope_theta") {
        write_rope(config, &mut object);
    }
    object
}

/// The rotary embedding in the dialect that both versions read.
fn write_rope(config: &Config, object: &mut Map<String, Value>) {
    let rope = &config.rope;
    object.insert("rope_theta".into(), json!(rope.theta));
    if rope.dim != config.head_dim {
        let partial = rope.dim as f64 / config.head_dim as f64;
        object.insert("partial_rotary_factor".into(), json!(partial));
    }
    let scaling = match &rope.scaling {
        RopeScaling::None => Value::Null,
        RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_positions } => json!({
            "rope_type": "llama3", "factor": factor, "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor, "original_max_position_embeddings": original_positions,
        }),
        RopeScaling::Yarn {
            factor,
            attention_factor,
            beta_fast,
            beta_slow,
            original_positions,
            truncate,
        } => {
            let mut scaling = json!({
                "rope_type": "yarn", "factor": factor, "attention_factor": attention_factor, "beta_fast": beta_fast,
                "beta_slow": beta_slow, "original_max_position_embeddings": original_positions,
            });
            if !truncate {
                scaling["truncate"] = json!(false);
            }
            scaling
        }
        RopeScaling::LongRope { short, long, attention_factor, original_positions } => {
            // Phi-3 of version 4 takes exactly these three keys, and works out the rest from the two lengths.
            let mut scaling = json!({"type": "longrope", "short_factor": short, "long_factor": long});
            object.insert("original_max_position_embeddings".into(), json!(original_positions));
            if config.family != Family::Phi3 {
                scaling["attention_factor"] = json!(attention_factor);
                scaling["original_max_position_embeddings"] = json!(original_positions);
            }
            scaling
        }
    };
    object.insert("rope_scaling".into(), scaling);
}
