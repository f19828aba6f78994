//! A generator that replays recorded candidates: for tests, and for working on selection without a model.

use std::collections::HashMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::generate::{Candidate, Generator, Prompted};
use crate::journal::read_journal;

/// Replays the records of a journal.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    answers: HashMap<String, Vec<Candidate>>,
}

impl Recorded {
    /// Reads a journal; it is held in memory.
    ///
    /// # Errors
    /// As [`read_journal`].
    pub fn load(path: &Path) -> Result<Self> {
        let mut this = Self::default();
        read_journal(path, |record| {
            this.answers.insert(record.request, record.candidates);
            Ok(())
        })?;
        Ok(this)
    }

    /// Adds an answer.
    pub fn insert(&mut self, request: impl Into<String>, candidates: Vec<Candidate>) {
        self.answers.insert(request.into(), candidates);
    }
}

impl Generator for Recorded {
    fn generate(&mut self, batch: &[Prompted]) -> Result<Vec<Vec<Candidate>>> {
        batch
            .iter()
            .map(|p| {
                let missing = || Error::Contract {
                    who: "the recording".into(),
                    message: format!("has no answer to `{}`", p.id),
                };
                self.answers.get(&p.id).cloned().ok_or_else(missing)
            })
            .collect()
    }
}
