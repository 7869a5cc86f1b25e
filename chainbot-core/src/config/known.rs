//! Names that are known and have no effect in this version, what names of the predecessor are called here, and which of its
//! keys mean something else.
//!
//! Every name of the predecessor's file is written out, so that a misspelt one is an error and no warning. A last `*`
//! stands for a map whose keys are not settled.

/// Read with a warning and without effect.
pub const KNOWN: &[&str] = &[
    "module.version",
    "module.description",
    "module.debug",
    "module.enabled",
    "module.auto_start",
    "database.pool_size",
    "database.max_overflow",
    "database.pool_timeout",
    "database.pool_recycle",
    "database.echo",
    "api.debug",
    "api.workers",
    "api.cors_origins",
    "gpt_integration.openai.organization_id",
    "gpt_integration.maclink.health_check_interval",
    "gpt_integration.agent_brain.enabled",
    "gpt_integration.agent_brain.confidence_threshold",
    "gpt_integration.agent_brain.persona_cache_size",
    "security.bcrypt_rounds",
    "security.enable_rbac",
    "security.default_permissions",
    "security.admin_permissions",
    "logging.format",
    "logging.console",
    "alex_os.event_bus_url",
    "alex_os.module_registry_url",
    "alex_os.webhook_url",
    "alex_os.health_check_interval",
    "alex_os.metrics_enabled",
    "alex_os.integration_timeout",
    // A run's bound is its definition's `timeout`: folding a journal must not depend on the configuration, and a
    // wait of days must not die of a default.
    "workflow_engine.workflow_timeout",
    "workflow_engine.max_workflow_duration",
    "workflow_engine.cleanup_interval",
    "workflow_engine.max_workflow_history",
    "agent_management.spawn_interval",
    "agent_management.agent_heartbeat_interval",
    "agent_management.agent_types.assistant.memory_limit",
    "agent_management.agent_types.api.memory_limit",
    "agent_management.agent_types.workflow.memory_limit",
    "entanglement.max_entanglements",
    "entanglement.entanglement_timeout",
    "entanglement.coordination_interval",
    "entanglement.max_agents_per_entanglement",
    "entanglement.cleanup_interval",
    "entanglement.message_queue_size",
    "entanglement.message_retention_hours",
    "entanglement.enable_broadcast_messages",
    "entanglement.enable_private_messages",
    "audit.enabled",
    "audit.log_level",
    "audit.retention_days",
    "audit.max_log_size",
    "audit.compression",
    "audit.sensitive_fields",
    "monitoring.metrics_enabled",
    "monitoring.prometheus_enabled",
    "monitoring.performance_monitoring",
    "raspberry_pi.cpu_frequency_monitoring",
    "raspberry_pi.memory_monitoring",
    "raspberry_pi.disk_monitoring",
    "raspberry_pi.network_monitoring",
    "raspberry_pi.gpio_monitoring",
    "raspberry_pi.gpio_pins.status_led",
    "raspberry_pi.gpio_pins.error_led",
    "raspberry_pi.gpio_pins.reset_button",
    "performance.cache_enabled",
    "performance.cache_ttl",
    "performance.cache_max_size",
    "performance.connection_pooling",
    "performance.async_processing",
    "performance.background_tasks",
    "performance.max_memory_mb",
    "performance.enable_profiling",
    "development.auto_reload",
    "development.debug_mode",
    "development.test_mode",
    "development.mock_services",
    "development.sample_data",
    "gpio.backend",
    "gpio.chip",
    "webhooks.*",
    "mqtt.*",
];

/// What to write instead of a name without effect, where there is something.
pub const INSTEAD: &[(&str, &str)] = &[
    (
        "workflow_engine.workflow_timeout",
        "write `timeout` into the definition: a bound belongs to the run, and no default ends a long wait",
    ),
    ("workflow_engine.max_workflow_duration", "write `timeout` into the definition"),
    ("workflow_engine.max_workflow_history", "write `retention.max_runs`"),
    ("workflow_engine.cleanup_interval", "leave it out: `retention` is looked after by itself"),
    ("audit.enabled", "leave it out: what is changed is always written down"),
    ("audit.retention_days", "write `retention.audit: 90d`"),
    ("monitoring.metrics_enabled", "leave it out: figures are always counted"),
    ("monitoring.prometheus_enabled", "leave it out: `/metrics` wants a token with the scope `metrics:read`"),
    ("alex_os.metrics_enabled", "leave it out: figures are always counted"),
    ("database.echo", "write `logging.level: DEBUG`"),
    (
        "gpt_integration.agent_brain.confidence_threshold",
        "leave it out: the old score measured nothing, and no reply has one",
    ),
    ("gpt_integration.agent_brain.enabled", "leave it out: there are agents once there is a model"),
    ("gpt_integration.agent_brain.persona_cache_size", "leave it out: presets are in memory"),
    ("gpt_integration.openai.organization_id", "use a key of that organization"),
    (
        "gpt_integration.maclink.health_check_interval",
        "leave it out: a server that fails again and again is left alone and tried later",
    ),
    ("module.debug", "write `logging.level: DEBUG`"),
    ("api.debug", "write `logging.level: DEBUG`"),
    ("development.debug_mode", "write `logging.level: DEBUG`"),
    ("security.bcrypt_rounds", "leave it out: bcrypt is read and never made"),
    ("security.enable_rbac", "leave it out: roles always count"),
    ("development.mock_services", "see `chainbot test`, which has mocks"),
    ("raspberry_pi.gpio_pins.status_led", "name the pin in `gpio.pins`"),
    ("raspberry_pi.gpio_pins.error_led", "name the pin in `gpio.pins`"),
    ("raspberry_pi.gpio_pins.reset_button", "name the pin in `gpio.pins`"),
];

