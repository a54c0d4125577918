//! Launches and their tokens.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::id::ProviderId;
use spotwise_model::{CapacityType, MarketKey};

use super::SimulatedCloud;
use super::calls::Kind;
use super::life::{Due, Mishap};
use crate::behaviour::GoneToken;
use crate::call::{Call, LaunchRequest, Launched};
use crate::error::CloudError;
use crate::fault::Fault;
use crate::machine::{Machine, Mark};
use crate::outage::Subject;
use crate::throttle::Action;

/// What a token has named, and what came of it.
#[derive(Clone, Debug)]
pub(super) struct TakenToken {
    request: LaunchRequest,
    /// The machine's number.
    outcome: Result<usize, CloudError>,
}

const LAUNCH: Kind = Kind {
    action: Action::Launch,
    never_arrived: Some(Fault::LaunchNeverArrived),
    answer_lost: Some(Fault::LaunchAnswerLost),
};

impl SimulatedCloud {
    /// Asks for a machine. Asked again with the same token in the same zone, the answer is
    /// the same: the same machine, even if it is gone (or
    /// [`IdempotentInstanceTerminated`](CloudError::IdempotentInstanceTerminated), if the
    /// behaviour says so), or the same refusal for want of capacity or quota, as an instant
    /// fleet that bought nothing. With the same token in another zone a second machine is
    /// launched.
    ///
    /// # Errors
    ///
    /// [`InsufficientInstanceCapacity`](CloudError::InsufficientInstanceCapacity),
    /// [`MaxSpotInstanceCountExceeded`](CloudError::MaxSpotInstanceCountExceeded) and
    /// [`VcpuLimitExceeded`](CloudError::VcpuLimitExceeded) use the token up.
    /// [`IdempotentParameterMismatch`](CloudError::IdempotentParameterMismatch) for a token
    /// that named another request; [`Unsupported`](CloudError::Unsupported) for what is not
    /// sold here. [`RequestLimitExceeded`](CloudError::RequestLimitExceeded),
    /// [`ExpiredToken`](CloudError::ExpiredToken) and
    /// [`Unreachable`](CloudError::Unreachable) leave the token as it was.
    pub fn launch(
        &mut self,
        request: &LaunchRequest,
        at: Timestamp,
    ) -> Call<Result<Launched, CloudError>> {
        let instance_type = Some(&request.market.instance_type);
        let subject = Subject { pool: Some(&request.pool), instance_type };
        self.call(&LAUNCH, &subject, at, |cloud| cloud.take_token(request, &subject))
    }

    fn take_token(
        &mut self,
        request: &LaunchRequest,
        subject: &Subject<'_>,
    ) -> Result<Launched, CloudError> {
        let key = (request.market.zone.clone(), request.token.clone());
        if let Some(taken) = self.tokens.get(&key) {
            return self.asked_again(taken, request);
        }
        self.sold(&request.market)?;
        let outcome = self.try_launch(request, subject);
        let taken = TakenToken { request: request.clone(), outcome: outcome.clone() };
        self.tokens.insert(key, taken);
        self.launched(outcome?)
    }

    fn asked_again(
        &self,
        taken: &TakenToken,
        request: &LaunchRequest,
    ) -> Result<Launched, CloudError> {
        if taken.request != *request {
            return Err(CloudError::IdempotentParameterMismatch);
        }
        let number = taken.outcome.clone()?;
        let gone = self.machines.get(number).is_none_or(|machine| machine.terminated.is_some());
        if gone && self.spec.behaviour.gone_token == GoneToken::Refused {
            return Err(CloudError::IdempotentInstanceTerminated);
        }
        self.launched(number)
    }

    fn launched(&self, number: usize) -> Result<Launched, CloudError> {
        let machine = self.machines.get(number).ok_or(CloudError::InternalError)?;
        Ok(Launched { machine: machine.id.clone(), launched: machine.launched })
    }

