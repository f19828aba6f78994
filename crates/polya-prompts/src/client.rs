//! A client for OpenAI-compatible servers: many requests in flight, retries with back-off, rate limits respected.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::generate::{Candidate, Generator, Prompted};
use crate::openai::{Answer, ServerSampling, body, parse, path};
use crate::run::{Request, Scheduler};

/// How to reach the servers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientConfig {
    /// Base URLs, such as `http://localhost:8000/v1`. Requests go to the one with the fewest in flight, of those that have not
    /// asked for a pause.
    pub endpoints: Vec<String>,
    /// The model's name as the servers know it.
    pub model: String,
    /// Sampling.
    pub sampling: ServerSampling,
    /// Most requests in flight, over all endpoints.
    pub concurrency: usize,
    /// Seconds one attempt may take, from connecting to the last byte.
    pub timeout_s: f64,
    /// Attempts after the first.
    pub retries: usize,
    /// First pause before a retry, in seconds; it doubles each time, with jitter.
    pub backoff_s: f64,
    /// Longest pause, in seconds; a server's `Retry-After` is cut to it too.
    pub max_backoff_s: f64,
    /// Name of the environment variable that holds the API key. The key itself is never stored or printed.
    pub api_key_env: Option<String>,
    /// Largest answer that is read, in bytes.
    pub max_answer_bytes: usize,
    /// The run stops after this many requests have failed for good. What was answered is kept.
    pub max_failures: usize,
}

impl Default for ClientConfig {
    /// 256 in flight, 10 minutes for an attempt, 5 retries from 0.5 s up to 60 s.
    fn default() -> Self {
        Self {
            endpoints: vec!["http://localhost:8000/v1".into()],
            model: String::new(),
            sampling: ServerSampling::default(),
            concurrency: 256,
            timeout_s: 600.0,
            retries: 5,
            backoff_s: 0.5,
            max_backoff_s: 60.0,
            api_key_env: None,
            max_answer_bytes: 64 << 20,
            max_failures: 20,
        }
    }
}

/// A client. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    config: ClientConfig,
    http: reqwest::Client,
    key: Option<String>,
    endpoints: Vec<Endpoint>,
    next: AtomicUsize,
    retried: AtomicU64,
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
}

impl std::fmt::Debug for Inner {
    // By hand, so that the key cannot be printed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("config", &self.config).finish_non_exhaustive()
    }
}

struct Endpoint {
    base: String,
    /// Requests sent and not yet answered, and those that wait out a pause.
    in_flight: AtomicUsize,
    /// Nothing is sent before this moment: the server asked for a pause.
    not_before: Mutex<Option<Instant>>,
}

impl Endpoint {
    /// The moment before which nothing is to be sent, if a pause was ever asked for.
    fn held(&self) -> Option<Instant> {
        *self.not_before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps requests away for a while.
    fn hold(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut slot = self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(slot.map_or(until, |old| old.max(until)));
    }
}

/// Counts a request at its endpoint until it is answered, fails or is given up.
struct Flight<'a>(&'a AtomicUsize);

impl<'a> Flight<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the servers reported so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Attempts that had to be repeated.
    pub retried: u64,
    /// Prompt tokens, of servers that tell.
    pub prompt_tokens: u64,
    /// Completion tokens, of servers that tell.
    pub completion_tokens: u64,
}

/// Why an attempt failed.
enum Failure {
    /// Worth another attempt, after the server's pause if it named one.
    Passing(String, Option<Duration>),
    /// The same request would fail again.
    Permanent(String),
}

