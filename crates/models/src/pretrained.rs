//! Hugging Face folders, in and out.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor};
use safetensors::Dtype;
use serde_json::{Map, Value, json};

use crate::chat::ChatTemplate;
use crate::config::{Config, Family, read_json};
use crate::error::{Error, Result};
use crate::model::CausalLm;
use crate::tokenizer::Tokenizer;
use crate::weights::{FolderSource, Weights, head_slot, layout};

/// A model with everything that lies beside it in a folder.
#[derive(Debug, Clone)]
pub struct Pretrained {
    /// The configuration.
    pub config: Config,
    /// The weights.
    pub model: CausalLm,
    /// The tokenizer, where the folder has one.
    pub tokenizer: Option<Tokenizer>,
    /// The chat template, where the folder has one.
    pub chat: Option<ChatTemplate>,
    /// What `generation_config.json` says.
    pub generation: GenerationConfig,
}

/// The type of the parameters in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Precision {
    /// 32 bits, whatever the files hold. The default: every number matches the reference in f32.
    #[default]
    F32,
    /// bfloat16.
    Bf16,
    /// IEEE half precision.
    F16,
}

impl Precision {
    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }
}

/// What programs offer to compute in, `f32` and `bf16`; `f16` has too narrow a range to train in.
impl std::str::FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        match name {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            other => Err(format!("must be f32 or bf16, found {other}")),
        }
    }
}

/// Where and how to load a folder.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The device that gets the parameters. With `device.autodiff()` they can be trained.
    pub device: Device,
    /// The type of the parameters in memory.
    pub dtype: Precision,
}

impl LoadOptions {
    /// 32-bit parameters on `device`.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        Self { device: device.clone(), dtype: Precision::F32 }
    }
}

/// The part of `generation_config.json` that is used: which tokens end and fill a sequence.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GenerationConfig {
    /// The tokens that end a sequence. Empty means that the model's configuration decides.
    pub eos: Vec<u32>,
    /// The token that fills rows.
    pub pad: Option<u32>,
    raw: Map<String, Value>,
}

impl GenerationConfig {
    fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("generation_config.json");
        if !path.exists() {
            return Ok(Self::default());
        }
        let Value::Object(raw) = read_json(&path)? else {
            return Err(Error::Malformed { path, reason: "expected a JSON object".into() });
        };
        let (eos, pad) = crate::families::special_tokens(&raw)
            .map_err(|error| Error::Malformed { path, reason: error.to_string() })?;
        Ok(Self { eos, pad, raw })
    }
}

impl Pretrained {
    /// A model made here, ready to be saved.
    #[must_use]
    pub fn new(model: CausalLm, tokenizer: Option<Tokenizer>) -> Self {
        let config = model.config().clone();
        Self { config, model, tokenizer, chat: None, generation: GenerationConfig::default() }
    }

    /// Loads a folder, or with the feature `hub` a repository of the Hugging Face Hub by its name (see
    /// `Hub::folder`) where there is no folder of that name: `config.json`, `model.safetensors` or its shards, and where present `generation_config.json`,
    /// `tokenizer.json`, `tokenizer_config.json` and chat templates.
    ///
    /// Files are untrusted: everything is checked before memory is taken for it. Tensors are read one by one, so that
    /// loading takes the parameters' own size and at most one tensor more.
    ///
    /// # Errors
    /// If a file is missing, malformed, or contradicts another; the error names file, tensor, expected and found.
    pub fn load(dir: impl AsRef<Path>, options: &LoadOptions) -> Result<Self> {
        let dir = &folder(dir.as_ref())?;
        let path = dir.join("config.json");
        let config = Config::read(&path)?;
        let generation = GenerationConfig::read(dir)?;
        let tokenizer = Tokenizer::read(dir)?;
        let chat = ChatTemplate::read(dir)?;
        let mut weights = Weights::open(dir)?;
        weights.check(&layout(&config), &config)?;
        let mut source = FolderSource {
            weights: &mut weights,
            config: &config,
            dtype: options.dtype.dtype(),
            device: &options.device,
        };
        let model = CausalLm::build(config.clone(), &mut source)?;
        Ok(Self { config, model, tokenizer, chat, generation })
    }

    /// The tokens that end a sequence: the generation configuration's, else the model's.
    #[must_use]
    pub fn eos(&self) -> &[u32] {
        if self.generation.eos.is_empty() { &self.config.eos } else { &self.generation.eos }
    }

    /// Writes a folder that `transformers` loads. Existing files of the same names are replaced, each at once.
    ///
    /// # Errors
    /// If a file cannot be written, or adapters are attached (merge them first).
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<()> {
        let dir = dir.as_ref();
        std::fs::create_dir_all(dir).map_err(|source| Error::Write { path: dir.into(), source })?;
        self.model.save_weights(&dir.join("model.safetensors"))?;
        let mut config = self.config.to_json();
        let dtype = match self.model.embed_tokens.val().dtype() {
            DType::F16 => "float16",
            DType::BF16 => "bfloat16",
            _ => "float32",
        };
        config.insert("torch_dtype".into(), json!(dtype));
        if config.contains_key("dtype") {
            config.insert("dtype".into(), json!(dtype));
        }
        write_json(&dir.join("config.json"), &config)?;
        let mut generation = self.generation.raw.clone();
        for key in ["bos_token_id", "eos_token_id", "pad_token_id"] {
            if let Some(value) = config.get(key).filter(|v| !v.is_null()) {
                generation.entry(key).or_insert_with(|| value.clone());
            }
        }
        write_json(&dir.join("generation_config.json"), &generation)?;
        if let Some(tokenizer) = &self.tokenizer {
            tokenizer.save(dir)?;
        }
        if let Some(chat) = &self.chat {
            chat.save(dir)?;
        }
        Ok(())
    }
}

