//! Parity with transformers on a real pretrained model, by the golden file of `golden/stories260k.py`.
#![allow(deprecated)] // burn-ndarray is deprecated upstream.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use models::{LoadOptions, Pretrained, Request, Sampling, ScoreOptions, Scored, generate, score};
use serde_json::Value;

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn golden() -> Value {
    let text = std::fs::read_to_string(tests().join("golden/stories260k.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn stories(device: &Device) -> Pretrained {
    Pretrained::load(tests().join("fixtures/stories260K"), &LoadOptions::new(device)).unwrap()
}

#[test]
fn the_tokenizer_agrees() {
    let (golden, stories) = (golden(), stories(&Device::flex()));
    let tokenizer = stories.tokenizer.unwrap();
    assert_eq!(tokenizer.encode(golden["text"].as_str().unwrap(), true).unwrap(), ids(&golden["prompt"]));
    let decoded = tokenizer.decode(&ids(&golden["greedy"]), true).unwrap();
    assert_eq!(decoded, golden["decoded"].as_str().unwrap());
}

#[test]
fn greedy_tokens_and_scores_agree_on_both_backends() {
    let golden = golden();
    let (prompt, greedy) = (ids(&golden["prompt"]), ids(&golden["greedy"]));
    for device in [Device::flex(), Device::ndarray()] {
        let stories = stories(&device);
        let requests = [Request { id: 0, prompt: prompt.clone(), samples: 1 }];
        let sampling = Sampling { max_new_tokens: 64, eos: stories.eos().to_vec(), ..Sampling::default() };
        let samples = generate(&stories.model, &requests, &sampling, &mut ()).unwrap();
        assert_eq!(samples[0][0].tokens, greedy[prompt.len()..]);

        let sequences = [Scored { tokens: greedy.clone(), prompt_length: 1 }];
        let scores = score(&stories.model, &sequences, &ScoreOptions::default()).unwrap();
        let expected: Vec<f64> =
            golden["logprobs"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        assert_eq!(scores[0].len(), expected.len());
        for (found, expected) in scores[0].iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-4, "{found} {expected}");
        }
    }
}

/// What llama2.c's page on stories260K shows the model to write at temperature 0.
#[test]
fn it_goes_on_as_its_author_shows() {
    let shown = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red \
        ball. She wanted to play with it, but it was too high.\nLily's mom said, \"Lily, let's go to the park.\" Lily was sad and didn't know \
        what to do. She said, \"I want to play with your ball, but I can't find it.\"\nLily was sad and didn't know what to do. She said, \
        \"I'm sorry, Lily. I didn't know what to do.\"\nLily didn't want to help her mom, so she said, \"I'm sorry, mom. I didn't know what \
        to do.\" Her mom said, \"Don't worry, Lily. We can help you.";
    let stories = stories(&Device::flex());
    let tokenizer = stories.tokenizer.as_ref().unwrap();
    let prompt = tokenizer.encode("Once upon a time", true).unwrap();
    let requests = [Request { id: 0, prompt: prompt.clone(), samples: 1 }];
    let sampling = Sampling { max_new_tokens: 256, ..Sampling::default() };
    let samples = generate(&stories.model, &requests, &sampling, &mut ()).unwrap();
    let text = tokenizer.decode(&[prompt, samples[0][0].tokens.clone()].concat(), true).unwrap();
    assert!(text.starts_with(shown), "{text}");
}

#[test]
fn a_saved_folder_loads_to_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let first = stories(&Device::flex());
    first.save(folder.path()).unwrap();
    // Whoever may read one file may read them all.
    let open_to = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().permissions();
    assert_eq!(open_to("model.safetensors"), open_to("config.json"));
    let second = Pretrained::load(folder.path(), &LoadOptions::new(&Device::flex())).unwrap();
    assert_eq!(first.config.parameters(), second.config.parameters());
    assert_eq!(first.config.rope, second.config.rope);
    let sequences = [Scored { tokens: ids(&golden()["greedy"]), prompt_length: 1 }];
    let of = |p: &Pretrained| score(&p.model, &sequences, &ScoreOptions::default()).unwrap();
    assert_eq!(of(&first), of(&second));
}

#[test]
fn a_truncated_file_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    stories(&Device::flex()).save(folder.path()).unwrap();
    let path = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = Pretrained::load(folder.path(), &LoadOptions::new(&Device::flex())).unwrap_err();
    assert!(error.to_string().contains("model.safetensors"), "{error}");
    std::fs::remove_file(&path).unwrap();
    let error = Pretrained::load(folder.path(), &LoadOptions::new(&Device::flex())).unwrap_err();
    assert!(error.to_string().contains("model.safetensors"), "{error}");
}
