//! `spotwise pools` and `spotwise pools show`: what the scheduler says of its pools.

use clap::Args;
use spotwise_api::v1::{LimitView, PoolView};

use crate::command::Context;
use crate::command::ps::status_line;
use crate::exit::Failure;
use crate::format::{by_state, count, dollars, hourly, memory, moment, span};
use crate::output::{Grid, Output};
use crate::text::one_line;

/// Show one pool with all that is known of it
#[derive(Debug, Args)]
pub(super) struct Show {
    /// Its name in the pools file
    #[arg(value_name = "NAME")]
    pool: String,
}

/// Lists all pools.
pub(super) async fn list(context: &Context) -> Result<(), Failure> {
    let output = &context.output;
    let client = context.target.connect().await?;
    let answer = client.pools().await?;
    if output.is_json() {
        return output.json(&answer);
    }
    let info = client.info().await?;
    if answer.pools.is_empty() {
        output.line("no pools")?;
    } else {
        output.table(&table(&answer.pools, &info.market_time))?;
    }
    for pool in answer.pools.iter().filter(|pool| !pool.condition.is_empty()) {
        output.line(output.warn(&one_line(&format!("pool {} {}", pool.name, pool.condition))))?;
    }
    output.line(output.dim(&format!("version {} of the pools", answer.version)))?;
    output.line(output.dim(&status_line(&info)))
}

impl Show {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let output = &context.output;
        let client = context.target.connect().await?;
        let pool = client.pool(&self.pool).await?;
        if output.is_json() {
            return output.json(&pool);
        }
        let now = client.info().await?.market_time;
        let state = if pool.leaving { ", leaving" } else { "" };
        output.line(output.bold(&one_line(&format!("{}: {}{state}", pool.name, pool.kind))))?;
        show(output, &facts(&pool, &now))?;
        if !pool.limits.is_empty() {
            output.line("")?;
            let mut grid = Grid::new(&["LIMIT", ">USED", ">OF", "UNIT"]);
            for limit in &pool.limits {
                let (used, of) = used_of(limit);
                grid.row([limit.name.clone(), used, of, unit(limit)]);
            }
            output.table(&grid)?;
        }
        Ok(())
    }
}

