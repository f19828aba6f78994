//! Devices by name, and proof that they compute.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::{Device, Tensor};

use crate::Error;

/// The device of a name: `cpu` and `flex` (burn's CPU backend), `ndarray`, `cuda`, `cuda:N`.
///
/// A small known product is computed on it first: with a library missing, a GPU's kernels can fail silently. On CUDA, kernels
/// compiled once are kept for later runs: under `target/environment` in a checkout, else in the user's cache folder, or where a
/// `cubecl.toml` says.
///
/// # Errors
/// When the name is unknown, its backend was not built in, no such device is there, or it computes something else.
pub fn device(name: &str) -> Result<Device, Error> {
    let wrong = |reason| Error::Device { name: name.to_owned(), reason };
    let device = by_name(name).map_err(wrong)?;
    // A library that cannot be loaded is a panic in the crates below.
    let found = catch_unwind(AssertUnwindSafe(|| product(&device))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Err(text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned())
    });
    match found {
        Ok(found) if found == [19.0, 22.0, 43.0, 50.0] => Ok(device),
        Ok(found) => Err(wrong(format!(
            "it computes {found:?} where [19, 22, 43, 50] is right: check driver and toolkit"
        ))),
        Err(reason) => Err(wrong(format!("it computes nothing: check driver and toolkit ({reason})"))),
    }
}

fn product(device: &Device) -> Result<Vec<f32>, String> {
    let a = Tensor::<2>::from_data([[1.0, 2.0], [3.0, 4.0]], device);
    let b = Tensor::<2>::from_data([[5.0, 6.0], [7.0, 8.0]], device);
    let data = a.matmul(b).try_into_data().map_err(|error| error.to_string())?;
    Ok(data.iter::<f32>().collect())
}

fn by_name(name: &str) -> Result<Device, String> {
    let without =
        |feature: &str| format!("this program was built without it: build with `--features {feature}`");
    match name {
        "cpu" | "flex" => {
            #[cfg(feature = "flex")]
            return Ok(Device::flex());
            #[cfg(not(feature = "flex"))]
            Err(without("flex"))
        }
        "ndarray" => {
            #[cfg(feature = "ndarray")]
            #[allow(deprecated)]
            return Ok(Device::ndarray());
            #[cfg(not(feature = "ndarray"))]
            Err(without("ndarray"))
        }
        _ => {
            let index = match name.strip_prefix("cuda") {
                Some("") => Some(0),
                Some(rest) => rest.strip_prefix(':').and_then(|index| index.parse::<usize>().ok()),
                None => None,
            };
            match index {
                Some(index) => cuda(index).ok_or_else(|| without("cuda"))?,
                None => Err("known are cpu, flex, ndarray, cuda, cuda:N".to_owned()),
            }
        }
    }
}

#[cfg(feature = "cuda")]
fn cuda(index: usize) -> Option<Result<Device, String>> {
    use cubecl_runtime::config::{CubeClRuntimeConfig, RuntimeConfig};
    // Compiling a model's kernels takes a minute or more. A configuration that was already read stays as it is.
    let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
    config.compilation.cache = true;
    CubeClRuntimeConfig::try_set(config);
    let found = Device::enumerate(burn::tensor::DeviceType::Cuda).len();
    Some(if index < found {
        Ok(Device::cuda(index))
    } else {
        Err(match found {
            0 => "no CUDA device was found on this machine: use --device cpu, or check the driver".to_owned(),
            _ => format!("this machine's CUDA devices are cuda:0 to cuda:{}", found - 1),
        })
    })
}

#[cfg(not(feature = "cuda"))]
fn cuda(_index: usize) -> Option<Result<Device, String>> {
    None
}
