//! Listings: by mark, page by page, and never quite new.

use std::ops::Bound::{Excluded, Unbounded};

use jiff::{SignedDuration, Timestamp};
use spotwise_model::id::PoolName;
use spotwise_model::inventory::Inventory;
use spotwise_model::time::add;

use super::SimulatedCloud;
use super::calls::Kind;
use crate::call::{Call, Delivery, Page, PageToken};
use crate::error::CloudError;
use crate::fault::Fault;
use crate::outage::Subject;
use crate::throttle::Action;

const LIST: Kind = Kind { action: Action::List, never_arrived: None, answer_lost: None };

impl SimulatedCloud {
    /// A page of the machines that carry the mark of an installation and a pool: the first,
    /// or the one that `page` names. All pages of a listing show one moment, which lies a
    /// little before its first page was asked for, at most the consistency window. Machines
    /// that are gone stay in it for a while.
    ///
    /// # Errors
    ///
    /// [`InternalError`](CloudError::InternalError) for a page that is missing, which may be
    /// asked for again; and as every call.
    pub fn list(
        &mut self,
        install: &str,
        pool: &PoolName,
        page: Option<PageToken>,
        at: Timestamp,
    ) -> Call<Result<Page, CloudError>> {
        let subject = Subject { pool: Some(pool), instance_type: None };
        self.call(&LIST, &subject, at, |cloud| {
            if cloud.strikes(Fault::PageError, &subject) {
                return Err(CloudError::InternalError);
            }
            let (as_of, last) = match page {
                Some(page) => (page.as_of, Some(page.after)),
                None => (cloud.listing_time(&subject), None),
            };
            Ok(cloud.page(install, pool, as_of, last))
        })
    }

    fn listing_time(&mut self, subject: &Subject<'_>) -> Timestamp {
        let behaviour = &self.spec.behaviour;
        let (window, usual) = (behaviour.consistency_window, behaviour.list_lag);
        let stale = self.strikes(Fault::StaleListing, subject);
        let lag = if stale { window } else { self.dice.up_to(usual.min(window)) };
        add(self.now, -SignedDuration::try_from(lag).unwrap_or(SignedDuration::MAX))
    }

    /// What follows the machine `last`.
    fn page(&self, install: &str, pool: &PoolName, as_of: Timestamp, last: Option<usize>) -> Page {
        let Some(numbers) = self.listed.get(&(install.to_owned(), pool.clone())) else {
            return Page::default();
        };
        let kept = self.spec.behaviour.listed_after_end;
        let from = last.map_or(Unbounded, Excluded);
        let mut seen = numbers.range((from, Unbounded)).filter_map(|number| {
            let machine = self.machines.get(*number)?;
            Some((*number, machine.id.clone(), machine.seen(as_of, kept)?))
        });
        let mut page = Page::default();
        let mut after = 0;
        for (number, id, machine) in seen.by_ref().take(self.spec.behaviour.page_size.max(1)) {
            page.machines.insert(id, machine);
            after = number;
        }
        page.next = seen.next().map(|_| PageToken { as_of, after });
        page
    }
}

impl SimulatedCloud {
    /// A whole listing of a pool, as its caller puts it together page by page, and when its
    /// last page comes. A page that does not come leaves it incomplete.
    ///
    /// # Errors
    ///
    /// Not even the first page came: as [`Self::list`].
    pub fn inventory(
        &mut self,
        install: &str,
        pool: &PoolName,
        at: Timestamp,
    ) -> (Timestamp, Result<Inventory, CloudError>) {
        let mut inventory = Inventory { begun: at, complete: true, ..Inventory::unknown() };
        let (mut next, mut arrives, mut first) = (None, at, true);
        loop {
            let call = self.list(install, pool, next.take(), at);
            match (call.delivery, call.outcome) {
                (Delivery::Answered { at }, Ok(page)) => {
                    arrives = arrives.max(at);
                    inventory.machines.extend(page.machines);
                    next = page.next;
                }
                (Delivery::Answered { at }, Err(error)) if first => {
                    return (arrives.max(at), Err(error));
                }
                (Delivery::Lost { known_after }, _) if first => {
                    return (known_after, Err(CloudError::Unreachable));
                }
                (_, _) => inventory.complete = false,
            }
            first = false;
            if next.is_none() {
                inventory.completed = arrives;
                return (arrives, Ok(inventory));
            }
        }
    }
}
