//! The end of a machine that takes its time to go: who pays for it.

use spotwise_model::InstanceState;

use super::{InstanceBill, Line, Span, Use};

/// Who pays for the end of a machine that was given back and took its time to go.
pub(super) struct Ending<'a> {
    /// When it was given back; never, where machines are gone at once.
    given_back: Option<i64>,
    /// Who used it last, and until when the end is its.
    last: Option<(&'a Use, i64)>,
    /// Why there was a machine that nobody ever used.
    orphan: bool,
}

impl<'a> Ending<'a> {
    pub(super) fn of(bill: &'a InstanceBill<'_>, life: Span) -> Self {
        let InstanceState::Gone { given_back, .. } = bill.instance.state else {
            return Self { given_back: None, last: None, orphan: false };
        };
        let given_back = given_back.map(|at| at.as_second().clamp(life.from, life.to));
        let longest = i64::try_from(bill.termination.as_secs()).unwrap_or(i64::MAX);
        let last = bill.uses.iter().max_by_key(|used| (used.ended, used.attempt));
        let last = last.zip(given_back).map(|(used, at)| (used, at.saturating_add(longest)));
        Self { given_back, last, orphan: bill.uses.is_empty() && given_back.is_some() }
    }

    /// A line, in up to three parts where nobody uses the machine: kept for work that might
    /// come; on its way out at its last user's cost; and beyond what that one pays for.
    pub(super) fn cut(&self, line: Line<'a>) -> Vec<Line<'a>> {
        let Some(given_back) = self.given_back.filter(|_| line.used.is_none()) else {
            return vec![line];
        };
        let (until, used) = match self.last {
            Some((used, until)) => (until, Some(used)),
            None => (given_back, None),
        };
        let kept = if self.orphan { "orphan" } else { "kept" };
        let parts = [
            (Span { from: i64::MIN, to: given_back }, None, Some(kept)),
            (Span { from: given_back, to: until }, used, None),
            (Span { from: until, to: i64::MAX }, None, Some("ending")),
        ];
        // The whole machine for as long as it is: its weight is in proportion to its time.
        let a_second = line.weight / u128::from(line.span.seconds().max(1));
        let part = |(within, used, idle): (Span, Option<&'a Use>, Option<&'static str>)| {
            let span = within.and(line.span);
            let weight = a_second * u128::from(span.seconds());
            Line { used, idle, kind: line.kind, span, weight }
        };
        parts.into_iter().map(part).filter(|part| part.span.seconds() > 0).collect()
    }
}