impl Client {
    /// Builds a client and reads the API key.
    ///
    /// # Errors
    /// [`Error::Config`] for a bad URL, an empty list of endpoints, a missing key or numbers out of range.
    pub fn new(config: ClientConfig) -> Result<Self> {
        let bad = |key, message: String| Err(Error::Config { key, message });
        if config.endpoints.is_empty() {
            return bad("endpoints", "the list is empty".into());
        }
        let mut endpoints = Vec::new();
        for base in &config.endpoints {
            let url = reqwest::Url::parse(base);
            if !url.is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.host().is_some()) {
                return bad("endpoints", format!("expected an http or https URL, found `{base}`"));
            }
            endpoints.push(Endpoint {
                base: base.trim_end_matches('/').to_owned(),
                in_flight: AtomicUsize::new(0),
                not_before: Mutex::new(None),
            });
        }
        if config.concurrency == 0 {
            return bad("concurrency", "must be at least 1, found 0".into());
        }
        for (key, value) in [
            ("timeout_s", config.timeout_s),
            ("backoff_s", config.backoff_s),
            ("max_backoff_s", config.max_backoff_s),
        ] {
            if !(value > 0.0 && value <= 1e6) {
                return bad(key, format!("must be above 0 and at most 1e6, found {value}"));
            }
        }
        let key = match &config.api_key_env {
            None => None,
            Some(name) => match std::env::var(name) {
                Ok(key) if !key.trim().is_empty() => Some(key.trim().to_owned()),
                _ => return bad("api_key_env", format!("the environment variable `{name}` is not set")),
            },
        };
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs_f64(config.timeout_s))
            .connect_timeout(Duration::from_secs_f64(config.timeout_s.min(30.0)))
            .pool_max_idle_per_host(config.concurrency)
            .tcp_nodelay(true)
            .build()
            .map_err(|e| Error::backend("the HTTP client", e))?;
        Ok(Self(Arc::new(Inner {
            config,
            http,
            key,
            endpoints,
            next: AtomicUsize::new(0),
            retried: AtomicU64::new(0),
            prompt_tokens: AtomicU64::new(0),
            completion_tokens: AtomicU64::new(0),
        })))
    }

    /// The settings.
    pub fn config(&self) -> &ClientConfig {
        &self.0.config
    }

    /// What the servers reported so far.
    pub fn usage(&self) -> Usage {
        let read = |a: &AtomicU64| a.load(Ordering::Relaxed);
        Usage {
            retried: read(&self.0.retried),
            prompt_tokens: read(&self.0.prompt_tokens),
            completion_tokens: read(&self.0.completion_tokens),
        }
    }

    /// Asks one request, with retries. The number of candidates is the number asked for.
    ///
    /// # Errors
    /// [`Error::Backend`] with the last failure, [`Error::Contract`] for a wrong number of choices.
    pub async fn complete(&self, request: &Prompted) -> Result<Vec<Candidate>> {
        let inner = &*self.0;
        let payload = serde_json::to_vec(&body(request, &inner.config.model, &inner.config.sampling))
            .map_err(|e| Error::backend("writing a request", e))?;
        let payload = bytes_of(payload);
        let path = path(&request.prompt);
        let mut pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_secs_f64(inner.config.backoff_s))
            .with_max_delay(Duration::from_secs_f64(inner.config.max_backoff_s))
            .with_max_times(inner.config.retries)
            .with_jitter()
            .build();
        let mut avoid = None;
        loop {
            let at = inner.choose(avoid);
            match inner.attempt(at, path, payload.clone()).await {
                Ok(answer) => {
                    let add = |a: &AtomicU64, n: Option<u64>| a.fetch_add(n.unwrap_or(0), Ordering::Relaxed);
                    add(&inner.prompt_tokens, answer.prompt_tokens);
                    add(&inner.completion_tokens, answer.completion_tokens);
                    if answer.candidates.len() != request.samples {
                        return Err(Error::Contract {
                            who: inner.endpoints[at].base.clone(),
                            message: format!(
                                "returned {} choices for `{}`, expected {}",
                                answer.candidates.len(),
                                request.id,
                                request.samples
                            ),
                        });
                    }
                    return Ok(answer.candidates);
                }
                Err(Failure::Permanent(message)) => {
                    return Err(Error::backend(inner.endpoints[at].base.clone(), message));
                }
                Err(Failure::Passing(message, pause)) => {
                    let Some(own) = pauses.next() else {
                        let tries = inner.config.retries + 1;
                        let message = format!("{message} (gave up after {tries} attempts)");
                        return Err(Error::backend(inner.endpoints[at].base.clone(), message));
                    };
                    inner.retried.fetch_add(1, Ordering::Relaxed);
                    avoid = Some(at);
                    // A pause that the server named is kept by the endpoint: another one may be asked at once.
                    if pause.is_none() {
                        tokio::time::sleep(own).await;
                    }
                }
            }
        }
    }

    /// Runs everything a scheduler has left, with up to [`ClientConfig::concurrency`] requests in flight. `after` is
    /// called after each answer and says whether to go on; requests in flight are then still waited for.
    ///
    /// A request that fails for good is noted in the [`Cost`](crate::Cost) and the others go on, until there are more
    /// than [`ClientConfig::max_failures`].
    ///
    /// # Errors
    /// [`Error::Io`] from the journal, or the failure that was one too many. Every answer received is in the journal.
    pub async fn run(
        &self,
        scheduler: &mut Scheduler<'_>,
        mut after: impl FnMut(&Scheduler<'_>) -> bool,
    ) -> Result<()> {
        let mut flying = FuturesUnordered::new();
        let ask = |request: Request| async move {
            let result = self.complete(&request.prompted).await;
            (request, result)
        };
        let mut stop: Option<Result<()>> = None;
        loop {
            while stop.is_none() && flying.len() < self.0.config.concurrency {
                match scheduler.next_request() {
                    Ok(Some(request)) => flying.push(ask(request)),
                    Ok(None) => break,
                    Err(e) => stop = Some(Err(e)),
                }
            }
            let Some((request, result)) = flying.next().await else {
                return stop.unwrap_or(Ok(()));
            };
            match result {
                Ok(candidates) => scheduler.complete(request, candidates)?,
                Err(e) => {
                    scheduler.fail(&request, &e);
                    if scheduler.cost().failures > self.0.config.max_failures && stop.is_none() {
                        stop = Some(Err(e));
                    }
                }
            }
            if stop.is_none() && !after(scheduler) {
                stop = Some(Ok(()));
            }
        }
    }

    /// Answers all prompts, in order, at most [`ClientConfig::concurrency`] at a time.
    ///
    /// # Errors
    /// The first failure, after all have been tried.
    pub async fn complete_all(&self, prompts: &[Prompted]) -> Result<Vec<Vec<Candidate>>> {
        let all = futures::stream::iter(prompts.iter().map(|p| self.complete(p)))
            .buffered(self.0.config.concurrency)
            .collect::<Vec<_>>()
            .await;
        all.into_iter().collect()
    }
}

