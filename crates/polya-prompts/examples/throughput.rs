//! Measures the client: completions per second and peak memory against a local mock server in a process of its own.
//!
//! `cargo run --release -p polya-prompts --features client --example throughput -- [REQUESTS] [SAMPLES] [CONCURRENCY]`

use std::io::BufRead;
use std::process::{Command, Stdio};
use std::time::Instant;

use polya_prompts::client::{BlockingClient, Client, ClientConfig};
use polya_prompts::{Family, Plan, PlanConfig, Question, Render, Scheduler, manifest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|a| a == "serve") {
        return tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?
            .block_on(serve());
    }
    let number = |i: usize, default: usize| arguments.get(i).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (requests, samples, concurrency) = (number(0, 20_000), number(1, 1), number(2, 256));

    let mut server = Command::new(std::env::current_exe()?)
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    std::io::BufReader::new(server.stdout.take().ok_or("no server")?).read_line(&mut line)?;
    let config = ClientConfig {
        endpoints: vec![format!("http://{}/v1", line.trim())],
        model: "mock".into(),
        concurrency,
        ..Default::default()
    };

    let family = Family::maths();
    let questions =
        (0..requests).map(|i| Question::new(format!("q{i}"), format!("What is {i} + {i}?"), "0")).collect();
    let plan = Plan::new(&family, questions, &[None], PlanConfig { samples, ..Default::default() })?;
    let folder = std::env::temp_dir().join(format!("throughput-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let journal = folder.join("journal.jsonl");
    let sampling = config.sampling.clone();
    let record = manifest("mock", "endpoint", &family, &plan, &Render::chat(), &sampling)?;
    let mut scheduler = Scheduler::open(&plan, &family, Render::chat(), None, Some((&journal, &record)))?;
    let client = BlockingClient::new(Client::new(config)?)?;
    let (mut most, start) = (0, Instant::now());
    client.run(&mut scheduler, |s| {
        most = most.max(s.in_flight() + 1);
        true
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let cost = scheduler.finish()?;
    println!("{} completions of {} requests in {seconds:.2} s", cost.candidates, cost.requests);
    println!(
        "{:.0} completions/s, {:.0} requests/s",
        cost.candidates as f64 / seconds,
        cost.requests as f64 / seconds
    );
    println!(
        "most in flight: {most}; failures: {}; peak memory of the client: {}",
        cost.failures,
        peak_memory()
    );
    server.kill()?;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|l| l.strip_prefix("VmHWM:")).map_or("unknown".into(), |v| v.trim().to_owned())
}

/// Answers every request with `n` short choices.
async fn serve() -> Result<(), Failure> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (mut socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(async move {
            let (mut buffer, mut held) = (vec![0_u8; 1 << 16], Vec::new());
            while let Ok(n) = socket.read(&mut buffer).await {
                if n == 0 {
                    return;
                }
                held.extend_from_slice(&buffer[..n]);
                while let Some((length, samples)) = request(&held) {
                    held.drain(..length);
                    let choice = |i| {
                        format!(
                            "{{\"index\":{i},\"message\":{{\"content\":\"Add the two numbers, so it is 4.\"}},\"finish_reason\":\"stop\"}}"
                        )
                    };
                    let choices: Vec<String> = (0..samples).map(choice).collect();
                    let body = format!(
                        "{{\"choices\":[{}],\"usage\":{{\"completion_tokens\":9}}}}",
                        choices.join(",")
                    );
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    if socket.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// The length of the first whole request in the buffer, and the `n` it asks for.
fn request(held: &[u8]) -> Option<(usize, usize)> {
    let head = held.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&held[..head]).ok()?.to_ascii_lowercase();
    let length: usize = text.lines().find_map(|l| l.strip_prefix("content-length:"))?.trim().parse().ok()?;
    let body = std::str::from_utf8(held.get(head..head + length)?).ok()?;
    let samples = body.split("\"n\":").nth(1)?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    Some((head + length, samples))
}
