//! The fused bodies on the CPU backend, in `f32`.
//!
//! Each operation is a pair of functions on slices, forward and backward. Work is cut into pieces that depend on shapes alone and
//! sums over pieces are taken in order, so that results do not depend on the number of threads.

mod attention;
mod logits;
mod softmax;
mod token_log_probs;

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, NodeGuard, Ops, OpsKind},
};
use burn::backend::{
    Autodiff, Backend, DType, DispatchTensor, DispatchTensorKind, Flex, Shape, TensorMetadata,
    backend_extension,
    tensor::{FloatTensor, IntTensor},
};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::simd::{dot, silu, vectorised};

pub(crate) use logits::{backward as logit_log_probs_backward, forward as logit_log_probs_forward};
pub(crate) use token_log_probs::{backward as token_log_probs_backward, forward as token_log_probs_forward};

/// Elements one task works on, about.
const PIECE: usize = 16 * 1024;

/// Whether a tensor is in the reach of this module: `f32` on flex, with or without a graph.
pub(crate) fn reaches(tensor: &DispatchTensor) -> bool {
    let flex = match &tensor.kind {
        DispatchTensorKind::Flex(_) => true,
        DispatchTensorKind::Autodiff(inner) => matches!(**inner, DispatchTensorKind::Flex(_)),
        #[allow(unreachable_patterns)]
        _ => false,
    };
    flex && tensor.dtype() == DType::F32
}

