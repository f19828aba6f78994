//! A repository becomes a folder: a small server stands in for the Hugging Face Hub.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use burn::tensor::Device;
use models::{Error, Hub, LoadOptions, Pretrained};
use serde_json::json;
use tempfile::TempDir;
use tiny_http::{Header, Request, Response, Server};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Serves the files of `owner/tiny`, and counts.
struct Stand {
    server: Arc<Server>,
    requests: Arc<AtomicUsize>,
    fetched: Arc<Mutex<Vec<String>>>,
}

impl Stand {
    fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
        let server = Arc::new(Server::http("127.0.0.1:0").unwrap());
        let (requests, fetched) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let stand = Self { server: server.clone(), requests: requests.clone(), fetched: fetched.clone() };
        std::thread::spawn(move || {
            for request in server.incoming_requests() {
                requests.fetch_add(1, Ordering::SeqCst);
                answer(request, &files, &fetched);
            }
        });
        stand
    }

    fn hub(&self, cache: &Path) -> Hub {
        let endpoint = format!("http://{}", self.server.server_addr());
        Hub { endpoint, cache: cache.to_owned(), token: Some("secret".into()), offline: false }
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.server.unblock();
    }
}

fn answer(request: Request, files: &BTreeMap<String, Vec<u8>>, fetched: &Mutex<Vec<String>>) {
    let header = |name: &'static str| {
        let found = request.headers().iter().find(|header| header.field.equiv(name));
        found.map(|header| header.value.to_string())
    };
    assert_eq!(header("Authorization").as_deref(), Some("Bearer secret"));
    let url = request.url().to_owned();
    if url == "/api/models/owner/tiny/revision/main" {
        let siblings: Vec<_> = files.keys().map(|name| json!({ "rfilename": name })).collect();
        let body = json!({ "siblings": siblings, "sha": COMMIT }).to_string();
        return request.respond(Response::from_string(body)).unwrap();
    }
    let name = url.strip_prefix("/owner/tiny/resolve/main/");
    let Some((name, bytes)) = name.and_then(|name| Some((name, files.get(name)?))) else {
        return request.respond(Response::from_string("no such thing").with_status_code(404)).unwrap();
    };
    let range = header("Range").unwrap();
    let (from, to) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let from: usize = from.parse().unwrap();
    let to = to.parse::<usize>().map_or(bytes.len(), |to| (to + 1).min(bytes.len()));
    if to > 1 {
        fetched.lock().unwrap().push(name.to_owned());
    }
    let set = |name: &str, value: &str| Header::from_bytes(name, value).unwrap();
    let response = Response::from_data(&bytes[from..to])
        .with_status_code(206)
        .with_header(set("Content-Range", &format!("bytes {from}-{}/{}", to - 1, bytes.len())))
        .with_header(set("ETag", &format!("\"tag-{name}\"")))
        .with_header(set("X-Repo-Commit", COMMIT));
    request.respond(response).unwrap();
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The files of a fixture, and some that nobody needs.
fn files(name: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files: BTreeMap<String, Vec<u8>> = std::fs::read_dir(fixture(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap()))
        .collect();
    for other in ["README.md", "onnx/model.onnx", "pytorch_model.bin"] {
        files.insert(other.into(), b"not needed".to_vec());
    }
    files
}

fn loads(folder: &Path) {
    Pretrained::load(folder, &LoadOptions::new(&Device::flex())).unwrap();
}

#[test]
fn a_repository_is_fetched_once() {
    let (stand, cache) = (Stand::new(files("stories260K")), TempDir::new().unwrap());
    let hub = stand.hub(cache.path());
    let folder = hub.folder("owner/tiny").unwrap();
    loads(&folder);
    let mut fetched = stand.fetched.lock().unwrap().clone();
    fetched.sort();
    assert_eq!(fetched, ["config.json", "model.safetensors", "tokenizer.json"]);
    // The layout of Python's huggingface_hub.
    assert!(folder.ends_with(format!("models--owner--tiny/snapshots/{COMMIT}")), "{}", folder.display());
    let asked = stand.requests.load(Ordering::SeqCst);
    assert_eq!(hub.folder("owner/tiny").unwrap(), folder);
    assert_eq!(Hub { offline: true, ..hub }.folder("owner/tiny").unwrap(), folder);
    assert_eq!(stand.requests.load(Ordering::SeqCst), asked, "the cache has it");
}

