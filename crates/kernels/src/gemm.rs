//! Matrix products on slices: what the fused bodies need inside a task, on one thread.
//!
//! The usual shape of a fast product: both operands are packed into panels that fit the caches, and a micro-kernel keeps a
//! block of 6 rows by two registers of sums while it runs down the shared axis.

use pulp::{Arch, Simd, WithSimd};

/// Rows of the micro-kernel.
const MR: usize = 6;
/// Block of the shared axis: a panel of `MR` rows and one of `2 * lanes` columns stay in the first-level cache.
const KC: usize = 256;
/// Rows packed at a time: `MC * KC` floats stay in the second-level cache.
const MC: usize = 96;
/// Columns packed at a time.
const NC: usize = 1024;

/// A matrix in a slice: element `(i, j)` lies at `i * row + j * column`.
#[derive(Clone, Copy)]
pub(crate) struct Mat<'a> {
    pub data: &'a [f32],
    pub row: usize,
    pub column: usize,
}

impl<'a> Mat<'a> {
    /// Rows of `stride` floats each.
    pub fn rows(data: &'a [f32], stride: usize) -> Self {
        Self { data, row: stride, column: 1 }
    }

    /// The transpose of [`Mat::rows`].
    pub fn columns(data: &'a [f32], stride: usize) -> Self {
        Self { data, row: 1, column: stride }
    }
}

/// Room for packed panels, kept between products.
#[derive(Default)]
pub(crate) struct Scratch {
    a: Vec<f32>,
    b: Vec<f32>,
}

/// What happens to the old content of the result.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Old {
    Replace,
    Add,
}

/// `c[m, n] = a[m, k] b[k, n]` (or `+=`), rows of `c` being `stride` floats apart.
#[allow(clippy::too_many_arguments)]
pub(crate) fn gemm(
    [m, n, k]: [usize; 3],
    a: Mat,
    b: Mat,
    c: &mut [f32],
    stride: usize,
    old: Old,
    scratch: &mut Scratch,
) {
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if old == Old::Replace {
            for row in c.chunks_mut(stride).take(m) {
                row[..n].fill(0.0);
            }
        }
        return;
    }
    Arch::new().dispatch(Product { m, n, k, a, b, c, stride, old, scratch });
}

struct Product<'a> {
    m: usize,
    n: usize,
    k: usize,
    a: Mat<'a>,
    b: Mat<'a>,
    c: &'a mut [f32],
    stride: usize,
    old: Old,
    scratch: &'a mut Scratch,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Product { m, n, k, a, b, c, stride, old, scratch } = self;
        let nr = 2 * S::F32_LANES;
        for j0 in (0..n).step_by(NC) {
            let nc = NC.min(n - j0);
            for p0 in (0..k).step_by(KC) {
                let kc = KC.min(k - p0);
                pack(&mut scratch.b, b.data, p0 * b.row + j0 * b.column, b.column, b.row, nc, kc, nr);
                let add = old == Old::Add || p0 > 0;
                for i0 in (0..m).step_by(MC) {
                    let mc = MC.min(m - i0);
                    pack(&mut scratch.a, a.data, i0 * a.row + p0 * a.column, a.row, a.column, mc, kc, MR);
                    for (jt, bp) in scratch.b.chunks_exact(kc * nr).enumerate() {
                        let j = jt * nr;
                        let width = nr.min(nc - j);
                        for (it, ap) in scratch.a.chunks_exact(kc * MR).enumerate() {
                            let i = i0 + it * MR;
                            let height = MR.min(m - i);
                            let c = &mut c[i * stride + j0 + j..];
                            tile(simd, ap, bp, c, stride, height, width, add);
                        }
                    }
                }
            }
        }
    }
}

/// Copies `count` lines of `kc` elements into panels of `width` lines, element-major, filling up with zeros.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn pack(
    out: &mut Vec<f32>,
    data: &[f32],
    start: usize,
    line: usize,
    element: usize,
    count: usize,
    kc: usize,
    width: usize,
) {
    let panels = count.div_ceil(width);
    // Every place is written below.
    out.resize(panels * kc * width, 0.0);
    for (t, panel) in out.chunks_exact_mut(kc * width).enumerate() {
        let lines = width.min(count - t * width);
        let start = start + t * width * line;
        if line == 1 {
            for (p, row) in panel.chunks_exact_mut(width).enumerate() {
                let at = start + p * element;
                if lines == width {
                    row.copy_from_slice(&data[at..at + width]);
                } else {
                    row[..lines].copy_from_slice(&data[at..at + lines]);
                    row[lines..].fill(0.0);
                }
            }
        } else {
            if lines < width {
                panel.fill(0.0);
            }
            for l in 0..lines {
                let from = &data[start + l * line..];
                if element == 1 {
                    for (row, &x) in panel.chunks_exact_mut(width).zip(&from[..kc]) {
                        row[l] = x;
                    }
                } else {
                    for (row, &x) in panel.chunks_exact_mut(width).zip(from.iter().step_by(element)) {
                        row[l] = x;
                    }
                }
            }
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn tile<S: Simd>(
    simd: S,
    ap: &[f32],
    bp: &[f32],
    c: &mut [f32],
    stride: usize,
    height: usize,
    width: usize,
    add: bool,
) {
    let zero = simd.splat_f32s(0.0);
    let mut sums = [[zero; 2]; MR];
    let (a, _) = ap.as_chunks::<MR>();
    let (b, _) = S::as_simd_f32s(bp);
    let (b, _) = b.as_chunks::<2>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..MR {
            let x = simd.splat_f32s(a[i]);
            sums[i][0] = simd.mul_add_f32s(x, b[0], sums[i][0]);
            sums[i][1] = simd.mul_add_f32s(x, b[1], sums[i][1]);
        }
    }
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