/// The backend extension: implemented by flex and by autodiff over flex only.
#[backend_extension(Flex, Autodiff)]
pub trait FlexOps: Backend {
    /// See [`rms_norm`](crate::rms_norm).
    fn fused_rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self>;
    /// See [`swiglu`](crate::swiglu).
    fn fused_swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;
    /// See [`rotary`](crate::rotary).
    fn fused_rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
    /// See [`causal_attention`](crate::causal_attention); `segments` `[batch, columns]`, or empty for none.
    fn fused_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        segments: IntTensor<Self>,
        window: usize,
    ) -> FloatTensor<Self>;
    /// See [`adamw_step`](crate::adamw_step); `numbers` are decay, beta1, beta2, step size, root of the second correction, eps.
    fn fused_adamw(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        numbers: [f32; 6],
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl FlexOps for Flex {
    fn fused_rms_norm(x: FlexTensor, weight: FlexTensor, eps: f64) -> FlexTensor {
        let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
        let dim = weight.shape()[0];
        let mut out = vec![0.0; slice(&x).len()];
        let piece = rows_per_piece(dim) * dim;
        if dim > 0 {
            out.par_chunks_mut(piece).zip(slice(&x).par_chunks(piece)).for_each(|(out, x)| {
                rms_norm_rows(out, x, slice(&weight), eps as f32);
            });
        }
        tensor(out, x.shape())
    }

    fn fused_swiglu(gate: FlexTensor, up: FlexTensor) -> FlexTensor {
        let (gate, up) = (gate.to_contiguous(), up.to_contiguous());
        let mut out = vec![0.0; slice(&gate).len()];
        out.par_chunks_mut(PIECE)
            .zip(slice(&gate).par_chunks(PIECE))
            .zip(slice(&up).par_chunks(PIECE))
            .for_each(|((out, gate), up)| swiglu_piece(out, gate, up));
        tensor(out, gate.shape())
    }

    fn fused_rotary(x: FlexTensor, cos: FlexTensor, sin: FlexTensor) -> FlexTensor {
        rotate(x, &cos, &sin, 1.0)
    }

    fn fused_attention(
        q: FlexTensor,
        k: FlexTensor,
        v: FlexTensor,
        segments: FlexTensor,
        window: usize,
    ) -> FlexTensor {
        attention::forward(&q, &k, &v, &attention::segment_numbers(&segments), window).0
    }

    fn fused_adamw(
        mut param: FlexTensor,
        grad: FlexTensor,
        mut first: FlexTensor,
        mut second: FlexTensor,
        numbers: [f32; 6],
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let grad = grad.to_contiguous();
        for tensor in [&mut param, &mut first, &mut second] {
            if !whole(tensor) {
                *tensor = tensor.to_contiguous();
            }
        }
        param
            .storage_mut::<f32>()
            .par_chunks_mut(PIECE)
            .zip(first.storage_mut::<f32>().par_chunks_mut(PIECE))
            .zip(second.storage_mut::<f32>().par_chunks_mut(PIECE))
            .zip(slice(&grad).par_chunks(PIECE))
            .for_each(|(((param, first), second), grad)| adamw_piece(param, first, second, grad, numbers));
        (param, first, second)
    }
}

impl<C: CheckpointStrategy> FlexOps for Autodiff<Flex, C> {
    fn fused_rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node()];
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        record::<C, 2>(nodes, || {
            let out = Flex::fused_rms_norm(x.clone(), weight.clone(), eps);
            (out, vec![x, weight], [eps, 0.0], rms_norm_backward)
        })
    }

    fn fused_swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [gate.node(), up.node()];
        let (gate, up) = (gate.into_primitive(), up.into_primitive());
        record::<C, 2>(nodes, || {
            let out = Flex::fused_swiglu(gate.clone(), up.clone());
            (out, vec![gate, up], [0.0; 2], swiglu_backward)
        })
    }

    fn fused_rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let (x, cos, sin) = (x.into_primitive(), cos.into_primitive(), sin.into_primitive());
        record::<C, 1>(nodes, || {
            let out = rotate(x, &cos, &sin, 1.0);
            (out, vec![cos, sin], [0.0; 2], |saved, grad, _| vec![rotate(grad, &saved[0], &saved[1], -1.0)])
        })
    }

    fn fused_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        segments: IntTensor<Self>,
        window: usize,
    ) -> FloatTensor<Self> {
        let nodes = [q.node(), k.node(), v.node()];
        let (q, k, v) = (q.into_primitive(), k.into_primitive(), v.into_primitive());
        record::<C, 3>(nodes, || {
            let numbers = attention::segment_numbers(&segments);
            let (out, sums) = attention::forward(&q, &k, &v, &numbers, window);
            (out.clone(), vec![q, k, v, segments, out, sums], [window as f64, 0.0], |saved, grad, numbers| {
                let segments = attention::segment_numbers(&saved[3]);
                attention::backward(&saved, &segments, grad, numbers[0] as usize)
            })
        })
    }

    fn fused_adamw(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: [f32; 6],
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        panic!("adamw_step: expected tensors of the inner device")
    }
}

type BackwardBody = fn(Vec<FlexTensor>, FlexTensor, [f64; 2]) -> Vec<FlexTensor>;

/// What a fused operation keeps for its backward pass.
#[derive(Clone, Debug)]
struct Saved {
    tensors: Vec<FlexTensor>,
    numbers: [f64; 2],
    body: BackwardBody,
}

#[derive(Debug)]
struct Fused;

impl<const N: usize> Backward<Flex, N> for Fused {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        let Saved { tensors, numbers, body } = ops.state;
        for (node, grad) in ops.parents.into_iter().zip(body(tensors, grad, numbers)) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, grad);
            }
        }
    }
}

fn record<C: CheckpointStrategy, const N: usize>(
    nodes: [NodeGuard; N],
    forward: impl FnOnce() -> (FlexTensor, Vec<FlexTensor>, [f64; 2], BackwardBody),
) -> FloatTensor<Autodiff<Flex, C>> {
    match Fused.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let (out, tensors, numbers, body) = forward();
            prep.finish(Saved { tensors, numbers, body }, out)
        }
        OpsKind::UnTracked(prep) => prep.finish(forward().0),
    }
}

