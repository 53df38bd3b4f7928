//! The rate of a group, held in place by the rates that its clocks tell.
//!
//! Each node follows the rate that the group had, and the group has the rate that its nodes follow:
//! together they would wander off, by a ppm or more in a day. Each node tells the group's rate
//! against its own oscillator, so the mean of these rates is the group's against the mean of all
//! oscillators, and the group is asked to give up [`RATE_GAIN`] of it in each round. All nodes are
//! asked alike, so this sets none of them apart from the others.
//!
//! A clock can tell what it likes of its own oscillator, and nobody can see whether that is so: two
//! of nine that tell 130 ppm move the group by 25. So the rates themselves are averaged only while
//! a group is new. From then on it is held by what each rate has changed by: the changes of honest
//! clocks are all alike, and no minority moves their mean by more than they differ. Nor does a clock
//! that is away for a while, however far its rate is from the others'. The mean of the rates
//! themselves counts within [`LEVEL_PPM`] then, and slowly. A leader that has taken the group over
//! goes by what its own rate has changed by, until it knows the others'.
//!
//! Nor is a new group moved to the mean of those who happen to be there: while some are away, which
//! go on at the rate that they were given last, so do the others; and until they vote again.

use std::time::Duration;

use crate::average::consensus::mean_rate;
use crate::average::reputation::PROBATION;
use crate::average::round::{Heard, Vote};
use crate::clock::CRYSTAL_PPM;

/// The part of the group's change that it gives up in a round. The rates follow what the group does
/// only as fast as the window of the drift fit moves, so this must be slow.
pub const RATE_GAIN: f64 = 0.1;

/// For so many rounds a rate is told before it is known. By then the group has given up what its
/// first rounds have made of its rate, which may be tens of ppm. A round in which it has, to
/// [`LEVEL_PPM`], and in which everybody votes, counts as ten of them.
pub const SETTLING: u32 = 200;

/// See [`SETTLING`].
const CALM: u32 = 10;

/// By so many ppm the mean of the rates themselves moves the group at most.
pub const LEVEL_PPM: f64 = 2.0;

/// The part of that which the group is moved by in a round: in 40 rounds without one of three
/// clocks, it is not to gain on that clock by more than is noise.
const LEVEL_GAIN: f64 = 0.002;

/// How fast an oscillator changes its rate, in ppm in an hour, in a room that warms up.
const WANDER_PPM_PER_HOUR: f64 = 1.0;

/// What the rate that a clock tells is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Baseline {
    /// It was told in so many rounds, and is not known yet.
    Settling(u32),
    /// What it would have told, in ppm, when the group's rate was what it is to be.
    Known(f64),
}

impl Default for Baseline {
    fn default() -> Self {
        Self::Settling(0)
    }
}

impl Baseline {
    /// Notes what our own clock tells while others lead, after another `interval`: they may change
    /// the group's rate by as much as an oscillator wanders.
    pub fn follow(&mut self, told_ppm: f64, interval: Duration) {
        self.note(told_ppm, 0.0, 1);
        if let Self::Known(baseline) = self {
            let most = WANDER_PPM_PER_HOUR * interval.as_secs_f64() / 3600.0;
            *baseline += (told_ppm - *baseline).clamp(-most, most);
        }
    }

    /// What is told now, against what was told when the group's rate was what it is to be, in ppm.
    #[must_use]
    pub fn change(&self, told_ppm: f64) -> Option<f64> {
        match self {
            Self::Known(baseline) => Some(told_ppm - baseline),
            Self::Settling(_) => None,
        }
    }

    /// Notes what was told in a round in which the group had changed by so many ppm, and which
    /// counts as so many rounds.
    fn note(&mut self, told_ppm: f64, change_ppm: f64, counts: u32) {
        if let Self::Settling(rounds) = self {
            *self = if *rounds < SETTLING {
                Self::Settling(*rounds + counts)
            } else {
                Self::Known(told_ppm - change_ppm)
            };
        }
    }
}

/// For how many clocks those stand who are in a round.
#[derive(Debug, Clone, Copy)]
pub struct Turnout {
    /// All of them.
    pub present: usize,
    /// Those that vote.
    pub voters: usize,
}

