//! Files that are either the old or the new content, never half of the new.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// The name a file has until it is whole: `.NAME.tmp` beside it.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".tmp");
    path.with_file_name(name)
}

/// Makes a written temporary file durable and gives it its name.
pub(crate) fn commit(temporary: &Path, path: &Path) -> Result<(), Error> {
    File::open(temporary).and_then(|file| file.sync_all()).map_err(Error::io("write", temporary))?;
    fs::rename(temporary, path).map_err(Error::io("rename", temporary))?;
    sync_folder(path.parent())
}

/// Makes the names in a folder durable. Systems that cannot open a folder do it on their own.
pub(crate) fn sync_folder(folder: Option<&Path>) -> Result<(), Error> {
    let Some(folder) = folder else { return Ok(()) };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    match File::open(folder) {
        Ok(file) if cfg!(unix) => file.sync_all().map_err(Error::io("write", folder)),
        _ => Ok(()),
    }
}

/// Replaces a file's content at once: temporary name, then rename.
///
/// # Errors
/// When the file cannot be written; the old content then stays.
pub fn write_atomic(path: impl AsRef<Path>, content: &[u8]) -> Result<(), Error> {
    let path = path.as_ref();
    let temporary = temporary(path);
    let written = File::create(&temporary).and_then(|mut file| file.write_all(content));
    if let Err(source) = written {
        let _ = fs::remove_file(&temporary);
        return Err(Error::io("write", path)(source));
    }
    commit(&temporary, path)
}

/// Writes a value as indented JSON, at once.
///
/// # Errors
/// When the file cannot be written, or the value has no JSON form.
pub fn write_json<T: Serialize + ?Sized>(path: impl AsRef<Path>, value: &T) -> Result<(), Error> {
    let path = path.as_ref();
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| Error::damaged(path, error))?;
    text.push(b'\n');
    write_atomic(path, &text)
}

/// Reads a JSON file into a value.
///
/// # Errors
/// When the file cannot be read or does not hold such a value.
pub fn read_json<T: DeserializeOwned>(path: impl AsRef<Path>) -> Result<T, Error> {
    let path = path.as_ref();
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    serde_json::from_slice(&bytes).map_err(|error| Error::damaged(path, error))
}

/// Writes a folder under a hidden name and then gives it its name, in place of the folder that had it.
///
/// # Errors
/// When `write` or the disk fails; what stood there before then stays.
pub fn write_folder<E>(
    path: impl AsRef<Path>,
    write: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), Error>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let path = path.as_ref();
    let temporary = temporary(path);
    if temporary.exists() {
        fs::remove_dir_all(&temporary).map_err(Error::io("remove", &temporary))?;
    }
    let made = fs::create_dir_all(&temporary)
        .map_err(Error::io("create", &temporary))
        .and_then(|()| write(&temporary).map_err(|source| Error::damaged(path, source.into())));
    if let Err(error) = made {
        let _ = fs::remove_dir_all(&temporary);
        return Err(error);
    }
    if path.exists() {
        fs::remove_dir_all(path).map_err(Error::io("remove", path))?;
    }
    fs::rename(&temporary, path).map_err(Error::io("rename", &temporary))?;
    sync_folder(path.parent())
}
