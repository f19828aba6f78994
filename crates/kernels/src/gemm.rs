//! Matrix products on slices: what the fused bodies need inside a task, on one thread. Where one operand serves many tasks, they
//! share it packed.
//!
//! The usual shape of a fast product: both operands are packed into panels that fit the caches, and a micro-kernel keeps a
//! block of 6 rows by two registers of sums while it runs down the shared axis.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::simd::{Columns, panel_width, store};

/// Rows of the micro-kernel.
pub(crate) const MR: usize = 6;
/// Block of the shared axis: a panel of `MR` rows and one of `2 * lanes` columns stay in the first-level cache.
pub(crate) const KC: usize = 256;
/// Rows packed at a time: `MC * KC` floats stay in the second-level cache.
pub(crate) const MC: usize = 96;
/// Columns packed at a time.
const NC: usize = 1024;
/// Elements one task packs at least.
const SHARE: usize = 16 * 1024;

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
                    let (left, right) = (Left::packed(&scratch.a, kc), Panels::new(&scratch.b, kc));
                    block(simd, [mc, nc, kc], left, right, &mut c[i0 * stride + j0..], stride, add);
                }
            }
        }
    }
}

/// An operand in the order the micro-kernel reads it: panels of a fixed number of lines (rows on the left, columns on the right),
/// each `depth` elements long, of which those after `from` are meant.
#[derive(Clone, Copy)]
pub(crate) struct Panels<'a> {
    data: &'a [f32],
    depth: usize,
    from: usize,
}

impl<'a> Panels<'a> {
    pub fn new(data: &'a [f32], depth: usize) -> Self {
        Self { data, depth, from: 0 }
    }

    /// The same lines from a place further along the shared axis.
    pub fn after(self, count: usize) -> Self {
        Self { from: self.from + count, ..self }
    }

    #[inline(always)]
    fn panel(&self, index: usize, width: usize, count: usize) -> &'a [f32] {
        let start = (index * self.depth + self.from) * width;
        &self.data[start..start + count * width]
    }
}

/// The left operand: packed, or rows of `depth` elements as they lie.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    lines: Panels<'a>,
    packed: bool,
}

impl<'a> Left<'a> {
    /// What [`pack_left`] made.
    pub fn packed(data: &'a [f32], depth: usize) -> Self {
        Self { lines: Panels::new(data, depth), packed: true }
    }

    /// Whole rows, close together.
    pub fn rows(data: &'a [f32], depth: usize) -> Self {
        Self { lines: Panels::new(data, depth), packed: false }
    }

    #[inline(always)]
    fn after(self, count: usize) -> Self {
        Self { lines: self.lines.after(count), ..self }
    }

    /// From this row, a multiple of [`MR`].
    #[inline(always)]
    fn at_row(self, row: usize) -> Self {
        let data = &self.lines.data[row * self.lines.depth..];
        Self { lines: Panels { data, ..self.lines }, ..self }
    }
}

/// Panels of the rows of `a[m, k]`, for the left.
pub(crate) fn pack_left([m, k]: [usize; 2], a: Mat, out: &mut Vec<f32>) {
    pack(out, a.data, 0, a.row, a.column, m, k, MR);
}

/// Panels of the columns of `b[k, n]`, for the right, packed on all threads because many tasks read them.
pub(crate) fn share_right([k, n]: [usize; 2], b: Mat, out: &mut Vec<f32>) {
    let width = panel_width();
    let panel = width * k.max(1);
    out.resize(n.div_ceil(width) * width * k, 0.0);
    out.par_chunks_mut(panel).with_min_len(SHARE.div_ceil(panel)).enumerate().for_each(|(t, panel)| {
        let lines = width.min(n - t * width);
        pack_panel(panel, b.data, t * width * b.column, b.column, b.row, lines, width);
    });
}

