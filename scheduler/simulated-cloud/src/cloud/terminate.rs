//! The end of machines on order.

use jiff::Timestamp;
use spotwise_model::id::ProviderId;
use spotwise_model::time::after;

use super::SimulatedCloud;
use super::calls::Kind;
use crate::call::Call;
use crate::error::CloudError;
use crate::fault::Fault;
use crate::machine::Cause;
use crate::outage::Subject;
use crate::throttle::Action;

/// Somebody ended a machine that was not theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Timestamp,
    /// The installation that did.
    pub by: String,
    /// The machine.
    pub machine: ProviderId,
}

const TERMINATE: Kind = Kind {
    action: Action::Terminate,
    never_arrived: Some(Fault::TerminateNeverArrived),
    answer_lost: Some(Fault::TerminateAnswerLost),
};

impl SimulatedCloud {
    /// Ends a machine: it stops now, is billed no longer, and is gone a while later. Ended
    /// again, nothing changes. Whose machine it is, the account does not ask; `install`,
    /// which asks, is noted if it is somebody else's ([`Self::violations`]).
    ///
    /// # Errors
    ///
    /// [`NotFound`](CloudError::NotFound) for a name that is unknown, no longer listed, or
    /// not known yet; and as every call.
    pub fn terminate(
        &mut self,
        install: &str,
        machine: &ProviderId,
        at: Timestamp,
    ) -> Call<Result<(), CloudError>> {
        let known = self.machine(machine);
        let pool = known.and_then(|known| known.mark.as_ref()).map(|mark| mark.pool.clone());
        let instance_type = known.map(|known| known.market.instance_type.clone());
        let subject = Subject { pool: pool.as_ref(), instance_type: instance_type.as_ref() };
        self.call(&TERMINATE, &subject, at, |cloud| cloud.end(install, machine, &subject))
    }

    fn end(
        &mut self,
        install: &str,
        id: &ProviderId,
        subject: &Subject<'_>,
    ) -> Result<(), CloudError> {
        let not_found = || CloudError::NotFound { machine: id.clone() };
        let number = *self.numbers.get(id).ok_or_else(not_found)?;
        let machine = self.machines.get(number).ok_or_else(not_found)?;
        let behaviour = &self.spec.behaviour;
        let kept = behaviour.listed_after_end;
        if machine.terminated.is_some_and(|gone| after(gone, kept) <= self.now) {
            return Err(not_found());
        }
        let young = self.now < after(machine.launched, behaviour.consistency_window);
        let own = machine.mark.as_ref().is_some_and(|mark| mark.install == install);
        if young && self.strikes(Fault::NotFoundYet, subject) {
            return Err(not_found());
        }
        if !own {
            let (by, machine) = (install.to_owned(), id.clone());
            self.violations.push(Violation { at: self.now, by, machine });
        }
        self.stop(number, Cause::Ordered);
        Ok(())
    }
}
