/* `health` is null. */
#define OWN_ENTRY
#include "module.h"

const AlexBaseModule *alex_base_module(uint32_t host_abi_version) {
  static const AlexBaseModule module = {sizeof module,      ALEX_ABI_VERSION, small_describe,     small_initialize,
                                        small_start,        small_stop,       small_cleanup,      NULL,
                                        small_handle_event, small_handle_webhook, small_get_extension};
  (void)small_health;
  return host_abi_version >> 16 == ALEX_ABI_MAJOR || host_abi_version == 0 ? &module : NULL;
}
