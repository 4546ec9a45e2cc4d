// How much memory the kernel keeps for itself.
#pragma once

#include <algorithm>
#include <cstdint>

namespace vmem::guest {

/// Pages below which an allocation that may not dig into reserves fails: Linux's min_free_kbytes, √(16 · memory in kB)
/// between 128 and 262,144 kB, for one zone of so many frames.
inline std::uint64_t min_watermark(std::uint64_t frames) {
  const std::uint64_t square = 16ull * 4 * frames;
  std::uint64_t root = 0;
  for (std::uint64_t bit = 1ull << 31; bit != 0; bit >>= 1)
    if ((root | bit) * (root | bit) <= square) root |= bit;
  return std::clamp<std::uint64_t>(root, 128, 262'144) / 4;
}

}  // namespace vmem::guest
