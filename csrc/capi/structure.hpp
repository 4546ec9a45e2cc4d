// Structures that the caller may have compiled against another version of the interface.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>

#include "capi/refusal.hpp"

namespace vmem::capi {

[[noreturn]] inline void wrong_size(const char* name, std::uint64_t size, std::size_t accepted) {
  throw Refusal(VMEM_E_STRUCTURE, std::string(name) + "->size is " + std::to_string(size) + "; accepted is " +
                                      std::to_string(accepted) + " (VMEM_INIT sets it)");
}

/// What the caller gave, by the members of this version. `kFirst` is the size of the structure's first version. No
/// version ends within a member: a pointer of which one half is given leads nowhere.
template <class T, std::size_t kFirst = sizeof(T)>
T taken(const T* given, const char* name) {
  const std::uint32_t size = required(given, name).size;
  const auto* const bytes = reinterpret_cast<const unsigned char*>(given);
  constexpr std::uint32_t kMost = 4096;  // so much of a newer structure is looked at
  if (size < kFirst || size > kMost || size % alignof(T) != 0 ||
      std::any_of(bytes + std::min<std::size_t>(size, sizeof(T)), bytes + size, [](unsigned char b) { return b != 0; }))
    wrong_size(name, size, sizeof(T));
  T copy{};
  std::memcpy(&copy, given, std::min<std::size_t>(size, sizeof(T)));
  return copy;
}

/// A structure to fill: one that is shorter than ours could not hold what we write.
template <class T>
T& filled(T* given, const char* name) {
  if (required(given, name).size < sizeof(T)) [[unlikely]]
    wrong_size(name, given->size, sizeof(T));
  return *given;
}

}  // namespace vmem::capi
