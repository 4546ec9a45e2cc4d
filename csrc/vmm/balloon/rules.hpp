// What the standard forbids a balloon driver, as far as a device can see it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vmem::vmm::balloon {

// clang-format off
/// name, the rule of virtio 1.2 that was broken
#define VMEM_BALLOON_RULES(X)                                                                                       \
  X(pfn_outside, "5.5.6: a page that is not in guest memory was inflated or deflated")                              \
  X(inflated_twice, "5.5.6.1: a page that is in the balloon was inflated again: the driver had used it")             \
  X(deflated_not_inflated, "5.5.6.1: a page was deflated whose inflation had not been acknowledged")                 \
  X(used_before_told, "5.5.3 MUST_TELL_HOST: a page was used before its deflation was acknowledged")                 \
  X(below_target, "5.5.6.1 without DEFLATE_ON_OOM: balloon pages were used although the host asked for them")        \
  X(actual_wrong, "5.5.6.1: `actual` is not the number of pages in the balloon after a request")                     \
  X(second_stats_buffer, "5.5.6.3.1: more than one buffer in the statistics queue")                                  \
  X(bad_stats, "5.5.6.3: a statistics buffer is no whole number of 10-byte entries")                                 \
  X(free_inflated, "5.5.6.1: a page was reported or hinted as free that is in the balloon: it had not been deflated")  \
  X(unknown_hint_id, "5.5.6.4.1: a command id was told that the device has never given")                             \
  X(hint_id_repeated, "5.5.6.4.1: the id of a round was told twice")                                                 \
  X(hint_without_id, "5.5.6.4.1: pages were hinted before a command id")                                             \
  X(poison_changed, "5.5.6.6: poison_val was written after DRIVER_OK")                                               \
  X(read_only_config, "5.5.4: the driver wrote a field that is the device's")
// clang-format on

enum class Rule : std::uint8_t {
#define X(name, text) name,
  VMEM_BALLOON_RULES(X)
#undef X
};
#define X(name, text) +1
inline constexpr std::size_t kRules = 0 VMEM_BALLOON_RULES(X);
#undef X

}  // namespace vmem::vmm::balloon
