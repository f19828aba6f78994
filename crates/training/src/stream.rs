//! Random streams keyed by what they are for.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// The random stream of one sample of one example in one step, for one purpose.
///
/// Streams are values computed from their key, so nothing about them is saved or advanced, and results depend
/// neither on the number of workers nor on the order of work.
///
/// ```
/// use rand::Rng;
/// let mut a = training::stream(7, "shuffle", 0, 3, 0);
/// let mut b = training::stream(7, "shuffle", 0, 4, 0);
/// assert_ne!(a.random::<u64>(), b.random::<u64>());
/// ```
pub fn stream(seed: u64, purpose: &str, step: u64, example: u64, sample: u64) -> ChaCha8Rng {
    // FNV-1a, 64 bits: stable across platforms and versions.
    let purpose = purpose.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut key = [0; 32];
    for (part, value) in key.chunks_exact_mut(8).zip([seed, purpose, step, example]) {
        part.copy_from_slice(&value.to_le_bytes());
    }
    let mut stream = ChaCha8Rng::from_seed(key);
    stream.set_stream(sample);
    stream
}
