//! Folders that are broken or meant to do harm: each is refused with an error or loads and runs; none panics.
//!
//! `POLYA_MUTATIONS=10000` tries as many folders instead of the default.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use models::{ChatOptions, LoadOptions, Pretrained, Request, Sampling, Task, generate, reward};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Loads a folder and, if that goes well, uses it a little.
fn attempt(dir: &Path) -> Result<(), models::Error> {
    let pretrained = Pretrained::load(dir, &LoadOptions::new(&Device::flex()))?;
    let vocab = pretrained.config.vocab_size as u32;
    let prompt: Vec<u32> = [5, 6, 7].map(|t| t % vocab).to_vec();
    if let Some(tokenizer) = &pretrained.tokenizer {
        let ids = tokenizer.encode("w5 w6 unknown \u{0} \u{10FFFF}", true)?;
        tokenizer.decode(&ids, true)?;
        if let Some(chat) = &pretrained.chat {
            chat.encode(tokenizer, &[json!({"role": "user", "content": "w5"})], &ChatOptions::prompt())?;
        }
    }
    if pretrained.config.task == Task::Reward {
        reward(&pretrained.model, &[&prompt], &Default::default())?;
    } else {
        let sampling = Sampling { max_new_tokens: 2, eos: pretrained.eos().to_vec(), ..Sampling::default() };
        generate(&pretrained.model, &[Request { id: 0, prompt, samples: 1 }], &sampling, &mut ())?;
    }
    Ok(())
}

fn hostile(random: &mut ChaCha8Rng) -> Value {
    let values = [
        json!(null),
        json!(0),
        json!(-1),
        json!(1),
        json!(2),
        json!(3),
        json!(7),
        json!(1u64 << 24),
        json!(1u64 << 40),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(0.5),
        json!(1e308),
        json!(-1e308),
        json!(1e-308),
        json!(""),
        json!("x".repeat(10_000)),
        json!("yarn"),
        json!("longrope"),
        json!("llama3"),
        json!([]),
        json!([0]),
        json!(vec![1; 5000]),
        json!({}),
        json!({"a": {"a": [{}]}}),
        json!(true),
        json!(false),
    ];
    values[random.random_range(0..values.len())].clone()
}

/// Replaces one value somewhere in a JSON value, or takes it away, or adds one.
fn disturb(value: &mut Value, random: &mut ChaCha8Rng) {
    match value {
        Value::Object(map) if !map.is_empty() && random.random_bool(0.95) => {
            let index = random.random_range(0..map.len());
            let key = map.keys().nth(index).cloned().unwrap();
            match random.random_range(0..8) {
                0 => drop(map.remove(&key)),
                1 => drop(map.insert(format!("{key}x"), hostile(random))),
                2..5 => drop(map.insert(key, hostile(random))),
                _ => disturb(map.get_mut(&key).unwrap(), random),
            }
        }
        Value::Array(list) if !list.is_empty() && random.random_bool(0.9) => {
            let index = random.random_range(0..list.len());
            disturb(&mut list[index], random);
        }
        other => *other = hostile(random),
    }
}

fn disturb_bytes(bytes: &mut Vec<u8>, random: &mut ChaCha8Rng) {
    for _ in 0..random.random_range(1..4) {
        if bytes.is_empty() {
            return;
        }
        // Headers and braces stand at the beginning.
        let end = if random.random_bool(0.5) { bytes.len() } else { bytes.len().min(64) };
        let place = random.random_range(0..end);
        match random.random_range(0..4) {
            0 => bytes[place] = random.random(),
            1 => bytes[place] ^= 1 << random.random_range(0..8),
            2 => bytes.truncate(place),
            _ => drop(bytes.remove(place)),
        }
    }
}

/// Changes the header of a safetensors file as JSON, with its length put right.
fn disturb_header(bytes: &mut Vec<u8>, random: &mut ChaCha8Rng) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    disturb(&mut header, random);
    let header = header.to_string().into_bytes();
    let mut changed = (header.len() as u64).to_le_bytes().to_vec();
    changed.extend(header);
    changed.extend_from_slice(&bytes[8 + length..]);
    *bytes = changed;
}