#[test]
fn shards_are_fetched_and_a_missing_one_is_noticed() {
    let (stand, cache) = (Stand::new(files("tiny/llama-sharded")), TempDir::new().unwrap());
    let hub = stand.hub(cache.path());
    let folder = hub.folder("owner/tiny").unwrap();
    loads(&folder);
    let shard = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_str().unwrap().contains("-00002-"))
        .unwrap();
    std::fs::remove_file(&shard).unwrap();
    assert_eq!(hub.folder("owner/tiny").unwrap(), folder);
    assert!(shard.exists(), "fetched again");
}

/// The variables of Python's `huggingface_hub`. Each case runs in a process of its own, which is this test again.
#[test]
fn the_environment_says_where_and_whether_to_ask() {
    const CHILD: &str = "POLYA_HUB_CHILD";
    if std::env::var(CHILD).is_ok() {
        let Hub { endpoint, cache, token, offline } = Hub::from_env();
        println!("hub: {endpoint} {} {token:?} {offline}.", cache.display());
        if let Err(error) = Pretrained::load("owner/tiny", &LoadOptions::new(&Device::flex())) {
            println!("refused: {error}");
        }
        return;
    }
    let ask = |variables: &[(&str, &Path)]| -> String {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "the_environment_says_where_and_whether_to_ask", "--nocapture"]);
        for name in ["HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE"] {
            command.env_remove(name);
        }
        let output = command.env(CHILD, "1").envs(variables.iter().copied()).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && said.contains("hub: "), "{said}");
        said
    };
    let home = TempDir::new().unwrap();
    let (place, yes) = (home.path(), Path::new("1"));
    let hub = place.join("hub");
    // Nothing is there yet, and nobody is asked.
    let said = ask(&[("HF_HOME", place), ("HF_HUB_OFFLINE", yes)]);
    assert!(said.contains(&format!("hub: https://huggingface.co {} None true.", hub.display())), "{said}");
    assert!(said.contains("refused: ") && said.contains("HF_HUB_OFFLINE"), "{said}");
    // Fetched before, a name loads without a server.
    let stand = Stand::new(files("stories260K"));
    stand.hub(&hub).folder("owner/tiny").unwrap();
    let said = ask(&[("HF_HOME", place), ("HF_HUB_OFFLINE", yes)]);
    assert!(!said.contains("refused"), "{said}");
    let said =
        ask(&[("HF_HOME", Path::new("/nowhere")), ("HF_HUB_CACHE", hub.as_path()), ("HF_HUB_OFFLINE", yes)]);
    assert!(!said.contains("refused"), "{said}");
    // A token, from its file or given, and another server, which nobody answers at.
    std::fs::write(place.join("token"), "of-the-file\n").unwrap();
    let nobody = Path::new("http://127.0.0.1:9");
    let said = ask(&[("HF_HOME", place), ("HF_ENDPOINT", nobody)]);
    assert!(
        said.contains("hub: http://127.0.0.1:9 ") && said.contains("Some(\"of-the-file\") false."),
        "{said}"
    );
    let said = ask(&[("HF_HOME", place), ("HF_ENDPOINT", nobody), ("HF_TOKEN", Path::new("given"))]);
    assert!(said.contains("Some(\"given\") false."), "{said}");
}

#[test]
fn what_cannot_be_had_is_said() {
    let (stand, cache) = (Stand::new(files("stories260K")), TempDir::new().unwrap());
    let hub = stand.hub(cache.path());
    let said = |hub: &Hub, id: &str| match hub.folder(id).unwrap_err() {
        Error::Hub { id: named, reason } => {
            assert_eq!(named, id);
            reason
        }
        other => panic!("{other}"),
    };
    assert!(said(&hub, "owner/other").contains("404"));
    assert!(said(&hub, "owner/tiny@nowhere").contains("cannot list"));
    assert!(said(&hub, "a/b/c").contains("owner/name"));
    assert!(said(&Hub { offline: true, ..hub.clone() }, "owner/tiny").contains("HF_HUB_OFFLINE"));
    let nobody = Hub { endpoint: "http://127.0.0.1:9".into(), ..hub };
    assert!(said(&nobody, "owner/tiny").contains("cannot list"));

    let mut without = files("stories260K");
    without.remove("model.safetensors");
    let stand = Stand::new(without);
    assert!(said(&stand.hub(TempDir::new().unwrap().path()), "owner/tiny").contains("neither"));
}
