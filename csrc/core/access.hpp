// What a processor can do to a byte.
#pragma once

#include <cstdint>

namespace vmem {

/// The values are those of the `kinds` arrays of the API.
enum class AccessKind : std::uint8_t { load = 0, store = 1, fetch = 2 };
inline constexpr std::uint8_t kAccessKinds = 3;

}  // namespace vmem
