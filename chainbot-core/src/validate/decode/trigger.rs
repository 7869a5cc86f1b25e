//! `triggers` and `concurrency`.

use std::time::Duration;

use super::value::Rule;
use super::{Decoder, Map};
use crate::error::code::definition as code;
use crate::error::similar;
use crate::limits::TRIGGERS_MAX;
use crate::model::document::{Node, NodeValue};
use crate::model::{Concurrency, ConcurrencyMode, Edge, Missed, Pin, RunEnd, TriggerDef, TriggerSource};
use crate::schedule::Schedule;
use crate::topic;
use crate::validate::findings::{index_path, shown};
use crate::validate::keys;

/// Changes of a pin that follow each other this closely are one press of a button.
const DEBOUNCE_DEFAULT: Duration = Duration::from_millis(10);

impl Decoder<'_> {
    /// `triggers` of the definition.
    pub(super) fn triggers(&mut self, map: &Map<'_>) -> Vec<TriggerDef> {
        let Some(node) = map.get("triggers") else { return Vec::new() };
        let path = map.path_of("triggers");
        let NodeValue::List(items) = &node.value else {
            let hint = Some("write a list: `- { cron: \"0 6 * * *\" }`".to_owned());
            self.wrong_type(map, "triggers", node, "a list", hint);
            return Vec::new();
        };
        if items.len() > TRIGGERS_MAX {
            let message = format!("there are {} triggers; at most {TRIGGERS_MAX} are taken", items.len());
            let hint = "let several workflows share the work by `workflow` steps".to_owned();
            self.error(&code::RANGE, node.pos, &path, message, hint);
            return Vec::new();
        }
        let mut triggers: Vec<TriggerDef> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = index_path(&path, index);
            let Some(trigger) = self.trigger(item, &path) else { continue };
            match triggers.iter().find(|other| other.key() == trigger.key()) {
                None => triggers.push(trigger),
                Some(first) => {
                    let message = format!("this trigger is the one at line {} again", first.pos.line);
                    let hint = "remove one of them; each would start a run of its own".to_owned();
                    self.error(&code::DUPLICATE_TRIGGER, item.pos, &path, message, hint);
                }
            }
        }
        triggers
    }

    fn trigger(&mut self, node: &Node, path: &str) -> Option<TriggerDef> {
        let map = self.map(node, path, &keys::TRIGGER, None)?;
        let kind = self.one_of(&map, keys::TRIGGER_KINDS, true)?;
        for (key, of) in [("timezone", "cron"), ("missed", "cron"), ("secret", "webhook"), ("on", "workflow")]
        {
            self.only_for(&map, key, kind == of, &format!("`{of}`"));
        }
        let source = match kind {
            "cron" => self.cron(&map),
            "event" => self.event_pattern(&map),
            "webhook" => self
                .name(&map, "webhook", Rule::Safe)
                .map(|name| TriggerSource::Webhook { name, secret: self.name(&map, "secret", Rule::Safe) }),
            "gpio" => self.gpio_trigger(&map),
            _ => self.name(&map, "workflow", Rule::Safe).map(|workflow| TriggerSource::Workflow {
                workflow,
                on: match self.choice(&map, "on") {
                    Some("failed") => RunEnd::Failed,
                    Some("any") => RunEnd::Any,
                    _ => RunEnd::Completed,
                },
            }),
        };
        let when = self.expr(&map, "when");
        let inputs = self.template_map(&map, "inputs");
        Some(TriggerDef { pos: node.pos, source: source?, when, inputs })
    }

    fn cron(&mut self, map: &Map<'_>) -> Option<TriggerSource> {
        let cron = self.literal(map, "cron");
        let zone = self.literal(map, "timezone");
        let missed = match self.choice(map, "missed") {
            Some("one") => Missed::One,
            Some("all") => Missed::All,
            _ => Missed::Skip,
        };
        if let Some(zone) = &zone
            && let Err(why) = Schedule::parse_zone(zone)
        {
            let known = jiff::tz::db().available().map(|name| name.to_string()).collect::<Vec<_>>();
            let hint = match similar(zone, known.iter().map(String::as_str)) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "write a name such as `Europe/Berlin` or `UTC`".to_owned(),
            };
            self.at(&code::CRON, map, "timezone", format!("`{}`: {why}", shown(zone, 60)), Some(hint));
        }
        let cron = cron?;
        if let Err(why) = Schedule::parse_cron(&cron) {
            let message = format!("`{}` is not a cron expression: {why}", shown(&cron, 60));
            let hint = "write minute, hour, day, month, weekday: `*/30 6-21 * * *` is every half hour by day";
            self.at(&code::CRON, map, "cron", message, Some(hint.to_owned()));
            return None;
        }
        Some(TriggerSource::Cron { cron, timezone: zone.unwrap_or_else(|| "UTC".to_owned()), missed })
    }

    fn event_pattern(&mut self, map: &Map<'_>) -> Option<TriggerSource> {
        let pattern = self.literal(map, "event")?;
        if let Err(why) = topic::check_pattern(&pattern) {
            let message = format!("`{}` matches no topic: {why}", shown(&pattern, 60));
            let hint =
                "write segments with dots, such as `alex_os.system.status`, `user.*.done` or `sensor.#`";
            self.at(&code::PATTERN, map, "event", message, Some(hint.to_owned()));
            return None;
        }
        Some(TriggerSource::Event { pattern })
    }

    fn gpio_trigger(&mut self, map: &Map<'_>) -> Option<TriggerSource> {
        let gpio = self.map(map.get("gpio")?, &map.path_of("gpio"), &keys::GPIO_TRIGGER, None)?;
        let edge = match self.choice(&gpio, "edge") {
            Some("falling") => Edge::Falling,
            Some("both") => Edge::Both,
            _ => Edge::Rising,
        };
        let debounce = self.duration(&gpio, "debounce").unwrap_or(DEBOUNCE_DEFAULT);
        let pin = self.pin(&gpio, "pin")?;
        let pos = gpio.get("pin").map_or(gpio.pos, |node| node.pos);
        self.known_pin(pos, &gpio.path_of("pin"), &pin, Some(false));
        Some(TriggerSource::Gpio { pin, edge, debounce })
    }

    /// A pin: a number, or a name that the configuration gives one.
    pub(super) fn pin(&mut self, map: &Map<'_>, key: &str) -> Option<Pin> {
        let node = map.get(key)?;
        match &node.value {
            NodeValue::Number(number) => {
                let pin = number.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|pin| *pin <= PIN_MAX);
                if pin.is_none() {
                    let message = format!("`{key}` must be a number from 0 to {PIN_MAX}, this is {number}");
                    self.at(&code::RANGE, map, key, message, Some("use the Broadcom number".to_owned()));
                }
                pin.map(Pin::Number)
            }
            NodeValue::String(_) => self.name(map, key, Rule::Safe).map(Pin::Name),
            _ => {
                self.wrong_type(map, key, node, "a number or a name", Some("write `pin: 24`".to_owned()));
                None
            }
        }
    }

    /// `concurrency` of the definition.
    pub(super) fn concurrency(&mut self, map: &Map<'_>) -> Option<Concurrency> {
        let node = map.get("concurrency")?;
        let concurrency = self.map(node, &map.path_of("concurrency"), &keys::CONCURRENCY, None)?;
        let mode = match self.choice(&concurrency, "mode")? {
            "single" => ConcurrencyMode::Single,
            "restart" => ConcurrencyMode::Restart,
            "queued" => ConcurrencyMode::Queued,
            _ => ConcurrencyMode::Parallel,
        };
        let takes_max = matches!(mode, ConcurrencyMode::Queued | ConcurrencyMode::Parallel);
        self.only_for(&concurrency, "max", takes_max, "`mode: queued` or `mode: parallel`");
        let max = self.number(&concurrency, "max").or(match mode {
            ConcurrencyMode::Parallel => None,
            _ => Some(1),
        });
        Some(Concurrency { mode, max, key: self.text(&concurrency, "key") })
    }
}

/// The highest line of a chip that a Pi's header could show.
const PIN_MAX: u32 = 63;
