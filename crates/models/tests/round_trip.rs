//! Folders saved here load in transformers with the logits of the originals. Needs Python with torch and transformers (the
//! interpreter named by `POLYA_PYTHON`, else `python3`); skipped with a printed reason where they are absent.

use std::path::Path;
use std::process::Command;

use burn::tensor::Device;
use models::{LoadOptions, Pretrained};

#[test]
fn saved_folders_load_in_transformers_with_equal_logits() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let python = std::env::var("POLYA_PYTHON").unwrap_or_else(|_| "python3".into());
    let copies = tempfile::tempdir().unwrap();
    let mut command = Command::new(&python);
    command.arg(tests.join("transformers/same_logits.py"));
    let mut folders: Vec<_> =
        std::fs::read_dir(tests.join("fixtures/tiny")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.push(tests.join("fixtures/stories260K"));
    for folder in folders {
        let copy = copies.path().join(folder.file_name().unwrap());
        Pretrained::load(&folder, &LoadOptions::new(&Device::flex())).unwrap().save(&copy).unwrap();
        command.arg(folder).arg(copy);
    }
    match command.output() {
        Err(error) => println!("skipped: cannot run {python}: {error}"),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            println!("{text}");
            assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
