//! What a follower's thread shares with those who hold it: how to stop it, and its events.

use std::collections::VecDeque;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::follower::event::FollowerEvent;
use crate::follower::observations::Told;
use crate::lock::lock;
use crate::wire::candidate::Term;

/// How long a follower that was stopped has to say goodbye. Looking up a name can't be
/// interrupted, and nobody has to wait for it.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// So many events wait to be taken; of more, the oldest are lost.
pub(crate) const EVENTS: usize = 1024;

/// The life of a follower's thread.
#[derive(Debug)]
enum Phase {
    /// It looks for a master.
    Unconnected,
    /// It speaks with a master: to end the input of the connection ends any wait for it.
    Connected(Arc<TcpStream>),
    /// It is to end, and is not waited for beyond this moment.
    Stopping(Instant),
    /// It has ended.
    Ended,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    events: VecDeque<FollowerEvent>,
    /// For whoever asks.
    told: Told,
}

/// What a follower's thread shares with those who hold it.
#[derive(Debug)]
pub(crate) struct Control {
    state: Mutex<State>,
    changed: Condvar,
}

impl Control {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                phase: Phase::Unconnected,
                events: VecDeque::new(),
                told: Told::default(),
            }),
            changed: Condvar::new(),
        })
    }

    /// Asks the thread to end. Whether it was running, and not asked yet.
    pub(crate) fn stop(&self) -> bool {
        let stopping = Phase::Stopping(Instant::now() + LAST_WORDS);
        let mut state = lock(&self.state);
        let before = match state.phase {
            Phase::Stopping(_) | Phase::Ended => return false,
            _ => std::mem::replace(&mut state.phase, stopping),
        };
        drop(state);
        self.changed.notify_all();
        if let Phase::Connected(stream) = before {
            let _ = stream.shutdown(Shutdown::Read);
        }
        true
    }

    pub(crate) fn is_stopping(&self) -> bool {
        matches!(lock(&self.state).phase, Phase::Stopping(_))
    }

    /// The thread has a connection. False if it is to end instead.
    pub(crate) fn connected(&self, stream: &Arc<TcpStream>) -> bool {
        self.enter(Phase::Connected(Arc::clone(stream)))
    }

    /// The thread has a connection no more.
    pub(crate) fn disconnected(&self) {
        lock(&self.state).told.disconnected();
        self.enter(Phase::Unconnected);
    }

    fn enter(&self, phase: Phase) -> bool {
        let mut state = lock(&self.state);
        if let Phase::Stopping(_) | Phase::Ended = state.phase {
            return false;
        }
        state.phase = phase;
        true
    }

    /// The thread waits. False if it is to end.
    pub(crate) fn pause(&self, pause: Duration) -> bool {
        let state = lock(&self.state);
        let goes_on = |state: &mut State| !matches!(state.phase, Phase::Stopping(_));
        let waited = self.changed.wait_timeout_while(state, pause, goes_on);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        goes_on(&mut state)
    }

    /// The thread's last deed.
    pub(crate) fn ended(&self) {
        lock(&self.state).phase = Phase::Ended;
        self.changed.notify_all();
    }

    pub(crate) fn tell(&self, event: FollowerEvent) {
        let mut state = lock(&self.state);
        state.told.note(&event);
        let full = state.events.len() == EVENTS;
        if full {
            state.events.pop_front();
        }
        state.events.push_back(event);
        drop(state);
        self.changed.notify_all();
        if full {
            log::debug!("nobody takes the events; the oldest was dropped");
        }
    }

    /// The master has greeted, and told its term where there are candidates.
    pub(crate) fn greeted(&self, term: Option<Term>) {
        lock(&self.state).told.term = term;
    }

    /// What the masters have told until now.
    pub(crate) fn told(&self) -> Told {
        lock(&self.state).told.clone()
    }

    /// Waits for an event; `None` when there will be none.
    pub(crate) fn next_event(&self) -> Option<FollowerEvent> {
        self.wait_for(|state| state.events.pop_front())
    }

    /// An event that has happened and was not taken yet.
    pub(crate) fn next_event_now(&self) -> Option<FollowerEvent> {
        lock(&self.state).events.pop_front()
    }

    /// Waits until the thread has ended. False if it was stopped and is held up.
    pub(crate) fn wait_for_end(&self) -> bool {
        self.wait_for(|state| matches!(state.phase, Phase::Ended).then_some(()))
            .is_some()
    }

    /// Waits until `look` finds something; `None` when the thread has ended or is not waited for
    /// any longer.
    fn wait_for<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let mut state = lock(&self.state);
        loop {
            if let Some(found) = look(&mut state) {
                return Some(found);
            }
            let waited = match state.phase {
                Phase::Ended => return None,
                Phase::Stopping(until) => {
                    let left = until.checked_duration_since(Instant::now())?;
                    let waited = self.changed.wait_timeout(state, left);
                    waited
                        .map_err(|poisoned| poisoned.into_inner().0)
                        .map(|waited| waited.0)
                }
                Phase::Unconnected | Phase::Connected(_) => {
                    self.changed.wait(state).map_err(PoisonError::into_inner)
                }
            };
            state = waited.unwrap_or_else(|state| state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, SocketAddr};

    fn event(port: usize) -> FollowerEvent {
        let port = u16::try_from(port).unwrap();
        FollowerEvent::Connected(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    #[test]
    fn of_too_many_events_the_oldest_are_lost() {
        let control = Control::new();
        (0..EVENTS + 3).for_each(|number| control.tell(event(number)));
        control.ended();
        for number in 3..EVENTS + 3 {
            assert_eq!(control.next_event(), Some(event(number)));
        }
        assert_eq!(control.next_event(), None);
    }

    #[test]
    fn a_thread_that_is_held_up_is_not_waited_for_when_it_was_stopped() {
        let control = Control::new();
        control.tell(event(1));
        assert!(control.stop());
        assert!(!control.stop(), "once");
        assert!(control.is_stopping() && !control.pause(Duration::from_hours(1)));
        let began = Instant::now();
        assert_eq!(control.next_event(), Some(event(1)));
        assert_eq!(control.next_event(), None);
        assert!(!control.wait_for_end());
        assert!(began.elapsed() < LAST_WORDS * 10);
    }

    #[test]
    fn what_has_ended_stays_so() {
        let control = Control::new();
        control.ended();
        control.disconnected();
        assert!(control.wait_for_end());
        assert!(!control.stop());
        assert!(control.wait_for_end());
    }
}
