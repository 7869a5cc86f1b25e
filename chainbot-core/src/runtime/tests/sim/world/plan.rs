//! What goes wrong by plan, rather than by the dice.

use super::World;
use crate::engine::Input;
use crate::model::StepError;
use crate::runtime::cell::Mail;
use crate::runtime::tests::sim::outside::Sent;
use crate::step::Effect;

/// What goes wrong with an effect: of one step, or of all.
#[derive(Clone, Debug)]
pub struct Plan {
    pub step: Option<String>,
    pub wrong: Wrong,
}

/// How it goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// Each try is refused.
    Error,
    /// No try is answered in time.
    TimesOut,
    /// The process dies before the first try leaves it.
    DiesBefore,
    /// The process dies when the first try is carried out and nobody knows of it.
    DiesBetween,
    /// The answer comes twice.
    Doubled,
}

impl World {
    /// What the plan says of an effect; gives it back when it says nothing.
    pub(super) fn go_wrong(&mut self, sent: Sent) -> Option<Sent> {
        let Effect { run, key, attempt, .. } = sent.effect;
        if self.service.is_none() {
            return Some(sent);
        }
        let (place, _) = self.started(run, key);
        let id = self.step_id(run, &place);
        self.steps_sent.insert(id.clone());
        let Some(plan) = self.plan.clone() else { return Some(sent) };
        if plan.step.is_some_and(|step| step != id) {
            return Some(sent);
        }
        let is_first = !self.wronged.contains(&(run, place.clone()));
        self.wronged.push((run, place.clone()));
        let fails = |class: &str| {
            Err(StepError::new(class, &crate::error::code::run::STATUS, "by plan".to_owned()).into())
        };
        match plan.wrong {
            Wrong::Error => sent.answer(fails("http_4xx")),
            Wrong::TimesOut => sent.answer(fails("timeout")),
            _ if !is_first => {
                self.wronged.pop();
                return Some(sent);
            }
            Wrong::DiesBefore => self.die(),
            Wrong::DiesBetween => {
                drop(self.reply_to(&sent.effect));
                self.die();
            }
            Wrong::Doubled => {
                let result = self.reply_to(&sent.effect);
                sent.answer(result.clone());
                self.process().tasks();
                if let Some(cell) = self.process().runtime.live(run) {
                    let input = Input::EffectDone { place, attempt, result };
                    self.process().runtime.post(&cell, Mail::Input(input));
                }
            }
        }
        None
    }
}
