//! How many rounds and rows a second are made durable. Printed, not judged:
//! `cargo test --release -p spotwise-scheduler --lib rates -- --ignored --nocapture`
#![expect(clippy::print_stdout, reason = "figures for people")]

use std::time::Instant;

use super::build::*;
use super::{postgres, sqlite};
use crate::core::Change;
use crate::store::{Round, Store};

async fn measure(name: &str, store: &Store) {
    let epoch = store.lead("rates", at(1)).await.unwrap();
    let (mut id, mut number) = (0, 0);
    for (rounds, jobs) in [(500_u64, 1_u64), (200, 10), (50, 100), (10, 1_000), (4, 5_000)] {
        let begun = Instant::now();
        for _ in 0..rounds {
            id += 1;
            let mut changes: Vec<Change> = Vec::new();
            for _ in 0..jobs {
                number += 1;
                changes.push(job(number).into());
                changes.push(Change::Submission(record(&format!("key-{number}"), &[number])));
                changes.push(Change::Event(event(number, number, None)));
            }
            store.commit(&Round { epoch, id, changes: &changes }).await.unwrap();
        }
        let seconds = begun.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let (per_second, submissions) = (rounds as f64 / seconds, (rounds * jobs) as f64 / seconds);
        println!(
            "{name}: {jobs} submissions a round: {per_second:.0} rounds/s, {submissions:.0} submissions/s"
        );
    }
}

#[tokio::test]
#[ignore = "a measurement"]
async fn rates_of_both() {
    let (_folder, _, store) = sqlite::fresh().await;
    measure("sqlite", &store).await;
    let (_database, store) = postgres::fresh().await;
    measure("postgresql", &store).await;
}
