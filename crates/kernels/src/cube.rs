//! Our own kernels for CubeCL's devices, CUDA among them: one launch each for what is composed of four to fifteen elsewhere.
//!
//! Everything is computed in `f32` whatever the type of the arguments. A row is summed by [`UNITS`] units through shared memory,
//! so that the result does not depend on the width of the hardware's planes.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, NodeGuard, Ops, OpsKind},
};
use burn::backend::{
    Autodiff, Backend, Cube, DType, DispatchTensor, DispatchTensorKind, Shape, TensorMetadata,
    backend_extension, tensor::FloatTensor,
};
use burn_backend::cubecl::dtype_to_storage_type;
use burn_backend::ops::FloatTensorOps;
use burn_cubecl::cubecl::{self, calculate_cube_count_elemwise, ir::ElemType, prelude::*};
use burn_cubecl::{kernel::into_contiguous, ops::numeric::empty_device_contiguous_dtype, tensor::CubeTensor};

/// Units that share a row.
const UNITS: u32 = 64;

/// Whether a tensor is in the reach of this module, with or without a graph.
pub(crate) fn reaches(tensor: &DispatchTensor) -> bool {
    let cube = match &tensor.kind {
        DispatchTensorKind::Cube(_) => true,
        DispatchTensorKind::Autodiff(inner) => matches!(**inner, DispatchTensorKind::Cube(_)),
        #[allow(unreachable_patterns)]
        _ => false,
    };
    cube && matches!(tensor.dtype(), DType::F32 | DType::BF16 | DType::F16)
}

/// The backend extension: implemented by CubeCL's backend and by autodiff over it only.
#[backend_extension(Cube, Autodiff)]
pub trait CubeOps: Backend {
    /// See [`rms_norm`](crate::rms_norm).
    fn cube_rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self>;
    /// See [`swiglu`](crate::swiglu).
    fn cube_swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;
    /// See [`rotary`](crate::rotary); `direction` is 1, or -1 to rotate back.
    fn cube_rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        direction: f32,
    ) -> FloatTensor<Self>;
    /// See [`adamw_step`](crate::adamw_step), all tensors in `f32`; `numbers` are decay, beta1, beta2, step size, root of the
    /// second correction, eps.
    fn cube_adamw(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        numbers: [f32; 6],
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl CubeOps for Cube {
    fn cube_rms_norm(x: CubeTensor, weight: CubeTensor, eps: f64) -> CubeTensor {
        let dtype = x.dtype;
        let (x, weight) = (into_contiguous(x), of_type(into_contiguous(weight), dtype));
        let out = like(&x, dtype);
        let (rows, _) = rows(&x);
        if rows > 0 {
            let client = x.client.clone();
            rms_norm_kernel::launch(
                &client,
                CubeCount::Static(rows, 1, 1),
                CubeDim::new_1d(UNITS),
                x.into_tensor_arg(),
                weight.into_tensor_arg(),
                out.clone().into_tensor_arg(),
                eps as f32,
                dtype_to_storage_type(dtype),
            );
        }
        out
    }

    fn cube_swiglu(gate: CubeTensor, up: CubeTensor) -> CubeTensor {
        let dtype = gate.dtype;
        let (gate, up) = (into_contiguous(gate), of_type(into_contiguous(up), dtype));
        let out = like(&gate, dtype);
        if let Some((count, dim)) = elementwise(&gate) {
            let client = gate.client.clone();
            swiglu_kernel::launch(
                &client,
                count,
                dim,
                gate.into_tensor_arg(),
                up.into_tensor_arg(),
                out.clone().into_tensor_arg(),
                dtype_to_storage_type(dtype),
            );
        }
        out
    }

    fn cube_rotary(x: CubeTensor, cos: CubeTensor, sin: CubeTensor, direction: f32) -> CubeTensor {
        let dtype = x.dtype;
        let x = into_contiguous(x);
        let [cos, sin] = [cos, sin].map(|table| of_type(into_contiguous(table), DType::F32));
        let out = like(&x, dtype);
        if let Some((count, dim)) = elementwise(&x) {
            let [_, _, heads, _]: [usize; 4] = x.shape().dims();
            let client = x.client.clone();
            rotary_kernel::launch(
                &client,
                count,
                dim,
                x.into_tensor_arg(),
                cos.into_tensor_arg(),
                sin.into_tensor_arg(),
                out.clone().into_tensor_arg(),
                heads as u32,
                direction,
                dtype_to_storage_type(dtype),
            );
        }
        out
    }

    fn cube_adamw(
        param: CubeTensor,
        grad: CubeTensor,
        first: CubeTensor,
        second: CubeTensor,
        numbers: [f32; 6],
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let [param, first, second] = [param, first, second].map(own);
        let grad = into_contiguous(grad);
        if let Some((count, dim)) = elementwise(&param) {
            let client = param.client.clone();
            let [decay, beta1, beta2, rate, root, eps] = numbers;
            adamw_kernel::launch(
                &client,
                count,
                dim,
                param.clone().into_tensor_arg(),
                first.clone().into_tensor_arg(),
                second.clone().into_tensor_arg(),
                grad.into_tensor_arg(),
                decay,
                beta1,
                beta2,
                rate,
                root,
                eps,
            );
        }
        (param, first, second)
    }
}

impl<C: CheckpointStrategy> CubeOps for Autodiff<Cube, C> {
    fn cube_rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node()];
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        record::<C, 2>(nodes, || {
            let out = Cube::cube_rms_norm(x.clone(), weight.clone(), eps);
            (out, vec![x, weight], eps as f32, rms_norm_backward)
        })
    }

    fn cube_swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [gate.node(), up.node()];
        let (gate, up) = (gate.into_primitive(), up.into_primitive());
        record::<C, 2>(nodes, || {
            let out = Cube::cube_swiglu(gate.clone(), up.clone());
            (out, vec![gate, up], 0.0, swiglu_backward)
        })
    }

    fn cube_rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        direction: f32,
    ) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let (x, cos, sin) = (x.into_primitive(), cos.into_primitive(), sin.into_primitive());
        record::<C, 1>(nodes, || {
            let out = Cube::cube_rotary(x, cos.clone(), sin.clone(), direction);
            (out, vec![cos, sin], direction, |mut saved, grad, direction| {
                let (sin, cos) = (saved.pop(), saved.pop());
                cos.zip(sin)
                    .map(|(cos, sin)| Cube::cube_rotary(grad, cos, sin, -direction))
                    .into_iter()
                    .collect()
            })
        })
    }

    fn cube_adamw(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: [f32; 6],
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        panic!("adamw_step: expected tensors of the inner device")
    }
}

