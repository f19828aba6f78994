//! Weights in `*.safetensors`: what an architecture expects, and reading it tensor by tensor.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor, TensorData};
use half::{bf16, f16, slice::HalfFloatSliceExt};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde_json::Value;

use crate::config::{Config, Family, Task, read_json};
use crate::error::{Error, Result};
use crate::init::Source;

/// A tensor as the files name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    pub name: String,
    pub shape: Vec<usize>,
}

fn slot(name: impl Into<String>, shape: &[usize]) -> Slot {
    Slot { name: name.into(), shape: shape.to_vec() }
}

/// The output head of a model, where it is a tensor of its own.
pub(crate) fn head_slot(config: &Config) -> Option<Slot> {
    match config.task {
        Task::Reward => Some(slot("score.weight", &[1, config.hidden_size])),
        Task::CausalLm if config.tied => None,
        Task::CausalLm => Some(slot("lm_head.weight", &[config.vocab_size, config.hidden_size])),
    }
}

/// Every tensor the files of `config` hold.
pub(crate) fn layout(config: &Config) -> Vec<Slot> {
    let (hidden, inner, dim) = (config.hidden_size, config.intermediate_size, config.head_dim);
    let (queries, keys) = (config.heads * dim, config.kv_heads * dim);
    let mut slots = vec![slot("model.embed_tokens.weight", &[config.vocab_size, hidden])];
    for layer in 0..config.layers {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        let mut linear = |part: &str, shape: [usize; 2], bias: bool| {
            slots.push(slot(name(&format!("{part}.weight")), &shape));
            if bias {
                slots.push(slot(name(&format!("{part}.bias")), &shape[..1]));
            }
        };
        if config.family == Family::Phi3 {
            linear("self_attn.qkv_proj", [queries + 2 * keys, hidden], config.qkv_bias);
            linear("mlp.gate_up_proj", [2 * inner, hidden], config.mlp_bias);
        } else {
            linear("self_attn.q_proj", [queries, hidden], config.qkv_bias);
            linear("self_attn.k_proj", [keys, hidden], config.qkv_bias);
            linear("self_attn.v_proj", [keys, hidden], config.qkv_bias);
            linear("mlp.gate_proj", [inner, hidden], config.mlp_bias);
            linear("mlp.up_proj", [inner, hidden], config.mlp_bias);
        }
        linear("self_attn.o_proj", [hidden, queries], config.output_bias);
        linear("mlp.down_proj", [hidden, inner], config.mlp_bias);
        if config.qk_norm {
            slots.push(slot(name("self_attn.q_norm.weight"), &[dim]));
            slots.push(slot(name("self_attn.k_norm.weight"), &[dim]));
        }
        slots.push(slot(name("input_layernorm.weight"), &[hidden]));
        slots.push(slot(name("post_attention_layernorm.weight"), &[hidden]));
    }
    slots.push(slot("model.norm.weight", &[hidden]));
    slots.extend(head_slot(config));
    slots
}

/// Where the files keep the tensor that the model calls `name`: the file's name for it, and its first row there.
/// Phi-3's files fuse queries, keys and values, and the two halves of the gated layer.
pub(crate) fn stored(config: &Config, name: &str) -> (String, usize) {
    if config.family == Family::Phi3 {
        let (queries, keys) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let fused = [
            ("q_proj", "qkv_proj", 0),
            ("k_proj", "qkv_proj", queries),
            ("v_proj", "qkv_proj", queries + keys),
            ("gate_proj", "gate_up_proj", 0),
            ("up_proj", "gate_up_proj", config.intermediate_size),
        ];
        for (part, whole, row) in fused {
            if let Some((before, after)) = name.split_once(&format!(".{part}.")) {
                return (format!("{before}.{whole}.{after}"), row);
            }
        }
    }
    (name.into(), 0)
}

/// One tensor in a file.
#[derive(Debug, Clone)]
struct Entry {
    file: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    start: u64,
}

/// The open files of a folder, checked against a configuration.
pub(crate) struct Weights {
    paths: Vec<PathBuf>,
    files: Vec<File>,
    entries: HashMap<String, Entry>,
}

/// Longest header that is read; safetensors' own limit.
const MAX_HEADER: u64 = 100_000_000;

