//! The journal: an append-only JSONL file with one line for each answered request, and a manifest beside it.
//!
//! A line is written by one call, and a line without its newline never counts: killed at any moment, a run loses at most
//! the requests in flight. The file is locked while a run writes to it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::generate::Candidate;
use crate::select::Attempt;

/// The longest line that is read, in bytes.
pub const MAX_LINE_BYTES: usize = 64 << 20;

/// One answered request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Unique id of the request.
    pub request: String,
    /// Id of the question.
    pub question: String,
    /// Id of the approach; `None` for a prompt without one.
    pub approach: Option<String>,
    /// Index of the first candidate within its cell.
    pub first_sample: usize,
    /// The candidates.
    pub candidates: Vec<Candidate>,
}

impl Record {
    /// The candidates as attempts, ready to be graded.
    pub fn into_attempts(self) -> impl Iterator<Item = Attempt> {
        let Self { question, approach, first_sample, candidates, .. } = self;
        candidates.into_iter().enumerate().map(move |(i, candidate)| Attempt {
            question: question.clone(),
            approach: approach.clone(),
            sample: first_sample + i,
            candidate,
        })
    }
}

/// What a run was made with. A run resumes only with the same manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this crate.
    pub version: String,
    /// The model: a name, or a folder with a hash of its weights.
    pub model: String,
    /// Where candidates come from: the endpoints, or `in-process`.
    pub source: String,
    /// Id of the family.
    pub family: String,
    /// Hash of the family's templates and approaches.
    pub template_hash: String,
    /// Hash of the plan.
    pub plan_hash: String,
    /// Which shard, as `i/n`.
    pub shard: Option<String>,
    /// How prompts are rendered.
    pub render: serde_json::Value,
    /// How responses are sampled.
    pub sampling: serde_json::Value,
}

impl Manifest {
    /// The first key in which two manifests differ.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let value = |m: &Self| serde_json::to_value(m).unwrap_or_default();
        let (a, b) = (value(self), value(other));
        let keys = a.as_object()?.keys();
        keys.filter(|k| a[*k] != b[*k]).map(|k| format!("`{k}` was {}, is now {}", a[k], b[k])).next()
    }
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
}

/// Name of the manifest of a journal.
pub fn manifest_path(journal: &Path) -> PathBuf {
    journal.with_extension("manifest.json")
}

impl Journal {
    /// Opens or creates a journal, checks its manifest, cuts an unfinished last line, and hands each record to `each`.
    ///
    /// # Errors
    /// [`Error::Config`] if the manifest differs or another process writes to the file; [`Error::Line`] for a bad line;
    /// what `each` returns.
    pub fn open(
        path: impl Into<PathBuf>,
        manifest: &Manifest,
        mut each: impl FnMut(Record) -> Result<()>,
    ) -> Result<Self> {
        let path = path.into();
        let options = File::options().read(true).append(true).create(true).clone();
        let mut file = options.open(&path).map_err(Error::io(&path))?;
        if let Err(e) = file.try_lock() {
            return Err(match e {
                std::fs::TryLockError::WouldBlock => Error::Config {
                    key: "journal",
                    message: format!("{} is being written by another process", path.display()),
                },
                std::fs::TryLockError::Error(source) => Error::Io { path, source },
            });
        }
        let beside = manifest_path(&path);
        if beside.exists() {
            let old = read_manifest(&path)?;
            if let Some(difference) = old.difference(manifest) {
                return Err(Error::Config {
                    key: "manifest",
                    message: format!("{} belongs to another run: {difference}", path.display()),
                });
            }
        } else {
            let text =
                serde_json::to_string_pretty(manifest).map_err(|e| Error::backend("the manifest", e))?;
            write_whole(&beside, &text)?;
        }
        let complete = for_each_record(&file, &path, |_, record| each(record))?;
        if file.metadata().map_err(Error::io(&path))?.len() > complete {
            file.set_len(complete).map_err(Error::io(&path))?;
        }
        file.seek(SeekFrom::End(0)).map_err(Error::io(&path))?;
        Ok(Self { file, path })
    }

    /// Appends a record by one write.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn append(&mut self, record: &Record) -> Result<()> {
        let mut line = serde_json::to_vec(record).map_err(|e| Error::backend("writing a record", e))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(Error::io(&self.path))
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync_data().map_err(Error::io(&self.path))
    }
}

/// Reads the manifest beside a journal.
///
/// # Errors
/// [`Error::Io`], [`Error::Format`], or [`Error::Config`] where there is none.
pub fn read_manifest(journal: &Path) -> Result<Manifest> {
    let path = manifest_path(journal);
    let text = match std::fs::read_to_string(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let message = format!(
                "{} is missing: give a journal that a run has written, with its manifest beside it",
                path.display()
            );
            return Err(Error::Config { key: "manifest", message });
        }
        text => text.map_err(Error::io(&path))?,
    };
    serde_json::from_str(&text).map_err(|e| Error::format(path.display().to_string(), e.to_string()))
}

/// Writes a file under a temporary name and renames it.
///
/// # Errors
/// [`Error::Io`].
pub fn write_whole(path: &Path, text: &str) -> Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let temporary = PathBuf::from(name);
    std::fs::write(&temporary, text).map_err(Error::io(&temporary))?;
    std::fs::rename(&temporary, path).map_err(Error::io(path))
}

