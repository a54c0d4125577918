//! From a document to pools, and what only the whole file shows.

use std::collections::{BTreeMap, BTreeSet};

use super::account::{Bought, read_account};
use super::cloud::CloudOptions;
use super::document::{AccountDocument, PoolDocument, PoolsDocument};
use super::fields::{Field, Problems};
use super::pool::read_pool;
use crate::id::{Account, PoolName};
use crate::pool::{Pool, PoolKind, Quota};
use crate::spec::error::{Problem, shown};

/// What a file holds, as far as it could be read.
#[derive(Debug, Default)]
pub(super) struct Built {
    pub(super) pools: BTreeMap<PoolName, Pool>,
    pub(super) quotas: Vec<Quota>,
    pub(super) clouds: BTreeMap<Account, CloudOptions>,
}

/// Whatever has no problem; the caller looks at the problems first.
pub(super) fn build(document: PoolsDocument, problems: &mut Problems) -> Built {
    if document.version.is_refused() {
        // In another form the same fields may mean something else.
        return Built::default();
    }
    // Where something could not be read, what refers to it cannot be judged.
    let all_accounts = all_read(&document.accounts, |account| !account.name.is_refused());
    let all_pools = all_read(&document.pools, |pool| {
        let referred =
            [pool.kind.is_refused(), pool.account.is_refused(), pool.region.is_refused()];
        !referred.contains(&true)
    });
    let accounts = document.accounts.given().unwrap_or_default();
    let pools = document.pools.given().unwrap_or_default();

    let names = account_names(&accounts, problems);
    let bought = bought(&pools);
    let mut built = Built::default();
    problems.under("pools", |problems| {
        let known = all_accounts.then_some(&names);
        for (index, pool) in pools.into_iter().enumerate() {
            let pool = problems.item(index, |p| pool.and_then(|pool| read_pool(pool, known, p)));
            let Some(pool) = pool else { continue };
            problems.item(index, |problems| beside(&pool, &built.pools, problems));
            built.pools.insert(pool.name.clone(), pool);
        }
    });
    problems.under("accounts", |problems| {
        for (index, account) in accounts.into_iter().enumerate() {
            let bought = all_pools.then_some(&bought);
            let read = |p: &mut Problems| account.and_then(|a| read_account(a, bought, p));
            let Some((account, quotas, cloud)) = problems.item(index, read) else { continue };
            built.quotas.extend(quotas);
            built.clouds.insert(account, cloud);
        }
    });
    built
}

fn all_read<T>(field: &Field<Vec<Option<T>>>, whole: impl Fn(&T) -> bool) -> bool {
    let each = |list: &Vec<Option<T>>| list.iter().all(|one| one.as_ref().is_some_and(&whole));
    !field.is_refused() && field.get().is_none_or(each)
}

/// The accounts that are declared; a name given twice is added to the problems.
fn account_names(
    accounts: &[Option<AccountDocument>],
    problems: &mut Problems,
) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (index, account) in accounts.iter().enumerate() {
        let Some(name) = account.as_ref().and_then(|account| account.name.get()) else { continue };
        if !names.insert(name.0.clone()) {
            let message = format!("{} is declared already; put it in one entry", shown(&name.0));
            let problem = Problem::new("duplicate_name", message);
            problems.add(problem.key("name").index(index).key("accounts"));
        }
    }
    names
}

fn bought(pools: &[Option<PoolDocument>]) -> Bought {
    let mut bought = Bought::new();
    for pool in pools.iter().flatten() {
        if let (Some(account), Some(region)) = (pool.account.get(), pool.region.get()) {
            bought.entry(account.0.clone()).or_default().insert(region.clone());
        }
    }
    bought
}

/// Adds what is wrong with a pool beside those before it.
fn beside(pool: &Pool, before: &BTreeMap<PoolName, Pool>, problems: &mut Problems) {
    if before.contains_key(&pool.name) {
        let message = format!("`{}` is the name of a pool above; choose another", pool.name);
        problems.add(Problem::new("duplicate_name", message).key("name"));
        return;
    }
    if pool.kind != PoolKind::Simulated
        && let Some(other) = before.values().find(|other| other.kind == pool.kind)
    {
        let kind = pool.kind.name();
        let message = format!("`{}` is of kind `{kind}` already; keep one of the two", other.name);
        problems.add(Problem::new("second_of_its_kind", message).key("kind"));
        return;
    }
    // What an account's market shows is one fact, however many pools buy there.
    let otherwise = |other: &&Pool| other.account == pool.account && other.supply != pool.supply;
    if pool.kind == PoolKind::Simulated
        && let Some(other) = before.values().find(otherwise)
    {
        let message = format!(
            "`{}` buys with the same account, and of it the supply is {}; let them agree",
            other.name,
            other.supply.name()
        );
        problems.add(Problem::new("supply_differs", message).key("supply"));
        return;
    }
    // With a problem, a pool may only look like another.
    let same = |other: &&Pool| Pool { name: pool.name.clone(), ..(*other).clone() } == *pool;
    if let Some(other) = before.values().find(same).filter(|_| problems.is_empty()) {
        let message = format!(
            "is `{}` under another name, and its machines would be offered twice; remove one, or \
             let them differ in what they buy or in who may use them",
            other.name
        );
        problems.add(Problem::new("duplicate_pool", message));
    }
}
