//! Devices by name, and proof that they compute.

use burn::tensor::{Device, Tensor};

use crate::Error;

/// The device of a name: `cpu` and `flex` (burn's CPU backend), `ndarray`, `cuda`, `cuda:N`.
///
/// A small known product is computed on it first: with a library missing, a GPU's kernels can fail silently.
///
/// # Errors
/// When the name is unknown, its backend was not built in, no such device is there, or it computes something else.
pub fn device(name: &str) -> Result<Device, Error> {
    let device = by_name(name).map_err(|reason| Error::Device { name: name.to_owned(), reason })?;
    let a = Tensor::<2>::from_data([[1.0, 2.0], [3.0, 4.0]], &device);
    let b = Tensor::<2>::from_data([[5.0, 6.0], [7.0, 8.0]], &device);
    let found: Vec<f32> = a.matmul(b).into_data().iter::<f32>().collect();
    if found != [19.0, 22.0, 43.0, 50.0] {
        let reason =
            format!("it computes {found:?} where [19, 22, 43, 50] is right: check driver and toolkit");
        return Err(Error::Device { name: name.to_owned(), reason });
    }
    Ok(device)
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
    let found = Device::enumerate(burn::tensor::DeviceType::Cuda).len();
    Some(if index < found {
        Ok(Device::cuda(index))
    } else {
        Err(format!("{found} CUDA devices were found on this machine: use --device cpu, or check the driver"))
    })
}

#[cfg(not(feature = "cuda"))]
fn cuda(_index: usize) -> Option<Result<Device, String>> {
    None
}