fn bytes_of(payload: Vec<u8>) -> Arc<[u8]> {
    payload.into()
}

impl Inner {
    /// The endpoint with the fewest requests in flight or waiting, of those that have not asked for a pause if there are
    /// any; not `avoid` if there is another; ties go round.
    fn choose(&self, avoid: Option<usize>) -> usize {
        let n = self.endpoints.len();
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let around = (0..n).map(|i| (start + i) % n).filter(|&i| n == 1 || Some(i) != avoid);
        let load = |&i: &usize| {
            let endpoint = &self.endpoints[i];
            let held = endpoint.held().is_some_and(|until| until > now);
            (held, endpoint.in_flight.load(Ordering::Relaxed))
        };
        around.min_by_key(load).unwrap_or(0)
    }

    /// One attempt. A pause that the server asks for, also with a good answer, is kept by whoever asks this endpoint next.
    async fn attempt(&self, at: usize, path: &str, payload: Arc<[u8]>) -> Result<Answer, Failure> {
        let endpoint = &self.endpoints[at];
        let _flight = Flight::new(&endpoint.in_flight);
        if let Some(until) = endpoint.held() {
            tokio::time::sleep_until(until).await;
        }
        let (result, pause) = match self.send(&endpoint.base, path, payload).await {
            Ok((answer, pause)) => (Ok(answer), pause),
            Err(Failure::Passing(message, pause)) => (Err(Failure::Passing(message, pause)), pause),
            Err(permanent) => (Err(permanent), None),
        };
        if let Some(pause) = pause {
            endpoint.hold(pause.min(Duration::from_secs_f64(self.config.max_backoff_s)));
        }
        result
    }

    async fn send(
        &self,
        base: &str,
        path: &str,
        payload: Arc<[u8]>,
    ) -> Result<(Answer, Option<Duration>), Failure> {
        let passing = |e: reqwest::Error| Failure::Passing(describe(&e), None);
        let mut call = self
            .http
            .post(format!("{base}/{path}"))
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .body(payload.to_vec());
        if let Some(key) = &self.key {
            call = call.bearer_auth(key);
        }
        let mut response = call.send().await.map_err(passing)?;
        let status = response.status();
        let pause = pause_of(response.headers());
        let limit = if status.is_success() { self.config.max_answer_bytes } else { 4096 };
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(passing)? {
            if text.len() + chunk.len() > limit {
                if status.is_success() {
                    return Err(Failure::Permanent(format!("the answer is longer than {limit} bytes")));
                }
                text.extend_from_slice(&chunk[..limit - text.len()]);
                break;
            }
            text.extend_from_slice(&chunk);
        }
        if status.is_success() {
            let answer = parse(&text).map_err(|m| Failure::Passing(m, None))?;
            return Ok((answer, pause));
        }
        let said = String::from_utf8_lossy(&text);
        let message = format!("HTTP {status}: {}", said.trim().chars().take(500).collect::<String>());
        let again: BTreeSet<u16> = BTreeSet::from([408, 409, 425, 429, 500, 502, 503, 504, 529]);
        if again.contains(&status.as_u16()) {
            Err(Failure::Passing(message, pause))
        } else {
            Err(Failure::Permanent(message))
        }
    }
}

