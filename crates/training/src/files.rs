//! Files that are either the old or the new content, never half of the new.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Existing};

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

/// Whether two paths lead to one existing file or folder.
fn same_place(a: &Path, b: &Path) -> bool {
    matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
}

/// Refuses an output that is the input.
///
/// # Errors
/// [`Error::Output`].
pub fn check_not_input(output: &Path, input: &Path) -> Result<(), Error> {
    if same_place(output, input) {
        return Err(Error::Output { path: output.to_owned(), reason: "is the input: name another output" });
    }
    Ok(())
}

/// Whether a run may write its model to a folder at the end with [`write_folder`], asked before it begins: the folder is none
/// of those that it reads, does not exist or is empty (with [`Existing::Resume`] and [`Existing::Overwrite`] it may hold a
/// model), and can be made. What lies in the run folder is the run's own.
///
/// # Errors
/// [`Error::Output`], or [`Error::Io`] where nothing can be written.
pub fn check_output(output: &Path, run: &Path, read: &[&Path], existing: Existing) -> Result<(), Error> {
    if output.starts_with(run) {
        return Ok(());
    }
    let refuse = |reason| Err(Error::Output { path: output.to_owned(), reason });
    if read.iter().any(|path| same_place(output, path)) {
        return refuse("is a model that the run reads: name another folder");
    }
    match fs::read_dir(output) {
        Ok(entries) => {
            let names: Vec<OsString> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
            let model = names.iter().any(|name| name == "config.json" || name == "adapter_config.json");
            if !names.is_empty() && !model {
                return refuse("holds files that are no model's: name another folder");
            }
            if !names.is_empty() && existing == Existing::Refuse {
                return refuse("already holds a model: resume the run, overwrite it, or name another folder");
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            return refuse("is a file: name a folder");
        }
        Err(error) => return Err(Error::io("read", output)(error)),
    }
    let temporary = temporary(output);
    if !temporary.exists() {
        fs::create_dir_all(&temporary).map_err(Error::io("create", output))?;
        let _ = fs::remove_dir(&temporary);
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_refused_where_something_would_be_lost() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["empty", "photos", "model"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("photos/cat.txt"), "precious").unwrap();
        fs::write(at("model/config.json"), "{}").unwrap();
        fs::write(at("file"), "").unwrap();
        let check = |name: &str, existing| check_output(&at(name), &at("run"), &[&at("base")], existing);
        assert!(check("new/deeper", Existing::Refuse).is_ok());
        assert!(!at("new/deeper").exists() && !at("new/.deeper.tmp").exists());
        assert!(check("empty", Existing::Refuse).is_ok());
        assert!(check("photos", Existing::Overwrite).is_err());
        assert!(check("model", Existing::Refuse).is_err());
        assert!(check("model", Existing::Overwrite).is_ok());
        assert!(check("model", Existing::Resume).is_ok());
        assert!(check("file", Existing::Overwrite).is_err());
        let read = [&*at("empty"), &at("model/../model")];
        let itself = check_output(&at("model"), &at("run"), &read, Existing::Overwrite);
        assert!(check_output(&at("model"), &at("model"), &read, Existing::Refuse).is_ok());
        assert!(itself.unwrap_err().to_string().contains("the run reads"));
        assert!(at("photos/cat.txt").exists());
    }
}
