//! Every family against transformers: tiny random folders and their answers, by `golden/make.py`.
#![allow(deprecated)] // burn-ndarray is deprecated upstream.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use models::{
    Finish, LoadOptions, Precision, Pretrained, Request, Sampling, ScoreOptions, Scored, Task, generate,
    reward, score,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    cases: BTreeMap<String, Case>,
}

#[derive(Deserialize)]
struct Case {
    sequences: Vec<Vec<u32>>,
    #[serde(default)]
    greedy: Vec<Vec<u32>>,
    #[serde(default)]
    logprobs: Vec<Vec<f64>>,
    #[serde(default)]
    scores: Vec<f64>,
}

const TOLERANCE: f64 = 1e-4;

/// False for NaN.
fn close(found: f32, expected: f64) -> bool {
    (f64::from(found) - expected).abs() <= TOLERANCE
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn golden() -> BTreeMap<String, Case> {
    let text = std::fs::read_to_string(tests().join("golden/tiny.json")).unwrap();
    let golden: Golden = serde_json::from_str(&text).unwrap();
    assert_eq!(golden.cases.len(), 21);
    golden.cases
}

fn folder(name: &str) -> PathBuf {
    tests().join("fixtures/tiny").join(name)
}

fn load(dir: &Path, device: &Device) -> Pretrained {
    Pretrained::load(dir, &LoadOptions::new(device))
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
}

/// The first way in which a model's answers differ from a case, if there is one.
fn difference(pretrained: &Pretrained, case: &Case) -> Option<String> {
    let model = &pretrained.model;
    // Batches of several rows each, so that there is padding.
    let options = ScoreOptions { batch_tokens: 350, chunk: 40, ..ScoreOptions::default() };
    if pretrained.config.task == Task::Reward {
        let rows: Vec<&[u32]> = case.sequences.iter().map(Vec::as_slice).collect();
        let scores = reward(model, &rows, &options).unwrap();
        assert_eq!(scores.len(), case.scores.len());
        return scores.iter().zip(&case.scores).enumerate().find_map(|(row, (found, expected))| {
            let differs = !close(*found, *expected);
            differs.then(|| format!("score of row {row}: expected {expected}, found {found}"))
        });
    }
    let requests: Vec<Request> = (0..)
        .zip(&case.sequences)
        .map(|(id, prompt)| Request { id, prompt: prompt.clone(), samples: 1 })
        .collect();
    let sampling = Sampling { max_new_tokens: 24, eos: pretrained.eos().to_vec(), ..Sampling::default() };
    let samples = generate(model, &requests, &sampling, &mut ()).unwrap();
    let mut sequences = Vec::new();
    for (row, (samples, expected)) in samples.iter().zip(&case.greedy).enumerate() {
        let sample = &samples[0];
        if sample.tokens != *expected {
            return Some(format!(
                "greedy tokens of row {row}: expected {expected:?}, found {:?}",
                sample.tokens
            ));
        }
        let ended = sample.tokens.last().is_some_and(|last| sampling.eos.contains(last));
        assert_eq!(sample.finish == Finish::Stop, ended);
        let tokens = [case.sequences[row].as_slice(), expected].concat();
        sequences.push(Scored { tokens, prompt_length: 0 });
    }
    let scores = score(model, &sequences, &options).unwrap();
    for (row, (found, expected)) in scores.iter().zip(&case.logprobs).enumerate() {
        assert_eq!(found.len(), expected.len());
        // What sampling says of its own tokens is what scoring says.
        let own = samples[row][0].logprobs.iter().rev().zip(expected.iter().rev());
        let all = found.iter().zip(expected).chain(own);
        if let Some((found, expected)) = all.into_iter().find(|(a, b)| !close(**a, **b)) {
            return Some(format!("log-probability in row {row}: expected {expected}, found {found}"));
        }
    }
    None
}

fn check(device: &Device) {
    let wrong: Vec<String> = golden()
        .iter()
        .filter_map(|(name, case)| {
            difference(&load(&folder(name), device), case).map(|difference| format!("{name}: {difference}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_family_agrees_on_flex() {
    check(&Device::flex());
}

#[test]
fn every_family_agrees_on_ndarray() {
    check(&Device::ndarray());
}

#[test]
fn configurations_of_transformers_4_mean_the_same() {
    for (name, case) in golden() {
        let dir = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(folder(&name)).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
        std::fs::rename(dir.path().join("config.v4.json"), dir.path().join("config.json")).unwrap();
        let older = load(dir.path(), &Device::flex());
        assert_eq!(older.config.rope, load(&folder(&name), &Device::flex()).config.rope, "{name}");
        assert_eq!(difference(&older, &case), None, "{name}");
    }
}

#[test]
fn saved_folders_load_again_and_say_the_same() {
    for (name, case) in golden() {
        let dir = tempfile::tempdir().unwrap();
        load(&folder(&name), &Device::flex()).save(dir.path()).unwrap();
        assert_eq!(difference(&load(dir.path(), &Device::flex()), &case), None, "{name}");
        // In the type of the files nothing is lost, and nothing changes.
        let options = LoadOptions { dtype: Precision::Bf16, ..LoadOptions::new(&Device::flex()) };
        let half = Pretrained::load(folder(&name), &options).unwrap();
        half.save(dir.path()).unwrap();
        let config = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
        assert!(config.contains("bfloat16"), "{config}");
        if name == "llama-gqa" {
            assert_eq!(difference(&load(dir.path(), &Device::flex()), &case), None, "{name}");
        }
    }
}
