//! Peers that connect and say nothing, or never finish what they say, as many as
//! the system lets them: others are answered all the same.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use spotwise_api::client::Client;
use spotwise_tests::{Scheduler, http, programs};

/// Connections that say nothing whole, where the system allows as many.
const SILENT: usize = 2_000;
/// Descriptors that a scheduler keeps for other things.
const OTHERS: usize = 512;
/// More than the scheduler has places for calls, on few connections.
const STREAMS: usize = 5_000;
const STREAMS_OF_ONE: usize = 125;
const CALLS: usize = 200;

/// Calls of one client, each on the connection it has; sorted times.
async fn calls(client: &Client) -> Vec<Duration> {
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let began = Instant::now();
        client.info().await.expect("it is answered");
        times.push(began.elapsed());
    }
    times.sort_unstable();
    times
}

/// Begins a call on every stream and ends none.
async fn half_calls(address: SocketAddr, token: &str) -> Vec<h2::SendStream<bytes::Bytes>> {
    let stream = tokio::net::TcpStream::connect(address).await.expect("it accepts");
    let (sender, connection) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
    tokio::spawn(connection);
    let mut streams = Vec::with_capacity(STREAMS_OF_ONE);
    let mut sender = sender.ready().await.expect("it takes calls");
    for _ in 0..STREAMS_OF_ONE {
        let request = http::Request::post(format!("http://{address}/spotwise.v1.Jobs/Submit"));
        let request = request
            .header("content-type", "application/grpc")
            .header("authorization", format!("Bearer {token}"))
            .body(());
        let (_, words) = sender.send_request(request.expect("a request"), false).expect("sent");
        streams.push(words);
        sender = sender.ready().await.expect("it takes more");
    }
    streams
}

/// How many files this process may have open.
fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("Linux says so");
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    soft.unwrap_or(usize::MAX)
}

/// The scheduler where the system allows it no more descriptors than that.
fn limited(folder: &Path, descriptors: usize) -> PathBuf {
    let path = folder.join("limited");
    let program = programs().join("spotwise");
    let script = format!("#!/bin/sh\nulimit -n {descriptors}\nexec {} \"$@\"\n", program.display());
    std::fs::write(&path, script).expect("it is written");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("it may run");
    path
}

#[test]
fn grpc_flood_slowloris() {
    let folder = tempfile::tempdir().expect("a folder");
    // Twice as many as the scheduler has places for.
    let silent = SILENT.min(descriptors() / 2);
    let mut scheduler = Scheduler::on_port(
        spotwise_tests::free_port().expect("a port"),
        folder.path(),
        &["--market", "synthetic"],
    );
    scheduler.set_program(Some(limited(folder.path(), silent / 2 + OTHERS)));
    scheduler.restart().expect("it starts");
    let address = scheduler.url.trim_start_matches("http://").to_owned();
    let token = spotwise_tests::token_of(&scheduler.url).expect("it leads");
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let client = runtime.block_on(Client::connect_as(&address, Some(&token))).expect("it answers");
    let quiet = runtime.block_on(calls(&client));

    let mut held = Vec::with_capacity(silent);
    for _ in 0..silent {
        let mut stream = TcpStream::connect(&address).expect("it accepts");
        // Who was sent away already cannot say even this.
        let _ = stream.write_all(b"POST /api/v1/jobs HTTP/1.1\r\nx-");
        held.push(stream);
    }
    let socket: SocketAddr = address.parse().expect("an address");
    let mut streams = Vec::with_capacity(STREAMS);
    for _ in 0..STREAMS / STREAMS_OF_ONE {
        streams.extend(runtime.block_on(half_calls(socket, &token)));
    }
    // What was begun just now may still be said.
    std::thread::sleep(Duration::from_millis(1_300));
    let flooded = runtime.block_on(calls(&client));
    for _ in 0..20 {
        let fresh = http("GET", &format!("{}/healthz", scheduler.url), None).expect("an answer");
        assert_eq!(fresh.status, 200, "{}", fresh.text);
    }
    let job = "name: a\ncommand: [x]\n";
    assert_eq!(scheduler.submit(job, "k").expect("accepted"), ["j1"]);
    let p99 = |times: &[Duration]| times[times.len() * 99 / 100].as_secs_f64() * 1e3;
    println!(
        "{silent} silent connections, {} half calls: p99 {:.1} ms, without them {:.1} ms",
        streams.len(),
        p99(&flooded),
        p99(&quiet)
    );
    let log = scheduler.log();
    assert!(log.contains("all connections are taken"), "the flood did not fill it: {log}");
    assert!(log.contains("no room for calls that are not said"), "nor this: {log}");
    drop(held);
}