#[test]
fn mutated_folders_never_panic() {
    let count: u64 = std::env::var("POLYA_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(1500);
    let names = [
        "llama3-tied",
        "llama-yarn",
        "qwen3",
        "smollm3",
        "phi3-long",
        "llama-sharded",
        "reward-qwen2",
        "mistral",
    ];
    let (mut loaded, mut refused) = (0, 0);
    for number in 0..count {
        let mut random = ChaCha8Rng::seed_from_u64(number);
        let dir = tempfile::tempdir().unwrap();
        let source = fixtures().join("tiny").join(names[random.random_range(0..names.len())]);
        let mut files: Vec<PathBuf> =
            fs::read_dir(source).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for path in &files {
            fs::copy(path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
        let vocab: serde_json::Map<String, Value> = (0..99).map(|id| (format!("w{id}"), json!(id))).collect();
        let tokenizer = json!({
            "version": "1.0", "added_tokens": [{"id": 2, "content": "w2", "special": true, "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false}],
            "pre_tokenizer": {"type": "WhitespaceSplit"}, "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "w0"},
        });
        fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
        let config =
            json!({"chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}", "bos_token": "w1"});
        fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();

        let mut files: Vec<PathBuf> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
        files.retain(|path| !path.ends_with("config.v4.json"));
        files.sort();
        // The configuration is where most can be wrong.
        let file = match random.random_range(0..3) {
            0 => dir.path().join("config.json"),
            _ => files[random.random_range(0..files.len())].clone(),
        };
        let mut bytes = fs::read(&file).unwrap();
        let weights = file.extension().is_some_and(|e| e == "safetensors");
        match random.random_range(0..3) {
            0 => disturb_bytes(&mut bytes, &mut random),
            _ if weights => disturb_header(&mut bytes, &mut random),
            _ => {
                let mut value: Value = serde_json::from_slice(&bytes).unwrap();
                for _ in 0..random.random_range(1..3) {
                    disturb(&mut value, &mut random);
                }
                bytes = value.to_string().into_bytes();
            }
        }
        fs::write(&file, bytes).unwrap();
        match attempt(dir.path()) {
            Ok(()) => loaded += 1,
            Err(_) => refused += 1,
        }
    }
    println!("{loaded} folders ran, {refused} were refused");
    assert!(refused > count / 4 && loaded > count / 20);
}

#[test]
fn errors_name_file_tensor_expected_and_found() {
    let refusal = |change: &dyn Fn(&Path)| {
        let dir = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(fixtures().join("tiny/llama-gqa")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
        change(dir.path());
        attempt(dir.path()).unwrap_err().to_string()
    };
    let config = |dir: &Path, key: &str, value: Value| {
        let path = dir.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config[key] = value;
        fs::write(path, config.to_string()).unwrap();
    };
    let header = |dir: &Path, change: &dyn Fn(&mut Value)| {
        let path = dir.join("model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        change(&mut header);
        let header = header.to_string().into_bytes();
        let rest = bytes.split_off(8 + length);
        let length = (header.len() as u64).to_le_bytes();
        fs::write(path, [&length[..], &header, &rest].concat()).unwrap();
    };
    let key = "model.layers.1.mlp.up_proj.weight";
    let cases: [(String, &[&str]); 8] = [
        (
            refusal(&|dir| config(dir, "architectures", json!(["GPT2LMHeadModel"]))),
            &["config.json", "GPT2LMHeadModel", "Qwen3ForCausalLM"],
        ),
        (refusal(&|dir| config(dir, "model_type", json!("qwen2"))), &["config.json", "model_type", "llama"]),
        (
            refusal(&|dir| config(dir, "num_hidden_layers", json!(3))),
            &["model.safetensors", "model.layers.2", "missing"],
        ),
        (
            refusal(&|dir| config(dir, "num_hidden_layers", json!(1))),
            &["model.safetensors", "model.layers.1", "no place"],
        ),
        (refusal(&|dir| config(dir, "intermediate_size", json!(47))), &["gate_proj", "[47, 32]", "[48, 32]"]),
        (refusal(&|dir| config(dir, "hidden_act", json!("gelu"))), &["hidden_act", "silu", "gelu"]),
        (
            refusal(&|dir| header(dir, &|h| h[key]["dtype"] = json!("I16"))),
            &["model.safetensors", key, "I16"],
        ),
        (
            refusal(&|dir| header(dir, &|h| h[key]["data_offsets"] = json!([0, u64::MAX]))),
            &["model.safetensors", "header"],
        ),
    ];
    for (error, parts) in cases {
        for part in parts {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
    }
}
