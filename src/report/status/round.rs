//! A round in the words of the status document.

use crate::average::round::{Round, Row, Vote};
use crate::report::status::{GroupClock, ReferenceStatus, RoundStatus};
use crate::span::nanoseconds;

/// A round, as it is told to whoever asks.
pub(crate) fn status(round: &Round, ago_s: f64) -> RoundStatus {
    let agreed = round.outcome.as_ref().ok();
    RoundStatus {
        number: round.number,
        ago_s,
        clocks: round.rows.len(),
        votes: round.rows.iter().filter(|row| row.vote.counts()).count(),
        abandoned: round.outcome.as_ref().err().map(ToString::to_string),
        average_ns: agreed.map(|agreed| nanoseconds(agreed.average)),
        error_ns: agreed.map(|agreed| nanoseconds(agreed.error)),
        median_ns: agreed.map(|agreed| nanoseconds(agreed.median)),
        window_ns: agreed.map(|agreed| nanoseconds(agreed.window)),
        references: round.led.map_or(0, |led| led.references),
        references_followed: round.led.map_or(0, |led| led.followed),
        reference_ahead_ns: (round.led.filter(|led| led.followed > 0))
            .map(|led| nanoseconds(led.ahead)),
        led_ppm: round.led.map(|led| led.rate_ppm),
    }
}

/// What a round tells of a clock.
pub(crate) fn fill(clock: &mut GroupClock, row: &Row, round: &Round) {
    clock.offset_ns = Some(nanoseconds(row.sample.offset));
    clock.error_ns = Some(nanoseconds(row.sample.error));
    clock.delay_ns = row.sample.delay.map(nanoseconds);
    clock.correction_ns = row.correction.map(|it| nanoseconds(it.offset));
    clock.reference = row.reference.map(|shown| ReferenceStatus {
        followed: shown.followed,
        ahead_ns: nanoseconds(shown.ahead),
    });
    clock.vote = Some(match row.vote {
        Vote::Abandoned => "abandoned".to_owned(),
        vote => vote.to_string(),
    });
    clock.clocks = Some(row.weight);
    clock.weight = Some(match &round.outcome {
        Ok(agreed) if row.vote.counts() => agreed.part(&row.sample),
        _ => 0.0,
    });
}
