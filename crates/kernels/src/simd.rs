//! Vectorised pieces shared by the fused bodies.
//!
//! Loops are plain Rust over slices, inlined into a function that [`pulp`] compiles for the processor's instruction set and picks
//! at run time (the macro `vectorised`). Sums run in [`LANES`] fixed partial sums, so they do not depend on that set.

use pulp::{Arch, Simd, WithSimd};

/// Partial sums of a reduction.
pub(crate) const LANES: usize = 16;

/// Makes functions that run compiled for the widest vectors this processor has. What a body calls must be `inline(always)`: a
/// closure of its own would be left out of that compilation.
macro_rules! vectorised {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident<$life:lifetime>($($arg:ident: $ty:ty),* $(,)?) $(-> $out:ty)? $body:block)*) => {
        $(
            $(#[$meta])*
            #[allow(clippy::too_many_arguments, unused_mut)]
            $vis fn $name<$life>($($arg: $ty),*) $(-> $out)? {
                struct Run<$life> {
                    $($arg: $ty,)*
                }
                impl<$life> pulp::WithSimd for Run<$life> {
                    type Output = $crate::simd::vectorised!(@out $($out)?);

                    #[inline(always)]
                    fn with_simd<S: pulp::Simd>(self, _: S) -> Self::Output {
                        let Run { $($arg),* } = self;
                        $body
                    }
                }
                pulp::Arch::new().dispatch(Run { $($arg),* })
            }
        )*
    };
    (@out) => { () };
    (@out $out:ty) => { $out };
}
pub(crate) use vectorised;

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// `ln 2` in two parts: the first has few enough bits that its product with a small integer is exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// Adding this rounds a small number to an integer that stands in the low bits.
const ROUND: f32 = 12_582_912.0;
const EXP_LARGEST: f32 = 88.376;
const EXP_SMALLEST: f32 = -87.336;

/// `e^x` within 1.2 units in the last place (checked over the whole range in the tests). Below -87.336, where results leave the
/// normal numbers, 0; above 88.376 infinity; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let t = x.mul_add(LOG2_E, ROUND);
    let n = t - ROUND;
    let r = n.mul_add(-LN2_HIGH, x);
    let r = n.mul_add(-LN2_LOW, r);
    // The minimax polynomial of Cephes' expf on [-ln 2 / 2, ln 2 / 2].
    let p = 1.987_569_1e-4_f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 5e-1);
    let p = p.mul_add(r * r, r) + 1.0;
    let scale = f32::from_bits((t.to_bits() << 23).wrapping_add(0x3f80_0000));
    let y = p * scale;
    let y = if x < EXP_SMALLEST { 0.0 } else { y };
    if x > EXP_LARGEST { f32::INFINITY } else { y }
}

/// `x / (1 + e^-x)` and its sigmoid.
#[inline(always)]
pub(crate) fn silu(x: f32) -> (f32, f32) {
    let sigmoid = 1.0 / (1.0 + exp(-x));
    (x * sigmoid, sigmoid)
}

/// Sum of the lanes, in a fixed tree.
#[inline(always)]
pub(crate) fn fold(lanes: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = lanes;
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = join(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// Reduces `f` of each element of one slice.
#[inline(always)]
pub(crate) fn reduce1(
    a: &[f32],
    start: f32,
    mut step: impl FnMut(f32, f32) -> f32,
    join: impl Fn(f32, f32) -> f32,
) -> f32 {
    let mut lanes = [start; LANES];
    let (blocks, rest) = a.as_chunks::<LANES>();
    for a in blocks {
        for l in 0..LANES {
            lanes[l] = step(lanes[l], a[l]);
        }
    }
    for (lane, &a) in lanes.iter_mut().zip(rest) {
        *lane = step(*lane, a);
    }
    fold(lanes, join)
}

/// Reduces `f` of each pair of elements of two slices of one length.
#[inline(always)]
pub(crate) fn reduce2(a: &[f32], b: &[f32], mut step: impl FnMut(f32, f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for l in 0..LANES {
            lanes[l] = step(lanes[l], a[l], b[l]);
        }
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane = step(*lane, a, b);
    }
    fold(lanes, |x, y| x + y)
}

/// Largest element; NaN is ignored, an empty slice gives `-inf`.
#[inline(always)]
pub(crate) fn largest(a: &[f32]) -> f32 {
    reduce1(a, f32::NEG_INFINITY, |m, x| if x > m { x } else { m }, |x, y| if y > x { y } else { x })
}

/// Dot product.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    reduce2(a, b, |s, a, b| a.mul_add(b, s))
}

/// One row of a matrix kernel's sums: two registers.
pub(crate) type Columns<S> = [<S as Simd>::f32s; 2];

/// How many columns those are.
pub(crate) fn panel_width() -> usize {
    struct Width;
    impl WithSimd for Width {
        type Output = usize;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            2 * S::F32_LANES
        }
    }
    Arch::new().dispatch(Width)
}

/// Writes the first `height` rows of sums, or adds them, to rows of `c` that are `stride` apart and `width` wide.
#[inline(always)]
pub(crate) fn store<S: Simd, const N: usize>(
    simd: S,
    sums: &[Columns<S>; N],
    c: &mut [f32],
    stride: usize,
    height: usize,
    width: usize,
    add: bool,
) {
    let nr = 2 * S::F32_LANES;
    if width == nr {
        for (i, sums) in sums.iter().enumerate().take(height) {
            let row = &mut c[i * stride..i * stride + nr];
            let (row, _) = S::as_mut_simd_f32s(row);
            if add {
                row[0] = simd.add_f32s(row[0], sums[0]);
                row[1] = simd.add_f32s(row[1], sums[1]);
            } else {
                row[0] = sums[0];
                row[1] = sums[1];
            }
        }
    } else {
        for (i, sums) in sums.iter().enumerate().take(height) {
            let row = &mut c[i * stride..i * stride + width];
            let values: &[f32] = pulp::bytemuck::cast_slice(sums);
            for (c, x) in row.iter_mut().zip(values) {
                *c = if add { *c + x } else { *x };
            }
        }
    }
}
