//! What the samples of a burst tell together.

use chrono::TimeDelta;

use crate::measurement::sample::Sample;
use crate::span::nanoseconds;

/// Where nothing waits, chance decides which sample has the least error. Those that have so little
/// more, as a part of the least, are worth nearly as much.
const ALIKE: f64 = 0.1;

/// One sample made of those of a burst, which measured one clock back to back; `None` without any.
///
/// Its delay is the least one. Its offset is the mean of all that don't contradict the sample with
/// that delay, weighted by 1/(q² + d²), where q is what a sample has waited, which is its error above
/// the least one, and d a tenth of that. The bound is that of the sample with the least delay, so the
/// error is as much larger as the offset is away from it.
#[must_use]
pub fn combined(samples: &[Sample]) -> Option<Sample> {
    let best = samples.iter().min_by_key(|sample| sample.error)?;
    let alike = nanoseconds(best.error) as f64 * ALIKE;
    let (mut sum, mut total) = (0.0, 0.0);
    for sample in samples {
        let away = sample.offset - best.offset;
        // The clock was set meanwhile, or one of them is not true.
        if away.abs() > sample.error + best.error {
            continue;
        }
        let waited = nanoseconds(sample.error - best.error) as f64;
        // A nanosecond, for no sample has all the weight.
        let weight = (waited * waited + alike * alike + 1.0).recip();
        sum += weight * nanoseconds(away) as f64;
        total += weight;
    }
    let away = TimeDelta::nanoseconds((sum / total).round() as i64);
    Some(Sample {
        offset: best.offset + away,
        error: best.error + away.abs(),
        ..*best
    })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;

    /// A sample with this offset and error, in microseconds.
    fn sample(offset: i64, error: i64) -> Sample {
        Sample {
            offset: TimeDelta::microseconds(offset),
            delay: Some(TimeDelta::microseconds(2 * error)),
            error: TimeDelta::microseconds(error),
        }
    }

    #[test]
    fn without_samples_there_is_none_and_one_is_itself() {
        assert_eq!(combined(&[]), None);
        for alone in [sample(7, 100), sample(7, 0)] {
            assert_eq!(combined(&[alone]), Some(alone));
        }
    }

    #[test]
    fn samples_that_waited_alike_count_alike() {
        let found = combined(&[sample(30, 100), sample(-10, 100), sample(-50, 100)]).unwrap();
        assert_eq!(found, {
            let Sample { delay, .. } = sample(0, 100);
            let (offset, error) = (TimeDelta::microseconds(-10), TimeDelta::microseconds(140));
            Sample {
                offset,
                delay,
                error,
            }
        });
    }

    #[test]
    fn what_has_waited_for_long_counts_for_next_to_nothing() {
        let late = [400, 600, 500, 700, 900, 400, 800].map(|error| sample(error - 100, error));
        let all = [&[sample(0, 100)][..], &late].concat();
        let found = combined(&all).unwrap().offset;
        assert!(found < TimeDelta::microseconds(10), "{found}");
        let mean: TimeDelta = all.iter().map(|it| it.offset).sum::<TimeDelta>() / 8;
        assert!(mean > TimeDelta::microseconds(400));
    }

    #[test]
    fn what_contradicts_the_best_sample_counts_for_nothing() {
        let found = combined(&[sample(0, 100), sample(100_000, 100), sample(300, 150)]);
        assert_eq!(found, Some(sample(0, 100)));
    }

    #[test]
    fn the_true_offset_is_within_the_error_wherever_the_waiting_was() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..1000 {
            let scale = 10_f64.powf(random.f64() * 6.0);
            let mut way = || (scale * (0.1 - random.f64().ln())) as i64;
            let burst: Vec<_> = (0..8)
                .map(|_| {
                    let (there, back) = (way(), way());
                    let [offset, error] =
                        [there - back, there + back].map(|it| TimeDelta::nanoseconds(it) / 2);
                    Sample {
                        offset,
                        delay: Some(error * 2),
                        error,
                    }
                })
                .collect();
            let found = combined(&burst).unwrap();
            // Halves are cut off.
            let bound = found.error + TimeDelta::nanoseconds(1);
            assert!(found.offset.abs() <= bound, "{found:?} of {burst:?}");
        }
    }

    proptest! {
        #[test]
        fn any_instants_that_a_peer_may_tell_make_a_sample_within_its_error_of_the_best(
            instants in prop::collection::vec(any::<[i64; 4]>(), 1..9),
        ) {
            let samples: Vec<_> = instants
                .iter()
                .filter_map(|at| {
                    let [t1, t2, t3, t4] = at.map(DateTime::from_timestamp_nanos);
                    Sample::round_trip(t1, t2, t3, t4).ok()
                })
                .collect();
            let best = samples.iter().min_by_key(|sample| sample.error);
            let found = combined(&samples);
            prop_assert_eq!(found.is_some(), best.is_some());
            for (found, best) in found.iter().zip(best) {
                let away = (found.offset - best.offset).abs();
                prop_assert_eq!(found.error, best.error + away);
                let most = best.error * 3 + TimeDelta::nanoseconds(10);
                prop_assert!(away <= most, "{found:?} of {samples:?}");
            }
        }
    }
}