type BackwardBody = fn(Vec<CubeTensor>, CubeTensor, f32) -> Vec<CubeTensor>;

/// What an operation keeps for its backward pass.
#[derive(Clone, Debug)]
struct Saved {
    tensors: Vec<CubeTensor>,
    number: f32,
    body: BackwardBody,
}

#[derive(Debug)]
struct Fused;

impl<const N: usize> Backward<Cube, N> for Fused {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Cube>(&ops.node);
        let Saved { tensors, number, body } = ops.state;
        for (node, grad) in ops.parents.into_iter().zip(body(tensors, grad, number)) {
            if let Some(node) = node {
                grads.register::<Cube>(node.id, grad);
            }
        }
    }
}

fn record<C: CheckpointStrategy, const N: usize>(
    nodes: [NodeGuard; N],
    forward: impl FnOnce() -> (CubeTensor, Vec<CubeTensor>, f32, BackwardBody),
) -> FloatTensor<Autodiff<Cube, C>> {
    match Fused.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let (out, tensors, number, body) = forward();
            prep.finish(Saved { tensors, number, body }, out)
        }
        OpsKind::UnTracked(prep) => prep.finish(forward().0),
    }
}

fn rms_norm_backward(saved: Vec<CubeTensor>, grad: CubeTensor, eps: f32) -> Vec<CubeTensor> {
    let [x, weight] = [&saved[0], &saved[1]].map(|tensor| into_contiguous(tensor.clone()));
    let (dtype, weight_dtype) = (x.dtype, weight.dtype);
    let (grad, weight_shape) = (of_type(into_contiguous(grad), dtype), weight.shape());
    let (rows, dim) = rows(&x);
    let out = like(&x, dtype);
    let shape = Shape::from([rows as usize, dim]);
    let parts = empty_device_contiguous_dtype(x.client.clone(), x.device.clone(), shape, DType::F32);
    if rows > 0 {
        let client = x.client.clone();
        rms_norm_backward_kernel::launch(
            &client,
            CubeCount::Static(rows, 1, 1),
            CubeDim::new_1d(UNITS),
            x.into_tensor_arg(),
            of_type(weight, dtype).into_tensor_arg(),
            grad.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            parts.clone().into_tensor_arg(),
            eps,
            dtype_to_storage_type(dtype),
        );
    }
    let weight_grad = Cube::float_reshape(Cube::float_sum_dim(parts, 0), weight_shape);
    vec![out, of_type(weight_grad, weight_dtype)]
}

