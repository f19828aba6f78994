//! What a small network is told about numbers: that they are ordered, and how they wrap.
//!
//! Large models find by themselves that numbers lie on circles of several periods (Nanda et al. 2023, arXiv 2301.05217). A network
//! of a hundred thousand weights spends most of its training on that. So the embedding of every word with a number begins
//! half random, half on such circles; it is trained like all other weights.

use burn::tensor::{Tensor, TensorData};

use super::vocabulary;

/// The periods of the circles.
const PERIODS: [f64; 7] = [200.0, 100.0, 50.0, 25.0, 10.0, 5.0, 2.0];

/// Moves the rows of all words with a number, `[vocab, hidden]`, half of the way to their place on the circles. Rows keep
/// their expected length; too narrow an embedding is left alone.
pub fn on_circles(embedding: Tensor<2>) -> Tensor<2> {
    let [rows, width] = embedding.dims();
    if width < 2 * PERIODS.len() {
        return embedding;
    }
    let device = embedding.device();
    let mut values: Vec<f32> = embedding.into_data().iter::<f32>().collect();
    let length = (values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / rows as f64).sqrt();
    // Of equal length to the random half.
    let radius = length / (PERIODS.len() as f64).sqrt();
    let half = 0.5_f64.sqrt();
    for (word, row) in vocabulary::words().iter().zip(values.chunks_exact_mut(width)) {
        let Some(number) = number(word) else { continue };
        row.iter_mut().for_each(|value| *value *= half as f32);
        for (pair, period) in row.chunks_exact_mut(2).zip(PERIODS) {
            let (sin, cos) = (std::f64::consts::TAU * f64::from(number) / period).sin_cos();
            pair[0] += (half * radius * cos) as f32;
            pair[1] += (half * radius * sin) as f32;
        }
    }
    Tensor::from_data(TensorData::new(values, [rows, width]), &device)
}

/// The number of a word: `17`, `+8`, `-8`. Factors and counts of boxes have none.
fn number(word: &str) -> Option<i32> {
    word.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_with_numbers_have_one() {
        let numbers = ["17", "+8", "-8", "*3", "/2", "2?", "+?", "so"].map(number);
        assert_eq!(numbers, [Some(17), Some(8), Some(-8), None, None, None, None, None]);
    }

    #[test]
    fn neighbours_lie_close_and_other_words_stay() {
        let words = vocabulary::words();
        let flat = TensorData::new(vec![0.1f32; words.len() * 64], [words.len(), 64]);
        let moved = on_circles(Tensor::from_data(flat, &Default::default()));
        let values: Vec<f32> = moved.into_data().iter::<f32>().collect();
        let row = |word: &str| {
            let at = words.iter().position(|w| w == word).expect("a word") * 64;
            &values[at..at + 64]
        };
        let apart = |a, b| row(a).iter().zip(row(b)).map(|(x, y)| (x - y).powi(2)).sum::<f32>();
        assert!(row("so").iter().all(|value| *value == 0.1));
        assert!(apart("17", "19") < apart("17", "40"), "numbers lie in order");
        assert_eq!(apart("8", "+8"), 0.0);
        assert!(apart("8", "-8") > 0.0);
    }
}
