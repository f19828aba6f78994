//! Every operation against its composed body and against finite differences, on every CPU backend.

mod common;

use burn::tensor::{Device, Int, Tensor};
use common::{check, devices, evaluate, numbers, values};

fn scaled(count: usize, seed: u64, scale: f32) -> Vec<f32> {
    numbers(count, seed).into_iter().map(|x| x * scale).collect()
}

fn integers<const D: usize>(values: &[i64], shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    Tensor::<1, Int>::from_ints(values, device).reshape(shape)
}

#[test]
fn rms_norm_matches() {
    for [batch, time, dim] in [[2, 3, 5], [3, 7, 64], [1, 130, 33]] {
        let inputs = [scaled(batch * time * dim, 1, 2.0), numbers(dim, 2)];
        let shape = |x: &[Tensor<1>]| (x[0].clone().reshape([batch, time, dim]), x[1].clone());
        check(
            "rms_norm",
            &inputs,
            &|x| {
                let (x, w) = shape(x);
                kernels::rms_norm(x, w, 1e-5).flatten(0, 2)
            },
            &|x| {
                let (x, w) = shape(x);
                kernels::composed::rms_norm(x, w, 1e-5).flatten(0, 2)
            },
        );
    }
}

#[test]
fn swiglu_matches() {
    for shape in [[2, 3, 5], [2, 70, 172]] {
        let count = shape.iter().product();
        check(
            "swiglu",
            &[scaled(count, 1, 6.0), numbers(count, 2)],
            &|x| kernels::swiglu(x[0].clone().reshape(shape), x[1].clone().reshape(shape)).flatten(0, 2),
            &|x| {
                kernels::composed::swiglu(x[0].clone().reshape(shape), x[1].clone().reshape(shape))
                    .flatten(0, 2)
            },
        );
    }
}

#[test]
fn rotary_matches_and_takes_a_table_per_token() {
    for [batch, time, heads, dim] in [[2, 3, 2, 6], [3, 33, 4, 16]] {
        let half = dim / 2;
        let table = |device: &Device, rows: usize| {
            let angles: Vec<f32> =
                (0..rows * half).map(|i| ((i / half) % time) as f32 / 3f32.powf((i % half) as f32)).collect();
            let angles = Tensor::<1>::from_floats(angles.as_slice(), device).reshape([rows, half]);
            (angles.clone().cos(), angles.sin())
        };
        for rows in [time, batch * time] {
            let shape = [batch, time, heads, dim];
            check(
                "rotary",
                &[numbers(shape.iter().product(), 3)],
                &|x| {
                    let (cos, sin) = table(&x[0].device(), rows);
                    kernels::rotary(x[0].clone().reshape(shape), cos, sin).flatten(0, 3)
                },
                &|x| {
                    let (cos, sin) = table(&x[0].device(), time);
                    kernels::composed::rotary(x[0].clone().reshape(shape), cos, sin).flatten(0, 3)
                },
            );
        }
    }
}

#[test]
fn causal_attention_matches() {
    // batch, heads, kv heads, time, dim
    for (case, [batch, heads, kv, time, dim]) in
        [[1, 1, 1, 1, 2], [2, 4, 2, 5, 6], [1, 2, 1, 70, 16], [2, 2, 2, 33, 24]].into_iter().enumerate()
    {
        for window in [None, Some(1), Some(3), Some(40)] {
            for segmented in [false, true] {
                let inputs = [
                    scaled(batch * heads * time * dim, 1, 2.0),
                    scaled(batch * kv * time * dim, 2, 2.0),
                    numbers(batch * kv * time * dim, 3),
                ];
                let run = |x: &[Tensor<1>], fused: bool| {
                    // Heads behind time in memory, as a model's projections leave them.
                    let take = |x: &Tensor<1>, heads: usize| {
                        x.clone().reshape([batch, time, heads, dim]).swap_dims(1, 2)
                    };
                    let (q, k, v) = (take(&x[0], heads), take(&x[1], kv), take(&x[2], kv));
                    let segments = segmented.then(|| {
                        let numbers: Vec<i64> =
                            (0..batch * time).map(|i| ((i % time) / (2 + i / time * 3)) as i64).collect();
                        integers(&numbers, [batch, time], &q.device())
                    });
                    let out = if fused {
                        kernels::causal_attention(q, k, v, segments, window)
                    } else {
                        kernels::composed::causal_attention(q, k, v, segments, window)
                    };
                    assert_eq!(out.dims(), [batch, heads, time, dim]);
                    out.flatten(0, 3)
                };
                let name = format!("causal_attention case {case} window {window:?} segments {segmented}");
                check(&name, &inputs, &|x| run(x, true), &|x| run(x, false));
            }
        }
    }
}

