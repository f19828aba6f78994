//! Samples to lines, in order, as they end.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;
use models::{Finish, Flow, Sample, Sampled, StopTexts, Tokenizer, Watch};
use serde::Serialize;
use serde_json::{Map, Value};
use training::{Appended, Interrupt, Line, Progress};

use crate::Record;
use crate::config::Config;

/// A line of the output.
#[derive(Serialize)]
struct Out<'a> {
    id: &'a Value,
    sample: usize,
    completion: &'a str,
    token_ids: &'a [u32],
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<&'a [f32]>,
    finish_reason: &'static str,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Names of the output that a line of the input may not carry through.
const OWN: [&str; 5] = ["sample", "completion", "token_ids", "logprobs", "finish_reason"];

/// Watches samples and writes them; one that ends early waits for those before it.
pub struct Writer<'a> {
    output: Appended,
    lines: &'a [Line<Record>],
    stops: &'a StopTexts<'a>,
    tokenizer: &'a Tokenizer,
    config: &'a Config,
    progress: Progress,
    interrupt: Interrupt,
    started: Instant,
    /// Samples that ended, by place.
    waiting: BTreeMap<usize, Sample>,
    /// The place that is written next.
    next: usize,
    /// The line of the first request.
    first: usize,
    /// Samples of lines before these.
    before: usize,
    /// Samples of these lines that ended.
    ended: usize,
    tokens: u64,
    failed: Option<anyhow::Error>,
}

impl<'a> Writer<'a> {
    /// `lines` begin with the one that is written next, of which `written` samples are written already, after
    /// `before` samples of lines before it.
    pub fn new(
        output: Appended,
        lines: &'a [Line<Record>],
        (before, written): (usize, usize),
        stops: &'a StopTexts<'a>,
        tokenizer: &'a Tokenizer,
        config: &'a Config,
        progress: Progress,
    ) -> Self {
        Self {
            output,
            lines,
            stops,
            tokenizer,
            config,
            progress,
            interrupt: Interrupt::install(),
            started: Instant::now(),
            waiting: BTreeMap::new(),
            next: written,
            first: 0,
            before,
            ended: written,
            tokens: 0,
            failed: None,
        }
    }

    /// The next requests are those of the lines from `first` on.
    pub fn begin(&mut self, first: usize) {
        self.first = first;
    }

    /// What went wrong in writing, if anything did.
    pub fn check(&mut self) -> Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Whether somebody wants to stop here.
    pub fn interrupted(&self) -> bool {
        self.interrupt.is_raised()
    }

    /// How many samples the file holds.
    pub fn written(&self) -> usize {
        self.before + self.next
    }

    pub fn finish(&self) {
        self.progress.finish();
    }

    fn write(&mut self, place: usize, sample: &Sample) -> Result<()> {
        let record = &self.lines[place / self.config.samples].record;
        let text = self.tokenizer.decode(&sample.tokens, true)?;
        let mut rest = record.rest.clone();
        rest.retain(|key, _| !OWN.contains(&key.as_str()));
        self.output.append(&Out {
            id: &record.id,
            sample: place % self.config.samples,
            completion: self.stops.cut(&text),
            token_ids: &sample.tokens,
            logprobs: self.config.logprobs.then_some(&sample.logprobs),
            finish_reason: match sample.finish {
                Finish::Stop => "stop",
                Finish::Length => "length",
            },
            rest,
        })?;
        Ok(())
    }
}

impl Watch for Writer<'_> {
    fn token(&mut self, sampled: Sampled<'_>) -> Flow {
        self.tokens += 1;
        if self.failed.is_some() || self.interrupt.is_raised() {
            Flow::Abandon
        } else if self.stops.hit(sampled.tokens) {
            Flow::Stop
        } else {
            Flow::Continue
        }
    }

    fn finished(&mut self, request: usize, sample: usize, result: &Sample) {
        let place = (self.first + request) * self.config.samples + sample;
        if self.failed.is_some() || place < self.next {
            return;
        }
        self.waiting.insert(place, result.clone());
        while let Some(sample) = self.waiting.remove(&self.next) {
            if let Err(error) = self.write(self.next, &sample) {
                self.failed = Some(error);
                return;
            }
            self.next += 1;
        }
        self.ended += 1;
        let rate = self.tokens as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
        self.progress.update((self.before + self.ended) as u64, format!("{rate:.0} tokens/s"));
    }
}
