//! How much a test does: what each run of `make test` can afford, or what `make proof` takes a night for.

/// `short`; with `CHAINBOT_PROOF=long` it is `long`, or with `CHAINBOT_PROOF_PART=20` besides a twentieth of that, to see that the
/// long run works.
pub fn size(short: u64, long: u64) -> u64 {
    let part = std::env::var("CHAINBOT_PROOF_PART").ok().and_then(|part| part.parse().ok());
    if is_long() { (long / part.unwrap_or(1).max(1)).max(short) } else { short }
}

/// Whether the long run is asked for.
pub fn is_long() -> bool {
    std::env::var("CHAINBOT_PROOF").is_ok_and(|size| size == "long")
}