#[test]
fn causal_attention_matches_when_a_prefix_comes_from_a_cache() {
    let ([batch, heads, kv, dim], [rows, columns]) = ([2, 4, 2, 8], [5, 12]);
    let inputs = [
        numbers(batch * heads * rows * dim, 1),
        numbers(batch * kv * columns * dim, 2),
        numbers(batch * kv * columns * dim, 3),
    ];
    for window in [None, Some(4)] {
        let take = |x: &[Tensor<1>]| {
            (
                x[0].clone().reshape([batch, heads, rows, dim]),
                x[1].clone().reshape([batch, kv, columns, dim]),
                x[2].clone().reshape([batch, kv, columns, dim]),
            )
        };
        check(
            "causal_attention after a prefix",
            &inputs,
            &|x| {
                let (q, k, v) = take(x);
                kernels::causal_attention(q, k, v, None, window).flatten(0, 3)
            },
            &|x| {
                let (q, k, v) = take(x);
                kernels::composed::causal_attention(q, k, v, None, window).flatten(0, 3)
            },
        );
    }
}

#[test]
fn a_query_of_one_key_returns_its_value() {
    for (_, device) in devices() {
        let q = Tensor::<4>::ones([1, 1, 2, 2], &device);
        let v = Tensor::<1>::from_floats([1.0, 2.0, 3.0, 5.0], &device).reshape([1, 1, 2, 2]);
        let out = kernels::causal_attention(q.clone(), q, v, None, None);
        // The first query sees one key, the second sees two that score the same: their mean.
        common::assert_near("attention by hand", &values(out), &[1.0, 2.0, 2.0, 3.5], 1e-6);
    }
}

#[test]
fn token_log_probs_match() {
    for [tokens, dim, vocabulary] in [[1, 2, 3], [7, 5, 11], [70, 16, 37], [130, 8, 300]] {
        for chunk in [1, 3, 64, 10_000] {
            if tokens > 64 && chunk < 64 {
                continue;
            }
            for temperature in [1.0, 0.7] {
                let inputs = [scaled(tokens * dim, 1, 2.0), scaled(vocabulary * dim, 2, 2.0)];
                let targets: Vec<i64> = (0..tokens).map(|i| ((i * 7 + 1) % vocabulary) as i64).collect();
                let take = |x: &[Tensor<1>]| {
                    (
                        x[0].clone().reshape([tokens, dim]),
                        x[1].clone().reshape([vocabulary, dim]),
                        integers(&targets, [tokens], &x[0].device()),
                    )
                };
                check(
                    &format!(
                        "token_log_probs {tokens} {dim} {vocabulary} chunk {chunk} temperature {temperature}"
                    ),
                    &inputs,
                    &|x| {
                        let (hidden, head, targets) = take(x);
                        kernels::token_log_probs(hidden, head, targets, temperature, chunk).flatten(0, 1)
                    },
                    &|x| {
                        let (hidden, head, targets) = take(x);
                        kernels::composed::token_log_probs(hidden, head, targets, temperature).flatten(0, 1)
                    },
                );
            }
        }
    }
}

#[test]
fn token_log_probs_by_hand() {
    for (_, device) in devices() {
        let hidden = Tensor::<2>::from_floats([[1.0, 0.0]], &device);
        let head = Tensor::<2>::from_floats([[3f32.ln(), 0.0], [0.0, 5.0]], &device);
        let out = values(kernels::token_log_probs(hidden, head, Tensor::from_ints([0], &device), 1.0, 4));
        // Logits ln 3 and 0: probabilities 3/4 and 1/4.
        let entropy = -(0.75 * 0.75f32.ln() + 0.25 * 0.25f32.ln());
        common::assert_near("token_log_probs by hand", &out, &[0.75f32.ln(), entropy], 1e-6);
    }
}

#[test]
fn a_masked_position_with_nan_does_not_leak() {
    for (backend, device) in devices() {
        let device = device.autodiff();
        let mut hidden = numbers(4 * 3, 1);
        hidden[3..6].fill(f32::NAN);
        let hidden = Tensor::<1>::from_floats(hidden.as_slice(), &device).require_grad();
        let head = Tensor::<1>::from_floats(numbers(5 * 3, 2).as_slice(), &device).require_grad();
        let targets = integers(&[0, 1, 2, 3], [4], &device);
        let out = kernels::token_log_probs(
            hidden.clone().reshape([4, 3]),
            head.clone().reshape([5, 3]),
            targets,
            1.0,
            2,
        );
        let mask =
            Tensor::<1, Int>::from_ints([0, 1, 0, 0, 0, 1, 0, 0], &device).reshape([2, 4]).equal_elem(1);
        let gradients = out.mask_fill(mask, 0.0).sum().backward();
        let head = values(head.grad(&gradients).unwrap());
        let hidden = values(hidden.grad(&gradients).unwrap());
        assert!(head.iter().all(|x| x.is_finite()), "{backend}: head {head:?}");
        assert!(head.iter().any(|x| *x != 0.0));
        assert!(hidden[..3].iter().chain(&hidden[6..]).all(|x| x.is_finite() && *x != 0.0));
        assert_eq!(hidden[3..6], [0.0; 3], "{backend}");
    }
}

