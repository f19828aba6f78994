//! Sums over workers: one, threads of this process, or other processes.

use std::sync::{Arc, Barrier, Mutex};

/// Sums numbers over data-parallel workers.
///
/// Each worker computes gradients of its own shard as *sums*, all call the methods in the same order, and each
/// divides by the *global* count. So ranks, like micro-batches, add up to the full batch.
pub trait GradientReducer {
    /// This worker's number, from 0. Worker 0 writes files.
    fn worker(&self) -> usize;
    /// How many workers there are.
    fn workers(&self) -> usize;
    /// Replaces values by their sums over all workers; the same on all of them.
    fn sum(&mut self, values: &mut [f32]);
    /// The same for counts and losses.
    fn sum_f64(&mut self, values: &mut [f64]);
    /// Replaces values by worker 0's, as for the initial weights.
    fn broadcast(&mut self, values: &mut [f32]);
}

/// The only worker there is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Single;

impl GradientReducer for Single {
    fn worker(&self) -> usize {
        0
    }
    fn workers(&self) -> usize {
        1
    }
    fn sum(&mut self, _values: &mut [f32]) {}
    fn sum_f64(&mut self, _values: &mut [f64]) {}
    fn broadcast(&mut self, _values: &mut [f32]) {}
}

/// A worker that is a thread of this process, with one model per thread.
#[derive(Clone, Debug)]
pub struct Threads {
    worker: usize,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    barrier: Barrier,
    slots: Vec<Mutex<Vec<f64>>>,
}

impl Threads {
    /// One reducer per thread, to be moved into the threads.
    pub fn new(workers: usize) -> Vec<Self> {
        let slots = (0..workers).map(|_| Mutex::new(Vec::new())).collect();
        let shared = Arc::new(Shared { barrier: Barrier::new(workers), slots });
        (0..workers).map(|worker| Self { worker, shared: Arc::clone(&shared) }).collect()
    }

    /// Everyone puts values down; everyone reads all of them, in the same order; nobody leaves before.
    fn exchange(&self, mine: Vec<f64>, mut read: impl FnMut(usize, &[f64])) {
        let lock = |slot: &Mutex<Vec<f64>>| -> Vec<f64> {
            slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
        };
        *self.shared.slots[self.worker].lock().unwrap_or_else(std::sync::PoisonError::into_inner) = mine;
        self.shared.barrier.wait();
        for (worker, slot) in self.shared.slots.iter().enumerate() {
            read(worker, &lock(slot));
        }
        self.shared.barrier.wait();
    }
}

impl GradientReducer for Threads {
    fn worker(&self) -> usize {
        self.worker
    }

    fn workers(&self) -> usize {
        self.shared.slots.len()
    }

    fn sum(&mut self, values: &mut [f32]) {
        let mut sums: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
        self.sum_f64(&mut sums);
        for (value, sum) in values.iter_mut().zip(sums) {
            *value = sum as f32;
        }
    }

    fn sum_f64(&mut self, values: &mut [f64]) {
        let mine = values.to_vec();
        values.fill(0.0);
        self.exchange(mine, |_, theirs| {
            assert_eq!(theirs.len(), values.len(), "workers reduce different lengths");
            values.iter_mut().zip(theirs).for_each(|(sum, value)| *sum += value);
        });
    }

    fn broadcast(&mut self, values: &mut [f32]) {
        let mine = values.iter().map(|value| f64::from(*value)).collect();
        self.exchange(mine, |worker, theirs| {
            if worker == 0 {
                values.iter_mut().zip(theirs).for_each(|(value, first)| *value = *first as f32);
            }
        });
    }
}