/// An error with its causes: reqwest's own text leaves them out.
fn describe(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    for _ in 0..5 {
        let Some(cause) = source else { break };
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The pause a server asks for: `Retry-After` in seconds or as a date, or the time until an exhausted limit is reset, which servers
/// write as `1s`, `250ms`, `6m0s` or plain seconds.
fn pause_of(headers: &HeaderMap) -> Option<Duration> {
    let read = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
    if let Some(ms) = read("retry-after-ms").and_then(|t| t.parse::<f64>().ok()) {
        return seconds(ms / 1000.0);
    }
    if let Some(text) = read("retry-after") {
        if let Ok(pause) = text.parse::<f64>() {
            return seconds(pause);
        }
        if let Ok(date) = httpdate::parse_http_date(text) {
            // A moment that has passed asks for no pause.
            return seconds(date.duration_since(SystemTime::now()).unwrap_or_default().as_secs_f64());
        }
    }
    ["requests", "tokens"]
        .iter()
        .filter(|kind| read(&format!("x-ratelimit-remaining-{kind}")) == Some("0"))
        .filter_map(|kind| duration(read(&format!("x-ratelimit-reset-{kind}"))?))
        .max()
}

fn seconds(s: f64) -> Option<Duration> {
    (s.is_finite() && s >= 0.0).then(|| Duration::from_secs_f64(s.min(86_400.0)))
}

fn duration(text: &str) -> Option<Duration> {
    if let Ok(plain) = text.parse::<f64>() {
        return seconds(plain);
    }
    let (mut total, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += value
            * match &rest[..end] {
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[end..];
    }
    seconds(total)
}

/// A [`Client`] with a runtime of its own, for code that is not asynchronous.
#[derive(Debug)]
pub struct BlockingClient {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl BlockingClient {
    /// Starts a runtime.
    ///
    /// # Errors
    /// [`Error::Backend`] if the system refuses.
    pub fn new(client: Client) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|e| Error::backend("the runtime", e))?;
        Ok(Self { client, runtime })
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// [`Client::run`], waiting for it.
    ///
    /// # Errors
    /// As [`Client::run`].
    pub fn run(
        &self,
        scheduler: &mut Scheduler<'_>,
        after: impl FnMut(&Scheduler<'_>) -> bool,
    ) -> Result<()> {
        self.runtime.block_on(self.client.run(scheduler, after))
    }
}

impl Generator for BlockingClient {
    fn generate(&mut self, batch: &[Prompted]) -> Result<Vec<Vec<Candidate>>> {
        self.runtime.block_on(self.client.complete_all(batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_servers_write_them() {
        let ms = |t| duration(t).map(|d| d.as_millis());
        assert_eq!(ms("1s"), Some(1000));
        assert_eq!(ms("250ms"), Some(250));
        assert_eq!(ms("6m0.5s"), Some(360_500));
        assert_eq!(ms("2"), Some(2000));
        assert_eq!(ms("soon"), None);
        assert_eq!(ms("5x"), None);
        assert_eq!(ms("-3"), None);
    }

    #[test]
    fn a_moment_to_come_is_a_pause_until_then() {
        let ask = |text: String| {
            pause_of(&HeaderMap::from_iter([(reqwest::header::RETRY_AFTER, text.parse().unwrap())]))
        };
        let at = |moment| ask(httpdate::fmt_http_date(moment)).unwrap().as_secs_f64();
        let pause = at(SystemTime::now() + Duration::from_secs(90));
        assert!((85.0..=90.0).contains(&pause), "{pause}");
        assert_eq!(at(SystemTime::now() - Duration::from_secs(90)), 0.0);
        assert_eq!(ask("7".into()), Some(Duration::from_secs(7)));
        assert_eq!(ask("soon".into()), None);
    }

    #[test]
    fn settings_are_checked() {
        let e = |c| Client::new(c).unwrap_err().to_string();
        let d = ClientConfig::default;
        assert!(e(ClientConfig { endpoints: vec![], ..d() }).contains("endpoints"));
        assert!(e(ClientConfig { endpoints: vec!["ftp://x".into()], ..d() }).contains("`ftp://x`"));
        assert!(e(ClientConfig { concurrency: 0, ..d() }).contains("concurrency"));
        assert!(e(ClientConfig { timeout_s: 0.0, ..d() }).contains("timeout_s"));
        let key = Some("POLYA_PROMPTS_NO_SUCH_KEY".into());
        assert!(e(ClientConfig { api_key_env: key, ..d() }).contains("POLYA_PROMPTS_NO_SUCH_KEY"));
    }
}
