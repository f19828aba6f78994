//! Sums over workers: one, threads of this process, or other processes.

use std::process::ExitCode;
use std::sync::{Arc, Barrier, Mutex};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};

use crate::Error;
use crate::parameters::replace;

/// Sums numbers over data-parallel workers.
///
/// Each worker computes gradients of its own shard as *sums*, all call the methods in the same order, and each
/// divides by the *global* count. So ranks, like micro-batches, add up to the full batch. A loop takes a
/// `&mut dyn GradientReducer` and is the same for one worker ([`Single`]) and for many; [`workers`] finds the one to pass.
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
    /// The same for counts.
    fn broadcast_f64(&mut self, values: &mut [f64]) {
        if self.worker() != 0 {
            values.fill(0.0);
        }
        self.sum_f64(values);
    }
    /// Every worker's bytes, in the order of workers and the same on all of them: for what cannot be summed, as texts.
    fn gather(&mut self, mine: &[u8]) -> Vec<Vec<u8>> {
        let worker = self.worker();
        let mut lengths = vec![0.0; self.workers()];
        lengths[worker] = mine.len() as f64;
        self.sum_f64(&mut lengths);
        // Three bytes make a number below 2^24, which f32 holds exactly; the others add zeros to it.
        let lengths: Vec<usize> = lengths.into_iter().map(|length| length as usize).collect();
        let numbers = |length: &usize| length.div_ceil(3);
        let mut values = vec![0.0; lengths.iter().map(numbers).sum()];
        let begin: usize = lengths[..worker].iter().map(numbers).sum();
        for (value, bytes) in values[begin..].iter_mut().zip(mine.chunks(3)) {
            *value = bytes.iter().rev().fold(0_u32, |number, byte| (number << 8) | u32::from(*byte)) as f32;
        }
        self.sum(&mut values);
        let mut rest = values.as_slice();
        let mut found = Vec::with_capacity(lengths.len());
        for length in &lengths {
            let (part, after) = rest.split_at(numbers(length));
            let mut bytes: Vec<u8> =
                part.iter().flat_map(|value| (*value as u32).to_le_bytes().into_iter().take(3)).collect();
            bytes.truncate(*length);
            found.push(bytes);
            rest = after;
        }
        found
    }
    /// Tells the other workers that this one failed, so that they end and do not wait for it. Workers that are processes all
    /// end with `code`, this one too; the only worker, or one that is a thread, returns.
    fn abort(&mut self, code: i32) {
        let _ = code;
    }
}

/// The workers that this process was started among: with feature `mpi` the ranks of `mpirun` or `srun`, else this process alone.
///
/// Call it once, early, and keep what it gives until all is written: dropping it leaves MPI.
///
/// # Errors
/// Without feature `mpi`, when `mpirun` started several ranks: each would take itself for the only one. With it, when MPI
/// was started or ended before.
pub fn workers() -> Result<Box<dyn GradientReducer>, Error> {
    #[cfg(feature = "mpi")]
    return Ok(Box::new(crate::Processes::join()?));
    #[cfg(not(feature = "mpi"))]
    match ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"].iter().find_map(|name| std::env::var(name).ok()) {
        Some(size) if size != "1" => Err(Error::Workers {
            reason: format!("it was started as one of {size}, and built without feature `mpi`"),
        }),
        _ => Ok(Box::new(Single)),
    }
}

/// The `main` of a program that may run on several [`workers`]: an error becomes one sentence on standard error and exit code 2,
/// and ends the other workers, which would wait forever.
///
/// ```
/// # use std::process::ExitCode;
/// let code = training::launch(|workers| -> Result<ExitCode, training::Error> {
///     assert_eq!(workers.workers(), 1);
///     Ok(ExitCode::SUCCESS)
/// });
/// assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
/// ```
pub fn launch<E>(run: impl FnOnce(&mut dyn GradientReducer) -> Result<ExitCode, E>) -> ExitCode
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut workers = match workers() {
        Ok(workers) => workers,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    run(&mut *workers).unwrap_or_else(|error| {
        eprintln!("error: {}", crate::sentence(&*error.into()));
        workers.abort(2);
        ExitCode::from(2)
    })
}

/// Checks that all workers have the same `digest` of what they must share: options, data, the plan of the steps. Workers
/// that differ would take other steps, or wait for each other forever.
///
/// ```
/// let mut workers = training::Single;
/// assert!(training::agree(&mut workers, "configuration", 42).is_ok());
/// ```
///
/// # Errors
/// On all workers, when one's digest is not worker 0's; the error names `what` and the first worker that differs.
pub fn agree(reducer: &mut dyn GradientReducer, what: &str, digest: u64) -> Result<(), Error> {
    // Halves, because f64 holds whole numbers up to 2^53.
    let mine = [(digest >> 32) as f64, (digest & 0xffff_ffff) as f64];
    let mut first = mine;
    reducer.broadcast_f64(&mut first);
    let (worker, workers) = (reducer.worker(), reducer.workers());
    let mut differs = vec![0.0; workers];
    differs[worker] = if first == mine { 0.0 } else { 1.0 };
    reducer.sum_f64(&mut differs);
    match differs.iter().position(|differs| *differs > 0.0) {
        None => Ok(()),
        Some(worker) => Err(Error::Workers {
            reason: format!(
                "worker {worker} of {workers} has another {what} than worker 0: give all of them the same"
            ),
        }),
    }
}

/// A worker's share of something that all have: every so many-th of it.
///
/// ```
/// assert_eq!(training::shard(&[1, 2, 3], &training::Single).collect::<Vec<_>>(), [&1, &2, &3]);
/// ```
pub fn shard<'a, T>(all: &'a [T], reducer: &dyn GradientReducer) -> impl Iterator<Item = &'a T> + use<'a, T> {
    all.iter().skip(reducer.worker()).step_by(reducer.workers())
}

/// Gives every worker the parameters of worker 0, as before the first step. Each keeps its own types.
pub fn broadcast_parameters<M: Module>(module: M, reducer: &mut dyn GradientReducer) -> M {
    if reducer.workers() == 1 { module } else { module.map(&mut Broadcast { reducer }) }
}

struct Broadcast<'a> {
    reducer: &'a mut dyn GradientReducer,
}

impl ModuleMapper for Broadcast<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        replace(param, |tensor| {
            let (shape, dtype, device) = (tensor.shape(), tensor.dtype(), tensor.device());
            let mut values: Vec<f32> = tensor.into_data().iter::<f32>().collect();
            self.reducer.broadcast(&mut values);
            Tensor::from_data(TensorData::new(values, shape), (&device, dtype))
        })
    }
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
