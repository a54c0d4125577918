//! How many rounds and rows per second are made durable. Printed, not judged:
//! `cargo test --release -p spotwise-store --lib rates -- --ignored --nocapture`
#![expect(clippy::print_stdout, reason = "figures for people")]

use std::time::{Duration, Instant};

use jiff::Timestamp;
use spotwise_model::Now;

use super::build::*;
use super::{postgres, sqlite};
use crate::{Round, Store};
use spotwise_control::core::Change;
use spotwise_control::view::offers::available_spot;
use spotwise_market::{Catalog, SyntheticOptions, synthetic};

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

/// Two weeks of a whole synthetic market, watched 600 times as fast as it passes.
async fn watch(name: &str, store: &Store) {
    let market = synthetic(&SyntheticOptions::new(7, at(0)), &Catalog::built_in()).unwrap();
    let epoch = store.lead("rates", at(1)).await.unwrap();
    let mut state = spotwise_control::fixture::state_of(Vec::new());
    let (mut id, mut looks, mut rows) = (0, 0_u32, 0);
    let (mut looking, mut writing) = (Duration::ZERO, Duration::ZERO);
    for minute in 0..14 * 1_440_i64 {
        let market_time = at(minute * 60);
        let wall = Timestamp::from_millisecond(minute * 100).unwrap();
        let available = available_spot(&state, &market.quotes(market_time));
        let begun = Instant::now();
        state.availability.observe(&available, Duration::from_secs(3_000), market_time);
        let written = state.availability.write(Now { market: market_time, wall });
        looking += begun.elapsed();
        looks += 1;
        if let Some(update) = written {
            rows += update.counts.len();
            id += 1;
            let begun = Instant::now();
            let changes = [Change::Availability(Box::new(update))];
            store.commit(&Round { epoch, id, changes: &changes }).await.unwrap();
            writing += begun.elapsed();
        }
    }
    let begun = Instant::now();
    let loaded = store.load().await.unwrap().into_state();
    let loading = begun.elapsed();
    assert_eq!(loaded.availability.rows().count(), rows);
    let writes = u32::try_from(id).unwrap();
    println!(
        "{name}: {rows} rows in {id} writings; {:?} a look, {:?} a writing, {loading:?} to read all",
        looking / looks,
        writing / writes
    );
}

#[tokio::test]
#[ignore = "a measurement"]
async fn rates_of_watching() {
    let (_folder, _, store) = sqlite::fresh().await;
    watch("sqlite", &store).await;
    let (_database, store) = postgres::fresh().await;
    watch("postgresql", &store).await;
}
