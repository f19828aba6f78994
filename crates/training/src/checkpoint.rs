//! Checkpoints that are whole or not there.
//!
//! A checkpoint is written under a hidden name. Its manifest, with length and checksum of every file, comes last;
//! then the folder gets its name. Reading checks the manifest, so a checkpoint torn by a crash, a full disk or a
//! bad copy is found, named, and the one before it is used.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Error, files};

/// The file that makes a checkpoint whole.
const MANIFEST: &str = "manifest.json";

/// How long [`syncing`] rests between two rounds.
const SYNC_EVERY: Duration = Duration::from_millis(20);

/// Which checkpoints stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keep {
    /// How many of the newest. At least 2 are kept, so that one may be damaged.
    pub last: usize,
    /// The one with the lowest value given to [`RunFolder::mark_best`](crate::RunFolder::mark_best), too.
    pub best: bool,
}

impl Default for Keep {
    fn default() -> Self {
        Self { last: 2, best: true }
    }
}

/// A whole checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The number of steps taken when it was written.
    pub step: u64,
    /// Its folder.
    pub path: PathBuf,
}

impl Checkpoint {
    /// Reads one of its JSON files.
    ///
    /// # Errors
    /// When the file is missing or does not hold such a value.
    pub fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T, Error> {
        files::read_json(self.path.join(name))
    }

    /// One of its files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    step: u64,
    files: BTreeMap<String, Content>,
}

#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
struct Content {
    bytes: u64,
    crc32: u32,
}

/// `step-N`.
pub(crate) fn folder_name(step: u64) -> String {
    format!("step-{step}")
}

/// Calls `write` while another thread hands what already lies in `folder` to the disk, so that little is left to wait
/// for afterwards. A failure of the disk is kept: the system reports it once only.
pub(crate) fn syncing<T>(folder: &Path, write: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let (end, ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let syncing = scope.spawn(move || {
            while let Err(mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(SYNC_EVERY) {
                for (_, file) in list(folder, "").unwrap_or_default() {
                    // It may have got its name, or gone, since it was listed.
                    if let Ok(open) = File::open(&file) {
                        open.sync_data().map_err(Error::io("write", &file))?;
                    }
                }
            }
            Ok(())
        });
        let written = write();
        drop(end);
        let synced = syncing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written.and_then(|value| synced.map(|()| value))
    })
}

/// Makes a folder of written files a checkpoint: manifest, durability, name.
pub(crate) fn seal(temporary: &Path, path: &Path, step: u64) -> Result<(), Error> {
    let files = list(temporary, "")?;
    // Made durable here, once, for whoever wrote them; sums are computed while the disk works.
    let sync = |file: &PathBuf| File::open(file)?.sync_all();
    let (durable, found) = std::thread::scope(|scope| {
        let durable = scope.spawn(|| {
            let mut files = files.iter().map(|(_, file)| file);
            files.try_for_each(|file| sync(file).map_err(Error::io("write", file)))
        });
        let found = files.iter().map(|(name, file)| Ok((name.clone(), content(file)?))).collect();
        (durable.join(), found)
    });
    durable.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let found: Result<BTreeMap<String, Content>, Error> = found;
    files::write_json(temporary.join(MANIFEST), &Manifest { format: 1, step, files: found? })?;
    if path.exists() {
        fs::remove_dir_all(path).map_err(Error::io("remove", path))?;
    }
    fs::rename(temporary, path).map_err(Error::io("rename", temporary))?;
    files::sync_folder(path.parent())
}

/// Checks a checkpoint's manifest against its files.
pub(crate) fn check(path: &Path, step: u64) -> Result<(), Error> {
    let manifest: Manifest = files::read_json(path.join(MANIFEST))?;
    if manifest.format != 1 || manifest.step != step {
        return Err(Error::damaged(path, "its manifest is of another checkpoint or format"));
    }
    for (name, expected) in &manifest.files {
        let outside =
            Path::new(name).components().any(|part| !matches!(part, std::path::Component::Normal(_)));
        if outside {
            return Err(Error::damaged(path, format!("its manifest names `{name}`, which is not inside")));
        }
        let found = content(&path.join(name))?;
        if found != *expected {
            let differs = if found.bytes == expected.bytes {
                "is not what was written".to_owned()
            } else {
                format!("has {} bytes where {} were written", found.bytes, expected.bytes)
            };
            return Err(Error::damaged(path, format!("`{name}` {differs}")));
        }
    }
    Ok(())
}

/// The steps that have a folder, in falling order, whole or not.
pub(crate) fn steps(folder: &Path) -> Result<Vec<u64>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", folder)(error)),
    };
    let mut steps = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("read", folder))?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("step-"));
        let step: Option<u64> = number.and_then(|number| number.parse().ok());
        steps.extend(step);
    }
    steps.sort_unstable_by(|a, b| b.cmp(a));
    Ok(steps)
}

fn content(path: &Path) -> Result<Content, Error> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let mut hasher = crc32fast::Hasher::new();
    let mut bytes = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).map_err(Error::io("read", path))?;
        if count == 0 {
            return Ok(Content { bytes, crc32: hasher.finalize() });
        }
        hasher.update(&buffer[..count]);
        bytes += count as u64;
    }
}

fn list(folder: &Path, prefix: &str) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        let path = entry.path();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if path.is_dir() {
            found.extend(list(&path, &format!("{name}/"))?);
        } else {
            found.push((name, path));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_come_change_their_name_and_go_do_not_disturb_the_syncing() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: String| folder.path().join(name);
        // Listed, and never there to be opened.
        #[cfg(unix)]
        std::os::unix::fs::symlink(at("nowhere".into()), at("gone".into())).unwrap();
        let written = syncing(folder.path(), || {
            for number in 0..300 {
                fs::write(at(format!(".{number}.tmp")), vec![1; 10_000]).unwrap();
                fs::rename(at(format!(".{number}.tmp")), at(format!("{number}"))).unwrap();
                if number % 3 == 0 {
                    fs::remove_file(at(format!("{number}"))).unwrap();
                }
                std::thread::sleep(Duration::from_micros(200));
            }
            Ok(7)
        });
        assert_eq!(written.unwrap(), 7);
        let _ = fs::remove_file(at("gone".into()));
        assert_eq!(list(folder.path(), "").unwrap().len(), 200);
    }

    #[test]
    fn an_error_of_the_writer_comes_through_the_syncing() {
        let folder = tempfile::tempdir().unwrap();
        let failed = syncing(folder.path(), || Err::<(), _>(Error::damaged("here", "torn")));
        assert!(failed.unwrap_err().to_string().contains("torn"));
    }

    /// A null device cannot be synchronised: the round that meets it must not be forgotten when the file is gone later.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_disk_that_fails_early_fails_the_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("device");
        let failed = syncing(folder.path(), || {
            std::os::unix::fs::symlink("/dev/null", &link).unwrap();
            std::thread::sleep(Duration::from_secs(1));
            fs::remove_file(&link).unwrap();
            Ok(())
        });
        assert!(failed.unwrap_err().to_string().contains("device"));
    }
}
