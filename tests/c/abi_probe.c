/* Names every type of the header once, so that their layout stands in this library's debug information: abidiff compares
 * it with tests/golden/abi-1.0.xml. */
#include "alex_module.h"

const AlexBaseModule *probe_module(uint32_t host_abi_version) { return (void)host_abi_version, (const AlexBaseModule *)0; }
void probe_host(const AlexHost *host) { (void)host; }
void probe_values(AlexStr str, AlexSink sink, const AlexErrorBuf *err) { (void)str, (void)sink, (void)err; }
void probe_messages(const AlexEvent *event, const AlexWebhookRequest *request, const AlexWebhookReply *reply,
                    const AlexCompletion *completion, const AlexHealth *health) {
  (void)event, (void)request, (void)reply, (void)completion, (void)health;
}
void probe_extensions(const AlexMetricsExt *metrics, const AlexDrainExt *drain, const AlexReconfigureExt *reconfigure,
                      const AlexThreadCheckExt *thread_check) {
  (void)metrics, (void)drain, (void)reconfigure, (void)thread_check;
}
