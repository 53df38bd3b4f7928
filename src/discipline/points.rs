//! The last points of a clock, as small as they can be kept: a simulation of a million clocks holds
//! forty of each.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta};

use crate::discipline::line::Point;
use crate::span::{nanoseconds, since_epoch};

/// Points in the order in which they came, the oldest first.
#[derive(Debug, Clone)]
pub(in crate::discipline) struct Points(VecDeque<Packed>);

/// A point in nanoseconds: the raw time since the Unix epoch, how far the network was ahead, and the
/// error.
#[derive(Debug, Clone, Copy)]
struct Packed {
    raw: i64,
    ahead: i64,
    error: i64,
}

impl From<Point> for Packed {
    fn from(point: Point) -> Self {
        Self {
            raw: since_epoch(point.raw),
            ahead: nanoseconds(point.ahead),
            error: nanoseconds(point.error),
        }
    }
}

impl From<Packed> for Point {
    fn from(packed: Packed) -> Self {
        Self {
            raw: DateTime::from_timestamp_nanos(packed.raw),
            ahead: TimeDelta::nanoseconds(packed.ahead),
            error: TimeDelta::nanoseconds(packed.error),
        }
    }
}

impl Points {
    /// None yet, with room for so many.
    pub(in crate::discipline) fn with_capacity(count: usize) -> Self {
        Self(VecDeque::with_capacity(count))
    }

    pub(in crate::discipline) fn len(&self) -> usize {
        self.0.len()
    }

    pub(in crate::discipline) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::discipline) fn iter(&self) -> impl DoubleEndedIterator<Item = Point> {
        self.0.iter().copied().map(Point::from)
    }

    pub(in crate::discipline) fn oldest(&self) -> Option<Point> {
        self.iter().next()
    }

    pub(in crate::discipline) fn push(&mut self, point: Point) {
        self.0.push_back(point.into());
    }

    pub(in crate::discipline) fn forget_oldest(&mut self) {
        self.0.pop_front();
    }

    /// Forgets all but the newest.
    pub(in crate::discipline) fn keep_newest(&mut self) {
        self.0.drain(..self.0.len().saturating_sub(1));
    }

    pub(in crate::discipline) fn clear(&mut self) {
        self.0.clear();
    }

    /// Moves each of them.
    pub(in crate::discipline) fn move_by(&mut self, change: impl Fn(&mut Point)) {
        for packed in &mut self.0 {
            let mut point = Point::from(*packed);
            change(&mut point);
            *packed = point.into();
        }
    }
}
