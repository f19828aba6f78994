//! Tensors of one batch.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use crate::{Error, Example, Piece, Row};

/// Rows of tokens, what each position must predict, and which predictions count.
///
/// Rows are padded on the right. `T` is the longest row's length in tokens *fed*: the last token of an example is
/// only ever predicted, and tokens after the last target are not fed at all.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Token ids to feed, `[batch, time]`; the padding id where a row has ended.
    pub tokens: Tensor<2, Int>,
    /// The token that each position must predict, `[batch, time]`; the padding id where nothing is to be learned.
    pub targets: Tensor<2, Int>,
    /// Whether the prediction counts, `[batch, time]`.
    pub mask: Tensor<2, Bool>,
    /// Position of each token in its document, `[batch, time]`, when packed; otherwise the column's number.
    pub positions: Option<Tensor<2, Int>>,
    /// Which document of its row a token belongs to, `[batch, time]`, from 1, when packed; 0 is padding.
    pub segments: Option<Tensor<2, Int>>,
    /// Places of the predictions that count in the flattened `[batch * time]`, rising.
    pub counted: Tensor<1, Int>,
    /// The targets at these places.
    pub counted_targets: Tensor<1, Int>,
    /// How many predictions count.
    pub count: usize,
    /// How many tokens are fed, without padding.
    pub fed: usize,
    /// `[batch, time]`.
    pub shape: [usize; 2],
}

impl Batch {
    /// One example per row.
    ///
    /// # Errors
    /// When there are no examples.
    pub fn collate(examples: &[&Example], pad: u32, device: &Device) -> Result<Self, Error> {
        let rows: Vec<Vec<(&Example, Piece)>> = examples
            .iter()
            .enumerate()
            .map(|(index, example)| {
                let end = (example.last_target() + 1).max(2.min(example.len()));
                vec![(*example, Piece { example: index, start: 0, end })]
            })
            .collect();
        Self::build(&rows, false, pad, device)
    }

    /// The rows that [`batches`](crate::batches) chose. Positions and segments are set when a row has several pieces.
    ///
    /// # Errors
    /// When there are no rows.
    ///
    /// # Panics
    /// When a piece is not within its example.
    pub fn from_rows(rows: &[Row], examples: &[Example], pad: u32, device: &Device) -> Result<Self, Error> {
        let packed = rows.iter().any(|row| row.len() > 1);
        let rows: Vec<Vec<(&Example, Piece)>> = rows
            .iter()
            .map(|row| row.iter().map(|piece| (&examples[piece.example], *piece)).collect())
            .collect();
        Self::build(&rows, packed, pad, device)
    }

    fn build(
        rows: &[Vec<(&Example, Piece)>],
        packed: bool,
        pad: u32,
        device: &Device,
    ) -> Result<Self, Error> {
        let fed = |piece: &Piece| (piece.end - piece.start).saturating_sub(1);
        let length = |row: &Vec<(&Example, Piece)>| row.iter().map(|(_, piece)| fed(piece)).sum::<usize>();
        let time = rows.iter().map(length).max().unwrap_or(0).max(1);
        let size = rows.len() * time;
        if size == 0 {
            return Err(Error::Empty);
        }
        let pad = i64::from(pad);
        let mut tokens = vec![pad; size];
        let mut targets = vec![pad; size];
        let mut mask = vec![false; size];
        let mut positions = vec![0_i64; size];
        let mut segments = vec![0_i64; size];
        let mut counted = Vec::new();
        let mut counted_targets = Vec::new();
        let mut total = 0;
        for (number, row) in rows.iter().enumerate() {
            let mut place = number * time;
            for (document, (example, piece)) in row.iter().enumerate() {
                for position in 0..fed(piece) {
                    let source = piece.start + position;
                    tokens[place] = i64::from(example.tokens[source]);
                    positions[place] = position as i64;
                    segments[place] = document as i64 + 1;
                    if example.learn[source + 1] {
                        let target = i64::from(example.tokens[source + 1]);
                        targets[place] = target;
                        mask[place] = true;
                        counted.push(place as i64);
                        counted_targets.push(target);
                    }
                    place += 1;
                    total += 1;
                }
            }
        }
        let shape = [rows.len(), time];
        let ints = |values: Vec<i64>| Tensor::<2, Int>::from_data(TensorData::new(values, shape), device);
        let flat = |values: Vec<i64>| {
            let length = [values.len()];
            Tensor::<1, Int>::from_data(TensorData::new(values, length), device)
        };
        let count = counted.len();
        Ok(Self {
            tokens: ints(tokens),
            targets: ints(targets),
            mask: Tensor::from_data(TensorData::new(mask, shape), device),
            positions: packed.then(|| ints(positions)),
            segments: packed.then(|| ints(segments)),
            counted: flat(counted),
            counted_targets: flat(counted_targets),
            count,
            fed: total,
            shape,
        })
    }