/// Hands each complete record with its offset to `each`, and returns the length of the complete lines in bytes. A last
/// line without a newline is left out.
fn for_each_record(file: &File, path: &Path, mut each: impl FnMut(u64, Record) -> Result<()>) -> Result<u64> {
    let mut reader = BufReader::with_capacity(1 << 16, file);
    reader.seek(SeekFrom::Start(0)).map_err(Error::io(path))?;
    let (mut line, mut offset, mut number) = (Vec::new(), 0_u64, 0);
    loop {
        line.clear();
        let read = (&mut reader)
            .take(MAX_LINE_BYTES as u64 + 1)
            .read_until(b'\n', &mut line)
            .map_err(Error::io(path))?;
        number += 1;
        let bad = |message: String| Error::Line { path: path.to_owned(), line: number, message };
        if line.len() > MAX_LINE_BYTES {
            return Err(bad(format!("longer than {MAX_LINE_BYTES} bytes")));
        }
        if line.last() != Some(&b'\n') {
            return Ok(offset);
        }
        let record: Record = serde_json::from_slice(&line).map_err(|e| bad(e.to_string()))?;
        each(offset, record)?;
        offset += read as u64;
    }
}

/// Reads a journal that no run is writing to, record by record.
///
/// # Errors
/// [`Error::Io`], [`Error::Line`], or what `each` returns.
pub fn read_journal(path: &Path, mut each: impl FnMut(Record) -> Result<()>) -> Result<()> {
    let file = File::open(path).map_err(Error::io(path))?;
    for_each_record(&file, path, |_, record| each(record)).map(drop)
}

/// Where the records of each question stand in a journal, so that selection can read one question at a time.
#[derive(Debug)]
pub struct Index {
    path: PathBuf,
    file: File,
    /// Where the records of a question begin, and their lines.
    places: std::collections::HashMap<String, Vec<(u64, usize)>>,
}

impl Index {
    /// Reads a journal once.
    ///
    /// # Errors
    /// As [`read_journal`].
    pub fn new(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let file = File::open(&path).map_err(Error::io(&path))?;
        let mut places: std::collections::HashMap<String, Vec<(u64, usize)>> = Default::default();
        let mut line = 0;
        for_each_record(&file, &path, |offset, record| {
            line += 1;
            places.entry(record.question).or_default().push((offset, line));
            Ok(())
        })?;
        Ok(Self { path, file, places })
    }

    /// The records of one question, in the order of the file.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Line`].
    pub fn records(&self, question: &str) -> Result<Vec<Record>> {
        let mut out = Vec::new();
        for &(offset, number) in self.places.get(question).map_or(&[][..], Vec::as_slice) {
            let mut file = &self.file;
            file.seek(SeekFrom::Start(offset)).map_err(Error::io(&self.path))?;
            let mut line = Vec::new();
            BufReader::new(file.take(MAX_LINE_BYTES as u64))
                .read_until(b'\n', &mut line)
                .map_err(Error::io(&self.path))?;
            out.push(serde_json::from_slice(&line).map_err(|e| Error::Line {
                path: self.path.clone(),
                line: number,
                message: e.to_string(),
            })?);
        }
        Ok(out)
    }
}

/// Joins the journals of all shards of one plan into one file, with its manifest. A request found twice is an error.
///
/// # Errors
/// [`Error::Config`] if manifests differ in more than the shard, [`Error::Line`] for a double request.
pub fn merge_journals(shards: &[PathBuf], out: &Path) -> Result<usize> {
    let first = shards
        .first()
        .ok_or_else(|| Error::Config { key: "shards", message: "no journals are given".into() })?;
    let manifest = Manifest { shard: None, ..read_manifest(first)? };
    let mut seen = std::collections::HashSet::new();
    let mut name = out.as_os_str().to_owned();
    name.push(".tmp");
    let temporary = PathBuf::from(name);
    let file = File::create(&temporary).map_err(Error::io(&temporary))?;
    let mut writer = std::io::BufWriter::new(file);
    for path in shards {
        let other = Manifest { shard: None, ..read_manifest(path)? };
        if let Some(difference) = manifest.difference(&other) {
            return Err(Error::Config {
                key: "manifest",
                message: format!("{} belongs to another run: {difference}", path.display()),
            });
        }
        let mut line = 0;
        read_journal(path, |record| {
            line += 1;
            if seen.contains(&record.request) {
                let message = format!("request `{}` is given twice", record.request);
                return Err(Error::Line { path: path.clone(), line, message });
            }
            serde_json::to_writer(&mut writer, &record).map_err(|e| Error::backend("writing a record", e))?;
            writer.write_all(b"\n").map_err(Error::io(&temporary))?;
            seen.insert(record.request);
            Ok(())
        })?;
    }
    writer.flush().map_err(Error::io(&temporary))?;
    let text = serde_json::to_string_pretty(&manifest).map_err(|e| Error::backend("the manifest", e))?;
    write_whole(&manifest_path(out), &text)?;
    std::fs::rename(&temporary, out).map_err(Error::io(out))?;
    Ok(seen.len())
}