#[test]
fn no_tokens_give_an_empty_result_with_a_graph() {
    for (_, device) in devices() {
        let inputs = [vec![], numbers(6, 1)];
        let (value, gradients) = evaluate(
            &|x| {
                let device = x[0].device();
                let targets = Tensor::<1, Int>::from_ints([0i64; 0], &device);
                let hidden = x[0].clone().reshape([0, 2]);
                let out = kernels::token_log_probs(hidden, x[1].clone().reshape([3, 2]), targets, 1.0, 2);
                assert_eq!(out.dims(), [2, 0]);
                out.flatten(0, 1)
            },
            &inputs,
            &device,
        );
        assert!(value.is_empty());
        assert_eq!(gradients[1], vec![0.0; 6]);
    }
}

#[test]
fn decode_attention_equals_the_last_row_of_causal_attention() {
    let [batch, heads, kv, capacity, dim] = [3, 4, 2, 9, 8];
    let lengths = [1i64, 9, 4];
    for (backend, device) in devices() {
        let q = Tensor::<1>::from_floats(numbers(batch * heads * dim, 1).as_slice(), &device);
        let q = q.reshape([batch, heads, dim]);
        let cache = |seed: u64| {
            Tensor::<1>::from_floats(numbers(batch * kv * capacity * dim, seed).as_slice(), &device)
                .reshape([batch, kv, capacity, dim])
        };
        let (k, v) = (cache(2), cache(3));
        let out = kernels::decode_attention(
            q.clone(),
            k.clone(),
            v.clone(),
            Tensor::<1, Int>::from_ints(lengths, &device),
        );
        for (row, &length) in lengths.iter().enumerate() {
            let part = |x: &Tensor<4>| x.clone().narrow(0, row, 1).narrow(2, 0, length as usize);
            let q: Tensor<4> = q.clone().narrow(0, row, 1).reshape([1, heads, 1, dim]);
            let expected = kernels::composed::causal_attention(q, part(&k), part(&v), None, None);
            let found = out.clone().narrow(0, row, 1);
            common::assert_near(
                &format!("decode_attention on {backend}"),
                &values(found),
                &values(expected),
                1e-5,
            );
        }
    }
}

#[test]
fn log_softmax_matches() {
    for (backend, device) in devices() {
        let mut logits = scaled(5 * 41, 1, 9.0);
        logits[3] = f32::NEG_INFINITY;
        let logits = Tensor::<1>::from_floats(logits.as_slice(), &device).reshape([5, 41]);
        let found = values(kernels::log_softmax(logits.clone()));
        let expected = values(kernels::composed::log_softmax(logits));
        assert_eq!(found[3], f32::NEG_INFINITY);
        let finite = |x: &[f32]| -> Vec<f32> { x.iter().copied().filter(|x| x.is_finite()).collect() };
        common::assert_near(&format!("log_softmax on {backend}"), &finite(&found), &finite(&expected), 1e-5);
    }
}

#[test]
fn adamw_by_hand_and_against_its_composed_body() {
    let step =
        |step| kernels::AdamWStep { lr: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, step };
    for (backend, device) in devices() {
        let zero = Tensor::<1>::zeros([1], &device);
        let state = kernels::AdamWState { first: zero.clone(), second: zero };
        let one = Tensor::<1>::from_floats([1.0], &device);
        let (param, state) = kernels::adamw_step(one, Tensor::from_floats([0.5], &device), state, &step(1));
        // The first step moves by lr against the sign of the gradient, after decaying by lr * weight_decay.
        common::assert_near("adamw", &values(param), &[0.999 - 0.1], 1e-6);
        common::assert_near("first", &values(state.first), &[0.05], 1e-6);
        common::assert_near("second", &values(state.second), &[0.00025], 1e-6);

        let count = 40_001;
        let start = |seed| Tensor::<1>::from_floats(numbers(count, seed).as_slice(), &device);
        let zero = || kernels::AdamWState { first: start(0).zeros_like(), second: start(0).zeros_like() };
        let (mut a, mut sa, mut b, mut sb) = (start(1), zero(), start(1), zero());
        for t in 1..4 {
            (a, sa) = kernels::adamw_step(a, start(10 + t), sa, &step(t));
            (b, sb) = kernels::composed::adamw_step(b, start(10 + t), sb, &step(t));
        }
        common::assert_near(&format!("adamw on {backend}"), &values(a), &values(b), 1e-5);
        common::assert_near(&format!("adamw first on {backend}"), &values(sa.first), &values(sb.first), 1e-5);
        common::assert_near(
            &format!("adamw second on {backend}"),
            &values(sa.second),
            &values(sb.second),
            1e-5,
        );
    }
}

#[test]
#[should_panic(expected = "expected `[vocabulary, 3]`, found `[5, 4]` for `head`")]
fn a_wrong_head_is_named() {
    let device = Device::flex();
    let _ = kernels::token_log_probs(
        Tensor::zeros([2, 3], &device),
        Tensor::zeros([5, 4], &device),
        Tensor::<1, Int>::from_ints([0, 1], &device),
        1.0,
        8,
    );
}
