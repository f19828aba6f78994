//! A JSONL file that grows record by record, and that a later process goes on with.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::records::parse;
use crate::{Error, read_json, write_json};

/// An open output file.
///
/// A record is written by one call, and a line without its line feed never counts: killed at any moment, a process loses at
/// most the record it was writing. Beside `NAME.jsonl`, `NAME.settings.json` says what the records were made with, so that
/// nobody goes on with other settings. The file is locked while it is open.
#[derive(Debug)]
pub struct Appended {
    file: File,
    path: PathBuf,
}

impl Appended {
    /// Opens or creates a file, cuts an unfinished last line, and gives the records that are there.
    ///
    /// # Errors
    /// When the file cannot be read or written, another process writes to it, a line is not a JSON object, or its records
    /// were made with other settings: the error names the key.
    pub fn open(
        path: impl Into<PathBuf>,
        settings: &impl Serialize,
    ) -> Result<(Self, Vec<Map<String, Value>>), Error> {
        let path = path.into();
        let io = |action| Error::io(action, &path);
        let options = File::options().read(true).append(true).create(true).clone();
        let mut file = options.open(&path).map_err(io("write"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(Error::damaged(
                    &path,
                    "another process is writing to it: wait for it, or name another file",
                ));
            }
            Err(std::fs::TryLockError::Error(source)) => return Err(io("lock")(source)),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io("read"))?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let mut records = Vec::new();
        for (number, line) in bytes[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
            let wrong = |error: serde_json::Error| Error::Line {
                path: path.clone(),
                line: number + 1,
                reason: format!("{error}: it is not an output to go on with; name another file"),
            };
            records.push(parse(line).map_err(wrong)?);
        }
        compare(&path, settings, records.is_empty())?;
        if whole < bytes.len() {
            file.set_len(whole as u64).map_err(io("write"))?;
            file.seek(SeekFrom::End(0)).map_err(io("write"))?;
        }
        Ok((Self { file, path }, records))
    }

    /// Appends a record.
    ///
    /// # Errors
    /// When the file cannot be written, or the record has no JSON form.
    pub fn append(&mut self, record: &impl Serialize) -> Result<(), Error> {
        let mut line = serde_json::to_vec(record).map_err(|error| Error::damaged(&self.path, error))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(Error::io("write", &self.path))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Compares the settings with those beside the file, which are written where there are no records yet.
fn compare(path: &Path, settings: &impl Serialize, fresh: bool) -> Result<(), Error> {
    let beside = path.with_extension("settings.json");
    let now = serde_json::to_value(settings).map_err(|error| Error::damaged(&beside, error))?;
    if fresh {
        return write_json(&beside, &now);
    }
    if !beside.exists() {
        return Ok(());
    }
    let was: Value = read_json(&beside)?;
    let empty = Map::new();
    let object = |value: &'_ Value| value.as_object().unwrap_or(&empty).clone();
    let (was, now) = (object(&was), object(&now));
    let shown = |value: Option<&Value>| value.map_or("not set".to_owned(), Value::to_string);
    match was.keys().chain(now.keys()).find(|key| was.get(*key) != now.get(*key)) {
        None => Ok(()),
        Some(key) => Err(Error::ConfigDiffers {
            path: path.to_owned(),
            key: key.clone(),
            was: shown(was.get(key)),
            now: shown(now.get(key)),
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_output_goes_on_where_its_last_whole_line_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let settings = json!({"seed": 1});
        let (mut out, records) = Appended::open(&path, &settings).unwrap();
        assert!(records.is_empty());
        out.append(&json!({"id": 1})).unwrap();
        out.append(&json!({"id": 2})).unwrap();
        assert!(Appended::open(&path, &settings).unwrap_err().to_string().contains("another process"));
        drop(out);
        std::fs::write(&path, "{\"id\":1}\n{\"id\":2}\n{\"id\"").unwrap();
        let (mut out, records) = Appended::open(&path, &settings).unwrap();
        assert_eq!(records.len(), 2);
        out.append(&json!({"id": 3})).unwrap();
        drop(out);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n");

        let error = Appended::open(&path, &json!({"seed": 2})).unwrap_err().to_string();
        assert!(error.contains("`seed` was 1") && error.contains("is 2 now"), "{error}");
        std::fs::write(&path, "no json\n").unwrap();
        let error = Appended::open(&path, &settings).unwrap_err().to_string();
        assert!(error.contains("out.jsonl line 1"), "{error}");
    }
}
