//! Ctrl-C that lets the loop finish its step.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::GradientReducer;

/// A flag that the loop looks at after each step.
///
/// The first Ctrl-C (or termination signal, as a scheduler sends before it takes a machine back) sets it; the
/// second ends the process at once, with exit code 130.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

static INSTALLED: OnceLock<Interrupt> = OnceLock::new();

impl Interrupt {
    /// A flag that only [`trigger`](Self::trigger) sets.
    pub fn manual() -> Self {
        Self::default()
    }

    /// The flag of this process's signals. Further calls return the same flag. Where signals cannot be handled,
    /// the flag never rises, and Ctrl-C ends the process as usual.
    pub fn install() -> Self {
        INSTALLED
            .get_or_init(|| {
                let interrupt = Self::manual();
                let flag = interrupt.clone();
                let installed = ctrlc::set_handler(move || {
                    if flag.0.swap(true, Ordering::SeqCst) {
                        std::process::exit(130);
                    }
                    eprintln!("\nstopping; press Ctrl-C again to leave at once");
                });
                if let Err(error) = installed {
                    tracing::warn!("Ctrl-C will not save first: {error}");
                }
                interrupt
            })
            .clone()
    }

    /// Whether to stop after this step.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Whether any worker's flag is up, the same answer for all: a signal reaches one process, and all must stop after the
    /// same step.
    pub fn is_raised_among(&self, reducer: &mut dyn GradientReducer) -> bool {
        let mut raised = [if self.is_raised() { 1.0 } else { 0.0 }];
        reducer.sum_f64(&mut raised);
        raised[0] > 0.0
    }

    /// Asks the loop to stop after this step.
    pub fn trigger(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
