/* alex.drain/1 and alex.reconfigure/1 of the small module; module.h includes it where it belongs. */

/* The configuration in force. Its length is bounded by what a snapshot can hold. */
static struct {
  uint8_t text[65536];
  size_t len;
} c = {"{}", 2};

static inline void small_keep(AlexStr config) {
  pthread_mutex_lock(&m.lock);
  c.len = config.len < sizeof c.text ? config.len : 0;
  if (c.len) memcpy(c.text, config.ptr, c.len);
  else memcpy(c.text, "{}", c.len = 2);
  pthread_mutex_unlock(&m.lock);
}

/* Whether `word` stands in the text as it is. */
static inline int holds(AlexStr s, const char *word) {
  return s.len >= strlen(word) && memmem(s.ptr, s.len, word, strlen(word)) != NULL;
}

static AlexStatus small_begin(void *instance, uint32_t deadline_ms, AlexErrorBuf *err) {
  if (!IS_INSTANCE(instance)) return say(err, AlexStatus_INVALID, "no live instance");
  if (!IS_UP(m.state)) return say(err, AlexStatus_STATE, "not started");
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += deadline_ms / 1000;
  until.tv_nsec += (long)(deadline_ms % 1000) * 1000000;
  if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
  int late = 0;
  pthread_mutex_lock(&m.lock);
  m.state = AlexHealth_STATE_DRAINING;
  ON_DRAIN
  while (!(IS_AT_REST) && !late) late = pthread_cond_timedwait(&m.changed, &m.lock, &until) != 0;
  int rests = IS_AT_REST;
  pthread_mutex_unlock(&m.lock);
  return rests ? ok(err) : say(err, AlexStatus_TIMEOUT, "jobs are left");
}

static AlexStatus small_cancel(void *instance, AlexErrorBuf *err) {
  if (!IS_INSTANCE(instance)) return say(err, AlexStatus_INVALID, "no live instance");
  if (m.state != AlexHealth_STATE_DRAINING) return say(err, AlexStatus_STATE, "not draining");
  pthread_mutex_lock(&m.lock);
  ON_CANCEL
  pthread_mutex_unlock(&m.lock);
  return ok(err);
}

static AlexStatus small_export(void *instance, AlexSink out, AlexErrorBuf *err) {
  if (!IS_INSTANCE(instance)) return say(err, AlexStatus_INVALID, "no live instance");
  if (m.state != AlexHealth_STATE_DRAINING) return say(err, AlexStatus_STATE, "not draining");
  WRITE_STATE;
  return ok(err);
}

static AlexStatus small_import(void *instance, AlexStr state, AlexErrorBuf *err) {
  if (!IS_INSTANCE(instance)) return say(err, AlexStatus_INVALID, "no live instance");
  ON_IMPORT
  if (m.state != AlexHealth_STATE_INITIALIZED) return say(err, AlexStatus_STATE, "not before a start");
  if (!is_json(state, 1)) return say(err, AlexStatus_INVALID, "the state is no JSON object");
  if (!holds(state, "\"format\":1")) return say(err, AlexStatus_UNSUPPORTED, "the state has another format");
  return ok(err);
}

static AlexStatus small_judge(AlexStr config, AlexErrorBuf *err) {
  if (!TAKES_CONFIG(config)) return say(err, AlexStatus_INVALID, "the configuration is no JSON object");
  if (holds(config, "\"restart\"")) return say(err, AlexStatus_UNSUPPORTED, "`restart` needs a restart");
  return ok(err);
}

static AlexStatus small_check(void *instance, AlexStr config, AlexErrorBuf *err) {
  if (!IS_INSTANCE(instance)) return say(err, AlexStatus_INVALID, "no live instance");
  ON_CHECK
  return small_judge(config, err);
}

static AlexStatus small_apply(void *instance, AlexStr config, AlexErrorBuf *err) {
  if (!IS_INSTANCE(instance)) return say(err, AlexStatus_INVALID, "no live instance");
  if (m.state != AlexHealth_STATE_STARTED) return say(err, AlexStatus_STATE, "not started");
  ON_APPLY
  AlexStatus status = small_judge(config, err);
  if (status == AlexStatus_OK) KEEP_CONFIG(config);
  return status;
}

static AlexStatus small_config(void *instance, AlexSink out) {
  static uint8_t copy[sizeof c.text];
  if (!IS_INSTANCE(instance)) return AlexStatus_INVALID;
  pthread_mutex_lock(&m.lock);
  AlexStr text = {copy, c.len};
  memcpy(copy, c.text, c.len);
  pthread_mutex_unlock(&m.lock);
  WRITE_CONFIG;
  (void)text;
  return AlexStatus_OK;
}

static const AlexDrainExt small_drain = {small_begin, small_cancel, small_export, small_import};
static const AlexReconfigureExt small_reconfigure = {small_check, small_apply, small_config};
