//! The words of a line, after the one that names the message: how they are read, and how those are
//! written that several messages have.

use std::str::{FromStr, Split};

use chrono::TimeDelta;

use crate::clock::LARGEST_RATE_PPM;
use crate::wire::candidate::{MOST_CANDIDATES, Rank};
use crate::wire::line::Malformed;

/// The largest error that is believed: an hour.
pub const LARGEST_ERROR: TimeDelta = TimeDelta::hours(1);

/// The words of a message after its name, those that were read not counted.
pub(crate) struct Words<'a> {
    message: &'static str,
    words: Split<'a, char>,
}

impl<'a> Words<'a> {
    /// Those of a line that begins with the name of this message.
    pub(crate) fn of(message: &'static str, line: &'a str) -> Self {
        let mut words = line.split(' ');
        words.next();
        Self { message, words }
    }

    /// What is wrong with the line: this word of it.
    pub(crate) fn wrong(&self, word: &'static str) -> Malformed {
        Malformed::Word {
            message: self.message,
            word,
        }
    }

    /// The next word.
    pub(crate) fn next(&mut self) -> Option<&'a str> {
        self.words.next()
    }

    /// The next word, a number (or an address).
    pub(crate) fn number<T: FromStr>(&mut self, word: &'static str) -> Result<T, Malformed> {
        let number = self.next().and_then(|number| number.parse().ok());
        number.ok_or_else(|| self.wrong(word))
    }

    /// The next word, a candidate's place in the list.
    pub(crate) fn rank(&mut self, word: &'static str) -> Result<Rank, Malformed> {
        match self.number(word)? {
            rank if rank < MOST_CANDIDATES => Ok(Rank(rank)),
            _ => Err(self.wrong(word)),
        }
    }

    /// What stands after `key=` anywhere among the words to come.
    pub(crate) fn word(&self, key: &'static str) -> Option<&'a str> {
        self.words
            .clone()
            .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// The number there, if the key is.
    pub(crate) fn key<T: FromStr>(&self, key: &'static str) -> Result<Option<T>, Malformed> {
        let number = self.word(key).map(str::parse).transpose();
        number.map_err(|_| self.wrong(key))
    }

    /// The list there, with commas between; empty if the key is not.
    pub(crate) fn list<T: FromStr>(&self, key: &'static str) -> Result<Vec<T>, Malformed> {
        let items = self.word(key).unwrap_or_default().split(',');
        let items = items.filter(|item| !item.is_empty()).map(str::parse);
        items.collect::<Result<_, _>>().map_err(|_| self.wrong(key))
    }

    /// The span there, in nanoseconds, if the key is.
    pub(crate) fn span(&self, key: &'static str) -> Result<Option<TimeDelta>, Malformed> {
        Ok(self.key(key)?.map(TimeDelta::nanoseconds))
    }

    /// The error there, in nanoseconds, if the key is.
    pub(crate) fn error(&self, key: &'static str) -> Result<Option<TimeDelta>, Malformed> {
        let error = self.span(key)?;
        if error.is_none_or(|error| (TimeDelta::zero()..=LARGEST_ERROR).contains(&error)) {
            Ok(error)
        } else {
            Err(self.wrong(key))
        }
    }

    /// The rate, in ppm, if there is one.
    pub(crate) fn rate(&self) -> Result<Option<f64>, Malformed> {
        let ppm = self.key::<i64>("rate")?.map(|ppb| ppb as f64 * 1e-3);
        match ppm {
            Some(ppm) if ppm.abs() > LARGEST_RATE_PPM => Err(self.wrong("rate")),
            ppm => Ok(ppm),
        }
    }

    /// Whether there is [`synchronized_word`].
    pub(crate) fn is_synchronized(&self) -> bool {
        self.word("synchronized") == Some("yes")
    }
}

/// How a line says that its sender knows the group's time.
pub(crate) fn synchronized_word(synchronized: bool) -> &'static str {
    if synchronized {
        " synchronized=yes"
    } else {
        ""
    }
}

/// A rate as lines have it: a thousandth of a ppm.
pub(crate) fn ppb(ppm: f64) -> i64 {
    (ppm.clamp(-LARGEST_RATE_PPM, LARGEST_RATE_PPM) * 1e3).round() as i64
}
