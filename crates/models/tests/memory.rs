//! What loading takes: the parameters' own size and at most one tensor more, whatever the files' type.
//!
//! Alone in its file, since the peak is the process's. `POLYA_LARGE=1` takes the shape of a Llama of 3.2 billion parameters, in bf16: 6.4 GB
//! of memory, and no disk, because its file is a hole.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use burn::tensor::Device;
use models::{LoadOptions, Precision, Pretrained};
use serde_json::{Map, Value, json};

struct Shape {
    vocabulary: usize,
    hidden: usize,
    inner: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
}

impl Shape {
    fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let Self { vocabulary, hidden, inner, layers, heads, kv_heads } = *self;
        let keys = hidden / heads * kv_heads;
        let mut all = vec![("model.embed_tokens.weight".to_owned(), vec![vocabulary, hidden])];
        for layer in 0..layers {
            let parts: [(&str, Vec<usize>); 9] = [
                ("self_attn.q_proj", vec![hidden, hidden]),
                ("self_attn.k_proj", vec![keys, hidden]),
                ("self_attn.v_proj", vec![keys, hidden]),
                ("self_attn.o_proj", vec![hidden, hidden]),
                ("mlp.gate_proj", vec![inner, hidden]),
                ("mlp.up_proj", vec![inner, hidden]),
                ("mlp.down_proj", vec![hidden, inner]),
                ("input_layernorm", vec![hidden]),
                ("post_attention_layernorm", vec![hidden]),
            ];
            all.extend(parts.map(|(name, shape)| (format!("model.layers.{layer}.{name}.weight"), shape)));
        }
        all.push(("model.norm.weight".to_owned(), vec![hidden]));
        all
    }

    /// Writes a folder of zeros in bf16.
    fn write(&self, dir: &Path) {
        let config = json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "tie_word_embeddings": true,
            "vocab_size": self.vocabulary, "hidden_size": self.hidden, "intermediate_size": self.inner,
            "num_hidden_layers": self.layers, "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
        });
        fs::write(dir.join("config.json"), config.to_string()).unwrap();
        let (mut header, mut end) = (Map::new(), 0);
        for (name, shape) in self.tensors() {
            let begin = end;
            end += 2 * shape.iter().product::<usize>();
            let entry: Value = json!({"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]});
            header.insert(name, entry);
        }
        let header = Value::Object(header).to_string();
        let mut file = File::create(dir.join("model.safetensors")).unwrap();
        file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
        file.write_all(header.as_bytes()).unwrap();
        file.set_len((8 + header.len() + end) as u64).unwrap();
    }
}

/// Resident bytes of this process: now (`VmRSS`) or at most since the peak was reset (`VmHWM`).
fn resident(key: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn loading_takes_the_parameters_and_one_tensor_at_most() {
    let large = std::env::var("POLYA_LARGE").is_ok_and(|value| value == "1");
    let shape = if large {
        Shape { vocabulary: 128_256, hidden: 3072, inner: 8192, layers: 28, heads: 24, kv_heads: 8 }
    } else {
        Shape { vocabulary: 8000, hidden: 512, inner: 1376, layers: 12, heads: 8, kv_heads: 4 }
    };
    let counts: Vec<usize> = shape.tensors().iter().map(|(_, shape)| shape.iter().product()).collect();
    let (parameters, largest) = (counts.iter().sum::<usize>(), counts.iter().copied().max().unwrap());
    let folder = tempfile::tempdir().unwrap();
    shape.write(folder.path());
    for (dtype, bytes) in [(Precision::Bf16, 2), (Precision::F32, 4)] {
        if large && bytes == 4 {
            continue;
        }
        if fs::write("/proc/self/clear_refs", "5").is_err() {
            println!("skipped: the peak of memory cannot be reset here");
            return;
        }
        let before = resident("VmRSS:");
        let options = LoadOptions { dtype, ..LoadOptions::new(&Device::flex()) };
        let loaded = Pretrained::load(folder.path(), &options).unwrap();
        let took = resident("VmHWM:") - before;
        assert_eq!(loaded.config.parameters(), parameters);
        let (own, tensor) = (parameters * bytes, largest * bytes);
        println!(
            "{parameters} parameters in {dtype:?}: {own} bytes, peak {took}, the largest tensor {tensor}"
        );
        assert!(took >= own / 10 * 9, "{dtype:?}: {took} bytes for {own}: were they read at all?");
        // Beside them the process needs a little for everything else.
        assert!(took <= own + tensor + (16 << 20), "{dtype:?}: {took} bytes for {own}");
    }
}
