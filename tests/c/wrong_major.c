/* A module of another major: it shows its struct only to a host that asks for any version. */
#include <stddef.h>
#include <stdint.h>

const void *alex_base_module(uint32_t host_abi_version) {
  static const uint32_t head[2] = {8, 7u << 16 | 3u};
  return host_abi_version == 0 ? head : NULL;
}
