//! Every operation of `kernels`, forward and backward, and the matrix products under them.

use anyhow::Result;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use kernels::{AdamWState, AdamWStep};

use crate::check::{Pair, Part, Report, numbers};

/// The parts of this file.
pub(crate) const PARTS: &[(&str, Part)] = &[
    ("matrix products", matmul),
    ("rms_norm", rms_norm),
    ("swiglu", swiglu),
    ("rotary", rotary),
    ("causal_attention", causal_attention),
    ("decode_attention", decode_attention),
    ("token_log_probs", token_log_probs),
    ("log_softmax", log_softmax),
    ("adamw_step", adamw_step),
    ("in-place writes", in_place),
];

/// A function of flat tensors, giving a flat tensor.
type Function<'a> = &'a dyn Fn(&[Tensor<1>]) -> Tensor<1>;

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.cast(DType::F32).into_data().iter::<f32>().collect()
}

fn leaves(inputs: &[Vec<f32>], device: &Device, dtype: DType) -> Vec<Tensor<1>> {
    let leaf = |x: &Vec<f32>| {
        let data = TensorData::new(x.clone(), [x.len()]).convert_dtype(dtype);
        Tensor::from_data(data, (device, dtype))
    };
    inputs.iter().map(leaf).collect()
}

/// Value and gradients of `sum(weight * f(inputs))`.
fn gradients(f: Function, inputs: &[Vec<f32>], device: &Device) -> (Vec<f32>, Vec<Vec<f32>>) {
    let device = device.clone().autodiff();
    let leaves: Vec<Tensor<1>> =
        leaves(inputs, &device, DType::F32).into_iter().map(Tensor::require_grad).collect();
    let out = f(&leaves);
    let weight = Tensor::<1>::from_floats(numbers(out.dims()[0], 99).as_slice(), &device);
    let value = values(out.clone().inner());
    let gradients = (out * weight).sum().backward();
    let gradient = |x: &Tensor<1>| x.grad(&gradients).map(values).unwrap_or_else(|| vec![f32::NAN]);
    (value, leaves.iter().map(gradient).collect())
}

/// Values and gradients in f32, and values in bf16.
fn both_ways(pair: &Pair, report: &mut Report, name: &str, inputs: &[Vec<f32>], f: Function) -> Result<()> {
    let (expected, expected_gradients) = gradients(f, inputs, pair.reference);
    let (found, found_gradients) = gradients(f, inputs, pair.device);
    report.compare(name, &found, &expected, 1.0)?;
    for (i, (found, expected)) in found_gradients.iter().zip(&expected_gradients).enumerate() {
        report.compare(&format!("{name}: gradient of input {i}"), found, expected, 2.0)?;
    }
    forward(pair, report, name, inputs, f)
}

/// Values in f32 and bf16 on the inner device, where operations may take another path.
fn forward(pair: &Pair, report: &mut Report, name: &str, inputs: &[Vec<f32>], f: Function) -> Result<()> {
    let run = |device: &Device, dtype: DType| values(f(&leaves(inputs, device, dtype)));
    let expected = run(pair.reference, DType::F32);
    report.compare(&format!("{name}, no graph"), &run(pair.device, DType::F32), &expected, 1.0)?;
    if pair.bf16 {
        let found = run(pair.device, DType::BF16);
        // Absolute, not in units of the f32 tolerance: eight bits of each number are left.
        report.compare_within(&format!("{name}, bf16"), &found, &expected, 2e-2)?;
    }
    Ok(())
}

fn scaled(count: usize, seed: u64, scale: f32) -> Vec<f32> {
    numbers(count, seed).into_iter().map(|x| x * scale).collect()
}

