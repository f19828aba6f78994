//! Data, configuration and checkpoints that were changed or cut: an error that names the file, or what the file still
//! says, and never a panic.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::{Net, devices};
use rand::Rng;
use serde_json::{Map, Value, json};
use training::{
    AdamW, AdamWConfig, Error, Existing, Gradients, RunFolder, load_parameters, read_lines, resolve,
    save_parameters, stream, write_json,
};

/// Changes, takes out or cuts off at one place; half of the places lie within the first hundred bytes.
fn mutated(whole: &[u8], number: u64) -> Vec<u8> {
    let mut random = stream(number, "mutation", 0, 0, 0);
    let mut bytes = whole.to_vec();
    let end = if random.random_bool(0.5) { bytes.len() } else { bytes.len().min(100) };
    let place = random.random_range(0..end);
    match random.random_range(0..4) {
        0 => bytes.truncate(place),
        1 => drop(bytes.remove(place)),
        2 => bytes[place] = random.random(),
        _ => bytes[place] ^= 1 << random.random_range(0..8),
    }
    bytes
}

/// Tries so many mutations of a file; says how many were refused, each with an error that names the file.
fn refused<T>(path: &Path, whole: &[u8], count: u64, read: impl Fn(&Path) -> Result<T, Error>) -> u64 {
    fs::write(path, whole).unwrap();
    assert!(read(path).is_ok(), "unchanged, it can be read");
    let name = path.file_name().unwrap().to_str().unwrap();
    let mut refused = 0;
    for number in 0..count {
        fs::write(path, mutated(whole, number)).unwrap();
        if let Err(error) = read(path) {
            assert!(error.to_string().contains(name), "mutation {number}: {error}");
            refused += 1;
        }
    }
    refused
}

#[test]
fn data() {
    let folder = tempfile::tempdir().unwrap();
    let lines = "{\"prompt\": \"a \\ud83d\\ude00 b\", \"completion\": \"c\"}\n\n{\"messages\": [{\"role\": \"user\"}]}\n";
    let path = folder.path().join("data.jsonl");
    let read = |path: &Path| read_lines::<Map<String, Value>>(path);
    let found = refused(&path, lines.as_bytes(), 2000, read);
    assert!(found > 500, "{found} of 2000");
    fs::write(&path, "{}\n{\"a\": 1\n").unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("data.jsonl line 2"));
}

#[test]
fn configuration() {
    let folder = tempfile::tempdir().unwrap();
    let text = "lr = 0.001\nbetas = [0.9, 0.999]\neps = 1e-8\nweight_decay = 0.01\ndecay = \"all\"\n";
    let path = folder.path().join("settings.toml");
    let flags = BTreeMap::<String, f64>::new();
    let found = refused(&path, text.as_bytes(), 2000, |path| resolve::<AdamWConfig>(Some(path), &flags));
    assert!(found > 500, "{found} of 2000");
}

#[test]
fn weights_and_moments() {
    let folder = tempfile::tempdir().unwrap();
    let model = Net::random(8, 4, 3, &devices()[0]);
    let mut optimizer = AdamW::new(AdamWConfig::default());
    let mut gradients = Gradients::new();
    gradients.add(model.weight.val().sum().backward(), &model);
    let model = optimizer.step(1e-3, model, gradients);

    let path = folder.path().join("head.safetensors");
    save_parameters(&model, &path).unwrap();
    let whole = fs::read(&path).unwrap();
    let found = refused(&path, &whole, 1000, |path| load_parameters(model.clone(), path));
    assert!(found > 300, "{found} of 1000");

    let path = folder.path().join("optimizer.safetensors");
    optimizer.save(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    let read = |path: &Path| AdamW::load(path, AdamWConfig::default(), &model);
    let found = refused(&path, &whole, 1000, read);
    assert!(found > 300, "{found} of 1000");
}

/// The manifest says what each file holds, and its own text cannot change without being noticed.
#[test]
fn every_change_of_a_checkpoint_is_noticed_and_the_one_before_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut run = RunFolder::create(&path, Existing::Refuse).unwrap();
    for step in 1..3_u64 {
        run.log(step, &json!({"loss": 1.0}), &()).unwrap();
        run.checkpoint(step, |dir| write_json(dir.join("state.json"), &json!({"tokens": 17 * step})))
            .unwrap();
    }
    drop(run);
    let newest = path.join("checkpoints/step-2");
    let names = ["state.json", "folder.json", "manifest.json"];
    let whole = names.map(|name| fs::read(newest.join(name)).unwrap());
    let metrics = fs::read(path.join("metrics.jsonl")).unwrap();
    // A damaged checkpoint is removed when the run goes on, so it is put back before each change.
    let resumed = |changed: usize, bytes: &[u8]| {
        fs::create_dir_all(&newest).unwrap();
        for (place, name) in names.iter().enumerate() {
            fs::write(newest.join(name), if place == changed { bytes } else { whole[place].as_slice() })
                .unwrap();
        }
        fs::write(path.join("metrics.jsonl"), &metrics).unwrap();
        let mut run = RunFolder::create(&path, Existing::Resume).unwrap();
        run.resume().unwrap().unwrap().step
    };
    assert_eq!(resumed(0, &whole[0]), 2, "unchanged, it is used");
    for (changed, (name, whole)) in names.iter().zip(&whole).enumerate() {
        for place in (0..whole.len()).step_by(whole.len().div_ceil(40)) {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            assert_eq!(resumed(changed, &bytes), 1, "{name}: byte {place} changed");
            // Without its last line feed a manifest still says everything.
            let end = place.min(whole.len() - 2);
            assert_eq!(resumed(changed, &whole[..end]), 1, "{name}: cut after {end} bytes");
        }
    }
}
