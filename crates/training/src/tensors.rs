//! Named tensors in a safetensors file, byte for byte the same for the same content.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::tensor::{DType, Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, View};

use crate::{Error, files};

/// A tensor on its way into a file; its numbers leave the device only when they are written, one tensor after the other.
pub(crate) struct Stored {
    shape: Vec<usize>,
    dtype: DType,
    read: Box<dyn Fn() -> TensorData>,
}

impl Stored {
    pub(crate) fn new<const D: usize>(tensor: Tensor<D>) -> Self {
        let (shape, dtype) = (tensor.dims().to_vec(), tensor.dtype());
        Self { shape, dtype, read: Box::new(move || tensor.to_data()) }
    }
}

struct Entry<'a>(&'a Stored, Dtype);

impl View for Entry<'_> {
    fn dtype(&self) -> Dtype {
        self.1
    }
    fn shape(&self) -> &[usize] {
        &self.0.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        let bytes = (self.0.read)().into_bytes();
        Cow::Owned(bytes.try_into_vec().unwrap_or_else(|bytes| bytes.to_vec()))
    }
    fn data_len(&self) -> usize {
        self.0.shape.iter().product::<usize>() * self.1.bitsize() / 8
    }
}

/// Writes tensors under their names, with one string of metadata. A checkpoint makes the file durable.
pub(crate) fn write(path: &Path, tensors: &[(String, Stored)], metadata: &str) -> Result<(), Error> {
    let mut entries = Vec::with_capacity(tensors.len());
    for (name, data) in tensors {
        let dtype = match data.dtype {
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
    // The library's files are for their owner alone; these are as open as the files beside them.
    let usual = std::fs::File::create(&temporary).and_then(|file| file.metadata());
    let usual = usual.map_err(Error::io("write", &temporary))?.permissions();
    safetensors::serialize_to_file(entries, Some(metadata), &temporary).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => Error::io("write", &temporary)(source),
        other => Error::damaged(path, other),
    })?;
    std::fs::set_permissions(&temporary, usual).map_err(Error::io("write", &temporary))?;
    std::fs::rename(&temporary, path).map_err(Error::io("rename", &temporary))
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
