//! One check for every operation: values and gradients of the fused body against the composed one, and against finite
//! differences.
#![allow(dead_code)]
// burn-ndarray is deprecated upstream and still asked for.
#![allow(deprecated)]

use burn::tensor::{Device, Tensor};

/// A function of flat tensors, giving a flat tensor.
pub type Function<'a> = &'a dyn Fn(&[Tensor<1>]) -> Tensor<1>;

/// Numbers in `[-1, 1)` that look random, the same everywhere.
pub fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// CPU devices this build has.
pub fn devices() -> Vec<(&'static str, Device)> {
    vec![("flex", Device::flex()), ("ndarray", Device::ndarray())]
}

pub fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_into_vec::<f32>().unwrap()
}

/// Value and gradients of `sum(weight * f(inputs))`.
pub fn evaluate(f: Function, inputs: &[Vec<f32>], device: &Device) -> (Vec<f32>, Vec<Vec<f32>>) {
    let device = device.clone().autodiff();
    let leaves: Vec<Tensor<1>> =
        inputs.iter().map(|x| Tensor::from_floats(x.as_slice(), &device).require_grad()).collect();
    let out = f(&leaves);
    let weight = Tensor::<1>::from_floats(numbers(out.dims()[0], 99).as_slice(), &device);
    let value = values(out.clone());
    let gradients = (out * weight).sum().backward();
    let gradients = leaves
        .iter()
        .map(|x| x.grad(&gradients).map(values).unwrap_or_else(|| vec![f32::NAN; x.dims()[0]]))
        .collect();
    (value, gradients)
}

pub fn assert_near(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    for (i, (&x, &y)) in found.iter().zip(expected).enumerate() {
        let near = (x - y).abs() <= tolerance * (1.0 + y.abs());
        assert!(near, "{what}[{i}]: found {x}, expected {y}");
    }
}

/// Fused against composed, on every CPU device; the gradient also against a central difference along a random direction.
pub fn check(name: &str, inputs: &[Vec<f32>], fused: Function, composed: Function) {
    for (backend, device) in devices() {
        let (value, gradients) = evaluate(fused, inputs, &device);
        let (expected, expected_gradients) = evaluate(composed, inputs, &device);
        assert_near(&format!("{name} on {backend}"), &value, &expected, 1e-5);
        for (i, (x, y)) in gradients.iter().zip(&expected_gradients).enumerate() {
            assert_near(&format!("{name} on {backend}: gradient of input {i}"), x, y, 2e-5);
        }
        difference(&format!("{name} on {backend}"), fused, inputs, &gradients, &device);
        // Without a graph the same values come out.
        let plain: Vec<Tensor<1>> =
            inputs.iter().map(|x| Tensor::from_floats(x.as_slice(), &device)).collect();
        assert_near(&format!("{name} on {backend}, inner device"), &values(fused(&plain)), &value, 2e-6);
    }
}

fn difference(name: &str, f: Function, inputs: &[Vec<f32>], gradients: &[Vec<f32>], device: &Device) {
    let step = 1e-2_f32;
    for i in 0..inputs.len() {
        let direction = numbers(inputs[i].len(), 7 + i as u64);
        let moved = |sign: f32| -> f64 {
            let tensors: Vec<Tensor<1>> = inputs
                .iter()
                .enumerate()
                .map(|(j, x)| {
                    let x: Vec<f32> = if i == j {
                        x.iter().zip(&direction).map(|(x, d)| x + sign * step * d).collect()
                    } else {
                        x.clone()
                    };
                    Tensor::from_floats(x.as_slice(), device)
                })
                .collect();
            let out = values(f(&tensors));
            let weight = numbers(out.len(), 99);
            out.iter().zip(&weight).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum()
        };
        let slope = (moved(1.0) - moved(-1.0)) / (2.0 * f64::from(step));
        let expected: f64 =
            gradients[i].iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
        let size: f64 = gradients[i].iter().map(|g| f64::from(*g).abs()).sum::<f64>().max(1.0);
        assert!(
            (slope - expected).abs() <= 2e-3 * size,
            "{name}: slope along input {i} is {slope}, the gradient says {expected} (size {size})"
        );
    }
}
