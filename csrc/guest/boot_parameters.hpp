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

/// Whether the hypervisor is told of memory that is freed, by hypercall.
enum class FreeCalls : std::uint8_t {
  none,
  each,     ///< every block, at once
  batched,  ///< 512 blocks in one call; until then nobody has them
};

struct BootParameters {
  OnFree on_free = OnFree::keep;
  FreeCalls free_calls = FreeCalls::none;
};

}  // namespace vmem::guest
