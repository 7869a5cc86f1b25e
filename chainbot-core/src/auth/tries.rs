//! How often somebody may try to sign in: five times a minute for one account, and for one address.
//!
//! Every try counts, right or wrong, for a name that nobody has as well; so a refusal tells nothing. In memory: a restart is
//! no way around it that a stranger has.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use parking_lot::Mutex;

use crate::limits::{SIGN_IN_KEYS_MAX, SIGN_IN_TRIES_MAX};

/// The time in which tries are counted.
const WITHIN: Duration = Duration::from_secs(60);

/// Tries of accounts and addresses.
#[derive(Default)]
pub struct Tries {
    // Plain locks: held for a few instructions, and for a walk over a full table at most.
    accounts: Mutex<Table>,
    addresses: Mutex<Table>,
}

type Table = HashMap<String, Vec<Duration>>;

impl Tries {
    /// Counts a try at `now`, or says in how many seconds there is one.
    pub fn take(&self, account: &str, address: &str, now: Duration) -> Result<(), u64> {
        // Both count, also when one refuses: who guesses many names runs into the address's bound.
        let (account, address) =
            (take(&self.accounts, account, now), take(&self.addresses, &network(address), now));
        match (account, address) {
            (Ok(()), Ok(())) => Ok(()),
            (account, address) => Err(account.err().unwrap_or(0).max(address.err().unwrap_or(0))),
        }
    }
}

fn take(table: &Mutex<Table>, key: &str, now: Duration) -> Result<(), u64> {
    let mut table = table.lock();
    let is_fresh = |at: &Duration| now.saturating_sub(*at) < WITHIN;
    if table.len() >= SIGN_IN_KEYS_MAX && !table.contains_key(key) {
        table.retain(|_, tries| tries.iter().any(is_fresh));
        if table.len() >= SIGN_IN_KEYS_MAX {
            return Err(WITHIN.as_secs());
        }
    }
    let tries = table.entry(key.to_owned()).or_default();
    tries.retain(is_fresh);
    if let Some(oldest) = tries.first().filter(|_| tries.len() >= SIGN_IN_TRIES_MAX) {
        let left = WITHIN.saturating_sub(now.saturating_sub(*oldest));
        return Err(left.as_secs().saturating_add(1));
    }
    tries.push(now);
    Ok(())
}

/// What counts as one address: of IPv6 the network, as one person has 2^64 addresses in it.
fn network(address: &str) -> String {
    let ip = address.parse::<IpAddr>().or_else(|_| address.parse::<SocketAddr>().map(|socket| socket.ip()));
    match ip.map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => ip.to_string(),
        Ok(IpAddr::V6(ip)) => {
            let [a, b, c, d, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}")
        }
        Err(_) => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn five_tries_a_minute_then_one_as_each_grows_old() {
        let tries = Tries::default();
        for second in 0..5 {
            assert_eq!(tries.take("mia", "a", S(second)), Ok(()));
        }
        assert_eq!(tries.take("mia", "b", S(5)), Err(56));
        assert_eq!(tries.take("mia", "b", S(60)), Ok(()));
        assert!(tries.take("mia", "b", S(60)).is_err());
        assert_eq!(tries.take("tom", "c", S(60)), Ok(()));
    }

    #[test]
    fn an_address_is_counted_over_all_names_and_ipv6_by_its_network() {
        let tries = Tries::default();
        let spellings = ["2001:db8::1", "2001:db8::2", "[2001:db8::3]:80", "2001:db8:0:0:1::", "2001:db8::"];
        for (n, address) in spellings.into_iter().enumerate() {
            assert_eq!(tries.take(&format!("user {n}"), address, S(0)), Ok(()));
        }
        assert!(tries.take("user 9", "2001:db8::99", S(0)).is_err());
        assert_eq!(tries.take("user 9", "2001:db8:0:1::99", S(0)), Ok(()));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1:99"));
    }

    #[test]
    fn a_full_table_turns_newcomers_away_and_forgets_nobody() {
        let tries = Tries::default();
        for n in 0..SIGN_IN_KEYS_MAX {
            assert_eq!(take(&tries.accounts, &n.to_string(), S(0)), Ok(()));
        }
        assert!(take(&tries.accounts, "new", S(59)).is_err());
        assert_eq!(take(&tries.accounts, "0", S(59)), Ok(()));
        assert_eq!(take(&tries.accounts, "new", S(61)), Ok(()));
    }
}
