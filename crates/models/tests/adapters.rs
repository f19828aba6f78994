//! Adapters and value heads: laws on a small model, and equality with PEFT by the golden file of `golden/adapter.py`.

use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Int, Tensor};
use models::{CausalLm, Inputs, LoadOptions, LoraConfig, Pretrained, ScoreOptions, Scored, ValueHead, score};
use serde_json::Value;

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn base(device: &Device) -> CausalLm {
    Pretrained::load(tests().join("fixtures/tiny/llama-gqa"), &LoadOptions::new(device)).unwrap().model
}

fn golden() -> (Vec<u32>, Vec<f64>, Vec<f64>) {
    let text = std::fs::read_to_string(tests().join("golden/adapter.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let numbers = |key: &str| golden[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    let tokens: Vec<f64> = numbers("tokens");
    (tokens.into_iter().map(|t| t as u32).collect(), numbers("plain"), numbers("logprobs"))
}

fn close(model: &CausalLm, expected: &[f64]) {
    let sequences = [Scored { tokens: golden().0, prompt_length: 1 }];
    let found = score(model, &sequences, &ScoreOptions::default()).unwrap();
    assert_eq!(found[0].len(), expected.len());
    for (found, expected) in found[0].iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() < 1e-4, "{found} {expected}");
    }
}

#[test]
fn an_adapter_of_peft_agrees_merges_and_goes_back() {
    let device = Device::flex();
    let (_, plain, adapted) = golden();
    close(&base(&device), &plain);
    let model = base(&device).attach_peft(tests().join("fixtures/adapter")).unwrap();
    close(&model, &adapted);
    let dir = tempfile::tempdir().unwrap();
    model.save_peft(dir.path(), "tiny/llama-gqa").unwrap();
    close(&base(&device).attach_peft(dir.path()).unwrap(), &adapted);
    // A folder holds no adapters: they are merged before.
    let error = model.save_weights(&dir.path().join("model.safetensors")).unwrap_err();
    assert!(error.to_string().contains("merge"), "{error}");
    let merged = model.merge_lora();
    close(&merged, &adapted);
    merged.save_weights(&dir.path().join("model.safetensors")).unwrap();
}

struct Trained<'a>(&'a Gradients, Vec<usize>);

impl ModuleVisitor for Trained<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.val().grad(self.0).is_some() {
            self.1.push(param.val().dims().iter().product());
        }
    }
}

#[test]
fn only_adapters_are_trained_and_they_begin_at_nothing() {
    let device = Device::flex().autodiff();
    let config =
        LoraConfig { rank: 4, targets: vec!["q_proj".into(), "down_proj".into()], ..LoraConfig::default() };
    let model = base(&device).attach_lora(&config, 3).unwrap();
    close(&model.valid(), &golden().1);
    let tokens = Tensor::<2, Int>::from_data([[5, 17, 60, 33]], &device);
    let loss = model.logits(model.hidden(Inputs::new(tokens.clone()))).square().sum();
    let gradients = loss.backward();
    let mut trained = Trained(&gradients, Vec::new());
    model.visit(&mut trained);
    // Two layers with A and B of two projections: q [32, 32] and down [32, 48].
    assert_eq!(trained.1, [4 * 32, 32 * 4, 4 * 48, 32 * 4].repeat(2));
    assert!(model.clone().attach_lora(&config, 3).unwrap_err().to_string().contains("already"));
    let merged = model.merge_lora();
    let gradients = merged.logits(merged.hidden(Inputs::new(tokens))).square().sum().backward();
    let mut trained = Trained(&gradients, Vec::new());
    merged.visit(&mut trained);
    assert_eq!(trained.1.len(), 2 + 2 * 9 + 1);
}

#[test]
fn adapters_that_do_not_fit_are_refused() {
    let device = Device::flex();
    let source = tests().join("fixtures/adapter");
    let attempt = |change: &dyn Fn(&mut Value), other: Option<&str>| {
        let dir = tempfile::tempdir().unwrap();
        let mut config: Value =
            serde_json::from_slice(&std::fs::read(source.join("adapter_config.json")).unwrap()).unwrap();
        change(&mut config);
        std::fs::write(dir.path().join("adapter_config.json"), config.to_string()).unwrap();
        std::fs::copy(source.join("adapter_model.safetensors"), dir.path().join("adapter_model.safetensors"))
            .unwrap();
        let model = match other {
            Some(name) => {
                let folder = tests().join("fixtures/tiny").join(name);
                Pretrained::load(folder, &LoadOptions::new(&device)).unwrap().model
            }
            None => base(&device),
        };
        model.attach_peft(dir.path()).map(|_| ()).map_err(|error| error.to_string())
    };
    assert!(attempt(&|_| (), None).is_ok());
    for (key, value) in [
        ("use_dora", Value::Bool(true)),
        ("peft_type", "IA3".into()),
        ("r", 0.into()),
        ("r", 5.into()),
        ("target_modules", "everything".into()),
        ("target_modules", serde_json::json!(["q_proj"])),
        ("target_modules", serde_json::json!(["q_proj", "qkv"])),
    ] {
        let error = attempt(&|config| config[key] = value.clone(), None).unwrap_err();
        assert!(error.contains("adapter_"), "{key}: {error}");
    }
    let error = attempt(&|_| (), Some("llama-head-dim")).unwrap_err();
    assert!(error.contains("expected shape"), "{error}");
}

#[test]
fn a_value_head_gives_one_number_per_position_and_survives_a_file() {
    let device = Device::flex().autodiff();
    let head = ValueHead::init(8, 0.5, 1, &device);
    let hidden = Tensor::<3>::from_data([[[1.0f32; 8], [0.0; 8]], [[0.5; 8], [2.0; 8]]], &device);
    let values = head.forward(hidden.clone());
    assert_eq!(values.dims(), [2, 2]);
    let numbers: Vec<f32> = values.clone().into_data().iter().collect();
    assert!(numbers[1] == 0.0 && (numbers[3] - 2.0 * numbers[0]).abs() < 1e-5 && numbers[0] != 0.0);
    let gradients = values.sum().backward();
    let mut trained = Trained(&gradients, Vec::new());
    head.visit(&mut trained);
    assert_eq!(trained.1, [8, 1]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("value_head.safetensors");
    head.save(&path).unwrap();
    let again: Vec<f32> =
        ValueHead::load(&path, 8, &device).unwrap().forward(hidden).into_data().iter().collect();
    assert_eq!(again, numbers);
    assert!(ValueHead::load(&path, 9, &device).unwrap_err().to_string().contains("expected shape [1, 9]"));
    let zero = ValueHead::init(8, 0.0, 1, &device).forward(Tensor::ones([1, 3, 8], &device));
    assert_eq!(zero.abs().sum().into_scalar::<f32>(), 0.0);
}
