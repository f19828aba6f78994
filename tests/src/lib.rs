//! Shared by the tests of crates and programs: a tiny model folder, and files beside it.
#![forbid(unsafe_code)]

/// The loops that the READMEs of `sft` and `training` begin with, which need crates that these don't depend on.
#[cfg(doctest)]
#[doc = include_str!("../../crates/sft/README.md")]
#[doc = include_str!("../../crates/training/README.md")]
struct Readmes;

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use burn::tensor::Device;
use models::{CausalLm, Config, LlamaShape, Pretrained, Task, Tokenizer};
use serde_json::{Value, json};
use tokenizers::AddedToken;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::models::bpe::{BPE, Vocab};

/// The template of the tiny folder: `<user>...<eos>` turns in a row.
pub const CHAT_TEMPLATE: &str = "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}<eos>\n\
     {% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

/// Characters of the tiny tokenizer, each a token: printable ASCII and the line break. `<pad>` is 0 and `<eos>` 1.
fn tokenizer() -> tokenizers::Tokenizer {
    let letters = (b' '..=b'~').map(|byte| char::from(byte).to_string());
    let words = ["<pad>", "<eos>", "<unk>", "\n"].map(str::to_owned).into_iter().chain(letters);
    let vocabulary: Vocab = words.enumerate().map(|(id, word)| (word, id as u32)).collect();
    let model = BPE::builder().vocab_and_merges(vocabulary, Vec::new()).unk_token("<unk>".into());
    let mut tokenizer = tokenizers::Tokenizer::new(model.build().expect("single characters need no merges"));
    tokenizer.with_decoder(Some(Fuse::new()));
    tokenizer.add_special_tokens(&[AddedToken::from("<pad>", true), AddedToken::from("<eos>", true)]);
    tokenizer
}

/// Writes a Hugging Face folder with a Llama of random weights: one layer of width 16, 99 tokens of one character each,
/// 512 positions, a chat template. Everything it says is noise; loading and a step take milliseconds.
///
/// # Panics
/// If the folder cannot be written.
pub fn tiny_folder(path: &Path) {
    tiny(path, Task::CausalLm);
}

/// The same as a reward model: its head is one number at the last token.
///
/// # Panics
/// If the folder cannot be written.
pub fn tiny_reward_folder(path: &Path) {
    tiny(path, Task::Reward);
}

fn tiny(path: &Path, task: Task) {
    let shape = LlamaShape {
        vocab_size: 99,
        hidden_size: 16,
        intermediate_size: 32,
        layers: 1,
        heads: 2,
        kv_heads: 1,
        max_positions: 512,
        eos: vec![1],
        pad: Some(0),
        ..LlamaShape::default()
    };
    let mut config = Config::llama(shape).expect("the shape fits");
    config.task = task;
    let model = CausalLm::init(&config, 7, &Device::flex()).expect("the model is small");
    Pretrained::new(model, Some(Tokenizer::new(tokenizer()))).save(path).expect("the folder can be written");
    let tokenizer_config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<eos>", "pad_token": "<pad>",
        "chat_template": CHAT_TEMPLATE,
    });
    write_lines(&path.join("tokenizer_config.json"), &[tokenizer_config]);
}

/// Sums of one-digit numbers as questions: `{"id": "q0", "question": "1 + 2 = ?", "answer": "3"}`.
#[must_use]
pub fn sums(count: usize) -> Vec<Value> {
    let sum = |i: usize| {
        let (a, b) = (1 + i % 5, 1 + i * 3 % 4);
        json!({"id": format!("q{i}"), "question": format!("{a} + {b} = ?"), "answer": (a + b).to_string()})
    };
    (0..count).map(sum).collect()
}

/// Writes one JSON value a line.
///
/// # Panics
/// If the file cannot be written.
pub fn write_lines(path: &Path, lines: &[Value]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(path, text).expect("the file can be written");
}

/// Reads one JSON value a line.
///
/// # Panics
/// If the file cannot be read or holds something else.
#[must_use]
pub fn read_lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

/// How often a test kills a run: 10 times, or as the variable `POLYA_KILLS` says.
///
/// # Panics
/// If the variable is not a number.
#[must_use]
pub fn kills() -> usize {
    std::env::var("POLYA_KILLS").map_or(10, |count| count.parse().expect("POLYA_KILLS is a number"))
}