fn swiglu_backward(saved: Vec<CubeTensor>, grad: CubeTensor, _: f32) -> Vec<CubeTensor> {
    let [gate, up] = [&saved[0], &saved[1]].map(|tensor| into_contiguous(tensor.clone()));
    let (dtype, up_dtype) = (gate.dtype, up.dtype);
    let (up, grad) = (of_type(up, dtype), of_type(into_contiguous(grad), dtype));
    let (gate_grad, up_grad) = (like(&gate, dtype), like(&gate, dtype));
    if let Some((count, dim)) = elementwise(&gate) {
        let client = gate.client.clone();
        swiglu_backward_kernel::launch(
            &client,
            count,
            dim,
            gate.into_tensor_arg(),
            up.into_tensor_arg(),
            grad.into_tensor_arg(),
            gate_grad.clone().into_tensor_arg(),
            up_grad.clone().into_tensor_arg(),
            dtype_to_storage_type(dtype),
        );
    }
    vec![gate_grad, of_type(up_grad, up_dtype)]
}

/// One unit for each element, or nothing for an empty tensor.
fn elementwise(tensor: &CubeTensor) -> Option<(CubeCount, CubeDim)> {
    let elements = tensor.meta.num_elements();
    let dim = CubeDim::new(&tensor.client, elements);
    (elements > 0).then(|| (calculate_cube_count_elemwise(&tensor.client, elements, dim), dim))
}

/// Rows and their length.
fn rows(tensor: &CubeTensor) -> (u32, usize) {
    let shape = tensor.shape();
    let dim = shape.as_slice().last().copied().unwrap_or(0);
    let rows = tensor.meta.num_elements().checked_div(dim).unwrap_or(0);
    (u32::try_from(rows).expect("fewer than 2^32 rows"), dim)
}

/// An uninitialised contiguous tensor of the same shape.
fn like(tensor: &CubeTensor, dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(tensor.client.clone(), tensor.device.clone(), tensor.shape(), dtype)
}

fn of_type(tensor: CubeTensor, dtype: DType) -> CubeTensor {
    if tensor.dtype == dtype { tensor } else { Cube::float_cast(tensor, dtype.into()) }
}

/// A contiguous tensor that nobody else sees, so that it may be written in place.
fn own(tensor: CubeTensor) -> CubeTensor {
    let tensor = into_contiguous(tensor);
    if tensor.can_mut() { tensor } else { tensor.copy() }
}

#[cube(launch)]
fn rms_norm_kernel<F: Float>(
    x: &Tensor<F>,
    weight: &Tensor<F>,
    out: &mut Tensor<F>,
    eps: f32,
    #[define(F)] _dtype: ElemType,
) {
    let dim = weight.len();
    let row = CUBE_POS * dim;
    let mut sum = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < dim {
        let value = f32::cast_from(x[row + i]);
        sum += value * value;
        i += UNITS as usize;
    }
    let scale = 1.0f32 / (add_up(sum) / f32::cast_from(dim as u32) + eps).sqrt();
    let mut i = UNIT_POS as usize;
    while i < dim {
        // Rounded before the weight, as transformers does.
        let normal = F::cast_from(f32::cast_from(x[row + i]) * scale);
        out[row + i] = normal * weight[i];
        i += UNITS as usize;
    }
}

#[cube(launch)]
fn rms_norm_backward_kernel<F: Float>(
    x: &Tensor<F>,
    weight: &Tensor<F>,
    grad: &Tensor<F>,
    x_grad: &mut Tensor<F>,
    parts: &mut Tensor<f32>,
    eps: f32,
    #[define(F)] _dtype: ElemType,
) {
    let dim = weight.len();
    let row = CUBE_POS * dim;
    let mut sum = 0.0f32;
    let mut pull = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < dim {
        let value = f32::cast_from(x[row + i]);
        sum += value * value;
        pull += value * f32::cast_from(grad[row + i]) * f32::cast_from(weight[i]);
        i += UNITS as usize;
    }
    let count = f32::cast_from(dim as u32);
    let scale = 1.0f32 / (add_up(sum) / count + eps).sqrt();
    sync_cube();
    let pull = add_up(pull) * scale * scale / count;
    let mut i = UNIT_POS as usize;
    while i < dim {
        let value = f32::cast_from(x[row + i]);
        let own = f32::cast_from(grad[row + i]);
        x_grad[row + i] = F::cast_from((own * f32::cast_from(weight[i]) - value * pull) * scale);
        parts[row + i] = own * value * scale;
        i += UNITS as usize;
    }
}

