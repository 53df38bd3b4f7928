//! A document that is made when somebody asks for it, and given to all who ask soon after: however
//! many ask, and however often, it costs a tenth of one processor at most.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::lock::lock;

/// What was made serves for so many times as long as it took to make...
const REST: u32 = 9;

/// ... but for no longer than this.
const LONGEST_REST: Duration = Duration::from_millis(500);

/// A document, made anew when it is asked for.
pub struct Document {
    make: Box<dyn Fn() -> Vec<u8> + Send + Sync>,
    made: Mutex<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    bytes: Arc<[u8]>,
    /// Until when it serves.
    until: Instant,
}

impl Document {
    /// A document that `make` makes.
    pub fn new(make: impl Fn() -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self {
            make: Box::new(make),
            made: Mutex::new(None),
        }
    }

    /// What it says now. Whoever asks while it is made waits for that.
    #[must_use]
    pub fn bytes(&self) -> Arc<[u8]> {
        let mut made = lock(&self.made);
        let now = Instant::now();
        if let Some(made) = made.as_ref().filter(|made| now < made.until) {
            return Arc::clone(&made.bytes);
        }
        let bytes: Arc<[u8]> = (self.make)().into();
        let rest = (now.elapsed() * REST).min(LONGEST_REST);
        *made = Some(Made {
            bytes: Arc::clone(&bytes),
            until: Instant::now() + rest,
        });
        bytes
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Document").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn a_document_that_takes_long_is_not_made_for_each_of_many() {
        let times = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&times);
        let document = Document::new(move || {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(20) {}
            counted.fetch_add(1, Ordering::SeqCst);
            vec![7]
        });
        let began = Instant::now();
        for _ in 0..1000 {
            assert_eq!(*document.bytes(), [7]);
        }
        let possible = began.elapsed().as_millis() / 180 + 1;
        assert!(u128::from(times.load(Ordering::SeqCst)) <= possible);
    }
}
