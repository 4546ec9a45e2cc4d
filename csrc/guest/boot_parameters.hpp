// What a guest kernel is told on its command line.
#pragma once

#include <cstdint>

namespace vmem::guest {

/// What becomes of the bytes of a page that is freed.
enum class OnFree : std::uint8_t {
  keep,    ///< nothing
  zero,    ///< zeros (Linux: init_on_free=1)
  poison,  ///< kPagePoison in every byte (Linux: page_poison=1)
};
inline constexpr std::uint8_t kPagePoison = 0xaa;  ///< PAGE_POISON

struct BootParameters {
  OnFree on_free = OnFree::keep;
};

}  // namespace vmem::guest
