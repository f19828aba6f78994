//! The run folder: what a run was told, what it measured, and where it can go on.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::checkpoint::{self, Checkpoint, Keep};
use crate::{Error, GradientReducer, files};

/// What to do when the run folder already exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Refuse.
    #[default]
    Refuse,
    /// Go on from its last whole checkpoint; start where there is no folder yet.
    Resume,
    /// Remove it, if it is a run folder.
    Overwrite,
}

impl Existing {
    /// From the customary two flags; overwriting wins.
    pub fn from_flags(resume: bool, overwrite: bool) -> Self {
        match (overwrite, resume) {
            (true, _) => Self::Overwrite,
            (false, true) => Self::Resume,
            (false, false) => Self::Refuse,
        }
    }
}

/// A run's folder, held by one process at a time.
///
/// ```text
/// config.toml          the resolved configuration
/// environment.json     versions, device, seed, git commit
/// metrics.jsonl        one line per step: {"step": 1, "loss": .., "time": {..}}
/// samples/             what the model wrote
/// checkpoints/step-N/  the caller's files, plus folder.json and manifest.json
/// ```
///
/// Lines are appended to `*.jsonl` files ([`append`](Self::append), [`log`](Self::log)); a checkpoint records
/// their lengths, and resuming cuts them back to it. All other files are replaced at once.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    resumed: bool,
    logs: BTreeMap<String, Log>,
    pending: Option<JoinHandle<Result<f64, Error>>>,
    times: CheckpointTimes,
    keep: Keep,
    best: Option<Best>,
    started: Instant,
    last_line: Instant,
    /// Only the process that writes has it.
    lock: Option<File>,
}

#[derive(Debug)]
struct Log {
    file: File,
    bytes: u64,
}

/// What a checkpoint says about the rest of the folder.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct FolderState {
    /// Length of every log.
    logs: BTreeMap<String, u64>,
    best: Option<Best>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Best {
    step: u64,
    value: f64,
}

/// How long the checkpoints of this process took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CheckpointTimes {
    /// How many were written.
    pub count: u64,
    /// Seconds from the first byte until it had its name, added up: making it durable and removing an older one included.
    pub written_seconds: f64,
    /// Seconds for which the caller stood still, added up. In the background this is waiting for the checkpoint before, and
    /// making logs durable.
    pub halted_seconds: f64,
}

const FOLDER: &str = "folder.json";
const METRICS: &str = "metrics.jsonl";