/// What a group has noted of its rate, besides what each of its clocks has told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Course {
    /// By how many ppm the mean of the rates themselves has moved the group, since they are known.
    level_ppm: f64,
    /// The rates of so many clocks were known at most, while they were a majority.
    known: usize,
    /// In how many rounds the group has gone on as it did because they no longer are.
    held: u32,
    /// For how many clocks those stood who were there in the fullest round, before they were known.
    fullest: usize,
    /// In how many rounds all have been there since some were away.
    complete: u32,
    /// In how many rounds the others have waited for those: [`SETTLING`] at most, for who is away
    /// for longer may never come back. One that waits only for the votes of those who are back
    /// counts as [`CALM`] of them.
    waited: u32,
}

impl Course {
    /// Whether some are away, or were until shortly and do not vote yet, and the others are to wait
    /// for them.
    fn waits(&mut self, Turnout { present, voters }: Turnout) -> bool {
        self.fullest = self.fullest.max(present);
        let away = present < self.fullest;
        self.complete = if away { 0 } else { self.complete + 1 };
        let back = self.waited > 0 && voters < present && self.complete <= PROBATION;
        let waits = (away || back) && self.waited < SETTLING;
        if waits {
            self.waited += if away { 1 } else { CALM };
        }
        waits
    }

    /// Whether most of the voters would be known if nobody had come or gone: then the group goes on as
    /// it does until they are again, for [`SETTLING`] rounds at most. The mean of those who are there
    /// is another one each time.
    fn holds(&mut self, voters: usize) -> bool {
        let holds = self.known * 2 > voters && self.held < SETTLING;
        self.held += u32::from(holds);
        holds
    }

    /// Notes that the rates are known, by which those who are away don't matter any more, and by how
    /// many ppm the mean of the rates themselves is off. By how many ppm it moves the group.
    fn level(&mut self, off_ppm: Option<f64>) -> f64 {
        let wanted = off_ppm.map_or(self.level_ppm, |ppm| ppm.clamp(-LEVEL_PPM, LEVEL_PPM));
        *self = Self {
            level_ppm: self.level_ppm + LEVEL_GAIN * (wanted - self.level_ppm),
            known: self.known,
            ..Self::default()
        };
        self.level_ppm
    }
}

/// What a voter tells.
#[derive(Debug)]
pub struct Telling<'a> {
    /// What it is compared with.
    pub baseline: &'a mut Baseline,
    /// The rate, in ppm.
    pub ppm: f64,
    /// For how many clocks the voter stands.
    pub weight: u32,
}

/// By how many ppm all clocks are to run faster, given the rates in ppm that voters tell: nothing,
/// unless most of the voters tell theirs. `own_change` is what the rate of the master's own clock has
/// changed by, where the master can't know it of the others.
pub fn common_rate(
    told: &mut [Telling],
    turnout: Turnout,
    own_change: Option<f64>,
    course: &mut Course,
) -> f64 {
    let Turnout { present, voters } = turnout;
    let mut rates: Vec<_> = told.iter().map(|it| (it.ppm, it.weight)).collect();
    let known = told.iter().filter_map(|it| {
        let change = it.baseline.change(it.ppm)?;
        Some(((it.ppm, it.weight), (change, it.weight)))
    });
    let (known, changes): (Vec<_>, Vec<_>) = known.unzip();
    let is_known = weight(&changes) * 2 > voters;
    let change = if is_known {
        rates = known;
        mean_rate(&changes, 0.0)
    } else {
        own_change
    };
    let mean = mean_of_most(&rates, voters);
    let off = match (change, mean) {
        (Some(change), mean) => change + course.level(mean.map(|mean| mean - change)),
        (None, _) if is_known || course.holds(voters) => 0.0,
        (None, _) if course.waits(turnout) => return 0.0,
        (None, mean) => mean.unwrap_or(0.0),
    };
    let is_calm = voters == present && mean.is_some_and(|mean| mean.abs() < LEVEL_PPM);
    let counts = if is_calm && change.is_none() { CALM } else { 1 };
    let mut known = 0;
    for it in told {
        it.baseline.note(it.ppm, change.unwrap_or(0.0), counts);
        known += it.baseline.change(it.ppm).map_or(0, |_| it.weight as usize);
    }
    if known * 2 > voters {
        course.known = course.known.max(known);
    }
    (-RATE_GAIN * off).clamp(-CRYSTAL_PPM, CRYSTAL_PPM)
}

