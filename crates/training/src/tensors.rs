//! Named tensors in a safetensors file, byte for byte the same for the same content.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::tensor::{DType, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, View};

use crate::{Error, files};

struct Entry<'a>(&'a TensorData, Dtype);

impl View for Entry<'_> {
    fn dtype(&self) -> Dtype {
        self.1
    }
    fn shape(&self) -> &[usize] {
        self.0.shape().as_slice()
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.0.as_bytes())
    }
    fn data_len(&self) -> usize {
        self.0.as_bytes().len()
    }
}

/// Writes tensors under their names, with one string of metadata.
pub(crate) fn write(path: &Path, tensors: &[(String, TensorData)], metadata: &str) -> Result<(), Error> {
    let mut entries = Vec::with_capacity(tensors.len());
    for (name, data) in tensors {
        let dtype = match data.dtype() {
            DType::F64 => Dtype::F64,
            DType::F32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            DType::I64 => Dtype::I64,
            other => {
                return Err(Error::damaged(path, format!("`{name}` has the unsupported type {other:?}")));
            }
        };
        entries.push((name.as_str(), Entry(data, dtype)));
    }
    // One key only: the format's header keeps metadata in a hash map, whose order is not stable.
    let metadata = HashMap::from([("training".to_owned(), metadata.to_owned())]);
    let temporary = files::temporary(path);
    safetensors::serialize_to_file(entries, Some(metadata), &temporary).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => Error::io("write", &temporary)(source),
        other => Error::damaged(path, other),
    })?;
    files::commit(&temporary, path)
}

/// Reads what [`write`] wrote: tensors by name, and the metadata string.
pub(crate) fn read(path: &Path) -> Result<(BTreeMap<String, TensorData>, String), Error> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let damaged = |error: safetensors::SafeTensorError| Error::damaged(path, error);
    let file = SafeTensors::deserialize(&bytes).map_err(damaged)?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
    let metadata =
        header.metadata().as_ref().and_then(|map| map.get("training").cloned()).unwrap_or_default();
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let dtype = match view.dtype() {
            Dtype::F64 => DType::F64,
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::I64 => DType::I64,
            other => {
                return Err(Error::damaged(path, format!("`{name}` has the unsupported type {other:?}")));
            }
        };
        let data = TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype);
        tensors.insert(name.to_owned(), data);
    }
    Ok((tensors, metadata))
}
