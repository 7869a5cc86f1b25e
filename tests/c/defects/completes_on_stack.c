/* Answers within handle_webhook. */
#define ON_WEBHOOK_GOOD if (m.state == AlexHealth_STATE_STARTED) { AlexWebhookReply reply = {sizeof reply, 200, str("{}"), str("")}; completion.done(completion.ctx, AlexStatus_OK, &reply); return ok(err); }
#include "module.h"