/// [`gemm`] whose right operand is packed.
pub(crate) fn gemm_packed(
    [m, n, k]: [usize; 3],
    left: Left,
    right: Panels,
    c: &mut [f32],
    stride: usize,
    old: Old,
) {
    struct Run<'a> {
        size: [usize; 3],
        left: Left<'a>,
        right: Panels<'a>,
        c: &'a mut [f32],
        stride: usize,
        old: Old,
    }
    impl WithSimd for Run<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Run { size: [m, n, k], left, right, c, stride, old } = self;
            // Without a shared axis there is still a zero to write.
            for p0 in (0..k.max(1)).step_by(KC) {
                let (left, right) = (left.after(p0), right.after(p0));
                let add = old == Old::Add || p0 > 0;
                for i0 in (0..m).step_by(MC) {
                    let size = [MC.min(m - i0), n, KC.min(k - p0)];
                    block(simd, size, left.at_row(i0), right, &mut c[i0 * stride..], stride, add);
                }
            }
        }
    }
    Arch::new().dispatch(Run { size: [m, n, k], left, right, c, stride, old });
}

/// A product whose left operand stays in the second-level cache, and each panel of the right one in the first.
#[inline(always)]
fn block<S: Simd>(
    simd: S,
    [m, n, k]: [usize; 3],
    left: Left,
    right: Panels,
    c: &mut [f32],
    stride: usize,
    add: bool,
) {
    let nr = 2 * S::F32_LANES;
    for j in (0..n).step_by(nr) {
        let bp = right.panel(j / nr, nr, k);
        for i in (0..m).step_by(MR) {
            let height = MR.min(m - i);
            let sums = if left.packed {
                packed_sums(simd, left.lines.panel(i / MR, MR, k), bp)
            } else {
                // Rows that are not there repeat the last one, and are not stored.
                row_sums(simd, std::array::from_fn(|r| left.lines.panel(i + r.min(height - 1), 1, k)), bp)
            };
            store(simd, &sums, &mut c[i * stride + j..], stride, height, nr.min(n - j), add);
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
    for (t, panel) in out.chunks_exact_mut((kc * width).max(1)).enumerate() {
        let lines = width.min(count - t * width);
        pack_panel(panel, data, start + t * width * line, line, element, lines, width);
    }
}

/// One panel of `width` places, of which `lines` are there.
#[inline(always)]
fn pack_panel(
    panel: &mut [f32],
    data: &[f32],
    start: usize,
    line: usize,
    element: usize,
    lines: usize,
    width: usize,
) {
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
        return;
    }
    if lines < width {
        panel.fill(0.0);
    }
    for l in 0..lines {
        let from = &data[start + l * line..];
        if element == 1 {
            for (row, &x) in panel.chunks_exact_mut(width).zip(from) {
                row[l] = x;
            }
        } else {
            for (row, &x) in panel.chunks_exact_mut(width).zip(from.iter().step_by(element)) {
                row[l] = x;
            }
        }
    }
}

/// Sums of a block of the result.
type Tile<S> = [Columns<S>; MR];

#[inline(always)]
fn step<S: Simd>(simd: S, sums: &mut Tile<S>, a: [f32; MR], b: &[S::f32s; 2]) {
    for i in 0..MR {
        let x = simd.splat_f32s(a[i]);
        sums[i][0] = simd.mul_add_f32s(x, b[0], sums[i][0]);
        sums[i][1] = simd.mul_add_f32s(x, b[1], sums[i][1]);
    }
}

#[inline(always)]
fn packed_sums<S: Simd>(simd: S, ap: &[f32], bp: &[f32]) -> Tile<S> {
    let mut sums = [[simd.splat_f32s(0.0); 2]; MR];
    let (a, _) = ap.as_chunks::<MR>();
    let (b, _) = S::as_simd_f32s(bp).0.as_chunks::<2>();
    for (a, b) in a.iter().zip(b) {
        step(simd, &mut sums, *a, b);
    }
    sums
}

#[inline(always)]
fn row_sums<S: Simd>(simd: S, rows: [&[f32]; MR], bp: &[f32]) -> Tile<S> {
    let mut sums = [[simd.splat_f32s(0.0); 2]; MR];
    let (b, _) = S::as_simd_f32s(bp).0.as_chunks::<2>();
    let [r0, r1, r2, r3, r4, r5] = rows;
    for ((((((b, a0), a1), a2), a3), a4), a5) in b.iter().zip(r0).zip(r1).zip(r2).zip(r3).zip(r4).zip(r5) {
        step(simd, &mut sums, [*a0, *a1, *a2, *a3, *a4, *a5], b);
    }
    sums
}