/// Kills a program at `kills` moments of its life, starting it again each time, then lets it end.
///
/// `start` starts it; `log` is a JSONL file that grows a line a step. Every third kill comes within 60 milliseconds of the
/// start, the others up to 40 milliseconds after some new line of the log, so that all of loading, sampling, updating and
/// saving is hit. Where the log is a run folder's, it prints how many kills left a half-written checkpoint.
///
/// # Panics
/// If it ends before it was killed as often as that, or does not end well when it is left alone.
pub fn kill_and_resume(kills: usize, log: &Path, mut start: impl FnMut() -> Command) {
    let lines = || std::fs::read_to_string(log).map_or(0, |text| text.lines().count());
    let (mut random, mut torn) = (12345_u64, 0);
    for kill in 0..kills {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut child = start().stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let before = lines();
        let patience = Duration::from_millis((random >> 33) % if kill % 3 == 0 { 60 } else { 40 });
        if kill % 3 != 0 {
            // A resumed run first cuts its log, so a new line may also be the first of fewer.
            while lines() == before {
                assert!(child.try_wait().expect("it has a status").is_none(), "it ended before kill {kill}");
                sleep(Duration::from_millis(1));
            }
        }
        sleep(patience);
        assert!(child.try_wait().expect("it has a status").is_none(), "it ended before kill {kill}");
        child.kill().expect("it can be killed");
        child.wait().expect("it is gone");
        torn += usize::from(log.parent().is_some_and(|run| !checkpoints(run).1.is_empty()));
    }
    let output = start().output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("{kills} kills, {torn} of them while a checkpoint was written or removed");
}

/// Starts a program, sends it what Ctrl-C sends once `log` has so many lines, and waits for its end.
///
/// # Panics
/// If it cannot be started, or ends before.
#[cfg(unix)]
pub fn interrupt_after(lines: usize, log: &Path, mut start: Command) -> std::process::Output {
    let mut child = start.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    while std::fs::read_to_string(log).map_or(0, |text| text.lines().count()) < lines {
        assert!(child.try_wait().expect("it has a status").is_none(), "it ended before {lines} lines");
        sleep(Duration::from_millis(1));
    }
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success(), "the signal is sent");
    child.wait_with_output().expect("it is gone")
}

/// The steps that have a checkpoint, and the names of half-written ones.
fn checkpoints(run: &Path) -> (Vec<u64>, Vec<String>) {
    let (mut steps, mut torn) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(run.join("checkpoints")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        match name.strip_prefix("step-") {
            Some(step) => steps.push(step.parse().expect("the name ends with a step")),
            None => torn.push(name),
        }
    }
    (steps, torn)
}

/// Lets a run meet a full disk at several moments, and go on when there is room again.
///
/// The disk is a limit on the size of every file (`ulimit -f`): a write beyond it fails as one on a full disk does. `start` starts
/// or resumes the run in folder `run`; `limits` are bytes. The run is first killed after a checkpoint, so that there is one to
/// lose. Each limited start must end with one sentence and exit code 2, with whole checkpoints and nothing else beside them.
///
/// # Panics
/// If a limited start ends otherwise, or the last one, without a limit, does not end well or finds a damaged checkpoint.
#[cfg(unix)]
pub fn fill_disk_and_resume(limits: &[u64], run: &Path, start: impl Fn() -> Command) {
    let mut child = start().stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    while checkpoints(run).0.is_empty() {
        assert!(child.try_wait().expect("it has a status").is_none(), "it ended without a checkpoint");
        sleep(Duration::from_millis(1));
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it is gone");
    for bytes in limits {
        let program = start();
        let mut limited = Command::new("sh");
        // POSIX counts blocks of 512 bytes; the signal would end the program before it sees an error.
        limited.args(["-c", "trap '' XFSZ; ulimit -f \"$0\" && exec \"$@\"", &(bytes / 512).to_string()]);
        limited.arg(program.get_program()).args(program.get_args());
        let output = limited.output().expect("there is a shell");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "limit {bytes}: {said}");
        assert_one_sentence(&said, "File too large");
        let (steps, torn) = checkpoints(run);
        assert!(!steps.is_empty() && torn.is_empty(), "limit {bytes}: {steps:?}, {torn:?}");
    }
    let output = start().output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("resuming after step") && !said.contains("the checkpoint before"), "{said}");
}

