//! At sizes that are cut into many pieces: the same bits at any number of threads, and the composed bodies' values.

use burn::tensor::{Device, Int, Tensor, TensorData};
use kernels::composed;

/// Numbers that look random and are the same everywhere.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / (1 << 24) as f32 * 2.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn tensor<const D: usize>(shape: [usize; D], seed: u32) -> Tensor<D> {
    let count = shape.iter().product();
    Tensor::from_data(TensorData::new(numbers(count, seed), shape), &Device::flex().autodiff()).require_grad()
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// The value, and the gradients of its weighted sum.
fn run<const D: usize, const R: usize>(
    inputs: Vec<Tensor<D>>,
    extra: Vec<Tensor<2>>,
    f: impl Fn(&[Tensor<D>], &[Tensor<2>]) -> Tensor<R>,
) -> Vec<Vec<f32>> {
    let value = f(&inputs, &extra);
    let weights = Tensor::<R>::from_data(
        TensorData::new(numbers(value.dims().iter().product(), 99), value.dims()),
        &Device::flex().autodiff(),
    );
    let gradients = (value.clone() * weights).sum().backward();
    let mut all = vec![host(value)];
    all.extend(inputs.iter().map(|t| host(t.grad(&gradients).expect("a gradient"))));
    all.extend(extra.iter().filter_map(|t| t.grad(&gradients).map(host)));
    all
}

fn check(name: &str, fused: impl Fn() -> Vec<Vec<f32>> + Sync, composed: impl Fn() -> Vec<Vec<f32>>) {
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(&fused)
    };
    let one = with(1);
    for threads in [2, 3, 4] {
        let bits = |all: &[Vec<f32>]| all.iter().flatten().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert!(bits(&one) == bits(&with(threads)), "{name}: {threads} threads give other bits than one");
    }
    for (part, (a, b)) in one.iter().zip(composed()).enumerate() {
        assert_eq!(a.len(), b.len(), "{name}, part {part}");
        for (x, y) in a.iter().zip(&b) {
            assert!((x - y).abs() <= 2e-4 * (1.0 + y.abs()), "{name}, part {part}: {x} against {y}");
        }
    }
}

type Attention = fn(Tensor<4>, Tensor<4>, Tensor<4>, Option<Tensor<2, Int>>, Option<usize>) -> Tensor<4>;

#[test]
fn attention() {
    let inputs = || vec![tensor([6, 4, 130, 16], 1), tensor([6, 4, 130, 16], 2), tensor([6, 4, 130, 16], 3)];
    let call = |f: Attention| {
        run(inputs(), vec![], move |x, _| f(x[0].clone(), x[1].clone(), x[2].clone(), None, None))
    };
    check("attention", || call(kernels::causal_attention), || call(composed::causal_attention));
}

#[test]
fn token_log_probs() {
    let targets = || {
        let ids: Vec<i32> = (0..900).map(|i| (i * 37) % 1100).collect();
        Tensor::<1, Int>::from_data(TensorData::new(ids, [900]), &Device::flex().autodiff())
    };
    let call = |fused: bool| {
        run(vec![tensor([900, 48], 4)], vec![tensor([1100, 48], 5)], |x, head| {
            let (hidden, head) = (x[0].clone(), head[0].clone());
            if fused {
                kernels::token_log_probs(hidden, head, targets(), 0.8, 256)
            } else {
                composed::token_log_probs(hidden, head, targets(), 0.8)
            }
        })
    };
    check("token_log_probs", || call(true), || call(false));
}

