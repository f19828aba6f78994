//! Progress with rate and remaining time.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar on a terminal, and a line every few seconds elsewhere. Both go to standard error.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    label: String,
    plain: bool,
    started: Instant,
    begin: u64,
    printed: Instant,
}

const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

impl Progress {
    /// Progress over `total` steps, of which `done` were done by an earlier process.
    pub fn new(label: &str, total: u64, done: u64) -> Self {
        let plain = !std::io::stderr().is_terminal();
        let target = if plain { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let template = "{prefix} {wide_bar} {pos}/{len} [{elapsed} < {eta}, {per_sec}] {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(label.to_owned());
        bar.set_position(done);
        bar.reset_eta();
        let now = Instant::now();
        Self { bar, label: label.to_owned(), plain, started: now, begin: done, printed: now }
    }

    /// One that shows nothing.
    pub fn hidden() -> Self {
        let mut progress = Self::new("", 0, 0);
        progress.bar.set_draw_target(ProgressDrawTarget::hidden());
        progress.plain = false;
        progress
    }

    /// `done` steps are done; `message` is what to show beside them.
    pub fn update(&mut self, done: u64, message: impl Into<String>) {
        let message = message.into();
        if self.plain && (self.printed.elapsed() >= PLAIN_INTERVAL || Some(done) == self.bar.length()) {
            self.printed = Instant::now();
            eprintln!("{}", self.line(done, &message));
        }
        self.bar.set_message(message);
        self.bar.set_position(done);
    }

    /// Prints a line above the bar.
    pub fn println(&self, line: impl AsRef<str>) {
        if self.plain || self.bar.is_hidden() {
            eprintln!("{}", line.as_ref());
        } else {
            self.bar.println(line);
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn line(&self, done: u64, message: &str) -> String {
        let total = self.bar.length().unwrap_or(0);
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = done.saturating_sub(self.begin) as f64 / seconds.max(1e-9);
        let left = if rate > 0.0 { total.saturating_sub(done) as f64 / rate } else { 0.0 };
        format!("{} {done}/{total} [{rate:.2}/s, {} left] {message}", self.label, clock(left))
    }
}

fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s:02}s"),
        (h, m, _) => format!("{h}h{m:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_has_rate_and_remaining_time() {
        let mut progress = Progress::hidden();
        progress.bar.set_length(10);
        progress.label = "train".to_owned();
        progress.started = Instant::now() - Duration::from_secs(2);
        let line = progress.line(4, "loss 1.0");
        assert!(line.starts_with("train 4/10 [2.00/s, 3s left] loss 1.0"), "{line}");
        assert_eq!(clock(3725.0), "1h02m");
    }
}
