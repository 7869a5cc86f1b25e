//! What differs between two configurations, and which of it takes effect without a restart.
//!
//! A key is live when every part that reads it reads it anew, and nothing that was decided under the old value becomes
//! wrong. Everything else needs a start: places on the disk, the port, what was handed out by copy.

use super::Config;

/// Keys that take effect at once.
const LIVE: &[&str] = &[
    "module.log_level",
    "logging.level",
    "workflow_engine.max_concurrent_workflows",
    "workflow_engine.max_queued",
    "workflow_engine.retry_attempts",
    "workflow_engine.retry_delay",
    "workflow_engine.cancel_grace",
    "agent_management.max_agents",
    "agent_management.agent_timeout",
    "agent_management.agent_types.assistant.max_instances",
    "agent_management.agent_types.data_processor.max_instances",
    "agent_management.agent_types.api.max_instances",
    "agent_management.agent_types.workflow.max_instances",
    "egress.public",
    "egress.grants",
    "alex_os.emit_prefixes",
    "retention.completed",
    "retention.failed",
    "retention.cancelled",
    "retention.max_runs",
    "retention.archive_after",
    "retention.idempotency_keys",
    "retention.outbox",
    "retention.audit",
    "backup.schedule",
    "backup.keep",
    "monitoring.health_check_interval",
    "monitoring.alerting.enabled",
    "monitoring.alerting.cpu_threshold",
    "monitoring.alerting.memory_threshold",
    "monitoring.alerting.disk_threshold",
    "monitoring.alerting.error_rate_threshold",
    "raspberry_pi.hardware_monitoring",
    "raspberry_pi.temperature_threshold",
    "models.default",
    "models.providers",
    "models.models",
    "models.fallback",
    "agent_management.presets",
    "gpt_integration.enabled",
    "gpt_integration.default_provider",
    "gpt_integration.openai.enabled",
    "gpt_integration.openai.api_key",
    "gpt_integration.openai.default_model",
    "gpt_integration.openai.max_tokens",
    "gpt_integration.openai.temperature",
    "gpt_integration.openai.timeout",
    "gpt_integration.openai.max_retries",
    "gpt_integration.openai.rate_limit_requests_per_minute",
    "gpt_integration.openai.rate_limit_tokens_per_minute",
    "gpt_integration.maclink.enabled",
    "gpt_integration.maclink.macbook_url",
    "gpt_integration.maclink.api_key",
    "gpt_integration.maclink.default_model",
    "gpt_integration.maclink.max_tokens",
    "gpt_integration.maclink.temperature",
    "gpt_integration.maclink.timeout",
    "gpt_integration.maclink.max_retries",
    "gpt_integration.agent_brain.fallback_provider",
];

/// Whether a key takes effect without a restart.
pub fn is_live(path: &str) -> bool {
    LIVE.contains(&path)
}

/// Keys with another value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Take effect at once.
    pub live: Vec<&'static str>,
    /// Need a restart.
    pub restart: Vec<&'static str>,
}

impl Config {
    /// What another configuration has otherwise.
    pub fn changes(&self, other: &Config) -> Changes {
        let mut changes = Changes::default();
        for (own, new) in self.settings().iter().zip(other.settings()) {
            if own.value != new.value {
                let path = own.key.path;
                if is_live(path) { &mut changes.live } else { &mut changes.restart }.push(path);
            }
        }
        // Two values that are not shown look the same.
        const HIDDEN: &str = "security.secret_key";
        if self.security.secret_key != other.security.secret_key && !changes.restart.contains(&HIDDEN) {
            changes.restart.push(HIDDEN);
        }
        // Whoever wrote it decides which of the two levels counts, also when neither value differs.
        if self.log_level() != other.log_level() && changes.live.is_empty() {
            changes.live.push("logging.level");
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::table::KEYS;
    use super::*;

    fn config(values: &serde_json::Value) -> Config {
        Config::load(&json!({ "data_dir": "/tmp/none", "values": values }).to_string()).unwrap()
    }

    #[test]
    fn every_live_key_is_a_key() {
        for path in LIVE {
            assert!(KEYS.iter().any(|key| key.path == *path), "{path}");
        }
    }

    #[test]
    fn a_change_says_which_of_its_keys_need_a_restart() {
        let old = config(&json!({}));
        let new = config(&json!({
            "workflow_engine": { "max_concurrent_workflows": 3, "commit_delay_ms": 7 }, "api": { "port": 9 },
        }));
        let changes = old.changes(&new);
        assert_eq!(changes.live, ["workflow_engine.max_concurrent_workflows"]);
        assert_eq!(changes.restart, ["api.port", "workflow_engine.commit_delay_ms"]);
        assert_eq!(old.changes(&old), Changes::default());
    }
}
