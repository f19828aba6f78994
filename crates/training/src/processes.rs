//! Workers that are processes, on one machine or many, joined by MPI.

use mpi::Threading;
use mpi::collective::SystemOperation;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Equivalence, Root};

use crate::{Error, GradientReducer};

/// Numbers in one message: MPI counts in 32 bits, and the copy that a sum needs stays small.
const MESSAGE: usize = 16 << 20;

/// A worker that is an MPI rank (feature `mpi`); started without `mpirun` or `srun` it is the only one.
///
/// Sums are `MPI_Allreduce`, so the network, the topology and the algorithm are the MPI library's business. Dropping it
/// leaves MPI, which waits for the other ranks; dropping it in a panic ends them all, because they would wait forever.
pub struct Processes {
    // Dropped before the universe, which ends MPI.
    world: SimpleCommunicator,
    _universe: Universe,
}

impl Processes {
    /// Joins the ranks that this process was started among.
    ///
    /// # Errors
    /// When this process has started or ended MPI before.
    pub fn join() -> Result<Self, Error> {
        let fail = |reason: &str| Error::Workers { reason: reason.to_owned() };
        if mpi::environment::is_finalized() {
            return Err(fail("it has left MPI, which cannot be joined twice"));
        }
        // Checkpoints are written on another thread, which does not speak MPI.
        let (universe, _) = mpi::initialize_with_threading(Threading::Funneled)
            .ok_or_else(|| fail("it has joined MPI already"))?;
        Ok(Self { world: universe.world(), _universe: universe })
    }

    fn sum_as<T: Equivalence + Copy + Default>(&self, values: &mut [T]) {
        let mut sums = vec![T::default(); values.len().min(MESSAGE)];
        for part in values.chunks_mut(MESSAGE) {
            let sums = &mut sums[..part.len()];
            self.world.all_reduce_into(&*part, sums, SystemOperation::sum());
            part.copy_from_slice(sums);
        }
    }
}

impl GradientReducer for Processes {
    fn worker(&self) -> usize {
        self.world.rank() as usize
    }

    fn workers(&self) -> usize {
        self.world.size() as usize
    }

    fn sum(&mut self, values: &mut [f32]) {
        self.sum_as(values);
    }

    fn sum_f64(&mut self, values: &mut [f64]) {
        self.sum_as(values);
    }

    fn broadcast(&mut self, values: &mut [f32]) {
        for part in values.chunks_mut(MESSAGE) {
            self.world.process_at_rank(0).broadcast_into(part);
        }
    }

    fn abort(&mut self, code: i32) {
        if self.workers() > 1 {
            self.world.abort(code);
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.abort(101);
        }
        // A launcher ends all ranks when one leaves with another code than 0, so all leave together.
        self.world.barrier();
    }
}