/// The folder itself, or that of a repository of this name.
fn folder(dir: &Path) -> Result<Cow<'_, Path>> {
    if dir.exists() {
        return Ok(dir.into());
    }
    let id = dir.to_string_lossy().into_owned();
    #[cfg(feature = "hub")]
    return crate::Hub::from_env().folder(&id).map(Cow::Owned);
    #[cfg(not(feature = "hub"))]
    Err(Error::Hub {
        id,
        reason: "no such folder (names of the Hugging Face Hub need the feature `hub`)".into(),
    })
}

impl CausalLm {
    /// Writes the parameters as one `*.safetensors` file under their Hugging Face names.
    ///
    /// # Errors
    /// If the file cannot be written, or adapters are attached (merge them first).
    pub fn save_weights(&self, path: &Path) -> Result<()> {
        let mut collect = Collect { model: self, path: Vec::new(), found: Vec::new(), adapters: false };
        self.visit(&mut collect);
        if collect.adapters {
            return Err(Error::Request("adapters are attached; merge them before saving the model".into()));
        }
        let mut found = collect.found;
        if self.config.family == Family::Phi3 {
            found = fuse(found);
        }
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        write_tensors(path, found, metadata)
    }
}

/// Gathers the parameters with their names in files.
struct Collect<'a> {
    model: &'a CausalLm,
    path: Vec<String>,
    found: Vec<(String, Stored)>,
    adapters: bool,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.join(".");
        let name = match name.as_str() {
            "output" => match head_slot(&self.model.config) {
                Some(slot) => slot.name,
                None => return,
            },
            name if name.contains(".lora") => {
                self.adapters = true;
                return;
            }
            name if name.ends_with("norm") || name == "embed_tokens" => format!("model.{name}.weight"),
            name => format!("model.{name}"),
        };
        self.found.push((name, Stored::new(param.val())));
    }
}

/// A tensor on its way into a file; its numbers leave the device only when they are written.
pub(crate) struct Stored {
    parts: Vec<Part>,
    shape: Vec<usize>,
    dtype: Dtype,
}

type Part = Box<dyn Fn() -> Vec<u8>>;

impl Stored {
    pub fn new<const D: usize>(tensor: Tensor<D>) -> Self {
        let shape = tensor.dims().to_vec();
        let (dtype, kind) = match tensor.dtype() {
            DType::F16 => (Dtype::F16, DType::F16),
            DType::BF16 => (Dtype::BF16, DType::BF16),
            _ => (Dtype::F32, DType::F32),
        };
        let tensor = tensor.inner();
        let read = move || {
            let bytes = tensor.to_data().convert_dtype(kind).into_bytes();
            bytes.try_into_vec().unwrap_or_else(|bytes| bytes.to_vec())
        };
        Self { parts: vec![Box::new(read)], shape, dtype }
    }
}

impl safetensors::View for &Stored {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(match self.parts.as_slice() {
            [whole] => whole(),
            parts => parts.iter().map(|part| part()).collect::<Vec<_>>().concat(),
        })
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

/// Phi-3's files hold queries, keys and values as one tensor, and so the halves of the gated layer.
fn fuse(found: Vec<(String, Stored)>) -> Vec<(String, Stored)> {
    let mut fused: Vec<(String, Stored)> = Vec::new();
    for (name, stored) in found {
        let rename = |parts: [&str; 3], whole: &str| {
            parts.iter().find(|p| name.contains(*p)).map(|p| name.replace(*p, whole))
        };
        let name = rename([".q_proj.", ".k_proj.", ".v_proj."], ".qkv_proj.")
            .or_else(|| rename([".gate_proj.", ".up_proj.", ".up_proj."], ".gate_up_proj."))
            .unwrap_or(name);
        match fused.iter_mut().rev().take(4).find(|(known, _)| *known == name) {
            Some((_, whole)) => {
                whole.shape[0] += stored.shape[0];
                whole.parts.extend(stored.parts);
            }
            None => fused.push((name, stored)),
        }
    }
    fused
}

pub(crate) fn write_tensors(
    path: &Path,
    tensors: Vec<(String, Stored)>,
    metadata: HashMap<String, String>,
) -> Result<()> {
    let temporary = path.with_extension("safetensors.partial");
    let fail = |source| Error::Write { path: path.into(), source };
    let views = tensors.iter().map(|(name, stored)| (name.as_str(), stored));
    // The library's files are for their owner alone; weights are as open as the files beside them.
    let usual =
        std::fs::File::create(&temporary).and_then(|file| file.metadata()).map_err(fail)?.permissions();
    safetensors::serialize_to_file(views, Some(metadata), &temporary)
        .map_err(|error| fail(std::io::Error::other(error.to_string())))?;
    std::fs::set_permissions(&temporary, usual).map_err(fail)?;
    std::fs::rename(&temporary, path).map_err(fail)
}

/// Writes a file under a temporary name and renames it.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let fail = |source| Error::Write { path: path.into(), source };
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".partial");
    std::fs::write(&temporary, bytes).map_err(fail)?;
    std::fs::rename(&temporary, path).map_err(fail)
}

pub(crate) fn write_json(path: &Path, object: &Map<String, Value>) -> Result<()> {
    let mut text = serde_json::to_string_pretty(object)
        .map_err(|error| Error::Malformed { path: path.into(), reason: error.to_string() })?;
    text.push('\n');
    write(path, text.as_bytes())
}