fn rms_norm_backward(saved: Vec<FlexTensor>, grad: FlexTensor, [eps, _]: [f64; 2]) -> Vec<FlexTensor> {
    let [x, weight, grad] = [&saved[0], &saved[1], &grad].map(FlexTensor::to_contiguous);
    let dim = weight.shape()[0];
    let mut x_grad = vec![0.0; slice(&x).len()];
    let mut weight_grad = vec![0.0; dim];
    if dim > 0 {
        let piece = rows_per_piece(dim) * dim;
        let parts: Vec<Vec<f32>> = x_grad
            .par_chunks_mut(piece)
            .zip(slice(&x).par_chunks(piece))
            .zip(slice(&grad).par_chunks(piece))
            .map(|((x_grad, x), grad)| {
                let mut part = vec![0.0; dim];
                rms_norm_rows_backward(x_grad, &mut part, x, slice(&weight), grad, eps as f32);
                part
            })
            .collect();
        add_in_order(&mut weight_grad, &parts);
    }
    vec![tensor(x_grad, x.shape()), tensor(weight_grad, weight.shape())]
}

fn swiglu_backward(saved: Vec<FlexTensor>, grad: FlexTensor, _: [f64; 2]) -> Vec<FlexTensor> {
    let [gate, up, grad] = [&saved[0], &saved[1], &grad].map(FlexTensor::to_contiguous);
    let (mut gate_grad, mut up_grad) = (vec![0.0; slice(&gate).len()], vec![0.0; slice(&gate).len()]);
    gate_grad
        .par_chunks_mut(PIECE)
        .zip(up_grad.par_chunks_mut(PIECE))
        .zip(slice(&gate).par_chunks(PIECE))
        .zip(slice(&up).par_chunks(PIECE))
        .zip(slice(&grad).par_chunks(PIECE))
        .for_each(|((((gate_grad, up_grad), gate), up), grad)| {
            swiglu_piece_backward(gate_grad, up_grad, gate, up, grad);
        });
    vec![tensor(gate_grad, gate.shape()), tensor(up_grad, gate.shape())]
}

/// Rotates by the tables' angles, or back with `direction` -1.
fn rotate(x: FlexTensor, cos: &FlexTensor, sin: &FlexTensor, direction: f32) -> FlexTensor {
    let (x, cos, sin) = (x.to_contiguous(), cos.to_contiguous(), sin.to_contiguous());
    let [_, time, heads, dim]: [usize; 4] = x.shape().dims();
    let mut out = vec![0.0; slice(&x).len()];
    let row = heads * dim;
    if row > 0 && time > 0 {
        let table_rows = cos.shape()[0];
        let rows = rows_per_piece(row);
        out.par_chunks_mut(rows * row).zip(slice(&x).par_chunks(rows * row)).enumerate().for_each(
            |(i, (out, x))| {
                rotate_rows(out, x, slice(&cos), slice(&sin), [i * rows, table_rows, row, dim], direction)
            },
        );
    }
    tensor(out, x.shape())
}