fn integers<const D: usize>(values: Vec<i32>, shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Shapes as decoding, prefill and training meet them; the second factor is stored transposed, as weights are.
fn matmul(pair: &Pair, report: &mut Report) -> Result<()> {
    for [m, n, k] in [[1, 192, 576], [16, 576, 1536], [200, 1536, 576], [64, 4096, 64]] {
        let inputs = [numbers(m * k, 1), numbers(n * k, 2)];
        let product = |x: &[Tensor<1>]| {
            x[0].clone().reshape([m, k]).matmul(x[1].clone().reshape([n, k]).transpose()).flatten(0, 1)
        };
        both_ways(pair, report, &format!("matmul [{m}, {k}] x [{n}, {k}]T"), &inputs, &product)?;
    }
    Ok(())
}

fn rms_norm(pair: &Pair, report: &mut Report) -> Result<()> {
    for [batch, time, dim] in [[2, 3, 5], [4, 33, 576]] {
        let inputs = [scaled(batch * time * dim, 1, 2.0), numbers(dim, 2)];
        both_ways(pair, report, &format!("rms_norm [{batch}, {time}, {dim}]"), &inputs, &|x| {
            kernels::rms_norm(x[0].clone().reshape([batch, time, dim]), x[1].clone(), 1e-5).flatten(0, 2)
        })?;
    }
    Ok(())
}

fn swiglu(pair: &Pair, report: &mut Report) -> Result<()> {
    for shape in [[2, 3, 5], [4, 33, 172]] {
        let count = shape.iter().product();
        both_ways(
            pair,
            report,
            &format!("swiglu {shape:?}"),
            &[scaled(count, 1, 6.0), numbers(count, 2)],
            &|x| kernels::swiglu(x[0].clone().reshape(shape), x[1].clone().reshape(shape)).flatten(0, 2),
        )?;
    }
    Ok(())
}

fn rotary(pair: &Pair, report: &mut Report) -> Result<()> {
    for [batch, time, heads, dim] in [[2, 3, 2, 6], [4, 33, 9, 64], [16, 1, 9, 64]] {
        let half = dim / 2;
        for rows in [time, batch * time] {
            let shape = [batch, time, heads, dim];
            let name = format!("rotary {shape:?} by a table of {rows}");
            both_ways(pair, report, &name, &[numbers(shape.iter().product(), 3)], &|x| {
                let angles: Vec<f32> = (0..rows * half)
                    .map(|i| (i / half % time + i / half) as f32 / 3f32.powf((i % half) as f32))
                    .collect();
                let table = |f: fn(f32) -> f32| {
                    let values: Vec<f32> = angles.iter().map(|a| f(*a)).collect();
                    let device = x[0].device();
                    Tensor::<2>::from_data(TensorData::new(values, [rows, half]), (&device, DType::F32))
                };
                kernels::rotary(x[0].clone().reshape(shape), table(f32::cos), table(f32::sin)).flatten(0, 3)
            })?;
        }
    }
    Ok(())
}

fn causal_attention(pair: &Pair, report: &mut Report) -> Result<()> {
    // batch, heads, key heads, rows, columns, dim, window, segments
    let cases = [
        (2, 4, 2, 5, 5, 6, None, false),
        (2, 9, 3, 70, 70, 64, None, false),
        (2, 4, 2, 33, 33, 16, Some(7), true),
        (2, 4, 2, 5, 12, 8, Some(4), false),
    ];
    for (batch, heads, kv, rows, columns, dim, window, segmented) in cases {
        let inputs = [
            scaled(batch * heads * rows * dim, 1, 2.0),
            scaled(batch * kv * columns * dim, 2, 2.0),
            numbers(batch * kv * columns * dim, 3),
        ];
        let name = format!(
            "causal_attention {heads}/{kv} heads, {rows} of {columns}, window {window:?}, segments {segmented}"
        );
        both_ways(pair, report, &name, &inputs, &|x| {
            // Heads behind time in memory, as a model's projections leave them.
            let take = |x: &Tensor<1>, heads: usize, time: usize| {
                x.clone().reshape([batch, time, heads, dim]).swap_dims(1, 2)
            };
            let (q, k, v) = (take(&x[0], heads, rows), take(&x[1], kv, columns), take(&x[2], kv, columns));
            let segments = segmented.then(|| {
                let numbers = (0..batch * columns).map(|i| (i % columns / (2 + i / columns * 3)) as i32);
                integers(numbers.collect(), [batch, columns], &q.device())
            });
            kernels::causal_attention(q, k, v, segments, window).flatten(0, 3)
        })?;
    }
    Ok(())
}

fn decode_attention(pair: &Pair, report: &mut Report) -> Result<()> {
    for [batch, heads, kv, capacity, dim] in [[3, 4, 2, 7, 6], [16, 9, 3, 192, 64]] {
        let inputs = [
            scaled(batch * heads * dim, 1, 2.0),
            scaled(batch * kv * capacity * dim, 2, 2.0),
            numbers(batch * kv * capacity * dim, 3),
        ];
        forward(
            pair,
            report,
            &format!("decode_attention {heads}/{kv} heads, {capacity} slots"),
            &inputs,
            &|x| {
                let lengths = (0..batch).map(|row| (1 + row * 5 % capacity) as i32).collect();
                let lengths = integers(lengths, [batch], &x[0].device());
                let cache = |x: &Tensor<1>| x.clone().reshape([batch, kv, capacity, dim]);
                let q = x[0].clone().reshape([batch, heads, dim]);
                kernels::decode_attention(q, cache(&x[1]), cache(&x[2]), lengths).flatten(0, 2)
            },
        )?;
    }
    Ok(())
}

fn token_log_probs(pair: &Pair, report: &mut Report) -> Result<()> {
    for (tokens, dim, vocabulary, chunk, temperature) in [(7, 5, 11, 3, 0.7), (130, 64, 1000, 64, 1.0)] {
        let inputs = [scaled(tokens * dim, 1, 2.0), scaled(vocabulary * dim, 2, 0.5)];
        both_ways(pair, report, &format!("token_log_probs [{tokens}, {vocabulary}]"), &inputs, &|x| {
            let targets = (0..tokens).map(|i| ((i * 7 + 1) % vocabulary) as i32).collect();
            let targets = integers(targets, [tokens], &x[0].device());
            let hidden = x[0].clone().reshape([tokens, dim]);
            let head = x[1].clone().reshape([vocabulary, dim]);
            kernels::token_log_probs(hidden, head, targets, temperature, chunk).flatten(0, 1)
        })?;
    }
    // A row that the loss leaves out may hold NaN: nothing of it reaches the gradients.
    let masked = |device: &Device| {
        let device = device.clone().autodiff();
        let mut hidden = numbers(4 * 3, 1);
        hidden[3..6].fill(f32::NAN);
        let leaves = leaves(&[hidden, numbers(5 * 3, 2)], &device, DType::F32);
        let leaves: Vec<Tensor<1>> = leaves.into_iter().map(Tensor::require_grad).collect();
        let out = kernels::token_log_probs(
            leaves[0].clone().reshape([4, 3]),
            leaves[1].clone().reshape([5, 3]),
            integers(vec![0, 1, 2, 3], [4], &device),
            1.0,
            2,
        );
        let kept = Tensor::<1, Int>::from_data([0, 2, 3], &device.clone().inner());
        let gradients = out.select(1, kept).sum().backward();
        leaves.iter().flat_map(|x| x.grad(&gradients).map(values).unwrap_or_default()).collect::<Vec<f32>>()
    };
    let (found, expected) = (masked(pair.device), masked(pair.reference));
    report.compare("token_log_probs: gradients beside a masked NaN", &found, &expected, 2.0)
}

fn log_softmax(pair: &Pair, report: &mut Report) -> Result<()> {
    let inputs = [scaled(16 * 1000, 1, 8.0)];
    forward(pair, report, "log_softmax [16, 1000]", &inputs, &|x| {
        kernels::log_softmax(x[0].clone().reshape([16, 1000])).flatten(0, 1)
    })
}

fn adamw_step(pair: &Pair, report: &mut Report) -> Result<()> {
    let run = |device: &Device| {
        let tensor = |seed: u64| leaves(&[numbers(3000, seed)], device, DType::F32).remove(0);
        let (mut param, mut state) =
            (tensor(1), AdamWState { first: tensor(2) * 0.01, second: tensor(3).square() });
        for step in 1..=3 {
            let step = AdamWStep { lr: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 1e-2, step };
            (param, state) = kernels::adamw_step(param, tensor(3 + step.step), state, &step);
        }
        [values(param), values(state.first), values(state.second)]
    };
    let (found, expected) = (run(pair.device), run(pair.reference));
    for (i, name) in ["parameter", "first moment", "second moment"].into_iter().enumerate() {
        report.compare(&format!("adamw_step: {name}"), &found[i], &expected[i], 0.1)?;
    }
    Ok(())
}

/// What a key-value cache does: columns written in place, rows chosen again, while a view is alive.
fn in_place(pair: &Pair, report: &mut Report) -> Result<()> {
    let run = |device: &Device| {
        let mut cache = Tensor::<4>::zeros([3, 2, 9, 5], device);
        let mut seen = Vec::new();
        for column in 0..9 {
            let new = leaves(&[numbers(30, column as u64)], device, DType::F32).remove(0);
            // A projection's layout: heads behind time.
            let new = new.reshape([3, 1, 2, 5]).swap_dims(1, 2);
            cache.inplace(|cache| cache.slice_assign([0..3, 0..2, column..column + 1, 0..5], new));
            seen.extend(values(cache.clone().narrow(2, 0, column + 1).sum_dim(2)));
        }
        let rows = Tensor::<1, Int>::from_data([2, 0, 0], device);
        seen.extend(values(cache.narrow(2, 3, 5).select(0, rows)));
        seen
    };
    report.compare("in-place writes of a cache", &run(pair.device), &run(pair.reference), 0.1)
}