/// Keys that the predecessor had too and that mean something else here.
pub const CHANGED: &[(&str, &str)] = &[
    ("module.log_level", "the same; `logging.level` beats it where both are set"),
    ("database.url", "SQLite in the data folder was PostgreSQL on this machine"),
    ("api.port", "8000 was 9000; null opens no port"),
    (
        "security.secret_key",
        "for access tokens alone; may be left out; a placeholder is refused; a reference is taken",
    ),
    ("security.algorithm", "HS384 and HS512 are refused"),
    ("security.access_token_expire_minutes", "15 was 30, and at most 30 was 1440"),
    ("security.password_min_length", "at least 8 was 6"),
    (
        "workflow_engine.max_concurrent_workflows",
        "counts runs at work, not those that wait; up to 10,000 were 100",
    ),
    ("workflow_engine.retry_attempts", "counts the first try too, and only steps that may be repeated are"),
    (
        "monitoring.alerting.error_rate_threshold",
        "of the answers of this module, from 20 within a `health_check_interval` on",
    ),
    ("raspberry_pi.temperature_threshold", "raises an alert and lowers the score; nothing is slowed down"),
    ("gpt_integration.openai.api_key", "names a secret or is a reference; the key itself is refused"),
    ("gpt_integration.maclink.api_key", "as above"),
    (
        "gpt_integration.maclink.macbook_url",
        "none was http://localhost:8080; `/v1` is added where it has no path",
    ),
    ("gpt_integration.agent_brain.fallback_provider", "none was openai"),
    ("gpt_integration.openai.timeout", "to the first word of a reply, not to its end"),
    ("workflow_engine.retry_delay", "doubles from try to try; 0 is taken"),
];

/// Names that the previous system's second family of files used, and what they are called here.
pub const RENAMED: &[(&str, &str)] = &[
    ("workflow.max_concurrent_executions", "workflow_engine.max_concurrent_workflows"),
    ("workflow.default_timeout_hours", "workflow_engine.workflow_timeout"),
    ("agents.max_total_instances", "agent_management.max_agents"),
    ("websocket.heartbeat_interval_seconds", "websocket.ping_interval"),
    ("raspberry_pi.cpu_temp_threshold_celsius", "raspberry_pi.temperature_threshold"),
    ("logging.max_size_mb", "logging.max_size"),
    ("alex_os_integration", "alex_os"),
    ("workflow", "workflow_engine"),
    ("agents", "agent_management"),
];

/// Environment variables without a section, after the common beginning, and the keys they set.
pub const SHORT_ENV: &[(&str, &str)] = &[
    ("DATABASE_URL", "database.url"),
    ("HOST", "api.host"),
    ("PORT", "api.port"),
    ("LOG_LEVEL", "logging.level"),
    ("SECRET_KEY", "security.secret_key"),
    ("LOG_FILE", "logging.file"),
    ("API_URL", "alex_os.module_registry_url"),
    ("WEBHOOK_URL", "alex_os.webhook_url"),
    ("EVENT_BUS_URL", "alex_os.event_bus_url"),
];

