//! How long a sum over all ranks takes, by its size: what a step pays besides computing.
//!
//! ```sh
//! cargo build --release --workspace --features training/mpi --example all_reduce
//! mpirun -n 4 target/release/examples/all_reduce
//! ```
#![forbid(unsafe_code)]

use std::time::Instant;

use training::Error;

fn main() -> Result<(), Error> {
    let mut workers = training::workers()?;
    let (first, count) = (workers.worker() == 0, workers.workers());
    if first {
        println!("| ranks | bytes | median seconds | least | most | GB/s through a rank, in a ring |");
        println!("|---|---|---|---|---|---|");
    }
    for power in [0, 10, 14, 18, 22, 25] {
        let numbers = 1_usize << power;
        let repeats = if power < 20 { 200 } else { 15 };
        let mut values = vec![0.0_f32; numbers];
        let mut seconds = Vec::with_capacity(repeats);
        for _ in 0..repeats {
            values.fill(1.0);
            // All begin together, so nobody's lateness is measured.
            workers.sum_f64(&mut [0.0]);
            let begin = Instant::now();
            workers.sum(&mut values);
            seconds.push(begin.elapsed().as_secs_f64());
            assert!(values.iter().all(|value| *value == count as f32), "a sum is wrong");
        }
        seconds.sort_by(f64::total_cmp);
        let (median, bytes) = (seconds[repeats / 2], 4 * numbers);
        let moved = 2.0 * (count - 1) as f64 / count as f64 * bytes as f64;
        if first {
            println!(
                "| {count} | {bytes} | {median:.2e} | {:.2e} | {:.2e} | {:.2} |",
                seconds[0],
                seconds[repeats - 1],
                moved / median / 1e9
            );
        }
    }
    Ok(())
}
