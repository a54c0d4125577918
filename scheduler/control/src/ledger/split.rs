//! How the cost of a machine is split among what is running on it, as in AWS's split cost
//! allocation data: one GPU weighs 9, one vCPU 0.9, one GiB of memory 0.1 (AWS CUR user
//! guide, "Split cost allocation data: accelerated instances"). Unlike there, the unused
//! part is not distributed to the jobs: it is shown as idle.

use spotwise_model::sharing::WHOLE_GPU;
use spotwise_model::{Money, NodeShape, Share};

/// Name and version of the method, as recorded in every ledger entry. Another way to split
/// gets another name: entries are never changed.
pub const METHOD: &str = "aws-split-cost/1";

/// One unit of the published weights in ours: the smallest that makes a seventh of a GPU, a
/// thousandth of a vCPU and a MiB whole numbers (the published weights times 10, times 7 x
/// 128,000).
const UNIT: u128 = 10 * 7 * 128_000;
/// 9 per GPU.
const GPU: u128 = 9 * UNIT;
/// A compute slice of a GPU that is cut by MIG: a seventh.
const SLICE: u128 = GPU / 7;
/// 0.9 per vCPU, and a thousandth of that.
const CPU_MILLI: u128 = UNIT * 9 / 10 / 1_000;
/// 0.1 per GiB, and a 1,024th of that.
const MIB: u128 = UNIT / 10 / 1_024;

/// What a share of a machine weighs.
pub fn share_weight(share: &Share) -> u128 {
    let slices = share.mig.map_or(0, |profile| u128::from(profile.compute_slices()));
    let shared = share.shared.map_or(0, |part| u128::from(part.millionths));
    u128::from(share.gpus) * GPU
        + slices * SLICE
        + shared * GPU / u128::from(WHOLE_GPU)
        + u128::from(share.cpu_milli) * CPU_MILLI
        + u128::from(share.memory_mib) * MIB
}

/// What a whole machine weighs.
pub fn machine_weight(shape: &NodeShape) -> u128 {
    share_weight(&Share {
        gpus: shape.gpus,
        mig: None,
        shared: None,
        cpu_milli: shape.cpu_milli,
        memory_mib: shape.memory_mib,
    })
}

/// Cuts an amount into parts in proportion to `weights`, so that the parts add up to it
/// exactly: each is rounded down, and the remainder goes, a micro-dollar each, to the parts
/// that lost most, the earlier of two equals first. Parts of zero weight get nothing,
/// unless no part has any: then the first gets everything.
pub fn distribute(total: Money, weights: &[u128]) -> Vec<Money> {
    let whole: u128 = weights.iter().sum();
    if whole == 0 {
        let rest = weights.iter().skip(1).map(|_| Money::ZERO);
        return weights.first().map(|_| total).into_iter().chain(rest).collect();
    }
    // A machine and second weighs below 2^33, so that this shifts nothing within
    // 24 years; beyond, it keeps the products below 2^127.
    let shift = whole.ilog2().saturating_sub(62);
    let weights: Vec<u128> = weights.iter().map(|weight| weight >> shift).collect();
    let whole: u128 = weights.iter().sum();
    let micros = u128::from(total.micros().unsigned_abs());
    let mut parts: Vec<u128> = weights.iter().map(|weight| micros * weight / whole).collect();
    let left = micros - parts.iter().sum::<u128>();
    let mut losers: Vec<usize> = (0..parts.len()).collect();
    let lost = |index: &usize| weights.get(*index).map_or(0, |weight| micros * weight % whole);
    losers.sort_by_key(|index| std::cmp::Reverse(lost(index)));
    for index in losers.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
        if let Some(part) = parts.get_mut(index) {
            *part += 1;
        }
    }
    parts.into_iter().map(|part| signed(part, total)).collect()
}

fn signed(part: u128, total: Money) -> Money {
    let micros = Money::from_micros(i64::try_from(part).unwrap_or(i64::MAX));
    if total < Money::ZERO { -micros } else { micros }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use spotwise_model::gpu::MigProfile;
    use spotwise_model::sharing::SoftSharing;

    use super::*;

    fn money(micros: i64) -> Money {
        Money::from_micros(micros)
    }

    /// A machine of a published example: 8 GPUs, 64 vCPUs, 488 GB at $10 an hour.
    fn p3_16xlarge() -> NodeShape {
        NodeShape { gpus: 8, cpu_milli: 64_000, memory_mib: 488 * 1_024, ..NodeShape::default() }
    }

    #[test]
    fn weights_are_the_published_ones() {
        let whole = machine_weight(&p3_16xlarge());
        let cost = |share: Share| {
            let weight = share_weight(&share);
            distribute(money(10_000_000), &[weight, whole - weight])[0].micros()
        };
        // $10 / (9 x 8 + 0.9 x 64 + 0.1 x 488) = $0.0560538 a unit.
        assert_eq!(cost(Share { gpus: 1, ..Share::default() }), 504_484);
        assert_eq!(cost(Share { cpu_milli: 1_000, ..Share::default() }), 50_448);
        assert_eq!(cost(Share { memory_mib: 1_024, ..Share::default() }), 5_605);
        let slice = Share { mig: Some(MigProfile::G3), ..Share::default() };
        assert_eq!(cost(slice), 216_208);
    }

    #[test]
    fn a_whole_gpu_in_slices_weighs_a_whole_gpu() {
        let weight = |share| share_weight(&share);
        let slices = weight(Share { mig: Some(MigProfile::G7), ..Share::default() });
        assert_eq!(slices, weight(Share { gpus: 1, ..Share::default() }));
        let seventh = weight(Share { mig: Some(MigProfile::G1), ..Share::default() });
        assert_eq!(seventh * 7, slices);
        assert_eq!((CPU_MILLI * 1_000, MIB * 1_024 * 9), (GPU / 10, GPU / 10), "no rounding");
    }

    #[test]
    fn a_shared_gpu_weighs_its_part() {
        let turns = SoftSharing::TimeSlicing { jobs: 4 }.of(None);
        let quarter = share_weight(&Share { shared: Some(turns), ..Share::default() });
        assert_eq!(quarter * 4, GPU);
    }

    #[test]
    fn what_is_left_goes_to_who_lost_most() {
        assert_eq!(distribute(money(10), &[1, 1, 1]), [money(4), money(3), money(3)]);
        assert_eq!(distribute(money(10), &[1, 2, 4]), [money(1), money(3), money(6)]);
        assert_eq!(distribute(money(-10), &[1, 1, 1]), [money(-4), money(-3), money(-3)]);
        assert_eq!(distribute(money(5), &[0, 0]), [money(5), money(0)]);
        assert_eq!(distribute(money(5), &[]), []);
    }

    proptest! {
        #[test]
        fn parts_add_up_and_are_fair(
            total in -1_000_000_000_000i64..1_000_000_000_000,
            weights in proptest::collection::vec(0u128..1_000_000_000_000_000, 1..12),
        ) {
            let parts = distribute(money(total), &weights);
            prop_assert_eq!(parts.iter().copied().sum::<Money>(), money(total));
            let whole: u128 = weights.iter().sum();
            prop_assume!(whole > 0);
            for (part, weight) in parts.iter().zip(&weights) {
                let exact = total as f64 * *weight as f64 / whole as f64;
                prop_assert!((part.micros() as f64 - exact).abs() < 1.01);
                prop_assert!(*weight > 0 || *part == Money::ZERO);
            }
        }
    }
}