fn show(output: &Output, facts: &[(&'static str, String)]) -> Result<(), Failure> {
    let mut grid = Grid::plain(&[]);
    for (name, value) in facts {
        grid.row([format!("  {name}"), value.clone()]);
    }
    output.table(&grid)
}

/// What a pool is and has, by name.
fn facts(pool: &PoolView, now: &str) -> Vec<(&'static str, String)> {
    let mut facts = vec![("account", pool.account.clone()), ("buys", sells(pool))];
    if pool.supply == "unknown" {
        let known = "not shown: estimated from our own launches and machines";
        facts.push(("spot supply", known.to_owned()));
    }
    if let Some(host) = &pool.host {
        let gpus = match host.gpus {
            Some(gpus) => count(gpus as usize, "GPU"),
            None => "accelerators simulated".to_owned(),
        };
        // A pool without a bound says so with a number that no machine has.
        let bounded = host.memory_mib < u64::MAX / 4;
        let room = format!("{} CPUs, {}, {gpus}", host.cpus, memory(host.memory_mib));
        facts.push(("room", if bounded { room } else { "without bounds".to_owned() }));
    }
    facts.push(("machines", machines(pool)));
    facts.push(("jobs", pool.jobs.to_string()));
    facts.push(("costs now", format!("{}/h", hourly(pool.price_micros_per_hour))));
    facts.push(("provider", provider(pool, now)));
    if let Some(access) = &pool.access {
        let mut who = access.classes.clone();
        let tag =
            |it: &spotwise_api::v1::RequiredTag| format!("{}={}", it.tag, it.values.join("|"));
        who.extend(access.tags.iter().map(tag));
        facts.push(("for", if who.is_empty() { "every job".to_owned() } else { who.join(", ") }));
    }
    facts.extend(times(pool));
    facts.extend(features(pool));
    facts
}

fn times(pool: &PoolView) -> Vec<(&'static str, String)> {
    let Some(times) = &pool.times else { return Vec::new() };
    let of = |seconds: f64| {
        let span = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
        spotwise_model::time::human(span)
    };
    if pool.features.as_ref().is_some_and(|features| features.slots) {
        return vec![("takes", format!("start {}", of(times.start_seconds)))];
    }
    let expected = format!(
        "boot {}, start {}, termination {}",
        of(times.boot_seconds),
        of(times.start_seconds),
        of(times.termination_seconds)
    );
    let given_up = format!(
        "launch {}, registration {}, start {}",
        of(times.launch_timeout_seconds),
        of(times.registration_timeout_seconds),
        of(times.start_timeout_seconds)
    );
    let kept = format!("{} at most", of(times.keep_seconds));
    let listings = format!("up to {}", of(times.consistency_seconds));
    vec![
        ("takes", expected),
        ("given up after", given_up),
        ("idle ones kept", kept),
        ("listings lag", listings),
    ]
}

fn features(pool: &PoolView) -> Option<(&'static str, String)> {
    let features = pool.features.as_ref()?;
    let named = [
        (features.slots, "slots of a machine that runs anyway"),
        (features.starts_workers, "starts workers"),
        (features.containers, "containers"),
        (features.mig, "MIG"),
        (features.mps, "MPS"),
        (features.reclaims_by_market, "interruptions by the market"),
    ];
    let named: Vec<&str> = named.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect();
    Some(("features", or_dash(named.join(", "))))
}

fn table(pools: &[PoolView], now: &str) -> Grid {
    let mut grid = Grid::new(&[
        "NAME", "KIND", "ACCOUNT", "BUYS", "MACHINES", ">JOBS", ">COST/H", "PROVIDER", "USED",
    ]);
    for pool in pools {
        // A line each: together they are wider than a terminal.
        let mut used = pool.limits.iter().map(limit);
        let kind = if pool.leaving { format!("{}, leaving", pool.kind) } else { pool.kind.clone() };
        grid.row([
            pool.name.clone(),
            kind,
            pool.account.clone(),
            sells(pool),
            machines(pool),
            pool.jobs.to_string(),
            hourly(pool.price_micros_per_hour),
            provider(pool, now),
            or_dash(used.next().unwrap_or_default()),
        ]);
        for more in used {
            let mut row = [const { String::new() }; 9];
            if let Some(last) = row.last_mut() {
                *last = more;
            }
            grid.row(row);
        }
    }
    grid
}

/// `spot, on-demand g4dn. in us-east-1a, us-east-1c`.
fn sells(pool: &PoolView) -> String {
    let of = |names: &[String], all: &str| match names.is_empty() {
        true => all.to_owned(),
        false => names.join(", "),
    };
    let places = match (pool.zones.is_empty(), pool.region.as_str()) {
        (false, _) => format!(" in {}", pool.zones.join(", ")),
        (true, "") => String::new(),
        (true, region) => format!(" in {region}"),
    };
    match (pool.capacity_types.is_empty(), pool.instance_types.is_empty(), places.is_empty()) {
        (true, true, true) => "everything".to_owned(),
        _ => {
            let capacity = of(&pool.capacity_types, "all capacity");
            format!("{} ({capacity}){places}", of(&pool.instance_types, "all types"))
        }
    }
}

fn machines(pool: &PoolView) -> String {
    or_dash(by_state(&pool.machines).join(", "))
}

/// `8/20 machines`, `$3.20/$25.00 an hour`, `24/96 vCPUs spot G and VT in us-east-1`.
fn limit(limit: &LimitView) -> String {
    let (used, of) = used_of(limit);
    match limit.kind.as_str() {
        "price" => format!("{used}/{of} an hour"),
        "quota" => {
            let (_, what) = limit.name.split_once("'s quota for ").unwrap_or(("", &limit.name));
            format!("{used}/{of} {} {what}", unit(limit))
        }
        _ => format!("{used}/{of} {}", limit.unit),
    }
}

/// Used, and of how much.
fn used_of(limit: &LimitView) -> (String, String) {
    if limit.kind == "price" {
        let money = |micros: u64| dollars(i64::try_from(micros).unwrap_or(i64::MAX));
        return (money(limit.used), money(limit.of));
    }
    (limit.used.to_string(), limit.of.to_string())
}

/// `vCPUs`; of a quota of which others have the rest, how many there are in all.
fn unit(limit: &LimitView) -> String {
    match (limit.kind.as_str(), limit.of < limit.declared) {
        ("price", _) => "an hour".to_owned(),
        (_, true) => format!("{} (of {}, others have the rest)", limit.unit, limit.declared),
        (_, false) => limit.unit.clone(),
    }
}

/// Whether it answers, and when it was listed.
fn provider(pool: &PoolView, now: &str) -> String {
    if pool.features.as_ref().is_some_and(|features| features.slots) {
        return "this machine".to_owned();
    }
    match (pool.reachable, pool.listed.is_empty()) {
        (_, true) => "not listed yet".to_owned(),
        (true, false) => format!("listed {} ago", span(&pool.listed, now)),
        (false, false) => format!("silent since {}", moment(&pool.listed)),
    }
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pool_buys_is_one_phrase() {
        let mut pool = PoolView::default();
        assert_eq!(sells(&pool), "everything");
        pool.region = "us-east-1".into();
        assert_eq!(sells(&pool), "all types (all capacity) in us-east-1");
        pool.instance_types = vec!["g4dn.".into(), "p3.".into()];
        pool.capacity_types = vec!["spot".into()];
        pool.zones = vec!["us-east-1a".into()];
        assert_eq!(sells(&pool), "g4dn., p3. (spot) in us-east-1a");
    }

    #[test]
    fn limits_say_how_much_is_used() {
        let of = |kind: &str, unit: &str, used, of, declared| LimitView {
            kind: kind.into(),
            name: "account 1's quota for spot G in us-east-1".into(),
            unit: unit.into(),
            used,
            of,
            declared,
        };
        assert_eq!(limit(&of("machines", "machines", 8, 20, 20)), "8/20 machines");
        let price = of("price", "micro-dollars an hour", 3_200_000, 25_000_000, 25_000_000);
        assert_eq!(limit(&price), "$3.20/$25.00 an hour");
        assert_eq!(
            limit(&of("quota", "vCPUs", 24, 24, 96)),
            "24/24 vCPUs (of 96, others have the rest) spot G in us-east-1"
        );
    }
}