vectorised! {
    fn rms_norm_rows<'a>(out: &'a mut [f32], x: &'a [f32], weight: &'a [f32], eps: f32) {
        let dim = weight.len();
        for (out, x) in out.chunks_exact_mut(dim).zip(x.chunks_exact(dim)) {
            let scale = 1.0 / (dot(x, x) / dim as f32 + eps).sqrt();
            for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
                *out = x * scale * weight;
            }
        }
    }

    fn rms_norm_rows_backward<'a>(
        x_grad: &'a mut [f32],
        weight_grad: &'a mut [f32],
        x: &'a [f32],
        weight: &'a [f32],
        grad: &'a [f32],
        eps: f32,
    ) {
        let dim = weight.len();
        let rows = x_grad.chunks_exact_mut(dim).zip(x.chunks_exact(dim)).zip(grad.chunks_exact(dim));
        for ((x_grad, x), grad) in rows {
            let scale = 1.0 / (dot(x, x) / dim as f32 + eps).sqrt();
            for ((x_grad, grad), weight) in x_grad.iter_mut().zip(grad).zip(weight) {
                *x_grad = grad * weight;
            }
            let pull = dot(x_grad, x) * scale * scale / dim as f32;
            for ((((x_grad, weight_grad), x), grad), _) in
                x_grad.iter_mut().zip(weight_grad.iter_mut()).zip(x).zip(grad).zip(weight)
            {
                *x_grad = (*x_grad - x * pull) * scale;
                *weight_grad += grad * x * scale;
            }
        }
    }

    fn swiglu_piece<'a>(out: &'a mut [f32], gate: &'a [f32], up: &'a [f32]) {
        for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
            *out = silu(*gate).0 * up;
        }
    }

    fn swiglu_piece_backward<'a>(
        gate_grad: &'a mut [f32],
        up_grad: &'a mut [f32],
        gate: &'a [f32],
        up: &'a [f32],
        grad: &'a [f32],
    ) {
        let places = gate_grad.iter_mut().zip(up_grad.iter_mut()).zip(gate).zip(up).zip(grad);
        for ((((gate_grad, up_grad), &gate), &up), &grad) in places {
            let (value, sigmoid) = silu(gate);
            *up_grad = grad * value;
            *gate_grad = grad * up * (sigmoid + value * (1.0 - sigmoid));
        }
    }

    fn rotate_rows<'a>(
        out: &'a mut [f32],
        x: &'a [f32],
        cos: &'a [f32],
        sin: &'a [f32],
        sizes: [usize; 4],
        direction: f32,
    ) {
        let [first, table_rows, row, dim] = sizes;
        let half = dim / 2;
        for (i, (out, x)) in out.chunks_exact_mut(row).zip(x.chunks_exact(row)).enumerate() {
            let at = (first + i) % table_rows * half;
            let (cos, sin) = (&cos[at..at + half], &sin[at..at + half]);
            for (out, x) in out.chunks_exact_mut(dim).zip(x.chunks_exact(dim)) {
                let (out_a, out_b) = out.split_at_mut(half);
                let (a, b) = x.split_at(half);
                for ((((out_a, out_b), a), b), (cos, sin)) in
                    out_a.iter_mut().zip(out_b.iter_mut()).zip(a).zip(b).zip(cos.iter().zip(sin))
                {
                    let sin = sin * direction;
                    *out_a = a * cos - b * sin;
                    *out_b = b * cos + a * sin;
                }
            }
        }
    }

    fn adamw_piece<'a>(
        param: &'a mut [f32],
        first: &'a mut [f32],
        second: &'a mut [f32],
        grad: &'a [f32],
        numbers: [f32; 6],
    ) {
        let [decay, beta1, beta2, rate, root, eps] = numbers;
        for (((param, first), second), &grad) in param.iter_mut().zip(first.iter_mut()).zip(second.iter_mut()).zip(grad) {
            *first = *first * beta1 + grad * (1.0 - beta1);
            *second = *second * beta2 + grad * grad * (1.0 - beta2);
            *param = *param * decay - rate * *first / (second.sqrt() / root + eps);
        }
    }
}

fn rows_per_piece(dim: usize) -> usize {
    (PIECE / dim.max(1)).max(1)
}

fn add_in_order(sum: &mut [f32], parts: &[Vec<f32>]) {
    for part in parts {
        for (sum, part) in sum.iter_mut().zip(part) {
            *sum += part;
        }
    }
}

/// The elements of a contiguous tensor.
fn slice(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("a contiguous f32 tensor")
}

fn whole(tensor: &FlexTensor) -> bool {
    tensor.is_contiguous()
        && tensor.layout().start_offset() == 0
        && tensor.storage::<f32>().len() == tensor.shape().num_elements()
}

fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::from_data(burn::tensor::TensorData::new(values, shape))
}
