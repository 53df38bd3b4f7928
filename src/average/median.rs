//! The middle of some spans, and what most of them do not exceed.

use chrono::TimeDelta;

/// The middle value, each counting as often as its weight says, or the midpoint of the two in the
/// middle. Reorders `spans`.
pub(in crate::average) fn median(spans: &mut [(TimeDelta, u32)]) -> TimeDelta {
    let total = total(spans);
    let lower = at(spans, total.saturating_sub(1) / 2);
    let upper = at(spans, total / 2);
    lower + (upper - lower) / 2
}

/// The least value that no more than a third exceeds, each counting as often as its weight says.
/// Reorders `spans`.
pub(in crate::average) fn of_two_thirds(spans: &mut [(TimeDelta, u32)]) -> TimeDelta {
    at(spans, (2 * total(spans)).saturating_sub(1) / 3)
}

fn total(spans: &[(TimeDelta, u32)]) -> u64 {
    spans.iter().map(|(_, weight)| u64::from(*weight)).sum()
}

/// The value at this place, the least of all at 0, each counting as often as its weight says. Where all
/// count alike, this takes less time than to sort them. Reorders `spans`.
fn at(spans: &mut [(TimeDelta, u32)], place: u64) -> TimeDelta {
    let Some(last) = spans.len().checked_sub(1) else {
        return TimeDelta::zero();
    };
    if total(spans) == spans.len() as u64 {
        return spans.select_nth_unstable(last.min(place as usize)).1.0;
    }
    spans.sort_unstable();
    let mut passed = 0;
    let reaches = |(_, weight): &&(TimeDelta, u32)| {
        passed += u64::from(*weight);
        passed > place
    };
    spans.iter().find(reaches).unwrap_or(&spans[last]).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counts_as_often_as_its_weight_says() {
        let nanoseconds = |spans: &[(i64, u32)]| {
            let spans = spans.iter();
            let mut spans: Vec<_> = spans
                .map(|&(span, weight)| (TimeDelta::nanoseconds(span), weight))
                .collect();
            let both = (median(&mut spans), of_two_thirds(&mut spans));
            [both.0, both.1].map(|it| it.num_nanoseconds().unwrap())
        };
        assert_eq!(nanoseconds(&[]), [0, 0]);
        assert_eq!(nanoseconds(&[(7, 1)]), [7, 7]);
        assert_eq!(nanoseconds(&[(9, 1), (0, 1), (3, 1)]), [3, 3]);
        assert_eq!(nanoseconds(&[(9, 1), (0, 1), (3, 1), (5, 1)]), [4, 5]);
        assert_eq!(nanoseconds(&[(9, 1), (0, 2), (3, 1), (5, 2)]), [4, 5]);
        assert_eq!(nanoseconds(&[(9, 7), (0, 2)]), [9, 9]);
        assert_eq!(nanoseconds(&[(9, 2), (0, 7)]), [0, 0]);
    }
}
