//! What a second of a machine costs, and what pays for it.

use spotwise_model::{CoveredSpan, Instance, Price};

use super::{InstanceBill, Span};

/// The billed time cut at every change of price, without gaps or overlaps.
fn price_spans(bill: &InstanceBill<'_>, billed: Span) -> Vec<(Span, Price)> {
    let mut spans: Vec<(Span, Price)> = vec![(billed, bill.instance.launch_price)];
    for segment in bill.segments {
        let from = segment.from.as_second();
        if from >= billed.to {
            break;
        }
        let from = from.max(billed.from);
        if let Some((last, price)) = spans.last_mut()
            && *price != segment.price
            && from >= last.from
        {
            last.to = from;
            spans.push((Span { from, to: billed.to }, segment.price));
        }
    }
    spans.retain(|(span, _)| span.seconds() > 0);
    // A price of less than a second parts nothing: each cut is a rounding.
    spans.dedup_by(|(next, price), (span, same)| {
        let one = *price == *same;
        if one {
            span.to = next.to;
        }
        one
    });
    spans
}

/// A span at one price, and what pays for it.
pub(super) struct Priced<'a> {
    pub(super) span: Span,
    pub(super) price: Price,
    pub(super) covered: Option<&'a CoveredSpan>,
}

/// The spans of a bill: those of the market, replaced by the covered spans of commitments
/// where there are any.
pub(super) fn priced<'a>(bill: &InstanceBill<'a>, billed: Span) -> Vec<Priced<'a>> {
    let mut all = Vec::new();
    let mut reached = billed.from;
    let instance: &'a Instance = bill.instance;
    let market = price_spans(bill, billed);
    let bought = |from: i64, to: i64| {
        let within = Span { from, to: to.max(from) };
        let cut = market.iter().map(|(span, price)| (span.and(within), *price));
        let cut = cut.map(|(span, price)| Priced { span, price, covered: None });
        cut.collect::<Vec<_>>()
    };
    for covered in instance.coverage.iter().filter(|covered| covered.pays()) {
        let paid = Span { from: covered.from.as_second(), to: covered.until.as_second() };
        let paid = paid.and(Span { from: reached, to: billed.to });
        all.extend(bought(reached, paid.from.min(billed.to)));
        reached = reached.max(paid.to).min(billed.to.max(reached));
        all.push(Priced { span: paid, price: covered.price, covered: Some(covered) });
    }
    all.extend(bought(reached, billed.to));
    all.retain(|priced| priced.span.seconds() > 0);
    all
}