/// Bare variables that the predecessor's backend read and nobody reads here, and the key that has their meaning; `None`: nothing has.
/// Names that any program may have set for itself (`HOST`, `PORT`, `DEBUG`) are among them.
pub const BARE_ENV: &[(&str, Option<&str>)] = &[
    ("HOST", Some("api.host")),
    ("PORT", Some("api.port")),
    ("DEBUG", Some("logging.level")),
    ("DATABASE_URL", Some("database.url")),
    ("SECRET_KEY", Some("security.secret_key")),
    ("CORS_ORIGINS", Some("api.cors_origins")),
    ("LOG_LEVEL", Some("logging.level")),
    ("LOG_FILE", Some("logging.file")),
    ("LOG_MAX_SIZE", Some("logging.max_size")),
    ("LOG_BACKUP_COUNT", Some("logging.backup_count")),
    ("ACCESS_TOKEN_EXPIRE_MINUTES", Some("security.access_token_expire_minutes")),
    ("RATE_LIMIT_REQUESTS", Some("api.rate_limit_burst")),
    ("RATE_LIMIT_WINDOW", Some("api.rate_limit_per_token")),
    ("ALEX_OS_REGISTRY_URL", Some("alex_os.module_registry_url")),
    ("ALEX_OS_EVENT_BUS_URL", Some("alex_os.event_bus_url")),
    ("ALEX_OS_WEBHOOK_URL", Some("alex_os.webhook_url")),
    ("ALEX_OS_HEALTH_INTERVAL", Some("alex_os.health_check_interval")),
    ("ALEX_OS_REGISTRATION_RETRY", None),
    ("ALEX_OS_MAX_REGISTRATION_ATTEMPTS", None),
    ("OPENAI_API_KEY", Some("gpt_integration.openai.api_key")),
    ("OPENAI_BASE_URL", None),
    ("OPENAI_MODEL", Some("gpt_integration.openai.default_model")),
    ("OPENAI_MAX_TOKENS", Some("gpt_integration.openai.max_tokens")),
    ("OPENAI_TEMPERATURE", Some("gpt_integration.openai.temperature")),
    ("OPENAI_TIMEOUT", Some("gpt_integration.openai.timeout")),
    ("MACLINK_BASE_URL", Some("gpt_integration.maclink.macbook_url")),
    ("MACLINK_API_KEY", Some("gpt_integration.maclink.api_key")),
    ("MACLINK_TIMEOUT", Some("gpt_integration.maclink.timeout")),
    ("MACLINK_ENABLED", Some("gpt_integration.maclink.enabled")),
    ("WS_MAX_CONNECTIONS", Some("websocket.max_connections")),
    ("WS_HEARTBEAT_INTERVAL", Some("websocket.ping_interval")),
    ("WS_CONNECTION_TIMEOUT", Some("websocket.ping_timeout")),
    ("WS_MESSAGE_SIZE_LIMIT", Some("websocket.max_message_size")),
    ("AUDIT_ENABLED", Some("audit.enabled")),
    ("AUDIT_LOG_ALL_ACTIONS", None),
    ("AUDIT_RETENTION_DAYS", Some("retention.audit")),
    ("AUDIT_EXPORT_FORMAT", None),
    ("MAX_CONCURRENT_WORKFLOWS", Some("workflow_engine.max_concurrent_workflows")),
    ("MAX_CONCURRENT_AGENTS", Some("agent_management.max_agents")),
    ("WORKFLOW_TIMEOUT", Some("workflow_engine.workflow_timeout")),
    ("AUTO_RETRY_FAILED", None),
    ("MAX_RETRY_ATTEMPTS", Some("workflow_engine.retry_attempts")),
    ("AGENT_TIMEOUT", Some("agent_management.agent_timeout")),
    ("AGENT_HEARTBEAT_INTERVAL", Some("agent_management.agent_heartbeat_interval")),
    ("DEFAULT_AGENT_TYPE", None),
    ("GUI_ENABLED", None),
    ("GUI_PORT", Some("api.port")),
    ("GUI_HOST", Some("api.host")),
    ("GUI_BUILD_PATH", None),
    ("GUI_SERVE_STATIC", None),
    ("OLLAMA_HOST", None),
    ("OLLAMA_PORT", None),
];

/// Whether the path is known and without effect.
pub fn is_known(path: &str) -> bool {
    KNOWN.iter().any(|known| match known.strip_suffix(".*") {
        Some(section) => {
            path == section || path.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'))
        }
        None => path == *known,
    })
}

/// A bare variable of the predecessor that is set and not read: its name, and the name that is, where there is one.
pub fn bare_variables<'a>(names: impl Iterator<Item = &'a str>) -> Vec<(&'static str, Option<String>)> {
    let names: std::collections::BTreeSet<&str> = names.collect();
    let set = BARE_ENV.iter().filter(|(name, _)| names.contains(name));
    set.map(|(name, key)| (*name, key.map(variable))).collect()
}

/// The variable that sets a key.
pub fn variable(path: &str) -> String {
    format!("{}{}", super::ENV_PREFIX, path.to_ascii_uppercase().replace('.', "__"))
}
