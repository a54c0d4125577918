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
/// Without options each machine type is listed once as spot and once on demand,
/// in its cheapest zone. JSON output always has every zone.
#[derive(Debug, Args)]
pub(crate) struct Offers {
    /// Only machines with this accelerator, such as V100
    #[arg(long, value_name = "NAME")]
    accelerator: Option<String>,
    /// Also what is not free now
    #[arg(short, long)]
    all: bool,
}

impl Offers {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let output = &context.output;
        let client = context.target.connect().await?;
        let named = self.accelerator.is_some();
        let mut offers = client.offers(&self.accelerator.unwrap_or_default(), self.all).await?;
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
            let hint = if self.all { "" } else { " (--all shows what is not free)" };
            output.line(format!("no offers{hint}"))?;
        } else {
            output.table(&table(&offers))?;
            if !every_zone {
                output.line(output.dim(
                    "each in its cheapest zone; --accelerator NAME or --all shows every zone",
                ))?;
            }
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

/// Keeps the first of each type and capacity type.
fn cheapest_zones(offers: &mut Vec<OfferView>) {
    let mut seen = BTreeSet::new();
    offers.retain(|offer| seen.insert((offer.instance_type.clone(), offer.capacity_type.clone())));
}

/// What is paid already before what is bought.
fn order(offer: &OfferView) -> (bool, i64, &str, &str, &str) {
    (
        offer.commitment.is_empty(),
        offer.price_micros_per_hour,
        &offer.instance_type,
        &offer.zone,
        &offer.capacity_type,
    )
}

fn table(offers: &[OfferView]) -> Grid {
    let mut grid = Grid::new(&[
        "CAPACITY",
        "TYPE",
        "ZONE",
        "POOL",
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
    for offer in offers {
        let accelerator = match offer.gpus {
            0 => "-".to_owned(),
            gpus => format!("{}:{gpus}", offer.accelerator),
        };
        grid.row([
            offer.capacity_type.clone(),
            offer.instance_type.clone(),
            offer.zone.clone(),
            offer.pool.clone(),
            accelerator,
            offer.cpus.to_string(),
            memory(offer.memory_mib),
            hourly(offer.price_micros_per_hour),
            match offer.on_demand_micros_per_hour {
                same if same == offer.price_micros_per_hour => "-".to_owned(),
                on_demand => saving(offer.price_micros_per_hour, on_demand),
            },
            offer.free.to_string(),
            offer.held.to_string(),
            format!("{:.3}", offer.hazard_per_hour),
            moment(&offer.spell_since),
        ]);
    }
    grid
}