impl RunFolder {
    /// Makes, opens or replaces a run folder.
    ///
    /// # Errors
    /// When the folder exists and `existing` refuses it, when it is not a run folder, when another process
    /// holds it, or when it cannot be written.
    pub fn create(path: impl AsRef<Path>, existing: Existing) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let occupied = occupied(&path)?;
        let is_run = path.join("config.toml").exists() || path.join(".lock").exists();
        match existing {
            Existing::Refuse if occupied => return Err(Error::Exists { path }),
            Existing::Resume | Existing::Overwrite if occupied && !is_run => {
                return Err(Error::NotARun { path });
            }
            _ => {}
        }
        fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        let lock = path.join(".lock");
        let lock = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&lock)
            .map_err(Error::io("write", &lock))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(Error::Busy { path }),
            // File systems without locks: go on without.
            Err(fs::TryLockError::Error(error)) => {
                tracing::warn!("{} is not locked: {error}", path.display())
            }
        }
        if existing == Existing::Overwrite {
            clear(&path)?;
        }
        let resumed = occupied && existing == Existing::Resume;
        for folder in ["checkpoints", "samples"] {
            let folder = path.join(folder);
            fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        }
        Ok(Self::new(path, resumed, Some(lock)))
    }

    /// The same for a loop that many workers run: worker 0 makes, opens or replaces the folder; for the others every method
    /// that writes does nothing, so that the loop need not ask who it is.
    ///
    /// # Errors
    /// As [`create`](Self::create), on worker 0.
    pub fn create_among(
        path: impl AsRef<Path>,
        existing: Existing,
        reducer: &dyn GradientReducer,
    ) -> Result<Self, Error> {
        match reducer.worker() {
            0 => Self::create(path, existing),
            _ => Ok(Self::new(path.as_ref().to_owned(), false, None)),
        }
    }

    fn new(path: PathBuf, resumed: bool, lock: Option<File>) -> Self {
        let now = Instant::now();
        Self {
            resumed,
            path,
            logs: BTreeMap::new(),
            pending: None,
            times: CheckpointTimes::default(),
            keep: Keep::default(),
            best: None,
            started: now,
            last_line: now,
            lock,
        }
    }

    fn is_silent(&self) -> bool {
        self.lock.is_none()
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Sets which checkpoints stay.
    pub fn keep(&mut self, keep: Keep) {
        self.keep = Keep { last: keep.last.max(2), ..keep };
    }

    /// Writes `config.toml`. A resumed run compares instead: another value is an error that names the key, except for keys
    /// in `may_differ` (dotted, as in `run.threads`), which take the new value.
    ///
    /// # Errors
    /// When the file cannot be written or read, or when a value differs.
    pub fn write_config<T: Serialize>(&self, config: &T, may_differ: &[&str]) -> Result<(), Error> {
        if self.is_silent() {
            return Ok(());
        }
        let path = self.file("config.toml");
        let text = toml::to_string_pretty(config).map_err(|error| Error::damaged(&path, error))?;
        if self.resumed && path.exists() {
            let old = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
            let old: toml::Table = old.parse().map_err(|error| Error::damaged(&path, error))?;
            let new: toml::Table = text.parse().map_err(|error| Error::damaged(&path, error))?;
            let (old, new) = (flatten(&old), flatten(&new));
            let none = "not set".to_owned();
            for key in old.keys().chain(new.keys()) {
                let (was, now) = (old.get(key).unwrap_or(&none), new.get(key).unwrap_or(&none));
                if was != now && !may_differ.contains(&key.as_str()) {
                    let (was, now) = (was.clone(), now.clone());
                    return Err(Error::ConfigDiffers { path: self.path.clone(), key: key.clone(), was, now });
                }
            }
        }
        files::write_atomic(&path, text.as_bytes())
    }

    /// Writes a JSON file, at once: `results.json`, `timing.json`, `environment.json`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_json<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), Error> {
        if self.is_silent() { Ok(()) } else { files::write_json(self.file(name), value) }
    }

    /// Appends one step's line to `metrics.jsonl`: `{"step": .., <metrics>, "time": {<time>}}`.
    ///
    /// `time` holds everything that differs from run to run, as rates do; the seconds since the start and since
    /// the last line are added to it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn log<M: Serialize, T: Serialize>(&mut self, step: u64, metrics: &M, time: &T) -> Result<(), Error> {
        let path = self.file(METRICS);
        let object = |value: serde_json::Result<serde_json::Value>| match value {
            Ok(serde_json::Value::Object(map)) => Ok(map),
            Ok(serde_json::Value::Null) => Ok(serde_json::Map::new()),
            Ok(other) => Err(Error::damaged(&path, format!("metrics must be an object, found {other}"))),
            Err(error) => Err(Error::damaged(&path, error)),
        };
        let mut line = serde_json::Map::new();
        line.insert("step".to_owned(), step.into());
        line.extend(object(serde_json::to_value(metrics))?);
        let mut clock = object(serde_json::to_value(time))?;
        clock.insert("elapsed_seconds".to_owned(), self.started.elapsed().as_secs_f64().into());
        clock.insert("step_seconds".to_owned(), self.last_line.elapsed().as_secs_f64().into());
        line.insert("time".to_owned(), clock.into());
        self.last_line = Instant::now();
        self.append(METRICS, &line)
    }

    /// Appends one JSON line to a file of the folder, as in `samples/train.jsonl`.
    ///
    /// # Errors
    /// When the file cannot be written, or the value has no JSON form; and when a checkpoint in the background could not be
    /// written, so that a loop learns it a step later.
    pub fn append<T: Serialize>(&mut self, name: &str, value: &T) -> Result<(), Error> {
        if self.is_silent() {
            return Ok(());
        }
        if self.pending.as_ref().is_some_and(JoinHandle::is_finished) {
            self.wait()?;
        }
        let path = self.file(name);
        let mut line = serde_json::to_vec(value).map_err(|error| Error::damaged(&path, error))?;
        line.push(b'\n');
        let log = match self.logs.entry(name.to_owned()) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => entry.insert(open_log(&path)?),
        };
        log.file.write_all(&line).map_err(Error::io("write", &path))?;
        log.bytes += line.len() as u64;
        Ok(())
    }

    /// Writes a checkpoint: `write` puts its files into the folder it is given; afterwards old ones are removed.
    ///
    /// # Errors
    /// When `write` fails or the disk does; earlier checkpoints then stay as they are.
    pub fn checkpoint<E>(
        &mut self,
        step: u64,
        write: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), Error>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.wait()?;
        if !self.is_silent() {
            let clock = Instant::now();
            self.times.written_seconds += self.prepare(step)?.finish(write)?;
            self.times.count += 1;
            self.times.halted_seconds += clock.elapsed().as_secs_f64();
        }
        Ok(())
    }

    /// Writes a checkpoint on another thread, after waiting for the one before. `write` owns copies of what
    /// it writes: clones of tensors share storage until the next step changes them.
    ///
    /// # Errors
    /// When the checkpoint *before* could not be written. This one's error comes with the first line appended after it
    /// happened, with the next checkpoint, or with [`wait`](Self::wait): call that for the last one.
    pub fn checkpoint_in_background<E>(
        &mut self,
        step: u64,
        write: impl FnOnce(&Path) -> Result<(), E> + Send + 'static,
    ) -> Result<(), Error>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.wait()?;
        if !self.is_silent() {
            let clock = Instant::now();
            let writing = self.prepare(step)?;
            self.pending = Some(std::thread::spawn(move || writing.finish(write)));
            self.times.halted_seconds += clock.elapsed().as_secs_f64();
        }
        Ok(())
    }

    /// Waits for the checkpoint being written.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn wait(&mut self) -> Result<(), Error> {
        let clock = Instant::now();
        match self.pending.take().map(JoinHandle::join) {
            None => return Ok(()),
            Some(Ok(result)) => self.times.written_seconds += result?,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
        self.times.count += 1;
        self.times.halted_seconds += clock.elapsed().as_secs_f64();
        Ok(())
    }

    /// How long this process's checkpoints took, the one being written excepted.
    pub fn checkpoint_times(&self) -> CheckpointTimes {
        self.times
    }

    /// Finds the last whole checkpoint, cuts every log back to it, and removes what a killed process left behind.
    /// Without a checkpoint the logs are emptied and the run starts at its beginning.
    ///
    /// # Errors
    /// When checkpoints are there but none is whole, or a log is shorter than its checkpoint says.
    pub fn resume(&mut self) -> Result<Option<Checkpoint>, Error> {
        self.wait()?;
        if self.is_silent() {
            return Ok(None);
        }
        let folder = self.file("checkpoints");
        let mut reasons = Vec::new();
        let mut found = None;
        for step in checkpoint::steps(&folder)? {
            let path = folder.join(checkpoint::folder_name(step));
            match checkpoint::check(&path, step) {
                Ok(()) => {
                    found = Some(Checkpoint { step, path });
                    break;
                }
                Err(error) => {
                    tracing::warn!("{error}; trying the checkpoint before it");
                    reasons.push(error.to_string());
                }
            }
        }
        if found.is_none() && !reasons.is_empty() {
            return Err(Error::NoWholeCheckpoint { path: folder, reasons });
        }
        let state: FolderState = match &found {
            Some(checkpoint) => checkpoint.read_json(FOLDER)?,
            None => FolderState::default(),
        };
        // Damaged checkpoints newer than this one, and half-written ones.
        for step in checkpoint::steps(&folder)? {
            if found.as_ref().is_some_and(|found| step > found.step) {
                let path = folder.join(checkpoint::folder_name(step));
                fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
            }
        }
        remove_temporaries(&folder)?;
        remove_temporaries(&self.path)?;
        self.logs.clear();
        for name in self.log_files()? {
            let path = self.file(&name);
            let length = state.logs.get(&name).copied().unwrap_or(0);
            cut(&path, length)?;
        }
        for (name, length) in &state.logs {
            let path = self.file(name);
            if *length > 0 && !path.exists() {
                return Err(Error::damaged(
                    &path,
                    format!("it is gone, and the checkpoint says {length} bytes"),
                ));
            }
        }
        self.best = state.best;
        let best = self.file("best.json");
        match self.best {
            Some(value) => files::write_json(&best, &value)?,
            None if best.exists() => fs::remove_file(&best).map_err(Error::io("remove", &best))?,
            None => {}
        }
        Ok(found)
    }

    /// [`resume`](Self::resume) on worker 0, which tells the others the checkpoint. They read it themselves, so the folder must
    /// lie where all can see it.
    ///
    /// # Errors
    /// As [`resume`](Self::resume), on worker 0; the others then wait until they are ended
    /// ([`GradientReducer::abort`]).
    pub fn resume_among(&mut self, reducer: &mut dyn GradientReducer) -> Result<Option<Checkpoint>, Error> {
        let found = self.resume()?;
        let mut told = found.map_or([0.0, 0.0], |found| [1.0, found.step as f64]);
        reducer.broadcast_f64(&mut told);
        let step = told[1] as u64;
        let path = self.file("checkpoints").join(checkpoint::folder_name(step));
        Ok((told[0] > 0.0).then_some(Checkpoint { step, path }))
    }

    /// Records the value of an evaluation (lower is better); true when it is the best so far. `best.json` names the
    /// step, and [`Keep::best`] keeps its checkpoint: call this before the checkpoint of that step is written.
    ///
    /// # Errors
    /// When `best.json` cannot be written.
    pub fn mark_best(&mut self, step: u64, value: f64) -> Result<bool, Error> {
        let better = value.is_finite() && self.best.is_none_or(|best| value < best.value);
        if better {
            let best = Best { step, value };
            self.best = Some(best);
            self.write_json("best.json", &best)?;
        }
        Ok(better)
    }

    /// Every `*.jsonl` file of the folder and of `samples/`, relative.
    fn log_files(&self) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for (folder, prefix) in [(self.path.clone(), ""), (self.file("samples"), "samples/")] {
            for entry in fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
                let name = entry.map_err(Error::io("read", &folder))?.file_name();
                let name = name.to_string_lossy();
                if name.ends_with(".jsonl") {
                    names.push(format!("{prefix}{name}"));
                }
            }
        }
        Ok(names)
    }

    fn prepare(&mut self, step: u64) -> Result<Writing, Error> {
        let mut lengths = BTreeMap::new();
        for (name, log) in &self.logs {
            log.file.sync_data().map_err(Error::io("write", self.file(name)))?;
            lengths.insert(name.clone(), log.bytes);
        }
        // Logs of an earlier process that this one has not touched yet.
        for name in self.log_files()? {
            if !self.logs.contains_key(&name) {
                let path = self.file(&name);
                let bytes = fs::metadata(&path).map_err(Error::io("read", &path))?.len();
                lengths.insert(name, bytes);
            }
        }
        let state = FolderState { logs: lengths, best: self.best };
        Ok(Writing { folder: self.file("checkpoints"), step, state, keep: self.keep })
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if let Err(error) = self.wait() {
            tracing::error!("{error}");
        }
    }
}

