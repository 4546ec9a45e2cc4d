// Counters by name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "capi/refusal.hpp"
#include "core/counters.hpp"

namespace vmem::capi {

/// The value of that name among those that `each` hands to its argument; VMEM_E_ARGUMENT if there is none.
template <class Each>
std::uint64_t named(const char* name, Each&& each) {
  const std::string_view wanted = &required(name, "name");
  std::optional<std::uint64_t> found;
  each([&](std::string_view candidate, std::uint64_t value) {
    if (candidate == wanted) found = value;
  });
  if (!found) throw Refusal(VMEM_E_ARGUMENT, "no counter is named '" + std::string(wanted) + "'");
  return *found;
}

/// "exits.io" is the counter `io` with prefix "exits.".
inline bool is_name(std::string_view name, std::string_view prefix, std::string_view rest) {
  return name.size() == prefix.size() + rest.size() && name.starts_with(prefix) && name.ends_with(rest);
}

inline std::optional<std::uint64_t> find(const Counters& counters, std::string_view wanted) {
  std::optional<std::uint64_t> found;
  counters.for_each([&](std::string_view prefix, std::string_view name, std::uint64_t value) {
    if (is_name(wanted, prefix, name)) found = value;
  });
  return found;
}

inline std::uint64_t counter(const Counters& counters, const char* name) {
  const auto found = find(counters, &required(name, "name"));
  if (!found) throw Refusal(VMEM_E_ARGUMENT, "no counter is named '" + std::string(name) + "'");
  return *found;
}

}  // namespace vmem::capi