/// The mean of the rates that voters tell, in ppm; `None`, unless most of the voters tell theirs.
#[must_use]
pub fn told_rate(clocks: &[Heard], cast: &[Vote]) -> Option<f64> {
    let voters = || clocks.iter().zip(cast).filter(|(_, vote)| vote.counts());
    let rates: Vec<_> = voters()
        .filter_map(|(clock, _)| Some((clock.rate_ppm?, clock.weight)))
        .collect();
    let all: usize = voters().map(|(clock, _)| clock.weight as usize).sum();
    mean_of_most(&rates, all)
}

/// The mean of rates in ppm, each told by a clock of some weight; `None`, unless these are most of
/// the `voters`.
fn mean_of_most(rates: &[(f64, u32)], voters: usize) -> Option<f64> {
    let are_most = weight(rates) * 2 > voters;
    are_most.then(|| mean_rate(rates, CRYSTAL_PPM)).flatten()
}

/// How many clocks tell these.
fn weight(told: &[(f64, u32)]) -> usize {
    told.iter().map(|(_, weight)| *weight as usize).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By how many ppm a new group of three is moved in each of so many rounds, whose first clock leaves
    /// it after five, and is back, without a vote, after so many.
    fn moved_without_one(rounds: u32, back: u32) -> Vec<f64> {
        let mut baselines = [Baseline::default(); 3];
        let (mut group, mut course) = (0.0, Course::default());
        let moved = |round| {
            let away = usize::from(round >= 5);
            let oscillators = &[50.0, 10.0, -30.0][away..];
            let told = baselines[away..].iter_mut().zip(oscillators);
            let told = told.map(|(baseline, oscillator)| Telling {
                baseline,
                ppm: group - oscillator,
                weight: 1,
            });
            let mut told: Vec<_> = told.collect();
            let turnout = Turnout {
                present: if round >= back { 3 } else { told.len() },
                voters: told.len(),
            };
            let moved = common_rate(&mut told, turnout, None, &mut course);
            group += moved;
            moved
        };
        (0..rounds).map(moved).collect()
    }

    #[test]
    fn a_new_group_goes_on_as_one_that_is_away_does_and_not_for_ever() {
        let moved = moved_without_one(5 + SETTLING + 100, u32::MAX);
        assert!(moved[..5].iter().all(|ppm| *ppm > 0.1), "{:?}", &moved[..5]);
        let (held, then) = moved[5..].split_at(SETTLING as usize);
        assert!(held.iter().all(|ppm| *ppm == 0.0), "{held:?}");
        assert!(then[0] < -1.0, "{} ppm", then[0]);
        let group: f64 = moved.iter().sum();
        assert!((group + 10.0).abs() < LEVEL_PPM, "{group} ppm");
    }

    #[test]
    fn nor_is_it_moved_while_one_that_is_back_does_not_vote() {
        let moved = moved_without_one(30 + PROBATION, 30);
        assert!(moved[5..].iter().all(|ppm| *ppm == 0.0), "{moved:?}");
    }

    #[test]
    fn nor_where_one_leaves_of_two_whose_rates_are_known_of_three() {
        let mut baselines = [Baseline::default(); 3];
        let mut course = Course::default();
        let mut group = 0.0;
        let mut round = |who: &[usize]| {
            let told = baselines.iter_mut().zip([10.0, 0.0, -10.0]).enumerate();
            let told = told.filter(|(clock, _)| who.contains(clock));
            let told = told.map(|(_, (baseline, oscillator))| Telling {
                baseline,
                ppm: group - oscillator,
                weight: 1,
            });
            let mut told: Vec<_> = told.collect();
            let turnout = Turnout {
                present: 3,
                voters: told.len(),
            };
            let moved = common_rate(&mut told, turnout, None, &mut course);
            group += moved;
            let known = baselines.iter().filter(|it| it.change(0.0).is_some());
            (moved, known.count())
        };
        // The last has missed some votes, and its rate is known later.
        for _ in 0..50 {
            round(&[0, 1]);
        }
        let known_first = (0..SETTLING).find(|_| round(&[0, 1, 2]).1 == 2);
        assert!(known_first.is_some());
        for _ in 0..20 {
            assert_eq!(round(&[1, 2]), (0.0, 2));
        }
    }

    /// For so many rounds nobody lies: what is left of a new group's rate is given up slowly.
    const HONEST: u32 = 2500;

    /// How far a group's rate is moved, in ppm, whose clocks' oscillators are off by so much, by two
    /// more that tell the truth at first and then a rate of their own, given the group's.
    fn moved(oscillators: &[f64], lie: fn(f64) -> f64) -> f64 {
        let mut baselines = vec![Baseline::default(); oscillators.len()];
        let (mut group, mut before) = (50.0, 0.0);
        let mut course = Course::default();
        for round in 0..5000 {
            if round == HONEST {
                before = group;
            }
            let honest = oscillators.iter().map(|oscillator| group - oscillator);
            let mut rates: Vec<f64> = honest.collect();
            if round > HONEST {
                rates[..2].fill(lie(group));
            }
            let told = baselines.iter_mut().zip(rates);
            let told = told.map(|(baseline, ppm)| Telling {
                baseline,
                ppm,
                weight: 1,
            });
            let mut told: Vec<_> = told.collect();
            let turnout = Turnout {
                present: told.len(),
                voters: told.len(),
            };
            group += common_rate(&mut told, turnout, None, &mut course);
        }
        let mean = oscillators.iter().sum::<f64>() / oscillators.len() as f64;
        assert!(
            (before - mean).abs() < 0.1,
            "a group is brought to its mean"
        );
        group - before
    }

    #[test]
    fn what_a_lie_of_a_new_groups_rate_gains() {
        // Nine rates, of which the two highest or the two lowest may be lies.
        let all: Vec<f64> = (-4..=4).map(|place| 11.25 * f64::from(place)).collect();
        let mean = |rates: &[f64]| rates.iter().sum::<f64>() / rates.len() as f64;
        let floor = (mean(&all[2..]) - mean(&all[..7])) / 2.0;
        // Seven honest ones, and all that two others may tell.
        let honest: Vec<f64> = (-3..=3).map(|place| 15.0 * f64::from(place)).collect();
        let told = |lie: i32| [&honest[..], &[f64::from(lie); 2]].concat();
        let trimmed = |mut rates: Vec<f64>| {
            rates.sort_unstable_by(f64::total_cmp);
            mean(&rates[2..7])
        };
        let most = |shifts: &mut dyn Iterator<Item = f64>| {
            shifts.fold(0.0, |most: f64, shift| most.max(shift.abs()))
        };
        let ours = most(&mut (-600..=600).filter_map(|lie| {
            let rates: Vec<_> = told(lie).into_iter().map(|ppm| (ppm, 1)).collect();
            mean_rate(&rates, 0.0)
        }));
        let without_quarters = most(&mut (-600..=600).map(|lie| trimmed(told(lie))));
        // Where nobody lies: how far either is off what oscillators of all such groups gain.
        let mut random = fastrand::Rng::with_seed(1);
        let draws = 20_000;
        let mut squares = [0.0; 2];
        for _ in 0..draws {
            let rates: Vec<f64> = (0..9).map(|_| 90.0 * random.f64() - 45.0).collect();
            squares[0] += mean(&rates).powi(2);
            squares[1] += trimmed(rates).powi(2);
        }
        let [all_of_them, middle] = squares.map(|sum: f64| (sum / f64::from(draws)).sqrt());
        println!(
            "rules | nobody of nine lies | off by {all_of_them:.1} ppm; without a quarter at each end \
             {middle:.1} ppm"
        );
        println!(
            "rules | two of nine lie of a new group's rate | {ours:.1} ppm; without a quarter at each \
             end {without_quarters:.1} ppm, by any rule at least {floor:.1} ppm"
        );
        assert!((floor - 11.25).abs() < 0.01);
        assert!(ours <= 34.0, "{ours} ppm");
    }

    #[test]
    fn two_of_nine_that_begin_to_lie_move_the_rate_by_less_than_5_ppm() {
        let oscillators = [-60.0, -40.0, -20.0, -10.0, 0.0, 13.0, 20.0, 40.0, 60.0];
        let lies: [fn(f64) -> f64; 5] = [
            |_| 130.0,
            |_| -20_000.0,
            |_| 0.0,
            |group| group + 100.0,
            |group| group * 4.0 + 1.0,
        ];
        for lie in lies {
            let moved = moved(&oscillators, lie);
            assert!(moved.abs() <= 5.0, "{moved} ppm");
        }
    }
}