/// Asserts that a program said one error, at the end, and what the operating system answered.
///
/// # Panics
/// If it said something else.
pub fn assert_one_sentence(said: &str, answer: &str) {
    let errors: Vec<&str> = said.lines().filter(|line| line.to_lowercase().contains("error")).collect();
    let last = said.lines().last().unwrap_or_default();
    assert!(errors == [last] && last.starts_with("error: could not write"), "{said}");
    assert_eq!(last.matches(answer).count(), 1, "{said}");
}

/// Asserts that two run folders ended alike: every file of the last checkpoint (weights or adapters, optimisers, state), of
/// the model and of what else was trained, samples, results, and metrics but for times.
///
/// # Panics
/// If they differ; the message names the file.
pub fn assert_same_run(one: &Path, two: &Path) {
    let bytes =
        |path: std::path::PathBuf| std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let last = |run: &Path| checkpoints(run).0.into_iter().max().expect("there is a checkpoint");
    assert_eq!(last(one), last(two), "the last checkpoints");
    let checkpoint = format!("checkpoints/step-{}", last(one));
    let mut files = vec!["results.json".to_owned()];
    for folder in [checkpoint.as_str(), "model", "adapter", "samples"] {
        assert_eq!(files_of(&one.join(folder)), files_of(&two.join(folder)), "the files of {folder}");
        files.extend(files_of(&one.join(folder)).into_iter().map(|file| format!("{folder}/{file}")));
    }
    for needed in ["optimizer.safetensors", "state.json"].map(|name| format!("{checkpoint}/{name}")) {
        assert!(files.contains(&needed), "{needed} is missing");
    }
    assert!(files.contains(&"model/model.safetensors".to_owned()), "the model is missing");
    files.extend(
        files_of(one).into_iter().filter(|file| file.ends_with(".safetensors") && !file.contains('/')),
    );
    // These two hold the lengths of logs, and so of the times in them.
    files.retain(|file| !file.ends_with("folder.json") && !file.ends_with("manifest.json"));
    for file in files {
        assert!(bytes(one.join(&file)) == bytes(two.join(&file)), "{file} differs");
    }
    let metrics = |run: &Path| {
        let mut lines = read_lines(&run.join("metrics.jsonl"));
        lines.iter_mut().filter_map(Value::as_object_mut).for_each(|line| drop(line.remove("time")));
        lines
    };
    assert_eq!(metrics(one), metrics(two), "metrics.jsonl differs");
}

/// The files of a folder and of the folders in it, in order; none where there is no such folder.
fn files_of(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.expect("it can be listed");
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            files.extend(files_of(&entry.path()).into_iter().map(|file| format!("{name}/{file}")));
        } else {
            files.push(name);
        }
    }
    files.sort();
    files
}

/// Whether a test of several processes can run: the program was built with feature `mpi`, and there is an `mpirun`. Says why not.
#[must_use]
pub fn has_mpi(built: bool) -> bool {
    let found = Command::new("mpirun").arg("--version").output().is_ok_and(|output| output.status.success());
    match (built, found) {
        (false, _) => println!("skipped: built without feature `mpi`"),
        (true, false) => println!("skipped: there is no mpirun"),
        (true, true) => {}
    }
    built && found
}

/// A program to be started as so many ranks, on one machine, whoever runs the test. One rank is started without `mpirun`.
#[must_use]
pub fn ranks(count: usize, program: &str) -> Command {
    let mut command = Command::new(if count == 1 { program } else { "mpirun" });
    if count > 1 {
        command.args(["--oversubscribe", "-n", &count.to_string(), program]);
    }
    command.envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")]);
    command.env("RAYON_NUM_THREADS", "1");
    command
}

/// All f32 weights of a folder, in the order of its file.
///
/// # Panics
/// If there is no such file.
#[must_use]
pub fn weights(folder: &Path) -> Vec<f32> {
    let bytes = std::fs::read(folder.join("model.safetensors")).expect("the folder has weights");
    let (length, rest) = bytes.split_at(8);
    let header = u64::from_le_bytes(length.try_into().expect("these are eight")) as usize;
    let four = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().expect("these are four"));
    rest[header..].chunks_exact(4).map(four).collect()
}

/// The largest difference between two lists of numbers.
///
/// # Panics
/// If their lengths differ.
#[must_use]
pub fn apart<T: Copy + Into<f64>>(one: &[T], two: &[T]) -> f64 {
    assert_eq!(one.len(), two.len());
    one.iter().zip(two).map(|(a, b)| ((*a).into() - (*b).into()).abs()).fold(0.0, f64::max)
}
