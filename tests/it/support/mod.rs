//! What the tests have in common.

pub(crate) mod browser;
pub(crate) mod fake_master;
pub(crate) mod keys;
pub(crate) mod ntp_client;
pub(crate) mod own_network;
pub(crate) mod programs;
pub(crate) mod records;
pub(crate) mod relay;
pub(crate) mod timestamp_client;
pub(crate) mod virtual_hosts;
