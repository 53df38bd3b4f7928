//! Network time for any thread to read: a [`Discipline`] over the raw clock that it steers.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::Clock;
use crate::discipline::correction::{Aim, Applied, Discipline, Mark, OutOfRange};
use crate::discipline::line::Rate;
use crate::discipline::steering::Steering;
use crate::discipline::told::{NetworkTime, Told};
use crate::lock::lock;
use crate::wire::correction::{Correction, FromAbove};
use crate::wire::steps::Steps;

/// A steered clock that any thread may read: network time.
///
/// A reading takes one look at the machine's clock and a lock that is only ever held for a few
/// lines of arithmetic, never across input or output.
#[derive(Clone)]
pub struct NetworkClock {
    raw: Arc<dyn Clock>,
    discipline: Arc<Mutex<Discipline>>,
    /// How many [`Disciplined`] there are.
    disciplined: Arc<AtomicUsize>,
}

/// While this lives, somebody corrects the clock.
#[derive(Debug)]
pub(crate) struct Disciplined(Arc<AtomicUsize>);

impl Drop for Disciplined {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl NetworkClock {
    /// A network clock over `raw`, which must not jump (see
    /// [`SteadyClock`](crate::clock::SteadyClock)).
    #[must_use]
    pub fn new(raw: Arc<dyn Clock>, steering: Steering) -> Self {
        let discipline = Discipline::new(steering, raw.read());
        Self {
            raw,
            discipline: Arc::new(Mutex::new(discipline)),
            disciplined: Arc::default(),
        }
    }

    /// The network's time: never earlier than one read before, by any thread, except after a
    /// step in one of the first rounds (see [`Steering`]) or one that an operator has told the
    /// group.
    #[must_use]
    pub fn now(&self) -> NetworkTime {
        let mut discipline = self.lock();
        let raw = self.raw(&mut discipline);
        discipline.read(raw)
    }

    /// The target now: what polls are answered with and offsets are measured against.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.mark_at(None)
    }

    /// The target when the kernel received a message, if it tells by the wall clock when that
    /// was; else now.
    #[must_use]
    pub(crate) fn mark_at(&self, arrived: Option<DateTime<Utc>>) -> Mark {
        let mut discipline = self.lock();
        let raw = match arrived {
            Some(arrived) => self.raw.read_at(arrived),
            None => self.raw.read(),
        };
        self.notice(&mut discipline);
        discipline.mark(raw)
    }

    /// What the raw clock shows, and the reading at the same moment.
    #[must_use]
    pub fn raw_and_now(&self) -> (DateTime<Utc>, NetworkTime) {
        let mut discipline = self.lock();
        let raw = self.raw(&mut discipline);
        (raw, discipline.read(raw))
    }

    /// What it tells whoever asks by a message that came when the machine's wall clock showed
    /// `arrived`.
    #[must_use]
    pub(crate) fn told(&self, arrived: DateTime<Utc>) -> Told {
        let mut discipline = self.lock();
        let arrived = self.raw.read_at(arrived);
        let raw = self.raw(&mut discipline);
        discipline.tell(arrived, raw)
    }

    /// Takes a correction, see [`Discipline::correct`].
    ///
    /// # Errors
    /// [`OutOfRange`], as there.
    pub fn correct(&self, mark: Mark, correction: Correction) -> Result<Applied, OutOfRange> {
        let mut discipline = self.lock();
        let raw = self.raw(&mut discipline);
        discipline.correct(mark, correction, raw)
    }

    /// Whether a correction by this would be refused now: it is above the panic threshold.
    pub(crate) fn refuses(&self, offset: TimeDelta) -> bool {
        let mut discipline = self.lock();
        let raw = self.raw(&mut discipline);
        discipline.refuses(offset, raw)
    }

    /// The steps of its group that it has taken; `None` before it has heard of any group.
    #[must_use]
    pub fn steps(&self) -> Option<Steps> {
        self.lock().steps()
    }

    /// Takes those steps of its group that it has not taken yet, see [`Discipline::take_steps`].
    ///
    /// # Errors
    /// [`OutOfRange`], as there.
    pub fn take_steps(&self, steps: Steps) -> Result<TimeDelta, OutOfRange> {
        let mut discipline = self.lock();
        let raw = self.raw(&mut discipline);
        discipline.take_steps(steps, raw)
    }

