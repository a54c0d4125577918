//! Pools: what they buy, what they have, and how much of their limits is used.

use std::time::Duration;

use spotwise_api::convert::{limit_view, optional_time_text, time_text};
use spotwise_api::v1;
use spotwise_control::core::State;
use spotwise_control::view::limits::of_one_pool;
use spotwise_control::view::machines::{Contact, PoolUse, contact, pool_uses};
use spotwise_model::limit::LimitUse;
use spotwise_model::time::human;
use spotwise_model::{Now, Pool};

use super::names::{no_such_pool, pool_name};
use super::{ServiceError, Session};
use spotwise_model::access::Action;

impl Session {
    /// Every pool, by name.
    pub async fn list_pools(&self) -> Result<v1::ListPoolsResponse, ServiceError> {
        self.may(Action::ViewCapacity)?;
        let speed = self.parts.config.control.speed;
        let all = move |state: &State, now: Now| {
            let uses = pool_uses(state);
            let view = |pool: &Pool| view(state, pool, uses.get(&pool.name), speed, now);
            let pools = state.pools.pools.values().map(view).collect();
            v1::ListPoolsResponse { pools, version: state.pools.version }
        };
        Ok(self.parts.handle.ask(all).await?)
    }

    /// One pool.
    pub async fn get_pool(
        &self,
        request: v1::GetPoolRequest,
    ) -> Result<v1::PoolView, ServiceError> {
        self.may(Action::ViewCapacity)?;
        let missing = || {
            let message = "name a pool; `spotwise pools` lists them";
            ServiceError::invalid("missing_field", "pool", message)
        };
        let name = pool_name(&request.pool)?.ok_or_else(missing)?;
        let (speed, wanted) = (self.parts.config.control.speed, name.clone());
        let one = move |state: &State, now: Now| {
            let pool = state.pools.get(&wanted)?;
            Some(view(state, pool, pool_uses(state).get(&wanted), speed, now))
        };
        self.parts.handle.ask(one).await?.ok_or_else(|| no_such_pool(&name))
    }
}

fn view(state: &State, pool: &Pool, used: Option<&PoolUse>, speed: u32, now: Now) -> v1::PoolView {
    let contact = contact(state, pool, speed, now);
    let used = used.cloned().unwrap_or_default();
    let limits = of_one_pool(state, pool, now.market);
    let sells = &pool.sells;
    v1::PoolView {
        name: pool.name.to_string(),
        kind: pool.kind.name().to_owned(),
        account: pool.account.to_string(),
        region: sells.region.as_ref().map(ToString::to_string).unwrap_or_default(),
        zones: sells.zones.iter().map(ToString::to_string).collect(),
        instance_types: sells.types.iter().map(ToString::to_string).collect(),
        capacity_types: sells.capacity_types.iter().map(ToString::to_string).collect(),
        leaving: pool.leaving,
        machines: used.machines.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect(),
        jobs: used.jobs,
        price_micros_per_hour: used.price.micros_per_hour(),
        limits: limits.iter().map(|limit| limit_view(limit, declared(state, limit))).collect(),
        listed: optional_time_text(contact.listed()),
        reachable: contact.is_reachable(),
        condition: condition(contact, now),
        access: Some(access(pool)),
        times: Some(times(pool)),
        features: Some(features(pool)),
        host: pool.limits.host.map(|host| v1::PoolHost {
            cpus: host.cpu_milli as f64 / 1_000.0,
            memory_mib: host.memory_mib,
            gpus: host.gpus,
        }),
        call_burst: pool.limits.calls.burst,
        calls_per_second: pool.limits.calls.per_second,
        supply: pool.supply.name().to_owned(),
    }
}

/// What the operator has declared of a quota; what is usable may be less.
fn declared(state: &State, limit: &LimitUse) -> Option<u64> {
    let quota = state.pools.quotas.iter().find(|quota| quota.key() == limit.key);
    quota.map(|quota| quota.vcpus)
}

/// Whether a provider answers, in words.
fn condition(contact: Contact, now: Now) -> String {
    match contact {
        Contact::Slots | Contact::Answers { throttled: None, .. } => String::new(),
        Contact::Never => "has listed nothing yet".to_owned(),
        Contact::Answers { throttled: Some(until), .. } => {
            format!("wants fewer calls: left alone until {}", time_text(until))
        }
        Contact::Silent { listed } => {
            let age = human(spotwise_model::time::between(listed, now.market));
            format!("does not answer: its last listing is {age} old")
        }
    }
}

fn access(pool: &Pool) -> v1::PoolAccess {
    let tags = pool.access.tags.iter().map(|(tag, values)| v1::RequiredTag {
        tag: tag.clone(),
        values: values.iter().cloned().collect(),
    });
    v1::PoolAccess {
        classes: pool.access.classes.iter().map(|class| class.name().to_owned()).collect(),
        tags: tags.collect(),
    }
}

fn times(pool: &Pool) -> v1::PoolTimes {
    let seconds = |span: Duration| span.as_secs_f64();
    let times = &pool.times;
    v1::PoolTimes {
        boot_seconds: seconds(times.boot),
        start_seconds: seconds(times.start),
        launch_timeout_seconds: seconds(times.launch_timeout),
        registration_timeout_seconds: seconds(times.registration_timeout),
        start_timeout_seconds: seconds(times.start_timeout),
        termination_seconds: seconds(times.termination),
        consistency_seconds: seconds(times.consistency),
        keep_seconds: seconds(times.keep),
    }
}

fn features(pool: &Pool) -> v1::PoolFeatures {
    let features = &pool.features;
    v1::PoolFeatures {
        slots: features.instant,
        starts_workers: features.starts_workers,
        containers: features.containers,
        mig: features.mig,
        mps: features.mps,
        reclaims_by_market: features.reclaims_by_market,
        notice_seconds: features.notice_lead.as_secs_f64(),
    }
}

#[cfg(test)]
#[path = "pools_tests.rs"]
mod tests;