/// A checkpoint on its way.
struct Writing {
    folder: PathBuf,
    step: u64,
    state: FolderState,
    keep: Keep,
}

impl Writing {
    /// Writes it, and says how many seconds that took.
    fn finish<E>(self, write: impl FnOnce(&Path) -> Result<(), E>) -> Result<f64, Error>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let clock = Instant::now();
        let path = self.folder.join(checkpoint::folder_name(self.step));
        let temporary = files::temporary(&path);
        if temporary.exists() {
            fs::remove_dir_all(&temporary).map_err(Error::io("remove", &temporary))?;
        }
        let written = fs::create_dir_all(&temporary)
            .map_err(Error::io("create", &temporary))
            .and_then(|()| {
                checkpoint::syncing(&temporary, || {
                    write(&temporary)
                        .map_err(|source| Error::Writer { step: self.step, source: source.into() })
                })
            })
            .and_then(|()| files::write_json(temporary.join(FOLDER), &self.state))
            .and_then(|()| checkpoint::seal(&temporary, &path, self.step));
        if let Err(error) = written {
            let _ = fs::remove_dir_all(&temporary);
            return Err(error);
        }
        self.prune()?;
        Ok(clock.elapsed().as_secs_f64())
    }

    fn prune(&self) -> Result<(), Error> {
        let best = if self.keep.best { self.state.best } else { None };
        let steps = checkpoint::steps(&self.folder)?;
        for step in steps.iter().filter(|step| **step <= self.step).skip(self.keep.last) {
            if best.as_ref().is_none_or(|best| best.step != *step) {
                let path = self.folder.join(checkpoint::folder_name(*step));
                // Renamed first, so that a killed removal does not look like a damaged checkpoint.
                let hidden = files::temporary(&path);
                fs::rename(&path, &hidden).map_err(Error::io("remove", &path))?;
                fs::remove_dir_all(&hidden).map_err(Error::io("remove", &hidden))?;
            }
        }
        Ok(())
    }
}

