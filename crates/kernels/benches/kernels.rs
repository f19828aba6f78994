//! Every fused operation on flex, forward and backward, beside its composed body. The peer is `benches/kernels.py`, which runs PyTorch's on
//! the same shapes: a step of 16 rows of 128 tokens, width 128 with four heads, 4,096 words.
//!
//! ```sh
//! RAYON_NUM_THREADS=1 cargo bench --workspace --bench kernels
//! python crates/kernels/benches/kernels.py 1
//! ```

use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use criterion::{Criterion, criterion_group, criterion_main};
use kernels::{AdamWState, AdamWStep, composed};

/// As in the programs: the system's allocator gives large buffers back after each use, and takes their pages anew.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 16;
const TIME: usize = 128;
const TOKENS: usize = BATCH * TIME;
const WIDTH: usize = 128;
const INNER: usize = 352;
const HEADS: usize = 4;
const DIM: usize = WIDTH / HEADS;
const WORDS: usize = 4096;

/// A function of flat leaves.
type Function<'a> = &'a dyn Fn(&[Tensor<1>]) -> Tensor<1>;

fn uniform(size: usize, device: &Device) -> Tensor<1> {
    Tensor::random([size], Distribution::Uniform(-1.0, 1.0), device)
}

/// The sum of what both bodies give, and its gradients.
fn both(c: &mut Criterion, name: &str, sizes: &[usize], fused: Function, composed: Function) {
    let device = Device::flex().autodiff();
    let leaves: Vec<Tensor<1>> = sizes.iter().map(|size| uniform(*size, &device).require_grad()).collect();
    let mut group = c.benchmark_group(name);
    for (body, function) in [("fused", fused), ("composed", composed)] {
        group.bench_function(body, |bencher| bencher.iter(|| function(&leaves).sum().backward()));
    }
    group.finish();
}

fn training(c: &mut Criterion) {
    let device = Device::flex().autodiff();
    let wide = |x: &Tensor<1>, width: usize| x.clone().reshape([BATCH, TIME, width]);
    let heads = |x: &Tensor<1>| x.clone().reshape([BATCH, HEADS, TIME, DIM]);
    let words: Vec<i64> = (0..TOKENS as i64).map(|i| i * 7919 % WORDS as i64).collect();
    let targets = Tensor::<1, Int>::from_data(TensorData::new(words, [TOKENS]), &device);
    let angles: Vec<f32> = (0..TIME * DIM / 2)
        .map(|i| (i / (DIM / 2)) as f32 / 10_000f32.powf((i % (DIM / 2)) as f32 / (DIM / 2) as f32))
        .collect();
    let angles = Tensor::<2>::from_data(TensorData::new(angles, [TIME, DIM / 2]), &device);
    let (cos, sin) = (angles.clone().cos(), angles.sin());

    both(
        c,
        "rms_norm",
        &[TOKENS * WIDTH, WIDTH],
        &|x| kernels::rms_norm(wide(&x[0], WIDTH), x[1].clone(), 1e-5).flatten(0, 2),
        &|x| composed::rms_norm(wide(&x[0], WIDTH), x[1].clone(), 1e-5).flatten(0, 2),
    );
    both(
        c,
        "swiglu",
        &[TOKENS * INNER, TOKENS * INNER],
        &|x| kernels::swiglu(wide(&x[0], INNER), wide(&x[1], INNER)).flatten(0, 2),
        &|x| composed::swiglu(wide(&x[0], INNER), wide(&x[1], INNER)).flatten(0, 2),
    );
    let by_token = |x: &Tensor<1>| x.clone().reshape([BATCH, TIME, HEADS, DIM]);
    both(
        c,
        "rotary",
        &[TOKENS * WIDTH],
        &|x| kernels::rotary(by_token(&x[0]), cos.clone(), sin.clone()).flatten(0, 3),
        &|x| composed::rotary(by_token(&x[0]), cos.clone(), sin.clone()).flatten(0, 3),
    );
    both(
        c,
        "causal_attention",
        &[TOKENS * WIDTH; 3],
        &|x| kernels::causal_attention(heads(&x[0]), heads(&x[1]), heads(&x[2]), None, None).flatten(0, 3),
        &|x| composed::causal_attention(heads(&x[0]), heads(&x[1]), heads(&x[2]), None, None).flatten(0, 3),
    );
    let (states, head) = (
        |x: &Tensor<1>| x.clone().reshape([TOKENS, WIDTH]),
        |x: &Tensor<1>| x.clone().reshape([WORDS, WIDTH]),
    );
    both(
        c,
        "token_log_probs",
        &[TOKENS * WIDTH, WORDS * WIDTH],
        &|x| kernels::token_log_probs(states(&x[0]), head(&x[1]), targets.clone(), 1.0, 1024).flatten(0, 1),
        &|x| composed::token_log_probs(states(&x[0]), head(&x[1]), targets.clone(), 1.0).flatten(0, 1),
    );
    let logits = |x: &Tensor<1>| x.clone().reshape([TOKENS, WORDS]);
    both(
        c,
        "logit_log_probs",
        &[TOKENS * WORDS],
        &|x| kernels::logit_log_probs(logits(&x[0]), targets.clone(), 1.0, 1024).flatten(0, 1),
        &|x| composed::logit_log_probs(logits(&x[0]), targets.clone(), 1.0).flatten(0, 1),
    );
}

/// One update of a million numbers, without a graph.
fn optimizer(c: &mut Criterion) {
    let device = Device::flex();
    let size = 1 << 20;
    let grad = uniform(size, &device);
    let step = AdamWStep { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, step: 3 };
    type Update = fn(Tensor<1>, Tensor<1>, AdamWState<1>, &AdamWStep) -> (Tensor<1>, AdamWState<1>);
    let bodies: [(&str, Update); 2] = [("fused", kernels::adamw_step), ("composed", composed::adamw_step)];
    let mut group = c.benchmark_group("adamw_step");
    for (body, update) in bodies {
        let zeros = || Tensor::<1>::zeros([size], &device);
        let mut now = Some((uniform(size, &device), AdamWState { first: zeros(), second: zeros() }));
        group.bench_function(body, |bencher| {
            bencher.iter(|| {
                // Moved in and out, as an optimiser does: what is not shared is updated in place.
                let (param, state) = now.take().expect("it is put back");
                now = Some(update(param, grad.clone(), state, &step));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, training, optimizer);
criterion_main!(benches);
