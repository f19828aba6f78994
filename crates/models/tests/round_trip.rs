//! Folders saved here load in transformers with the logits of the originals, and adapters in PEFT.
//!
//! Needs Python with torch, transformers and peft (the interpreter named by `POLYA_PYTHON`, else `python3`); skipped with a
//! printed reason where they are absent.

use std::path::{Path, PathBuf};
use std::process::Command;

use burn::tensor::Device;
use models::{LoadOptions, Pretrained};

fn python() -> Command {
    Command::new(std::env::var("POLYA_PYTHON").unwrap_or_else(|_| "python3".into()))
}

fn run(mut command: Command) {
    match command.output() {
        Err(error) => println!("skipped: cannot run {command:?}: {error}"),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            println!("{text}");
            assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn load(folder: &Path) -> Pretrained {
    Pretrained::load(folder, &LoadOptions::new(&Device::flex())).unwrap()
}

#[test]
fn saved_folders_load_in_transformers_with_equal_logits() {
    let copies = tempfile::tempdir().unwrap();
    let mut command = python();
    command.arg(tests().join("transformers/same_logits.py"));
    let tiny = std::fs::read_dir(tests().join("fixtures/tiny")).unwrap();
    let mut folders: Vec<_> = tiny.map(|entry| entry.unwrap().path()).collect();
    folders.push(tests().join("fixtures/stories260K"));
    for folder in folders {
        let copy = copies.path().join(folder.file_name().unwrap());
        load(&folder).save(&copy).unwrap();
        command.arg(folder).arg(copy);
    }
    run(command);
}

#[test]
fn saved_adapters_load_in_peft_with_equal_log_probabilities() {
    let model = load(&tests().join("fixtures/tiny/llama-gqa")).model;
    let copy = tempfile::tempdir().unwrap();
    model
        .attach_peft(tests().join("fixtures/adapter"))
        .unwrap()
        .save_peft(copy.path(), "tiny/llama-gqa")
        .unwrap();
    let mut command = python();
    command.arg(tests().join("golden/adapter.py")).arg("check").arg(copy.path());
    run(command);
}
