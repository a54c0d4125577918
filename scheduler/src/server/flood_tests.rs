//! Peers that never finish their requests keep nobody out.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::tests::{JOB, TestServer, YAML};
use super::*;

/// Before any time limit makes room: whatever is answered within it was not kept waiting.
const SOON: Duration = Duration::from_secs(5);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    assert!(SOON < HEADER_READ_TIMEOUT && SOON < RESPONSE_TIMEOUT);
    tokio::time::timeout(SOON, what).await.expect("it was kept waiting")
}

/// Sends this much and no more.
async fn begin(server: &TestServer, words: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(words).await.unwrap();
    stream
}

/// Reads until this has come.
async fn hear(stream: &mut TcpStream, end: &str) -> String {
    let mut told = Vec::new();
    while !told.windows(end.len()).any(|window| window == end.as_bytes()) {
        let read = soon(stream.read_buf(&mut told)).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&told));
    }
    String::from_utf8(told).unwrap()
}

/// Whether the other side has closed the connection.
async fn is_over(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_millis(100), stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn who_says_nothing_makes_room_and_who_listens_stays() {
    let server = TestServer::with(Limits { connections: 8, calls: 100 }).await;
    let head = format!("host: {}\r\n{}", server.address, server.named());
    let events = format!("GET /api/v1/events HTTP/1.1\r\n{head}\r\n");
    let mut listens = begin(&server, events.as_bytes()).await;
    hear(&mut listens, "text/event-stream").await;
    let again = format!("GET /healthz HTTP/1.1\r\n{head}\r\n");
    let mut idle = begin(&server, again.as_bytes()).await;
    hear(&mut idle, "ok\n").await;
    let silent: [&[u8]; 4] =
        [b"", b"PRI * HTTP/2.0\r\n", b"GET / HTTP/1.1\r\nx-", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"];
    let mut flood = Vec::new();
    for words in silent.iter().cycle().take(40) {
        flood.push(begin(&server, words).await);
    }
    assert_eq!(soon(server.status("POST /api/v1/jobs", YAML, JOB)).await, 201);
    hear(&mut listens, "\"kind\":\"submitted\"").await;
    idle.write_all(again.as_bytes()).await.unwrap();
    hear(&mut idle, "ok\n").await;
    assert!(is_over(&mut flood[0]).await, "the first to come was asked to go");
}

#[tokio::test]
async fn half_of_a_call_makes_room_for_a_whole_one() {
    let server = TestServer::with(Limits { connections: 100, calls: 4 }).await;
    let half = format!(
        "POST /api/v1/jobs HTTP/1.1\r\nhost: {}\r\n{}{YAML}content-length: 100\r\n\r\nname:",
        server.address,
        server.named()
    );
    let mut flood = Vec::new();
    for _ in 0..4 {
        flood.push(begin(&server, half.as_bytes()).await);
    }
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    assert_eq!(soon(server.status("POST /api/v1/jobs", YAML, JOB)).await, 201);
    let told = hear(&mut flood[0], "\r\n\r\n").await;
    assert!(told.starts_with("HTTP/1.1 429"), "{told}");
    // The next one has not been broken off, and is answered when it is said.
    let rest = "x".repeat(95);
    flood[1].write_all(rest.as_bytes()).await.unwrap();
    let told = hear(&mut flood[1], "\r\n\r\n").await;
    assert!(told.starts_with("HTTP/1.1 400"), "{told}");
}

/// Every stream of a connection begins a call that it never finishes.
#[tokio::test]
async fn streams_that_say_half_are_broken_off_alone() {
    let server = TestServer::with(Limits { connections: 100, calls: 64 }).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    let mut calls = Vec::new();
    for _ in 0..64 {
        let request = http::Request::post(format!("http://{}/api/v1/jobs", server.address));
        let request = request
            .header("content-type", "application/yaml")
            .header("authorization", server.bearer())
            .body(())
            .unwrap();
        calls.push(sender.send_request(request, false).unwrap());
    }
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    assert_eq!(soon(server.status("POST /api/v1/jobs", YAML, JOB)).await, 201);
    let (first, _) = calls.remove(0);
    assert_eq!(soon(first).await.unwrap().status(), 429);
    // The connection goes on with the others.
    let (last, mut words) = calls.pop().unwrap();
    words.send_data(JOB.into(), true).unwrap();
    assert_eq!(soon(last).await.unwrap().status(), 201);
}
