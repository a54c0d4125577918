//! Whose jobs and costs are asked for.

use spotwise_api::client::Client;
use spotwise_model::access::{SUBMITTED_BY, TEAM};

use crate::exit::Failure;

/// Narrows an answer to one's own.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Whose {
    /// Only what you have submitted
    #[arg(long)]
    mine: bool,
    /// Only of this team (the tag Team)
    #[arg(long, value_name = "TEAM")]
    team: Option<String>,
}

impl Whose {
    /// As labels that must match.
    pub(super) async fn labels(&self, client: &Client) -> Result<Vec<(String, String)>, Failure> {
        let mut labels = Vec::new();
        if self.mine {
            labels.push((SUBMITTED_BY.to_owned(), client.who_am_i().await?.subject));
        }
        labels.extend(self.team.clone().map(|team| (TEAM.to_owned(), team)));
        Ok(labels)
    }
}