/// The sum over the units of a cube, the same for all of them. A barrier must lie between two uses.
#[cube]
fn add_up(value: f32) -> f32 {
    let mut shared = Shared::<[f32]>::new_slice(UNITS as usize);
    shared[UNIT_POS as usize] = value;
    sync_cube();
    let mut total = 0.0f32;
    for i in 0..UNITS {
        total += shared[i as usize];
    }
    total
}

#[cube]
fn sigmoid(x: f32) -> f32 {
    1.0f32 / (1.0f32 + (0.0f32 - x).exp())
}

#[cube(launch)]
fn swiglu_kernel<F: Float>(
    gate: &Tensor<F>,
    up: &Tensor<F>,
    out: &mut Tensor<F>,
    #[define(F)] _dtype: ElemType,
) {
    if ABSOLUTE_POS < out.len() {
        let value = f32::cast_from(gate[ABSOLUTE_POS]);
        out[ABSOLUTE_POS] = F::cast_from(value * sigmoid(value)) * up[ABSOLUTE_POS];
    }
}

#[cube(launch)]
fn swiglu_backward_kernel<F: Float>(
    gate: &Tensor<F>,
    up: &Tensor<F>,
    grad: &Tensor<F>,
    gate_grad: &mut Tensor<F>,
    up_grad: &mut Tensor<F>,
    #[define(F)] _dtype: ElemType,
) {
    if ABSOLUTE_POS < gate.len() {
        let value = f32::cast_from(gate[ABSOLUTE_POS]);
        let own = f32::cast_from(grad[ABSOLUTE_POS]);
        let s = sigmoid(value);
        up_grad[ABSOLUTE_POS] = F::cast_from(own * value * s);
        let slope = s + value * s * (1.0f32 - s);
        gate_grad[ABSOLUTE_POS] = F::cast_from(own * f32::cast_from(up[ABSOLUTE_POS]) * slope);
    }
}

/// `x` is `[batch, time, heads, dim]`, the tables `[time or batch * time, dim / 2]`.
#[cube(launch)]
fn rotary_kernel<F: Float>(
    x: &Tensor<F>,
    cos: &Tensor<f32>,
    sin: &Tensor<f32>,
    out: &mut Tensor<F>,
    heads: u32,
    direction: f32,
    #[define(F)] _dtype: ElemType,
) {
    if ABSOLUTE_POS < out.len() {
        let half = cos.shape(1);
        let place = ABSOLUTE_POS % (2 * half);
        let head = ABSOLUTE_POS / (2 * half);
        let row = (head / heads as usize) % cos.shape(0);
        let column = place % half;
        let c = cos[row * half + column];
        let s = sin[row * half + column] * direction;
        let value = f32::cast_from(x[ABSOLUTE_POS]);
        if place < half {
            let other = f32::cast_from(x[ABSOLUTE_POS + half]);
            out[ABSOLUTE_POS] = F::cast_from(value * c - other * s);
        } else {
            let other = f32::cast_from(x[ABSOLUTE_POS - half]);
            out[ABSOLUTE_POS] = F::cast_from(value * c + other * s);
        }
    }
}

#[cube(launch)]
#[allow(clippy::too_many_arguments)]
fn adamw_kernel(
    param: &mut Tensor<f32>,
    first: &mut Tensor<f32>,
    second: &mut Tensor<f32>,
    grad: &Tensor<f32>,
    decay: f32,
    beta1: f32,
    beta2: f32,
    rate: f32,
    root: f32,
    eps: f32,
) {
    if ABSOLUTE_POS < param.len() {
        let own = grad[ABSOLUTE_POS];
        let m = first[ABSOLUTE_POS] * beta1 + own * (1.0f32 - beta1);
        let v = second[ABSOLUTE_POS] * beta2 + own * own * (1.0f32 - beta2);
        first[ABSOLUTE_POS] = m;
        second[ABSOLUTE_POS] = v;
        param[ABSOLUTE_POS] = param[ABSOLUTE_POS] * decay - rate * m / (v.sqrt() / root + eps);
    }
}
