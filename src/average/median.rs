//! The middle of some spans, and what two thirds of them do not exceed.
//!
//! A span is in nanoseconds here, and stands beside how often it counts.

/// The middle value, each counting as often as its weight says, or the midpoint of the two in the
/// middle. Reorders `spans`.
pub(in crate::average) fn median(spans: &mut [(i64, u32)]) -> i64 {
    let total = total(spans);
    let [lower, next] = at(spans, total, total.saturating_sub(1) / 2);
    let upper = if total.is_multiple_of(2) { next } else { lower };
    lower + (upper.abs_diff(lower) / 2) as i64
}

/// The least value that no more than a third exceeds, each counting as often as its weight says.
/// Reorders `spans`.
pub(in crate::average) fn of_two_thirds(spans: &mut [(i64, u32)]) -> i64 {
    let total = total(spans);
    at(spans, total, (2 * total).saturating_sub(1) / 3)[0]
}

fn total(spans: &[(i64, u32)]) -> u64 {
    spans.iter().map(|(_, weight)| u64::from(*weight)).sum()
}

/// The value at this place of a `total`, the least of all at 0, and the one after it, each counting as
/// often as its weight says. Where all count alike, this takes less time than to sort them. Reorders
/// `spans`.
fn at(spans: &mut [(i64, u32)], total: u64, place: u64) -> [i64; 2] {
    let Some(last) = spans.len().checked_sub(1) else {
        return [0; 2];
    };
    if total == spans.len() as u64 {
        let place = last.min(place as usize);
        let (_, (at, _), above) = spans.select_nth_unstable_by_key(place, |(span, _)| *span);
        let next = above.iter().map(|(span, _)| *span).min();
        return [*at, next.unwrap_or(*at)];
    }
    spans.sort_unstable_by_key(|(span, _)| *span);
    [place, place + 1].map(|place| {
        let mut passed = 0;
        let reaches = |(_, weight): &&(i64, u32)| {
            passed += u64::from(*weight);
            passed > place
        };
        spans.iter().find(reaches).unwrap_or(&spans[last]).0
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn both(spans: &[(i64, u32)]) -> [i64; 2] {
        let mut spans = spans.to_vec();
        [median(&mut spans), of_two_thirds(&mut spans)]
    }

    #[test]
    fn each_counts_as_often_as_its_weight_says() {
        assert_eq!(both(&[]), [0, 0]);
        assert_eq!(both(&[(7, 1)]), [7, 7]);
        assert_eq!(both(&[(9, 1), (0, 1), (3, 1)]), [3, 3]);
        assert_eq!(both(&[(9, 1), (0, 1), (3, 1), (5, 1)]), [4, 5]);
        assert_eq!(both(&[(9, 1), (0, 2), (3, 1), (5, 2)]), [4, 5]);
        assert_eq!(both(&[(9, 7), (0, 2)]), [9, 9]);
        assert_eq!(both(&[(9, 2), (0, 7)]), [0, 0]);
    }

    fn any_span() -> impl Strategy<Value = i64> {
        prop_oneof![-5..5_i64, any::<i64>(), Just(i64::MIN), Just(i64::MAX)]
    }

    proptest! {
        /// What is found without sorting is what stands there when all are sorted.
        #[test]
        fn they_are_those_of_all_in_their_sequence(
            spans in prop::collection::vec(any_span(), 1..40),
            weights in prop::collection::vec(1..6_u32, 40),
            alike in any::<bool>(),
        ) {
            let weight = |weight: u32| if alike { 1 } else { weight };
            let spans: Vec<_> = spans.into_iter().zip(weights.into_iter().map(weight)).collect();
            let each = spans.iter().flat_map(|(span, weight)| vec![*span; *weight as usize]);
            let mut sorted: Vec<i64> = each.collect();
            sorted.sort_unstable();
            let count = sorted.len();
            let [lower, upper] = [(count - 1) / 2, count / 2].map(|place| i128::from(sorted[place]));
            let middle = lower + (upper - lower) / 2;
            let most = sorted[(2 * count - 1) / 3];
            prop_assert_eq!(both(&spans).map(i128::from), [middle, most.into()]);
        }
    }
}