/// Rows that a loss left out, with NaN in them, among rows and words of many tiles; and chunks down to a single row.
#[test]
fn token_log_probs_with_holes() {
    let (tokens, dim, vocabulary) = (400, 20, 2100);
    let device = Device::flex().autodiff();
    let hole = |i: usize| i % 3 == 1 || (90..200).contains(&i);
    let call = |fused: bool, chunk: usize| {
        let mut hidden = numbers(tokens * dim, 21);
        for (i, row) in hidden.chunks_mut(dim).enumerate().filter(|(i, _)| hole(*i)) {
            row.fill(if fused { f32::NAN } else { i as f32 * 1e-3 });
        }
        let hidden = Tensor::<2>::from_data(TensorData::new(hidden, [tokens, dim]), &device).require_grad();
        let head = tensor([vocabulary, dim], 22);
        let ids: Vec<i32> = (0..tokens as i32).map(|i| (i * 37) % vocabulary as i32).collect();
        let targets = Tensor::<1, Int>::from_data(TensorData::new(ids, [tokens]), &device);
        let scaled = head.clone() * 3.0;
        let out = if fused {
            kernels::token_log_probs(hidden.clone(), scaled, targets, 1.3, chunk)
        } else {
            composed::token_log_probs(hidden.clone(), scaled, targets, 1.3)
        };
        let holes: Vec<bool> = (0..2 * tokens).map(|i| hole(i % tokens)).collect();
        let holes = Tensor::from_data(TensorData::new(holes, [2, tokens]), &device);
        let value = out.mask_fill(holes, 0.0);
        let weights = Tensor::<2>::from_data(TensorData::new(numbers(2 * tokens, 23), [2, tokens]), &device);
        let gradients = (value.clone() * weights).sum().backward();
        vec![
            host(value),
            host(hidden.grad(&gradients).expect("a gradient")),
            host(head.grad(&gradients).expect("a gradient")),
        ]
    };
    for chunk in [1, 40, 100_000] {
        check("token_log_probs with holes", || call(true, chunk), || call(false, chunk));
    }
}

/// Logits with impossible words, whole segments of them, impossible targets without a gradient, and rows of NaN that are left out.
#[test]
fn logit_log_probs() {
    let (tokens, vocabulary) = (60, 9001);
    let device = Device::flex().autodiff();
    let call = |fused: bool| {
        let mut logits = numbers(tokens * vocabulary, 31);
        logits.iter_mut().for_each(|x| *x *= 12.0);
        for (i, row) in logits.chunks_mut(vocabulary).enumerate() {
            match i % 4 {
                1 => row.iter_mut().step_by(3).for_each(|x| *x = f32::NEG_INFINITY),
                2 => row[..5000].fill(f32::NEG_INFINITY),
                3 if fused => row.fill(f32::NAN),
                _ => {}
            }
        }
        let logits =
            Tensor::<2>::from_data(TensorData::new(logits, [tokens, vocabulary]), &device).require_grad();
        let ids: Vec<i32> = (0..tokens as i32).map(|i| 5000 + i * 61).collect();
        let targets = Tensor::<1, Int>::from_data(TensorData::new(ids.clone(), [tokens]), &device);
        let out = if fused {
            kernels::logit_log_probs(logits.clone(), targets, 0.7, 16)
        } else {
            composed::logit_log_probs(logits.clone(), targets, 0.7)
        };
        let hole = |i: usize| i % 4 == 3 || (i % 4 == 1 && ids[i] % 3 == 0);
        let holes: Vec<bool> = (0..2 * tokens).map(|i| hole(i % tokens)).collect();
        let holes = Tensor::from_data(TensorData::new(holes, [2, tokens]), &device);
        let value = out.mask_fill(holes, 0.0);
        let weights = Tensor::<2>::from_data(TensorData::new(numbers(2 * tokens, 32), [2, tokens]), &device);
        let gradients = (value.clone() * weights).sum().backward();
        vec![host(value), host(logits.grad(&gradients).expect("a gradient"))]
    };
    check("logit_log_probs", || call(true), || call(false));
}

#[test]
fn elementwise() {
    let call = |fused: bool| {
        let norm = run(vec![tensor([16, 130, 64], 6)], vec![tensor([1, 64], 7)], |x, w| {
            let weight = w[0].clone().reshape([64]);
            if fused {
                kernels::rms_norm(x[0].clone(), weight, 1e-5)
            } else {
                composed::rms_norm(x[0].clone(), weight, 1e-5)
            }
        });
        let gate = run(vec![tensor([16, 130, 192], 8), tensor([16, 130, 192], 9)], vec![], |x, _| {
            let (gate, up) = (x[0].clone(), x[1].clone());
            if fused { kernels::swiglu(gate, up) } else { composed::swiglu(gate, up) }
        });
        let turned = run(vec![tensor([16, 130, 4, 16], 10)], vec![], |x, _| {
            let table = |seed| {
                Tensor::<2>::from_data(TensorData::new(numbers(130 * 8, seed), [130, 8]), &Device::flex())
            };
            let x = x[0].clone();
            if fused {
                kernels::rotary(x, table(11), table(12))
            } else {
                composed::rotary(x, table(11), table(12))
            }
        });
        [norm, gate, turned].concat()
    };
    check("elementwise", || call(true), || call(false));
}