    /// What the raw clock shows, and where the system's clock is to be steered to.
    pub(crate) fn aim(&self) -> (DateTime<Utc>, Option<Aim>) {
        let mut discipline = self.lock();
        let raw = self.raw(&mut discipline);
        (raw, discipline.aim(raw))
    }

    /// How far the reading has still to slew: positive when it is behind.
    pub(crate) fn slew_left(&self) -> TimeDelta {
        let mut discipline = self.lock();
        // Both at one moment.
        let raw = self.raw(&mut discipline);
        discipline.target(raw) - discipline.read(raw).time
    }

    /// See [`Discipline::step_is_done`].
    pub(crate) fn step_is_done(&self) {
        self.lock().step_is_done();
    }

    /// See [`Discipline::raw_was_set`].
    pub(crate) fn raw_was_set(&self, by: TimeDelta) {
        self.lock().raw_was_set(by);
    }

    /// What there is to hand down to the network clock that this one is laid over, see
    /// [`Discipline::to_hand_down`].
    pub(crate) fn to_hand_down(&self) -> FromAbove {
        let mut discipline = self.lock();
        let raw = self.raw(&mut discipline);
        discipline.to_hand_down(raw)
    }

    /// See [`Discipline::expect`].
    pub(crate) fn expect(&self, own: TimeDelta) {
        self.lock().expect(own);
    }

    /// Hands down what was read by [`NetworkClock::to_hand_down`]: `follow` lets the network clock
    /// below follow it, and says whether it has. Nobody reads this clock meanwhile.
    pub(crate) fn hand_down<T>(&self, given: &FromAbove, follow: impl FnOnce() -> (T, bool)) -> T {
        let mut discipline = self.lock();
        let before = self.raw(&mut discipline);
        let (result, followed) = follow();
        if followed {
            discipline.handed_down(given, before, self.raw.read());
        }
        result
    }

    /// Steps the network clock that this one is laid over, by what `step` returns, and this one with
    /// it. Nobody reads this clock meanwhile.
    pub(crate) fn step_below<E>(
        &self,
        step: impl FnOnce() -> Result<TimeDelta, E>,
    ) -> Result<TimeDelta, E> {
        let mut discipline = self.lock();
        let by = step()?;
        discipline.raw_moved(by);
        Ok(by)
    }

    /// Whether it has followed a correction yet.
    #[must_use]
    pub fn is_synchronized(&self) -> bool {
        self.lock().is_synchronized()
    }

    /// See [`Discipline::knows_the_time`].
    pub(crate) fn knows_the_time(&self) -> bool {
        self.lock().knows_the_time()
    }

    /// Whether a follower or a master runs that corrects this clock, be it in touch with its group
    /// at the moment or not. Without one, the clock holds over for good.
    #[must_use]
    pub fn is_disciplined(&self) -> bool {
        self.disciplined.load(Ordering::SeqCst) > 0
    }

    /// Notes that somebody corrects this clock, for as long as what is returned lives.
    pub(crate) fn disciplined(&self) -> Disciplined {
        self.disciplined.fetch_add(1, Ordering::SeqCst);
        Disciplined(Arc::clone(&self.disciplined))
    }

    /// Whether there are other handles of this clock.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.discipline) > 1
    }

    /// What is known of the raw clock's rate.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.lock().rate()
    }

    /// Reads the raw clock under the lock, so that readings are taken in order, and no later reading
    /// is believed for what was known before a suspend.
    fn raw(&self, discipline: &mut Discipline) -> DateTime<Utc> {
        let raw = self.raw.read();
        self.notice(discipline);
        raw
    }

    /// Notices what has become of the raw clock.
    fn notice(&self, discipline: &mut Discipline) {
        discipline.has_slept(self.raw.slept());
        if let Some(in_all) = self.raw.set_by() {
            discipline.has_been_set(in_all);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Discipline> {
        lock(&self.discipline)
    }
}

/// The target of a network clock, to lay another one over it.
#[derive(Debug)]
pub(crate) struct Target(pub(crate) NetworkClock);

impl Clock for Target {
    fn read(&self) -> DateTime<Utc> {
        self.0.mark().target
    }

    fn read_at(&self, arrived: DateTime<Utc>) -> DateTime<Utc> {
        self.0.mark_at(Some(arrived)).target
    }

    fn set_by(&self) -> Option<TimeDelta> {
        Some(self.0.lock().set_by())
    }
}

impl fmt::Debug for NetworkClock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("NetworkClock")
            .field("discipline", &self.discipline)
            .finish_non_exhaustive()
    }
}