impl Weights {
    /// Opens `model.safetensors`, or the shards that `model.safetensors.index.json` names.
    pub fn open(dir: &Path) -> Result<Self> {
        let (single, index) = (dir.join("model.safetensors"), dir.join("model.safetensors.index.json"));
        if single.exists() || !index.exists() {
            return Self::open_files(vec![single], None);
        }
        let malformed = |reason: String| Error::Malformed { path: index.clone(), reason };
        let value = read_json(&index)?;
        let map = value
            .get("weight_map")
            .and_then(Value::as_object)
            .ok_or_else(|| malformed("expected an object `weight_map`".into()))?;
        let mut names = BTreeMap::new();
        let mut promised = HashMap::new();
        for (tensor, file) in map {
            let file = file.as_str().ok_or_else(|| malformed(format!("`{tensor}`: expected a file name")))?;
            // A shard lies beside its index, nowhere else.
            let plain = !file.is_empty() && !file.contains(['/', '\\', '\0']) && !file.starts_with('.');
            if !plain || !file.ends_with(".safetensors") {
                return Err(malformed(format!("`{file}` is not the name of a shard beside the index")));
            }
            let next = names.len();
            promised.insert(tensor.clone(), *names.entry(file.to_owned()).or_insert(next));
        }
        if names.is_empty() {
            return Err(malformed("no shards".into()));
        }
        let mut paths = vec![PathBuf::new(); names.len()];
        for (name, place) in names {
            paths[place] = dir.join(name);
        }
        Self::open_files(paths, Some((promised, index)))
    }

    /// Opens given files; an index promises which tensor lies in which.
    pub fn open_files(paths: Vec<PathBuf>, index: Option<(HashMap<String, usize>, PathBuf)>) -> Result<Self> {
        let mut weights = Self { paths, files: Vec::new(), entries: HashMap::new() };
        for place in 0..weights.paths.len() {
            let path = weights.paths[place].clone();
            let (file, header, data_start) = read_header(&path)?;
            for (name, info) in header.tensors() {
                let entry = Entry {
                    file: place,
                    dtype: info.dtype,
                    shape: info.shape.clone(),
                    start: data_start + info.data_offsets.0 as u64,
                };
                if weights.entries.insert(name.clone(), entry).is_some() {
                    let reason = format!("tensor `{name}` is in another shard too");
                    return Err(Error::Malformed { path, reason });
                }
            }
            weights.files.push(file);
        }
        if let Some((promised, index)) = index {
            for (tensor, place) in promised {
                if weights.entries.get(&tensor).map(|entry| entry.file) != Some(place) {
                    let file = weights.paths[place].display().to_string();
                    let reason = format!("tensor `{tensor}` is promised in {file} but is not there");
                    return Err(Error::Malformed { path: index, reason });
                }
            }
        }
        Ok(weights)
    }

    /// How many tensors the files hold.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Checks that the files hold exactly what `slots` say.
    pub fn check(&self, slots: &[Slot], config: &Config) -> Result<()> {
        let mut surplus: HashMap<&str, &Entry> = self.entries.iter().map(|(n, e)| (n.as_str(), e)).collect();
        for Slot { name, shape } in slots {
            let Some(entry) = surplus.remove(name.as_str()) else {
                let path = self.paths[0].clone();
                return Err(Error::MissingTensor { path, tensor: name.clone(), expected: shape.clone() });
            };
            let path = || self.paths[entry.file].clone();
            if entry.shape != *shape {
                return Err(Error::Shape {
                    path: path(),
                    tensor: name.clone(),
                    expected: shape.clone(),
                    found: entry.shape.clone(),
                });
            }
            if !matches!(entry.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
                return Err(Error::Dtype {
                    path: path(),
                    tensor: name.clone(),
                    found: format!("{:?}", entry.dtype),
                });
            }
        }
        // Old files carry the rotary frequencies; some carry a tied head a second time.
        surplus.retain(|name, entry| {
            let tied = config.tied
                && *name == "lm_head.weight"
                && entry.shape == [config.vocab_size, config.hidden_size];
            !tied && !name.ends_with(".rotary_emb.inv_freq")
        });
        match surplus.into_iter().min_by_key(|(name, _)| *name) {
            Some((tensor, entry)) => {
                Err(Error::SurplusTensor { path: self.paths[entry.file].clone(), tensor: tensor.into() })
            }
            None => Ok(()),
        }
    }

