//! When a try has failed: again, and when.

use std::time::Duration;

use crate::error::Result;
use crate::model::{Backoff, OnUncertain, Place, RecordBody, class};

use super::decide::{Context, Failure, Stepper};
use super::program::{Node, RetryRule};

/// A `Retry-After` longer than this is taken as this: a server must not hold a run for days.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Where neither definition nor configuration bounds the growth of a delay.
const DELAY_MAX: Duration = Duration::from_secs(300);

impl Stepper<'_> {
    /// A try failed: plan the next or give up.
    pub(super) fn attempt_failed(&mut self, place: Place, attempt: u32, failure: Failure) -> Result<()> {
        let program = self.program;
        let rule = rule_of(program.node(place.node), self.context);
        let failures = self.state.at(&place).map_or(1, |instance| instance.failures + 1);
        let may_repeat = program.node(place.node).on_uncertain == OnUncertain::Retry;
        if failures >= rule.attempts || !is_retried(&rule, may_repeat, &failure.error.class) {
            return self.fail_step(place, failure.error);
        }
        let mut delay = delay(&rule, failures, self.context.random);
        if let Some(asked) = failure.retry_after {
            delay = delay.max(asked.min(RETRY_AFTER_MAX));
        }
        let due = self.context.now.max(self.state.last_at).after(delay);
        self.record(RecordBody::AttemptFailed { place, attempt, error: failure.error, due })
    }
}

/// What holds for a step: what was written, else the default of its class.
fn rule_of(node: &Node, context: &Context<'_>) -> RetryRule {
    if let Some(rule) = &node.retry {
        return rule.clone();
    }
    let attempts = match node.on_uncertain {
        OnUncertain::Retry => context.defaults.retry_attempts.max(1),
        OnUncertain::Ask | OnUncertain::Fail => 1,
    };
    RetryRule {
        attempts,
        backoff: Backoff::Exponential,
        delay: context.defaults.retry_delay,
        max_delay: DELAY_MAX,
        full_jitter: true,
        on: Vec::new(),
    }
}

/// Whether another try follows. What may have happened, and may happen once only, is sent again for nobody but a rule that names
/// just that: a rule for the whole workflow does not know the step.
fn is_retried(rule: &RetryRule, may_repeat: bool, class: &str) -> bool {
    if !may_repeat && [class::CUT, class::TIMEOUT].contains(&class) {
        return rule.on.iter().any(|on| on == class);
    }
    if rule.on.is_empty() {
        return class::TRANSIENT.contains(&class);
    }
    rule.on.iter().any(|on| on == class || on == "any")
}

/// Before the try after `failures` failures. With jitter, anywhere between nothing and the full delay.
fn delay(rule: &RetryRule, failures: u32, random: u64) -> Duration {
    let full = match rule.backoff {
        Backoff::Fixed => rule.delay,
        Backoff::Exponential => rule.delay.saturating_mul(1u32.checked_shl(failures - 1).unwrap_or(u32::MAX)),
    };
    let full = full.min(rule.max_delay);
    if !rule.full_jitter {
        return full;
    }
    let millis = u64::try_from(full.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(random % millis.saturating_add(1).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(backoff: Backoff, full_jitter: bool) -> RetryRule {
        RetryRule {
            attempts: 9,
            backoff,
            delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(10),
            full_jitter,
            on: Vec::new(),
        }
    }

    #[test]
    fn a_delay_doubles_up_to_its_bound() {
        let delays: Vec<u64> =
            (1..7).map(|failures| delay(&rule(Backoff::Exponential, false), failures, 0).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 10, 10]);
        assert_eq!(delay(&rule(Backoff::Exponential, false), 90, 0).as_secs(), 10);
        assert_eq!(delay(&rule(Backoff::Fixed, false), 5, 0).as_secs(), 1);
    }

    #[test]
    fn full_jitter_stays_between_nothing_and_the_delay() {
        for random in [0, 1, 500, 1_000, 1_001, u64::MAX] {
            assert!(delay(&rule(Backoff::Fixed, true), 1, random) <= Duration::from_secs(1));
        }
        assert_eq!(delay(&rule(Backoff::Fixed, true), 1, 1_000), Duration::from_secs(1));
    }

    #[test]
    fn only_what_may_pass_by_itself_is_tried_again_unless_said() {
        let mut rule = rule(Backoff::Fixed, false);
        assert!(is_retried(&rule, true, class::HTTP_5XX) && !is_retried(&rule, true, class::HTTP_4XX));
        rule.on = vec!["any".to_owned()];
        assert!(is_retried(&rule, true, class::HTTP_4XX));
        rule.on = vec![class::TIMEOUT.to_owned()];
        assert!(!is_retried(&rule, true, class::HTTP_5XX));
    }

    #[test]
    fn an_effect_that_may_happen_once_is_not_sent_again_when_its_answer_was_cut_off() {
        let mut rule = rule(Backoff::Fixed, false);
        for on in [Vec::new(), vec!["any".to_owned()]] {
            rule.on = on;
            assert!(!is_retried(&rule, false, class::CUT) && !is_retried(&rule, false, class::TIMEOUT));
            // It was answered, so it is known what became of it.
            assert!(is_retried(&rule, false, class::HTTP_5XX) && is_retried(&rule, true, class::CUT));
        }
        rule.on = vec![class::CUT.to_owned()];
        assert!(is_retried(&rule, false, class::CUT) && !is_retried(&rule, false, class::TIMEOUT));
    }
}
