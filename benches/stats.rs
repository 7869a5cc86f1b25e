//! Figures from samples: medians, percentiles, the ratio of pairs.

/// The middle value, or the mean of the two in the middle; 0 without values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(0.0);
    (at(last / 2) + at(last.div_ceil(2))) / 2.0
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
