//! `spotwise offers`.

use std::collections::BTreeSet;

use clap::Args;
use spotwise_api::v1::{CommitmentView, OfferView};

use super::Context;
use crate::exit::Failure;
use crate::format::{hourly, memory, moment, saving};
use crate::output::Grid;
use crate::text::one_line;

/// List the capacity that can be bought now, cheapest first.
///
/// Without options each machine type is listed once as spot and once on demand for
/// each pool, in its cheapest zone. JSON output always has every zone. --all says
/// why what cannot be bought cannot.
#[derive(Debug, Args)]
pub(crate) struct Offers {
    /// Only machines with this accelerator, such as V100
    #[arg(long, value_name = "NAME")]
    accelerator: Option<String>,
    /// Also what cannot be bought now, and why
    #[arg(short, long)]
    all: bool,
}

impl Offers {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let output = &context.output;
        let client = context.target.connect().await?;
        let named = self.accelerator.is_some();
        let answer = client.offers(&self.accelerator.unwrap_or_default(), self.all).await?;
        let mut offers = answer.offers;
        offers.sort_by(|a, b| order(a).cmp(&order(b)));
        if output.is_json() {
            return output.json(&offers);
        }
        let every_zone = self.all || named;
        if !every_zone {
            cheapest_zones(&mut offers);
        }
        let info = client.info().await?;
        if offers.is_empty() {
            let hint = if self.all { "" } else { " (--all shows what cannot be bought, and why)" };
            output.line(format!("no offers{hint}"))?;
        } else {
            output.table(&table(&offers, info.pools.len() > 1))?;
            if !every_zone {
                output.line(output.dim(
                    "each in its cheapest zone; --accelerator NAME or --all shows every zone",
                ))?;
            }
        }
        for note in &answer.notes {
            output.line(one_line(note))?;
        }
        for paid in &info.commitments {
            output.line(one_line(&commitment(paid)))?;
        }
        output.line(output.dim(&super::ps::status_line(&info)))
    }
}

/// `commitment research-a: 1 of 2 x p3.2xlarge in us-east-1a in use; …`.
fn commitment(paid: &CommitmentView) -> String {
    format!(
        "commitment {}: {} of {} x {} in {} in use; already paid for at {}/h from {} until {}",
        paid.name,
        paid.in_use,
        paid.machines,
        paid.instance_type,
        paid.zone,
        hourly(paid.price_micros_per_hour),
        moment(&paid.from),
        moment(&paid.until)
    )
}

/// Keeps the first of each pool, type and capacity type.
fn cheapest_zones(offers: &mut Vec<OfferView>) {
    let mut seen = BTreeSet::new();
    let kind =
        |it: &OfferView| (it.pool.clone(), it.instance_type.clone(), it.capacity_type.clone());
    offers.retain(|offer| seen.insert(kind(offer)));
}

/// What is paid already before what is bought.
fn order(offer: &OfferView) -> (bool, i64, &str, &str, &str, &str) {
    (
        offer.commitment.is_empty(),
        offer.price_micros_per_hour,
        &offer.instance_type,
        &offer.zone,
        &offer.capacity_type,
        &offer.pool,
    )
}

/// The pool is named where there are several, the reason where one is known.
fn table(offers: &[OfferView], several_pools: bool) -> Grid {
    let reasons = offers.iter().any(|offer| !offer.unavailable.is_empty());
    let mut columns = vec!["CAPACITY", "TYPE", "ZONE"];
    columns.extend(several_pools.then_some("POOL"));
    columns.extend([
        "ACCELERATOR",
        ">CPUS",
        ">MEMORY",
        ">PRICE/H",
        ">VS OD",
        ">FREE",
        ">HELD",
        ">HAZARD/H",
        "SINCE",
    ]);
    columns.extend(reasons.then_some("NOT NOW"));
    let mut grid = Grid::new(&columns);
    for offer in offers {
        grid.row(row(offer, several_pools, reasons));
    }
    grid
}

fn row(offer: &OfferView, several_pools: bool, reasons: bool) -> Vec<String> {
    let accelerator = match offer.gpus {
        0 => "-".to_owned(),
        gpus => format!("{}:{gpus}", offer.accelerator),
    };
    let mut cells =
        vec![offer.capacity_type.clone(), offer.instance_type.clone(), offer.zone.clone()];
    cells.extend(several_pools.then(|| offer.pool.clone()));
    cells.extend([
        accelerator,
        offer.cpus.to_string(),
        memory(offer.memory_mib),
        hourly(offer.price_micros_per_hour),
        match offer.on_demand_micros_per_hour {
            same if same == offer.price_micros_per_hour => "-".to_owned(),
            on_demand => saving(offer.price_micros_per_hour, on_demand),
        },
        match offer.free_unknown {
            true => "?".to_owned(),
            false => offer.free.to_string(),
        },
        offer.held.to_string(),
        format!("{:.3}", offer.hazard_per_hour),
        moment(&offer.spell_since),
    ]);
    cells.extend(reasons.then(|| offer.unavailable.clone()));
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(pool: &str, zone: &str, price: i64) -> OfferView {
        OfferView {
            pool: pool.into(),
            zone: zone.into(),
            instance_type: "m".into(),
            capacity_type: "spot".into(),
            price_micros_per_hour: price,
            unavailable: "its market refused a machine".into(),
            ..OfferView::default()
        }
    }

    #[test]
    fn pools_and_reasons_are_named_where_they_say_something() {
        let one = offer("east", "a", 1);
        let (short, long) = (row(&one, false, false), row(&one, true, true));
        assert_eq!(short.len() + 2, long.len());
        assert_eq!((long[3].as_str(), long.last()), ("east", Some(&one.unavailable)));
    }

    #[test]
    fn what_nobody_counts_is_not_shown_as_none() {
        let free = |free_unknown| {
            row(&OfferView { free_unknown, ..offer("east", "a", 1) }, false, false)[8].clone()
        };
        assert_eq!((free(false), free(true)), ("0".to_owned(), "?".to_owned()));
    }

    #[test]
    fn each_pool_keeps_its_cheapest_zone() {
        let mut offers = vec![offer("east", "b", 2), offer("west", "c", 3), offer("east", "a", 1)];
        offers.sort_by(|a, b| order(a).cmp(&order(b)));
        cheapest_zones(&mut offers);
        assert_eq!(offers, [offer("east", "a", 1), offer("west", "c", 3)]);
    }
}
