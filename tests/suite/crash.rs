//! What the tests that end processes share: the counting server, the host as a process, a client, the load, the verdict.
//!
//! Three processes: the host with the module (killed), the ledger (never killed, own file), and the test, which uses
//! the public API only. What the program says of itself is compared with what the ledger saw.

pub mod client;
pub mod crowd;
pub mod crowd_verdict;
pub mod host;
pub mod ledger;
pub mod load;
pub mod verdict;

/// Random numbers that a seed repeats (splitmix64).
pub struct Random(u64);

impl Random {
    /// From `CHAINBOT_SEED`, else from the clock; printed, so that a failure can be replayed.
    pub fn seeded(test: &str) -> Self {
        let seed = std::env::var("CHAINBOT_SEED").ok().and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.expect("a clock after 1970").as_nanos() as u64
        });
        println!("{test}: CHAINBOT_SEED={seed}");
        Self(seed)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

pub use chainbot_core::env::proof::size;

/// Milliseconds since 1970, to compare with times of records.
pub fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("a clock after 1970").as_millis() as i64
}