fn open_log(path: &Path) -> Result<Log, Error> {
    let mut file =
        OpenOptions::new().create(true).append(true).open(path).map_err(Error::io("write", path))?;
    let bytes = file.seek(SeekFrom::End(0)).map_err(Error::io("read", path))?;
    Ok(Log { file, bytes })
}

fn cut(path: &Path, length: u64) -> Result<(), Error> {
    let file = OpenOptions::new().write(true).open(path).map_err(Error::io("write", path))?;
    let found = file.metadata().map_err(Error::io("read", path))?.len();
    if found < length {
        return Err(Error::damaged(path, format!("it has {found} bytes, and the checkpoint says {length}")));
    }
    file.set_len(length).and_then(|()| file.sync_all()).map_err(Error::io("write", path))
}

fn occupied(path: &Path) -> Result<bool, Error> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

fn clear(path: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(path).map_err(Error::io("read", path))? {
        let entry = entry.map_err(Error::io("read", path))?;
        let inner = entry.path();
        if entry.file_name() == ".lock" {
            continue;
        }
        let removed = if inner.is_dir() { fs::remove_dir_all(&inner) } else { fs::remove_file(&inner) };
        removed.map_err(Error::io("remove", &inner))?;
    }
    Ok(())
}

fn remove_temporaries(folder: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(".tmp") {
            let path = entry.path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

fn flatten(table: &toml::Table) -> BTreeMap<String, String> {
    fn walk(prefix: &str, table: &toml::Table, into: &mut BTreeMap<String, String>) {
        for (key, value) in table {
            let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value {
                toml::Value::Table(inner) => walk(&name, inner, into),
                other => {
                    into.insert(name, other.to_string());
                }
            }
        }
    }
    let mut into = BTreeMap::new();
    walk("", table, &mut into);
    into
}

/// What a run ran on: `environment.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// The program.
    pub program: String,
    /// Its version.
    pub version: String,
    /// The device, as in `flex`.
    pub device: String,
    /// The seed.
    pub seed: u64,
    /// The commit of the working directory, where there is one.
    pub git_commit: Option<String>,
    /// Operating system and architecture.
    pub platform: String,
    /// Threads available.
    pub threads: usize,
}

impl Environment {
    /// Looks at this process.
    pub fn capture(program: &str, version: &str, device: &str, seed: u64) -> Self {
        let git = std::process::Command::new("git").args(["rev-parse", "HEAD"]).output();
        let git_commit = git
            .ok()
            .filter(|output| output.status.success())
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        Self {
            program: program.to_owned(),
            version: version.to_owned(),
            device: device.to_owned(),
            seed,
            git_commit,
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        }
    }
}
