//! What all calls have in common: whether they get through, and whether their answers do.

use jiff::Timestamp;
use spotwise_model::time::after;

use super::SimulatedCloud;
use crate::call::{Call, Delivery};
use crate::error::CloudError;
use crate::fault::Fault;
use crate::outage::Subject;
use crate::throttle::Action;

/// The kind of a call.
pub(super) struct Kind {
    pub(super) action: Action,
    /// The fault by which it never arrives.
    pub(super) never_arrived: Option<Fault>,
    /// The fault by which its answer is lost.
    pub(super) answer_lost: Option<Fault>,
}

impl SimulatedCloud {
    /// Makes a call: `carry_out` is what it does if it gets through.
    pub(super) fn call<T>(
        &mut self,
        kind: &Kind,
        subject: &Subject<'_>,
        at: Timestamp,
        carry_out: impl FnOnce(&mut Self) -> Result<T, CloudError>,
    ) -> Call<Result<T, CloudError>> {
        self.settle(at);
        if self.strikes_if(kind.never_arrived, subject) {
            let outcome = Err(CloudError::Unreachable);
            return Call { delivery: self.lost(), executed: false, outcome };
        }
        if let Err(refusal) = self.gets_through(kind.action, subject) {
            let delivery = self.answered(subject);
            return Call { delivery, executed: false, outcome: Err(refusal) };
        }
        let outcome = carry_out(self);
        let lost = self.strikes_if(kind.answer_lost, subject);
        let delivery = if lost { self.lost() } else { self.answered(subject) };
        Call { delivery, executed: true, outcome }
    }

    pub(super) fn strikes(&mut self, fault: Fault, subject: &Subject<'_>) -> bool {
        self.faults.strikes(fault, subject, self.now, &mut self.dice)
    }

    pub(super) fn draws(&mut self, fault: Fault, subject: &Subject<'_>) -> bool {
        self.faults.draws(fault, subject, self.now, &mut self.dice)
    }

    fn strikes_if(&mut self, fault: Option<Fault>, subject: &Subject<'_>) -> bool {
        fault.is_some_and(|fault| self.strikes(fault, subject))
    }

    fn gets_through(&mut self, action: Action, subject: &Subject<'_>) -> Result<(), CloudError> {
        if self.strikes(Fault::PoolUnreachable, subject) {
            return Err(CloudError::Unreachable);
        }
        if self.strikes(Fault::CredentialsExpired, subject) {
            return Err(CloudError::ExpiredToken);
        }
        if self.strikes(Fault::ThrottleBurst, subject) {
            self.throttle.refuse(action);
            return Err(CloudError::RequestLimitExceeded);
        }
        if self.throttle.take(action, self.now) {
            Ok(())
        } else {
            Err(CloudError::RequestLimitExceeded)
        }
    }

    fn answered(&mut self, subject: &Subject<'_>) -> Delivery {
        let behaviour = &self.spec.behaviour;
        let (usual, late) = (behaviour.answer, behaviour.late_answer);
        let spread = if self.strikes(Fault::AnswerLate, subject) { late } else { usual };
        Delivery::Answered { at: after(self.now, self.dice.span(&spread)) }
    }

    fn lost(&self) -> Delivery {
        Delivery::Lost { known_after: after(self.now, self.spec.behaviour.timeout) }
    }
}
