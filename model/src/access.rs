//! Who calls, and what they may do: roles, scopes, and the one function that decides.
//!
//! Everything is denied that is not written down here. A job belongs to the team of its tag
//! [`TEAM`]; what belongs to a team that a caller does not see does not exist for him.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The tag of a job that says whose it is.
pub const TEAM: &str = "Team";

/// The label of jobs and of what they cost that says who has submitted them.
pub const SUBMITTED_BY: &str = "submitted_by";

/// What a caller is to this scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees jobs, costs and the market.
    Viewer,
    /// Runs jobs.
    Submitter,
    /// Answers for the money: changes budgets.
    Approver,
    /// Runs the pools: drains machines, cancels anybody's job.
    Operator,
    /// Gives rights.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Viewer, Self::Submitter, Self::Approver, Self::Operator, Self::Admin];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Submitter => "submitter",
            Self::Approver => "approver",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The role of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether it includes an action.
    pub const fn allows(self, action: Action) -> bool {
        match action {
            Action::Know => true,
            Action::ViewJobs | Action::ViewCosts | Action::ViewCapacity => true,
            Action::SubmitJobs | Action::EditJobs => matches!(self, Self::Submitter | Self::Admin),
            Action::CancelJobs => matches!(self, Self::Submitter | Self::Operator | Self::Admin),
            Action::EditBudgets => matches!(self, Self::Submitter | Self::Approver | Self::Admin),
            Action::DrainMachines => matches!(self, Self::Operator | Self::Admin),
            // Who answers for the money stops it.
            Action::FreezeBuying => matches!(self, Self::Approver | Self::Operator | Self::Admin),
            Action::ReadAudit => matches!(self, Self::Approver | Self::Operator | Self::Admin),
            Action::ManageTokens => matches!(self, Self::Admin),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Know what this scheduler is, and who one is to it.
    Know,
    /// See jobs, their output and their events; ask what one would cost.
    ViewJobs,
    /// See what was paid.
    ViewCosts,
    /// See pools, machines and offers.
    ViewCapacity,
    /// Submit and resubmit jobs.
    SubmitJobs,
    /// Change the terms of jobs.
    EditJobs,
    /// Change nothing but the budgets of jobs.
    EditBudgets,
    /// Cancel jobs.
    CancelJobs,
    /// Take machines out of service.
    DrainMachines,
    /// Stop all buying, and let it go on.
    FreezeBuying,
    /// Read who did what.
    ReadAudit,
    /// Create, list and revoke tokens.
    ManageTokens,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Know,
        Self::ViewJobs,
        Self::ViewCosts,
        Self::ViewCapacity,
        Self::SubmitJobs,
        Self::EditJobs,
        Self::EditBudgets,
        Self::CancelJobs,
        Self::DrainMachines,
        Self::FreezeBuying,
        Self::ReadAudit,
        Self::ManageTokens,
    ];

    /// As in "may not ...".
    pub const fn words(self) -> &'static str {
        match self {
            Self::Know => "ask who this is",
            Self::ViewJobs => "see jobs",
            Self::ViewCosts => "see costs",
            Self::ViewCapacity => "see pools and machines",
            Self::SubmitJobs => "submit jobs",
            Self::EditJobs => "change jobs",
            Self::EditBudgets => "change budgets",
            Self::CancelJobs => "cancel jobs",
            Self::DrainMachines => "drain machines",
            Self::FreezeBuying => "freeze buying",
            Self::ReadAudit => "read the audit log",
            Self::ManageTokens => "manage tokens",
        }
    }
}

/// The teams whose things a caller sees and touches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope {
    /// Their names; `None` for everything, also what is nobody's.
    pub teams: Option<BTreeSet<String>>,
}

impl Scope {
    /// These teams only.
    pub fn of<T: Into<String>>(teams: impl IntoIterator<Item = T>) -> Self {
        Self { teams: Some(teams.into_iter().map(Into::into).collect()) }
    }

    /// Whether it includes what belongs to a team, or to none.
    pub fn includes(&self, team: Option<&str>) -> bool {
        let Some(teams) = &self.teams else { return true };
        team.is_some_and(|team| teams.contains(team))
    }

    /// Whether it includes all that another does.
    pub fn covers(&self, other: &Self) -> bool {
        match (&self.teams, &other.teams) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(others)) => others.is_subset(own),
        }
    }
}

/// What kind of being a caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallerKind {
    /// A human being.
    Person,
    /// A program of a team: a pipeline, a build.
    ServiceAccount,
}

impl CallerKind {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::ServiceAccount => "service-account",
        }
    }
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The name of the person or program.
    pub subject: String,
    /// What it is.
    pub kind: CallerKind,
    /// What it may do.
    pub roles: BTreeSet<Role>,
    /// To what.
    pub scope: Scope,
}

/// Why a caller may not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// None of his roles includes it.
    #[error("{subject} may not {}: that takes the role {}", action.words(), takes(*action))]
    Role {
        /// Who.
        subject: String,
        /// What.
        action: Action,
    },
    /// It belongs to a team that he does not see. He is told that it does not exist.
    #[error("there is no such thing")]
    Foreign,
    /// It concerns all teams.
    #[error("{subject} may not {}: that concerns more than {teams}", action.words())]
    TooWide {
        /// Who.
        subject: String,
        /// What.
        action: Action,
        /// The teams he sees.
        teams: String,
    },
}

/// The roles that include an action, as text.
fn takes(action: Action) -> String {
    let roles = Role::ALL.into_iter().filter(|role| role.allows(action));
    roles.map(Role::name).collect::<Vec<_>>().join(" or ")
}

/// What an action is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'r> {
    /// Something of the caller's own teams, which is filtered or checked by itself.
    Own,
    /// A job of a team, or of none.
    OfTeam(Option<&'r str>),
    /// What all teams share: machines, tokens of everybody.
    Shared,
}

/// Whether a caller may do something to something.
///
/// # Errors
/// Why not.
pub fn authorize(caller: &Caller, action: Action, resource: Resource<'_>) -> Result<(), Denied> {
    let role = caller.roles.iter().any(|role| role.allows(action));
    let foreign = matches!(resource, Resource::OfTeam(team) if !caller.scope.includes(team));
    if foreign {
        return Err(Denied::Foreign);
    }
    let subject = || caller.subject.clone();
    if !role {
        return Err(Denied::Role { subject: subject(), action });
    }
    match (&caller.scope.teams, resource) {
        (Some(teams), Resource::Shared) => {
            let teams = teams.iter().cloned().collect::<Vec<_>>().join(", ");
            Err(Denied::TooWide { subject: subject(), action, teams })
        }
        _ => Ok(()),
    }
}

/// A token, as it is kept: without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The part of it that is no secret.
    pub id: String,
    /// SHA-256 of the whole token, in hex.
    pub hash: String,
    /// Whose it is.
    pub caller: Caller,
    /// When it was made (wall time).
    pub created: Timestamp,
    /// By whom.
    pub created_by: String,
    /// Until when it is good (wall time); `None` for ever.
    pub expires: Option<Timestamp>,
    /// When it was revoked (wall time).
    pub revoked: Option<Timestamp>,
    /// When it was last seen to be used, to some minutes (wall time).
    pub last_used: Option<Timestamp>,
}

impl Token {
    /// Whether it is good at a time.
    pub fn is_good(&self, at: Timestamp) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| at < expires)
    }
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
