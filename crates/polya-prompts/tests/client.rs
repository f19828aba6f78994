//! The client against servers that misbehave in every way a server can.
#![cfg(feature = "client")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use polya_prompts::client::{BlockingClient, Client, ClientConfig};
use polya_prompts::{
    Family, Finish, Generator, Plan, PlanConfig, Prompt, Prompted, Question, Render, Scheduler, manifest,
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wiremock::matchers::{body_partial_json, header, method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

fn prompted(id: &str, samples: usize) -> Prompted {
    Prompted { id: id.into(), prompt: Prompt::Text("2 + 2 =".into()), samples, first_sample: 0, seed: 1 }
}

fn config(endpoints: &[String]) -> ClientConfig {
    ClientConfig {
        endpoints: endpoints.iter().map(|e| format!("{e}/v1")).collect(),
        model: "m".into(),
        timeout_s: 5.0,
        retries: 2,
        backoff_s: 0.01,
        max_backoff_s: 1.0,
        ..Default::default()
    }
}

fn choices(n: usize) -> serde_json::Value {
    let list: Vec<_> = (0..n).map(|i| json!({"index": i, "text": " 4", "finish_reason": "stop"})).collect();
    json!({"choices": list, "usage": {"prompt_tokens": 5, "completion_tokens": 2 * n}})
}

fn ok(n: usize) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(choices(n))
}

async fn server(first: ResponseTemplate, times: u64, then: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(first)
        .up_to_n_times(times)
        .with_priority(1)
        .mount(&server)
        .await;
    Mock::given(method("POST")).respond_with(then).with_priority(2).mount(&server).await;
    server
}

async fn calls(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

#[tokio::test]
async fn a_plain_answer_is_read_and_counted() {
    let server = MockServer::start().await;
    Mock::given(path("/v1/completions"))
        .and(body_partial_json(json!({"model": "m", "n": 3, "prompt": "2 + 2 =", "seed": 1})))
        .respond_with(ok(3))
        .mount(&server)
        .await;
    let client = Client::new(config(&[server.uri()])).unwrap();
    let got = client.complete(&prompted("q", 3)).await.unwrap();
    assert_eq!(got.len(), 3);
    assert_eq!((got[0].text.as_str(), &got[0].finish), (" 4", &Finish::Stop));
    assert_eq!((client.usage().prompt_tokens, client.usage().completion_tokens), (5, 6));
}

#[tokio::test]
async fn too_many_requests_waits_as_long_as_asked() {
    let first = ResponseTemplate::new(429).insert_header("retry-after", "0.4");
    let server = server(first, 1, ok(1)).await;
    let client = Client::new(config(&[server.uri()])).unwrap();
    let start = Instant::now();
    client.complete(&prompted("q", 1)).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());
    assert_eq!((calls(&server).await, client.usage().retried), (2, 1));
}

#[tokio::test]
async fn an_exhausted_rate_limit_header_is_respected() {
    let first = ResponseTemplate::new(429)
        .insert_header("x-ratelimit-remaining-requests", "0")
        .insert_header("x-ratelimit-reset-requests", "300ms");
    let server = server(first, 1, ok(1)).await;
    let client = Client::new(config(&[server.uri()])).unwrap();
    let start = Instant::now();
    client.complete(&prompted("q", 1)).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_good_answer_that_exhausts_the_limit_holds_the_next_request() {
    let last = ok(1)
        .insert_header("x-ratelimit-remaining-tokens", "0")
        .insert_header("x-ratelimit-reset-tokens", "300ms");
    let server = server(last, 1, ok(1)).await;
    let client = Client::new(config(&[server.uri()])).unwrap();
    client.complete(&prompted("a", 1)).await.unwrap();
    let start = Instant::now();
    client.complete(&prompted("b", 1)).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(250), "{:?}", start.elapsed());
    assert_eq!((calls(&server).await, client.usage().retried), (2, 0));
}

#[tokio::test]
async fn an_endpoint_that_asked_for_a_pause_is_passed_over() {
    let busy = server(ResponseTemplate::new(429).insert_header("retry-after", "20"), 1, ok(1)).await;
    let free = server(ok(1), 1, ok(1)).await;
    let long = ClientConfig { max_backoff_s: 20.0, ..config(&[busy.uri(), free.uri()]) };
    let client = Client::new(long).unwrap();
    let start = Instant::now();
    for i in 0..6 {
        client.complete(&prompted(&i.to_string(), 1)).await.unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!((calls(&busy).await, calls(&free).await), (1, 6));
}

#[tokio::test]
async fn a_server_error_is_retried_and_then_named() {
    let server = server(ResponseTemplate::new(500), 2, ok(1)).await;
    let client = Client::new(config(&[server.uri()])).unwrap();
    client.complete(&prompted("q", 1)).await.unwrap();
    assert_eq!(calls(&server).await, 3);

    let broken = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(503).set_body_string("loading"))
        .mount(&broken)
        .await;
    let client = Client::new(config(&[broken.uri()])).unwrap();
    let e = client.complete(&prompted("q", 1)).await.unwrap_err().to_string();
    assert!(e.contains("503") && e.contains("loading") && e.contains("after 3 attempts"), "{e}");
    assert_eq!(calls(&broken).await, 3);
}

#[tokio::test]
async fn a_bad_request_is_not_retried() {
    let server = server(ResponseTemplate::new(400).set_body_string("no such model"), 9, ok(1)).await;
    let client = Client::new(config(&[server.uri()])).unwrap();
    let e = client.complete(&prompted("q", 1)).await.unwrap_err().to_string();
    assert!(e.contains("400") && e.contains("no such model"), "{e}");
    assert_eq!(calls(&server).await, 1);
}

#[tokio::test]
async fn a_timeout_is_retried() {
    let server = server(ok(1).set_delay(Duration::from_secs(3)), 1, ok(1)).await;
    let client = Client::new(ClientConfig { timeout_s: 0.3, ..config(&[server.uri()]) }).unwrap();
    let start = Instant::now();
    client.complete(&prompted("q", 1)).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(client.usage().retried, 1);
}

#[tokio::test]
async fn half_written_json_is_retried() {
    let half = ResponseTemplate::new(200)
        .set_body_raw("{\"choices\":[{\"index\":0,\"text\":\" 4", "application/json");
    let server = server(half.clone(), 1, ok(1)).await;
    let client = Client::new(config(&[server.uri()])).unwrap();
    client.complete(&prompted("q", 1)).await.unwrap();

    let never = MockServer::start().await;
    Mock::given(method("POST")).respond_with(half).mount(&never).await;
    let client = Client::new(config(&[never.uri()])).unwrap();
    let e = client.complete(&prompted("q", 1)).await.unwrap_err().to_string();
    assert!(e.contains("not a completion"), "{e}");
}

/// A server that speaks HTTP by hand: `first` connections get what `write` sends, later ones a good answer.
async fn raw_server(first: usize, head: &'static str, drip: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = std::sync::Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let count = count.clone();
            tokio::spawn(async move {
                let mut buffer = vec![0; 65536];
                let _ = socket.read(&mut buffer).await;
                if count.fetch_add(1, Ordering::SeqCst) < first {
                    for byte in head.bytes() {
                        if socket.write_all(&[byte]).await.is_err() {
                            return;
                        }
                        tokio::time::sleep(drip).await;
                    }
                    return;
                }
                let text = choices(1).to_string();
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
                let _ = socket.write_all(answer.as_bytes()).await;
            });
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_of_the_body_is_retried() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"choices\":[";
    let uri = raw_server(1, head, Duration::ZERO).await;
    let client = Client::new(config(&[uri])).unwrap();
    assert_eq!(client.complete(&prompted("q", 1)).await.unwrap()[0].text, " 4");
    assert_eq!(client.usage().retried, 1);
}

#[tokio::test]
async fn a_stream_that_drips_does_not_hold_a_slot_for_ever() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{\"choices\":[ ";
    let uri = raw_server(1, head, Duration::from_millis(100)).await;
    let client = Client::new(ClientConfig { timeout_s: 0.4, ..config(&[uri]) }).unwrap();
    let start = Instant::now();
    client.complete(&prompted("q", 1)).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let server = MockServer::start().await;
    let long = ResponseTemplate::new(200).set_body_raw(vec![b' '; 100_000], "application/json");
    Mock::given(method("POST")).respond_with(long).mount(&server).await;
    let client = Client::new(ClientConfig { max_answer_bytes: 10_000, ..config(&[server.uri()]) }).unwrap();
    let e = client.complete(&prompted("q", 1)).await.unwrap_err().to_string();
    assert!(e.contains("longer than 10000 bytes"), "{e}");
}

#[tokio::test]
async fn an_endpoint_that_lies_about_counts_is_named() {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(ok(2)).mount(&server).await;
    let client = Client::new(config(&[server.uri()])).unwrap();
    let e = client.complete(&prompted("q", 3)).await.unwrap_err().to_string();
    assert!(e.contains(&server.uri()) && e.contains("2 choices for `q`, expected 3"), "{e}");
}

#[tokio::test]
async fn a_dead_endpoint_is_replaced_by_a_living_one() {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(ok(1)).mount(&server).await;
    // A port that was free a moment ago.
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = Client::new(config(&[format!("http://{dead}"), server.uri()])).unwrap();
    for i in 0..6 {
        client.complete(&prompted(&i.to_string(), 1)).await.unwrap();
    }
    assert_eq!(calls(&server).await, 6);
}

#[tokio::test]
async fn the_key_is_sent_and_never_shown() {
    let server = MockServer::start().await;
    Mock::given(header("authorization", format!("Bearer {}", env!("CARGO_PKG_NAME")).as_str()))
        .respond_with(ok(1))
        .mount(&server)
        .await;
    // A variable that cargo always sets stands for the key: tests must not change the environment.
    let key = ClientConfig { api_key_env: Some("CARGO_PKG_NAME".into()), ..config(&[server.uri()]) };
    let client = Client::new(key).unwrap();
    client.complete(&prompted("q", 1)).await.unwrap();
    assert!(!format!("{client:?}").contains(env!("CARGO_PKG_NAME")));
}

fn plan(family: &Family, n: usize) -> Plan {
    let questions = (0..n).map(|i| Question::new(format!("q{i}"), format!("{i} + 1 = ?"), "1")).collect();
    Plan::new(family, questions, &[Some("symmetry"), None], PlanConfig::default()).unwrap()
}

#[tokio::test]
async fn a_run_with_failing_requests_keeps_the_rest_and_resumes() {
    let family = Family::maths();
    let plan = plan(&family, 10);
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("j.jsonl");
    let m = manifest("m", "s", &family, &plan, &Render::base(), &()).unwrap();
    let server = MockServer::start().await;
    let odd = |r: &Request| r.body.windows(9).any(|w| w == b"3 + 1 = ?");
    Mock::given(odd)
        .respond_with(ResponseTemplate::new(422))
        .up_to_n_times(2)
        .with_priority(1)
        .mount(&server)
        .await;
    Mock::given(method("POST")).respond_with(ok(4)).with_priority(2).mount(&server).await;
    let client = Client::new(ClientConfig { concurrency: 3, ..config(&[server.uri()]) }).unwrap();
    {
        let mut s = Scheduler::open(&plan, &family, Render::base(), None, Some((&journal, &m))).unwrap();
        client.run(&mut s, |_| true).await.unwrap();
        assert_eq!((s.cost().requests, s.cost().failures), (18, 2));
        assert!(s.cost().failed[0].1.contains("422"));
    }
    let mut s = Scheduler::open(&plan, &family, Render::base(), None, Some((&journal, &m))).unwrap();
    client.run(&mut s, |_| true).await.unwrap();
    assert_eq!((s.cost().requests, s.cost().resumed_requests, s.cost().failures), (20, 18, 0));
}

#[tokio::test]
async fn a_run_stops_when_too_much_fails() {
    let family = Family::maths();
    let plan = plan(&family, 50);
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(401).set_body_string("bad key"))
        .mount(&server)
        .await;
    let c = ClientConfig { concurrency: 4, max_failures: 3, ..config(&[server.uri()]) };
    let mut s = Scheduler::open(&plan, &family, Render::base(), None, None).unwrap();
    let e = Client::new(c).unwrap().run(&mut s, |_| true).await.unwrap_err().to_string();
    assert!(e.contains("401") && e.contains("bad key"), "{e}");
    assert!(calls(&server).await < 20);
}

#[tokio::test]
async fn never_more_in_flight_than_allowed() {
    let family = Family::maths();
    let plan = plan(&family, 30);
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(ok(4).set_delay(Duration::from_millis(20))).mount(&server).await;
    let client = Client::new(ClientConfig { concurrency: 8, ..config(&[server.uri()]) }).unwrap();
    let mut s = Scheduler::open(&plan, &family, Render::base(), None, None).unwrap();
    let mut most = 0;
    client
        .run(&mut s, |s| {
            most = most.max(s.in_flight());
            true
        })
        .await
        .unwrap();
    assert!(most == 7, "{most} others in flight at an answer, expected 7");
    assert!(s.is_done());
}

#[test]
fn the_blocking_client_is_a_generator() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(async {
        let server = MockServer::start().await;
        Mock::given(method("POST")).respond_with(ok(2)).mount(&server).await;
        server
    });
    let mut client = BlockingClient::new(Client::new(config(&[server.uri()])).unwrap()).unwrap();
    let got = client.generate(&[prompted("a", 2), prompted("b", 2)]).unwrap();
    assert_eq!(got.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
}
