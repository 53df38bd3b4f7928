//! Locks of this crate guard a few lines of assignments each, never input, output or a call that
//! could panic.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes a lock. Should a thread have panicked with it, what it guards is whole all the same.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