    fn try_launch(
        &mut self,
        request: &LaunchRequest,
        subject: &Subject<'_>,
    ) -> Result<usize, CloudError> {
        let market = &request.market;
        self.room_in_quota(market)?;
        if self.strikes(Fault::NoCapacity, subject) || self.strikes(Fault::PartialCapacity, subject)
        {
            return Err(CloudError::InsufficientInstanceCapacity { market: market.clone() });
        }
        self.room_in_market(market)?;
        let mark = Mark {
            install: request.install.clone(),
            pool: request.pool.clone(),
            instance: request.instance,
            token: request.token.clone(),
        };
        let number = self.open_machine(market, Some(mark), false);
        self.decide_life(number, subject);
        Ok(number)
    }

    /// Whether the account's region sells it.
    pub(super) fn sold(&self, market: &MarketKey) -> Result<(), CloudError> {
        let here = market.account == self.spec.account
            && market.region == self.spec.region
            && self.spec.vcpus.contains_key(&market.instance_type);
        if here { Ok(()) } else { Err(CloudError::Unsupported { market: market.clone() }) }
    }

    /// Whether the market has a machine that nobody has; one that is about to be taken back
    /// still has its place.
    pub(super) fn room_in_market(&self, market: &MarketKey) -> Result<(), CloudError> {
        let open = self.open.get(market).map_or(0, BTreeSet::len);
        let available = self.market.available(market, self.now);
        if usize::try_from(available).is_ok_and(|available| open >= available) {
            return Err(CloudError::InsufficientInstanceCapacity { market: market.clone() });
        }
        Ok(())
    }

    /// A new machine, now.
    pub(super) fn open_machine(
        &mut self,
        market: &MarketKey,
        mark: Option<Mark>,
        foreign: bool,
    ) -> usize {
        let number = self.machines.len();
        let id = self.name(number);
        if let Some(mark) = &mark {
            let key = (mark.install.clone(), mark.pool.clone());
            self.listed.entry(key).or_default().insert(number);
        }
        self.numbers.insert(id.clone(), number);
        self.open.entry(market.clone()).or_default().insert(number);
        self.machines.push(Machine {
            id,
            mark,
            foreign,
            market: market.clone(),
            launched: self.now,
            booted: None,
            registered: None,
            reclaim_at: None,
            stopped: None,
            terminated: None,
        });
        self.use_quota(market);
        if market.capacity_type == CapacityType::Spot {
            self.watch(market);
        }
        number
    }

    /// As EC2 names them. Two accounts with different seeds hardly share a name.
    fn name(&self, number: usize) -> ProviderId {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        ProviderId::new(format!("i-0{:016x}", mixed(self.seed.rotate_left(32) ^ number)))
    }

    /// Whether it registers, when it boots, and what befalls it.
    fn decide_life(&mut self, number: usize, subject: &Subject<'_>) {
        let behaviour = &self.spec.behaviour;
        let (boot, register) = (behaviour.boot, behaviour.register);
        let (late, mishap) = (behaviour.late_register, behaviour.mishap);
        let register: Option<Duration> = if self.strikes(Fault::NeverRegisters, subject) {
            None
        } else if self.strikes(Fault::RegistersLate, subject) {
            Some(self.dice.span(&late))
        } else {
            Some(self.dice.span(&register))
        };
        let boots_in = self.dice.span(&boot);
        self.arrange_in(boots_in, Due::Boots { number, register });
        let spot = self
            .machines
            .get(number)
            .is_some_and(|machine| machine.market.capacity_type == CapacityType::Spot);
        let mishaps = [
            (Fault::Interruption, Mishap::Interruption, spot),
            (Fault::RebalanceOnly, Mishap::Rebalance, spot),
            (Fault::Retirement, Mishap::Retirement, true),
        ];
        for (fault, what, possible) in mishaps {
            if possible && self.draws(fault, subject) {
                let happens_in = self.dice.span(&mishap);
                self.arrange_in(happens_in, Due::Befalls { number, what });
            }
        }
    }
}

/// A permutation of all numbers: the finalizer of `SplitMix64` (Steele, Lea, Flood 2014).
const fn mixed(number: u64) -> u64 {
    let first = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let second = (first ^ (first >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    second ^ (second >> 31)
}
