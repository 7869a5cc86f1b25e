/* A module whose struct has the right size and version, and no function. With -DSHORT the size is too small. */
#include "alex_module.h"

const AlexBaseModule *alex_base_module(uint32_t host_abi_version) {
#ifdef SHORT
  static const AlexBaseModule module = {.struct_size = 16, .abi_version = ALEX_ABI_VERSION};
#else
  static const AlexBaseModule module = {.struct_size = sizeof module, .abi_version = ALEX_ABI_VERSION};
#endif
  (void)host_abi_version;
  return &module;
}