    /// The share of positions that are padding, in 0..1.
    pub fn padding(&self) -> f64 {
        let [rows, time] = self.shape;
        1.0 - self.fed as f64 / (rows * time) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<const D: usize>(tensor: &Tensor<D, Int>) -> Vec<i64> {
        tensor.to_data().iter::<i64>().collect()
    }

    #[test]
    fn by_hand() {
        let device = Device::flex();
        let first = Example::prompt_completion(vec![5, 6], vec![7, 2]);
        let second = Example::prompt_completion(vec![8], vec![2]);
        let batch = Batch::collate(&[&first, &second], 2, &device).unwrap();
        assert_eq!(batch.shape, [2, 3]);
        assert_eq!(values(&batch.tokens), [5, 6, 7, 8, 2, 2]);
        assert_eq!(values(&batch.targets), [2, 7, 2, 2, 2, 2]);
        let mask: Vec<bool> = batch.mask.to_data().iter::<bool>().collect();
        // The end token (2) is learned although it is the padding id, and padding is not.
        assert_eq!(mask, [false, true, true, true, false, false]);
        assert_eq!(values(&batch.counted), [1, 2, 3]);
        assert_eq!(values(&batch.counted_targets), [7, 2, 2]);
        assert_eq!((batch.count, batch.fed), (3, 4));
        assert!((batch.padding() - 1.0 / 3.0).abs() < 1e-12);
    }

    /// TRL #1623: where the end token pads too, it was masked together with the padding and never learned.
    #[test]
    fn the_end_token_is_learned_where_it_pads_too() {
        let end = 2;
        let long = Example::prompt_completion(vec![5, 6], vec![7, end]);
        let short = Example::prompt_completion(vec![8], vec![end]);
        let batch = Batch::collate(&[&long, &short], end, &Device::flex()).unwrap();
        // Once for each example, and never for the padding.
        assert_eq!(values(&batch.counted_targets), [7, 2, 2]);
    }

    /// TRL #3067: packed documents saw each other. Their segments differ, which attention keeps apart (`packed_documents_equal_separate_ones`
    /// in the crate `models`), positions restart, and no target crosses: 3 does not predict 4.
    #[test]
    fn packed_documents_neither_see_nor_predict_each_other() {
        let device = Device::flex();
        let examples = [Example::all(vec![1, 2, 3]), Example::all(vec![4, 5])];
        let rows = vec![vec![Piece { example: 0, start: 0, end: 3 }, Piece { example: 1, start: 0, end: 2 }]];
        let batch = Batch::from_rows(&rows, &examples, 0, &device).unwrap();
        assert_eq!(values(&batch.tokens), [1, 2, 4]);
        assert_eq!(values(&batch.targets), [2, 3, 5]);
        assert_eq!(values(batch.positions.as_ref().unwrap()), [0, 1, 0]);
        assert_eq!(values(batch.segments.as_ref().unwrap()), [1, 1, 2]);
    }

    /// Nothing after the last target is fed.
    #[test]
    fn no_waste() {
        let example = Example { tokens: vec![1, 2, 3, 4, 5], learn: vec![false, true, false, false, false] };
        let batch = Batch::collate(&[&example], 0, &Device::flex()).unwrap();
        assert_eq!(batch.shape, [1, 1]);
        assert_eq!(batch.count, 1);
    }
}
