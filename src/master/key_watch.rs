//! Looks whether the file with the group's secrets has changed, and ends the sessions of those
//! whose keys it makes void.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::keys::ring::KeyRing;
use crate::master::shared::Shared;

/// How often the file is looked at: an order is obeyed within a second.
const PERIOD: Duration = Duration::from_millis(250);

/// Looks until the master is stopped.
pub(crate) fn run(shared: &Arc<Shared>, ring: &KeyRing) {
    while !shared.is_stopping() {
        match ring.refresh() {
            Ok(true) => {
                let generations: Vec<_> = ring.group().generations().collect();
                log::info!("the key file has changed; generations in use: {generations:?}");
                shared.expel_void_keys(&ring.group());
            }
            Ok(false) => {}
            Err(error) => log::warn!("{error}; the keys that were read before stay in use"),
        }
        thread::sleep(PERIOD);
    }
}
