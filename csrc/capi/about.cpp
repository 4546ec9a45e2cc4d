// What the library says of itself.
#include <string>
#include <vector>

#include "core/counters.hpp"
#include "hw/cpu_config.hpp"
#include "vmem/status.h"
#include "vmem/version.h"

namespace {

/// Made once; the names live as long as the process, threads that end last included.
template <class Make>
const char* name_at(std::uint32_t number, Make&& make) noexcept {
  try {
    static const auto& names = *new std::vector<std::string>(make());
    return number < names.size() ? names[number].c_str() : nullptr;
  } catch (...) {  // no memory
    return nullptr;
  }
}

}  // namespace

const char* vmem_status_name(vmem_status status) {
  switch (status) {
#define X(name) \
  case name:    \
    return #name;
    X(VMEM_OK)
    X(VMEM_FAULT)
    X(VMEM_SEGFAULT)
    X(VMEM_STOPPED)
    X(VMEM_E_ARGUMENT)
    X(VMEM_E_HANDLE)
    X(VMEM_E_STRUCTURE)
    X(VMEM_E_MEMORY)
    X(VMEM_E_CALLBACK)
    X(VMEM_E_BUSY)
    X(VMEM_E_INVARIANT)
    X(VMEM_E_INTERNAL)
    X(VMEM_E_IO)
#undef X
    default:
      return "unknown";
  }
}

uint32_t vmem_abi_version(void) { return VMEM_ABI_VERSION; }

const char* vmem_version(void) { return VMEM_VERSION; }

const char* vmem_counter_name(uint32_t number) {
  return name_at(number, [] {
    std::vector<std::string> names;
    vmem::Counters{}.for_each([&](std::string_view prefix, std::string_view name, std::uint64_t) {
      names.push_back(std::string(prefix) + std::string(name));
    });
    return names;
  });
}

const char* vmem_cpu_name(uint32_t number) { return name_at(number, vmem::hw::cpu_preset_names); }
