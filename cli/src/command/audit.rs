//! `spotwise audit`: who did what, and whether that is what was written.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use spotwise_api::v1::AuditEntryView;
use spotwise_control::core::{AuditEntry, AuditHead};

use super::Context;
use crate::exit::{Exit, Failure};
use crate::format::moment;
use crate::output::Grid;
use crate::text::one_line;

/// Characters of what has changed that a table shows.
const SHOWN: usize = 100;

/// Read the audit log: who did what, from where, and what it changed
#[derive(Debug, Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    List(List),
    Verify(Verify),
}

/// List entries, oldest first
#[derive(Debug, Args)]
struct List {
    /// Entries above this number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: u64,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

/// Check every entry by its hash, and by that of the one before. Prints the last hash: kept
/// elsewhere, it shows later whether entries were cut off at the end
#[derive(Debug, Args)]
struct Verify {
    /// The log has to contain the entry with this hash
    #[arg(long, value_name = "HASH")]
    contains: Option<String>,
}

impl Audit {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command {
            AuditCommand::List(command) => command.run(context).await,
            AuditCommand::Verify(command) => command.run(context).await,
        }
    }
}

impl List {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.target.connect().await?;
        let (mut entries, mut after, mut more) = (Vec::new(), self.after, true);
        while more && entries.len() < self.limit {
            let page = client.audit(after).await?;
            after = page.entries.last().map_or(after, |entry| entry.number);
            more = page.more;
            entries.extend(page.entries);
        }
        more |= entries.len() > self.limit;
        entries.truncate(self.limit);
        if context.output.is_json() {
            return context.output.json(&json!({ "entries": entries, "more": more }));
        }
        let mut grid = Grid::new(&["NUMBER", "AT", "BY", "FROM", "ACTION", "ON", "WAS", "IS"]);
        for entry in &entries {
            let cell = |text: &String| one_line(text).to_string();
            let (was, is) = (short(&entry.before), short(&entry.after));
            grid.row(vec![
                entry.number.to_string(),
                moment(&entry.at),
                cell(&entry.by),
                cell(&entry.from),
                cell(&entry.action),
                cell(&entry.resource),
                was,
                is,
            ]);
        }
        context.output.table(&grid)?;
        if more {
            let last = entries.last().map_or(0, |entry| entry.number);
            context.output.line(format!("there are more: --after {last}"))?;
        }
        Ok(())
    }
}

/// What has changed, as far as a line of a table can show it; `-o json` has all of it.
fn short(json: &str) -> String {
    let line = one_line(json);
    match line.char_indices().nth(SHOWN) {
        None => line.to_string(),
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
    }
}

impl Verify {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.target.connect().await?;
        let mut head = AuditHead::default();
        let mut contains = self.contains.is_none();
        loop {
            let page = client.audit(head.number).await?;
            for entry in &page.entries {
                let broken = |why: String| Failure::new(Exit::Failed, format!("audit log: {why}"));
                let entry = read(entry).map_err(&broken)?;
                head.follow(&entry).map_err(|why| broken(why.to_string()))?;
                contains |= self.contains.as_ref() == Some(&head.hash);
            }
            if !page.more {
                break;
            }
        }
        if !contains {
            let message = "audit log: no entry has this hash: entries were cut off or rewritten";
            return Err(Failure::new(Exit::Failed, message));
        }
        if context.output.is_json() {
            return context.output.json(&json!({ "entries": head.number, "hash": head.hash }));
        }
        context.output.line(format!("ok: {} entries, the last is {}", head.number, head.hash))
    }
}

fn read(view: &AuditEntryView) -> Result<AuditEntry, String> {
    let unreadable = |_| format!("entry {} cannot be read", view.number);
    let value = |text: &str| match text {
        "" => Ok(Value::Null),
        text => serde_json::from_str(text).map_err(|error| unreadable(error.to_string())),
    };
    Ok(AuditEntry {
        number: view.number,
        at: view.at.parse().map_err(|error: jiff::Error| unreadable(error.to_string()))?,
        by: view.by.clone(),
        from: view.from.clone(),
        request: view.request.clone(),
        action: view.action.clone(),
        resource: view.resource.clone(),
        before: value(&view.before)?,
        after: value(&view.after)?,
        previous: view.previous.clone(),
        hash: view.hash.clone(),
    })
}
