//! `spotwise machines`: what is paid for, and why.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use spotwise_api::v1::{ListMachinesRequest, MachineView};
use spotwise_model::InstanceState;

use super::Context;
use super::ps::status_line;
use crate::exit::Failure;
use crate::format::{dollars, hourly, moment_near, span};
use crate::output::{Grid, note};
use crate::text::one_line;

/// List machines that are not gone, newest first; explain one, or drain it.
///
/// Only machines are listed whose charges are not settled; `spotwise cost` has what
/// the others cost.
#[derive(Debug, Args)]
pub(crate) struct Machines {
    #[command(subcommand)]
    command: Option<MachinesCommand>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum MachinesCommand {
    Explain(Explain),
    Drain(Drain),
}

#[derive(Debug, Args)]
struct List {
    /// Only machines of this pool
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,
    /// Only machines in this state; may be repeated
    #[arg(long, value_name = "STATE", value_delimiter = ',',
          value_parser = PossibleValuesParser::new(InstanceState::UNSETTLED))]
    state: Vec<String>,
    /// Also machines that are gone and whose charges are not settled yet
    #[arg(short, long, conflicts_with = "state")]
    all: bool,
}

/// Say what a machine costs, who is on it, and why it is kept or given back
#[derive(Debug, Args)]
struct Explain {
    /// `i5` or `5`
    #[arg(value_name = "MACHINE")]
    machine: String,
}

/// Give a machine no new work; it is given back when what is on it has ended
#[derive(Debug, Args)]
struct Drain {
    /// `i5` or `5`
    #[arg(value_name = "MACHINE")]
    machine: String,
}

impl Machines {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let list = &self.list;
        let filtered = list.pool.is_some() || !list.state.is_empty() || list.all;
        match self.command {
            None => self.list.run(context).await,
            Some(_) if filtered => {
                Err(Failure::usage("--pool, --state and --all choose what is listed"))
            }
            Some(MachinesCommand::Explain(command)) => command.run(context).await,
            Some(MachinesCommand::Drain(command)) => command.run(context).await,
        }
    }
}

impl List {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let output = &context.output;
        let client = context.target.connect().await?;
        let request = ListMachinesRequest {
            pool: self.pool.unwrap_or_default(),
            states: self.state,
            all: self.all,
            ..ListMachinesRequest::default()
        };
        let any = self.all || !request.states.is_empty();
        let answer = client.machines(request).await?;
        if output.is_json() {
            output.json(&answer.machines)?;
            if !answer.note.is_empty() {
                note(one_line(&answer.note));
            }
            return Ok(());
        }
        let info = client.info().await?;
        if answer.machines.is_empty() {
            let hint = if any { "" } else { " (--all shows those that have just gone)" };
            output.line(format!("no machines{hint}"))?;
        } else {
            output.table(&table(&answer.machines, &info.market_time))?;
        }
        if !answer.note.is_empty() {
            output.line(output.dim(&one_line(&answer.note)))?;
        }
        output.line(output.dim(&status_line(&info)))
    }
}

impl Explain {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let output = &context.output;
        let answer = context.target.connect().await?.explain_machine(&self.machine).await?;
        if output.is_json() {
            return output.json(&answer);
        }
        let machine = answer.machine.unwrap_or_default();
        let title = format!("{} {}: {}", machine.id, machine.state, answer.headline);
        output.line(output.bold(&one_line(&title)))?;
        for detail in &answer.details {
            output.line(format!("  {}", one_line(detail)))?;
        }
        Ok(())
    }
}

impl Drain {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let output = &context.output;
        let answer = context.target.connect().await?.drain_machine(&self.machine).await?;
        if output.is_json() {
            return output.json(&answer);
        }
        let machine = answer.machine.unwrap_or_default();
        output.line(one_line(&format!("{}: {}", machine.id, answer.note)))
    }
}

/// Columns that nothing would stand in are left out.
fn table(machines: &[MachineView], now: &str) -> Grid {
    let named = machines.iter().any(|machine| !machine.provider_id.is_empty());
    let mut columns = vec![
        "ID", "POOL", "TYPE", "ZONE", "CAPACITY", "STATE", "SINCE", ">AGE", ">PRICE/H", ">COST",
        "ON IT",
    ];
    if named {
        columns.insert(2, "PROVIDER'S ID");
    }
    let reasons = machines.iter().any(|machine| !machine.reason.is_empty());
    if reasons {
        columns.push("WHY");
    }
    let mut grid = Grid::new(&columns);
    for machine in machines {
        grid.row(row(machine, now, named, reasons));
    }
    grid
}

fn row(machine: &MachineView, now: &str, named: bool, reasons: bool) -> Vec<String> {
    let at: Option<Timestamp> = now.parse().ok();
    let begun = match machine.billed_since.as_str() {
        "" => &machine.since,
        billed => billed,
    };
    let until = if machine.ended.is_empty() { now } else { &machine.ended };
    let mut cells = vec![machine.id.clone(), machine.pool.clone()];
    if named {
        cells.push(or_dash(&machine.provider_id));
    }
    cells.extend([
        machine.instance_type.clone(),
        machine.zone.clone(),
        machine.capacity_type.clone(),
        machine.state.clone(),
        moment_near(&machine.since, at),
        span(begun, until),
        hourly(machine.price_micros_per_hour),
        dollars(machine.accrued_micros),
        or_dash(&machine.attempts.join(" ")),
    ]);
    if reasons {
        cells.push(or_dash(&machine.reason));
    }
    cells
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_ends_with_the_machine() {
        let gone = MachineView {
            id: "i5".into(),
            state: "gone".into(),
            since: "2023-02-15T02:00:00Z".into(),
            billed_since: "2023-02-15T00:00:00Z".into(),
            ended: "2023-02-15T02:00:00Z".into(),
            ..MachineView::default()
        };
        let cells = row(&gone, "2023-02-15T08:00:00Z", false, false);
        assert_eq!(cells[7], "2h", "{cells:?}");
        let asked = MachineView {
            since: "2023-02-15T07:59:00Z".into(),
            ended: String::new(),
            billed_since: String::new(),
            ..gone
        };
        assert_eq!(row(&asked, "2023-02-15T08:00:00Z", false, false)[7], "1m");
    }
}
