//! Figures from samples: medians, percentiles, the ratio of pairs.

/// The middle value; 0 without values.
pub fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

/// The value that a share of the values does not exceed.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(0.0)
}

/// The median of the rounds' ratios: each round's pair met the same disk.
pub fn ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    median(
        &ours
            .iter()
            .zip(theirs)
            .map(|(ours, theirs)| ours / theirs.max(f64::MIN_POSITIVE))
            .collect::<Vec<_>>(),
    )
}