    /// Reads `shape` from row `row` of tensor `name` on, as `dtype`, onto `device`.
    pub fn read<const D: usize>(
        &mut self,
        name: &str,
        row: usize,
        shape: [usize; D],
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor<D>> {
        let path = |file: usize| self.paths[file].clone();
        let missing =
            || Error::MissingTensor { path: path(0), tensor: name.into(), expected: shape.to_vec() };
        let entry = self.entries.get(name).ok_or_else(missing)?.clone();
        let wrong_shape = || Error::Shape {
            path: path(entry.file),
            tensor: name.into(),
            expected: shape.to_vec(),
            found: entry.shape.clone(),
        };
        let fits = entry.shape.len() == D
            && entry.shape[1..] == shape[1..]
            && row.checked_add(shape[0]).is_some_and(|end| end <= entry.shape[0]);
        if !fits {
            return Err(wrong_shape());
        }
        let width: usize = shape[1..].iter().product();
        let count = width * shape[0];
        let source = |source| Error::Read { path: path(entry.file), source };
        let size = if entry.dtype == Dtype::F32 { 4 } else { 2 };
        let mut file = &self.files[entry.file];
        file.seek(SeekFrom::Start(entry.start + (row * width * size) as u64)).map_err(source)?;
        let data = match entry.dtype {
            Dtype::F32 => {
                let mut values = vec![0f32; count];
                file.read_exact(bytemuck::cast_slice_mut(&mut values)).map_err(source)?;
                TensorData::new(values, shape)
            }
            Dtype::F16 => {
                let mut values = vec![f16::ZERO; count];
                file.read_exact(bytemuck::cast_slice_mut(&mut values)).map_err(source)?;
                if dtype == DType::F32 { widen(&values, shape) } else { TensorData::new(values, shape) }
            }
            Dtype::BF16 => {
                let mut values = vec![bf16::ZERO; count];
                file.read_exact(bytemuck::cast_slice_mut(&mut values)).map_err(source)?;
                if dtype == DType::F32 { widen(&values, shape) } else { TensorData::new(values, shape) }
            }
            other => {
                let found = format!("{other:?}");
                return Err(Error::Dtype { path: path(entry.file), tensor: name.into(), found });
            }
        };
        Ok(Tensor::from_data(data.convert_dtype(dtype), (device, dtype)))
    }
}

fn widen<T, const D: usize>(values: &[T], shape: [usize; D]) -> TensorData
where
    [T]: HalfFloatSliceExt,
{
    let mut wide = vec![0f32; values.len()];
    values.convert_to_f32_slice(&mut wide);
    TensorData::new(wide, shape)
}

/// Reads and checks the header of a file: its tensors, and where their data begins.
fn read_header(path: &Path) -> Result<(File, Metadata, u64)> {
    let read = |source| Error::Read { path: path.into(), source };
    let malformed = |reason: String| Error::Malformed { path: path.into(), reason };
    let mut file = File::open(path).map_err(read)?;
    let length = file.metadata().map_err(read)?.len();
    let mut prefix = [0u8; 8];
    if length < 8 {
        return Err(malformed(format!("{length} bytes are too few for a safetensors file")));
    }
    file.read_exact(&mut prefix).map_err(read)?;
    let header_length = u64::from_le_bytes(prefix);
    if header_length > MAX_HEADER || header_length > length - 8 {
        return Err(malformed(format!("a header of {header_length} bytes in a file of {length}")));
    }
    let mut header = vec![0u8; header_length as usize];
    file.read_exact(&mut header).map_err(read)?;
    let header: Metadata =
        serde_json::from_slice(&header).map_err(|error| malformed(format!("header: {error}")))?;
    let data = length - 8 - header_length;
    if header.data_len() as u64 != data {
        return Err(malformed(format!("{} bytes of tensors promised, {data} found", header.data_len())));
    }
    for (name, info) in header.tensors() {
        let count = info.shape.iter().try_fold(1usize, |a, b| a.checked_mul(*b));
        let bytes = count.and_then(|count| count.checked_mul(info.dtype.bitsize())).map(|bits| bits / 8);
        let (start, end) = info.data_offsets;
        if bytes.is_none() || end.checked_sub(start) != bytes || end as u64 > data {
            return Err(malformed(format!("tensor `{name}`: offsets {start}..{end} do not fit its shape")));
        }
    }
    Ok((file, header, 8 + header_length))
}

/// A folder's weights as the source of a model.
pub(crate) struct FolderSource<'a> {
    pub weights: &'a mut Weights,
    pub config: &'a Config,
    pub dtype: DType,
    pub device: &'a Device,
}

impl Source for FolderSource<'_> {
    fn tensor<const D: usize>(&mut self, name: &str, shape: [usize; D]) -> Result<Tensor<D>> {
        let (name, row) = stored(self.config, name);
        self.weights.read(&name, row, shape, self.dtype, self.device)
    }
}
