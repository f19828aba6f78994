//! Products of a few rows with a weight that is packed once.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::simd::{Columns, panel_width, store};

/// Rows the kernel takes at a time: with two registers of columns, sums and operands fit thirty-two registers.
const ROWS: usize = 8;
/// Inputs that run before sums are written: a panel of rows and one of columns stay in the first-level cache.
const DEPTH: usize = 256;

/// A weight `[outputs, inputs]` in the order in which a product reads it.
#[derive(Debug, Clone)]
pub struct PackedWeight {
    inputs: usize,
    outputs: usize,
    /// Columns of a panel: two registers.
    width: usize,
    /// For each block of inputs, for each panel of outputs: `[inputs of the block, width]`.
    panels: Vec<f32>,
}

/// Room that a product needs, kept between products.
#[derive(Debug, Clone, Default)]
pub struct Scratch(Vec<f32>);

impl PackedWeight {
    /// Packs a weight that lies row by row.
    ///
    /// # Panics
    /// If there are not `outputs * inputs` values.
    #[must_use]
    pub fn new(weight: &[f32], [outputs, inputs]: [usize; 2]) -> Self {
        let found = weight.len();
        assert!(
            found == outputs * inputs,
            "PackedWeight: expected {outputs} x {inputs} values, found {found}"
        );
        let width = panel_width();
        let padded = outputs.div_ceil(width) * width;
        let mut panels = vec![0.0; padded * inputs];
        if outputs > 0 && inputs > 0 {
            for (start, block) in (0..inputs).step_by(DEPTH).zip(panels.chunks_mut(padded * DEPTH)) {
                let depth = DEPTH.min(inputs - start);
                block.par_chunks_exact_mut(depth * width).enumerate().for_each(|(panel, block)| {
                    let outputs = panel * width..outputs.min((panel + 1) * width);
                    for (column, output) in outputs.enumerate() {
                        let row = &weight[output * inputs + start..][..depth];
                        for (place, value) in block.iter_mut().skip(column).step_by(width).zip(row) {
                            *place = *value;
                        }
                    }
                });
            }
        }
        Self { inputs, outputs, width, panels }
    }

    /// How many weights there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.outputs * self.inputs
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values a row has after the product.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// `y[r] = W x[r]` for each row: `x` `[rows, inputs]`, `y` `[rows, outputs]`, both row by row. The outputs are shared out to so
    /// many `tasks` of rayon's; the bits do not depend on how many.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn multiply(&self, x: &[f32], y: &mut [f32], tasks: usize, scratch: &mut Scratch) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        if outputs == 0 || y.is_empty() {
            return;
        }
        let rows = y.len() / outputs;
        assert!(
            x.len() == rows * inputs && y.len() == rows * outputs,
            "PackedWeight: expected rows of {inputs} and {outputs}, found {} and {} values",
            x.len(),
            y.len()
        );
        if inputs == 0 {
            y.fill(0.0);
            return;
        }
        scratch.0.resize(rows.div_ceil(ROWS) * ROWS * inputs, 0.0);
        pack_rows(&mut scratch.0, x, inputs);
        let packed = scratch.0.as_slice();
        let panels = outputs.div_ceil(self.width);
        let share = panels.div_ceil(tasks.max(1));
        if share == panels {
            Arch::new().dispatch(Product {
                weight: self,
                packed,
                panels: 0..panels,
                y,
                rows,
                stride: outputs,
            });
        } else if rows == 1 {
            y.par_chunks_mut(share * self.width).enumerate().for_each(|(task, y)| {
                let panels = task * share..panels.min((task + 1) * share);
                Arch::new().dispatch(Product { weight: self, packed, panels, y, rows, stride: outputs });
            });
        } else {
            let parts: Vec<Vec<f32>> = (0..panels.div_ceil(share))
                .into_par_iter()
                .map(|task| {
                    let panels = task * share..panels.min((task + 1) * share);
                    let stride = panels.len() * self.width;
                    let mut part = vec![0.0; rows * stride];
                    Arch::new().dispatch(Product {
                        weight: self,
                        packed,
                        panels,
                        y: &mut part,
                        rows,
                        stride,
                    });
                    part
                })
                .collect();
            for (row, y) in y.chunks_exact_mut(outputs).enumerate() {
                for (part, y) in parts.iter().zip(y.chunks_mut(share * self.width)) {
                    let stride = part.len() / rows;
                    y.copy_from_slice(&part[row * stride..][..y.len()]);
                }
            }
        }
    }
}

/// Rows in groups; within a group block by block of inputs, and there element by element.
fn pack_rows(packed: &mut [f32], x: &[f32], inputs: usize) {
    for (packed, x) in packed.chunks_exact_mut(ROWS * inputs).zip(x.chunks(ROWS * inputs)) {
        for (i, x) in x.chunks_exact(inputs).enumerate() {
            for (place, x) in packed.iter_mut().skip(i).step_by(ROWS).zip(x) {
                *place = *x;
            }
        }
    }
}

struct Product<'a> {
    weight: &'a PackedWeight,
    packed: &'a [f32],
    panels: Range<usize>,
    /// `[rows, stride]`, of which the panels' columns begin each row.
    y: &'a mut [f32],
    rows: usize,
    stride: usize,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Product { weight, packed, panels, y, rows, stride } = self;
        let PackedWeight { inputs, outputs, width, .. } = *weight;
        let padded = outputs.div_ceil(width) * width;
        for start in (0..inputs).step_by(DEPTH) {
            let depth = DEPTH.min(inputs - start);
            let block =
                &weight.panels[start * padded..][panels.start * depth * width..panels.end * depth * width];
            for (index, panel) in block.chunks_exact(width * depth).enumerate() {
                let columns = width.min(outputs - (panels.start + index) * width);
                for (packed, row) in packed.chunks_exact(ROWS * inputs).zip((0..rows).step_by(ROWS)) {
                    let packed = &packed[start * ROWS..(start + depth) * ROWS];
                    let y = &mut y[row * stride + index * width..];
                    let count = ROWS.min(rows - row);
                    // No more sums than there are rows, nearly: batches end, and some are of one.
                    match count {
                        1 => tile::<S, 1>(simd, packed, panel, y, stride, count, columns, start > 0),
                        2 => tile::<S, 2>(simd, packed, panel, y, stride, count, columns, start > 0),
                        3 | 4 => tile::<S, 4>(simd, packed, panel, y, stride, count, columns, start > 0),
                        _ => tile::<S, ROWS>(simd, packed, panel, y, stride, count, columns, start > 0),
                    }
                }
            }
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn tile<S: Simd, const N: usize>(
    simd: S,
    rows: &[f32],
    panel: &[f32],
    y: &mut [f32],
    stride: usize,
    count: usize,
    columns: usize,
    add: bool,
) {
    let zero = simd.splat_f32s(0.0);
    let mut sums: [Columns<S>; N] = [[zero; 2]; N];
    let (rows, _) = rows.as_chunks::<ROWS>();
    let (panel, _) = S::as_simd_f32s(panel);
    let (panel, _) = panel.as_chunks::<2>();
    for (x, w) in rows.iter().zip(panel) {
        for i in 0..N {
            let x = simd.splat_f32s(x[i]);
            sums[i][0] = simd.mul_add_f32s(x, w[0], sums[i][0]);
            sums[i][1] = simd.mul_add_f32s(x, w[1], sums[i][1]);
        }
    }
    store(simd, &sums, y, stride, count, columns, add);
}
