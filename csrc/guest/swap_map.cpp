#include "guest/swap_map.hpp"

#include <algorithm>
#include <string>

#include "core/error.hpp"

namespace vmem::guest {

std::uint64_t SwapMap::frames_for(std::uint64_t slots) {
  const std::uint64_t clusters = (slots + kCluster - 1) / kCluster;
  return (align_up(slots * sizeof(SwapSlot), kPageSize) + align_up(clusters * 4, kPageSize)) >> kPageShift;
}

void SwapMap::create(hw::Vcpu& vcpu, std::uint64_t slots, Gpa memory) {
  slots_ = slots;
  map_ = memory;
  clusters_ = memory + align_up(slots * sizeof(SwapSlot), kPageSize);
  vcpu.store(SwapArea::kAt, SwapArea{slots, slots - 1, map_.value, clusters_.value});
  for (std::uint64_t first = 0; first < slots; first += kCluster) {
    const auto free = static_cast<std::uint32_t>(std::min(kCluster, slots - first) - (first == 0 ? 1 : 0));
    vcpu.store(cluster_entry(first / kCluster), free);
  }
}

void SwapMap::count(hw::Vcpu& vcpu, SlotNumber slot, bool freed) const {
  const std::uint64_t by = freed ? 1 : ~0ull;
  const Gpa cluster = cluster_entry(slot / kCluster);
  vcpu.store(cluster, static_cast<std::uint32_t>(vcpu.load<std::uint32_t>(cluster) + by));
  set<&SwapArea::free>(vcpu, SwapArea::kAt, free_slots(vcpu) + by);
}

std::optional<SlotNumber> SwapMap::take(hw::Vcpu& vcpu, Gfn page) {
  if (free_slots(vcpu) == 0) return std::nullopt;
  for (;;) {
    if (next_ >= slots_) next_ = 1;
    const std::uint64_t cluster = next_ / kCluster;
    const std::uint64_t end = std::min((cluster + 1) * kCluster, slots_);
    if (vcpu.load<std::uint32_t>(cluster_entry(cluster)) == 0) {
      next_ = end;
      continue;
    }
    for (; next_ < end; ++next_) {
      const auto slot = static_cast<SlotNumber>(next_);
      const SwapSlot value = at(vcpu, slot);
      if (value.page != 0 || value.entries != 0 || (value.flags & SwapSlot::kBad) != 0) continue;
      vcpu.store(entry(slot), SwapSlot{short_number(page), 0, 0, 0, 0});
      count(vcpu, slot, false);
      ++next_;
      return slot;
    }
  }
}

void SwapMap::store_and_free_if_unused(hw::Vcpu& vcpu, SlotNumber slot, const SwapSlot& value) {
  vcpu.store(entry(slot), value);
  if (value.page != 0 || value.entries != 0) return;
  if ((value.flags & SwapSlot::kBad) == 0) count(vcpu, slot, true);
}

void SwapMap::add_entry(hw::Vcpu& vcpu, SlotNumber slot) const {
  set<&SwapSlot::entries>(vcpu, entry(slot), static_cast<std::uint16_t>(at(vcpu, slot).entries + 1));
}

void SwapMap::drop_entry(hw::Vcpu& vcpu, SlotNumber slot) {
  SwapSlot value = at(vcpu, slot);
  --value.entries;
  store_and_free_if_unused(vcpu, slot, value);
}

void SwapMap::set_page(hw::Vcpu& vcpu, SlotNumber slot, Gfn page) const {
  set<&SwapSlot::page>(vcpu, entry(slot), short_number(page));
}

void SwapMap::drop_page(hw::Vcpu& vcpu, SlotNumber slot) {
  SwapSlot value = at(vcpu, slot);
  value.page = 0;
  store_and_free_if_unused(vcpu, slot, value);
}

void SwapMap::check(hw::Vcpu& vcpu) const {
  if (!exists()) return;
  std::uint64_t free = 0;
  for (std::uint64_t first = 0; first < slots_; first += kCluster) {
    std::uint32_t here = 0;
    for (std::uint64_t slot = std::max<std::uint64_t>(first, 1); slot < std::min(first + kCluster, slots_); ++slot) {
      const SwapSlot value = at(vcpu, static_cast<SlotNumber>(slot));
      if (value.page == 0 && value.entries == 0 && (value.flags & SwapSlot::kBad) == 0) ++here;
    }
    if (here != vcpu.load<std::uint32_t>(cluster_entry(first / kCluster)))
      throw InvariantError("guest swap: cluster " + std::to_string(first / kCluster) +
                           " counts other free slots than its " + std::to_string(here));
    free += here;
  }
  if (free != free_slots(vcpu))
    throw InvariantError("guest swap: " + std::to_string(free_slots(vcpu)) + " slots counted free, " +
                         std::to_string(free) + " are");
}

}  // namespace vmem::guest
