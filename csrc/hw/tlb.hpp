// One level of TLB: the arrays that hold the page sizes of that level.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/address.hpp"
#include "hw/assoc_cache.hpp"
#include "hw/context.hpp"
#include "hw/cpu_config.hpp"
#include "hw/permission.hpp"

namespace vmem::hw {

struct TlbEntry {
  std::uint64_t base = 0;  ///< physical address of the page
  EntryFlags flags = 0;
  PageSize size = PageSize::k4K;
  bool global = false;

  std::uint64_t physical(std::uint64_t va) const { return base | (va & (page_bytes(size) - 1)); }
};

/// Caches leaf translations. Never walks, and knows no rights: the Mmu composes. Page sizes without an array are fractured
/// (docs/design/mmu.md, "Filling a level").
class TlbLevel {
 public:
  explicit TlbLevel(const std::vector<TlbConfig>& config);

  /// The entry for `va`, touched; nullptr on a miss. The pointer is valid until the level changes.
  TlbEntry* lookup(std::uint64_t va, const ContextKeys& keys) {
    TlbEntry* found = nullptr;
    visit(va, keys, [&](Array& array, Array::Slot slot) {
      array.touch(slot);
      found = &array[slot];
      return true;
    });
    return found;
  }
  /// Calls `use(entry)` for every entry that translates `va`, touching none.
  template <class Use>
  void for_page(std::uint64_t va, const ContextKeys& keys, Use&& use) {
    visit(va, keys, [&](Array& array, Array::Slot slot) {
      use(array[slot]);
      return false;
    });
  }
  void fill(std::uint64_t va, const ContextKeys& keys, const TlbEntry& entry);
  /// Drops every entry that translates `va` under the given keys.
  void drop_page(std::uint64_t va, const ContextKeys& keys);
  /// Drops the entries whose context number is selected.
  void drop(const std::vector<std::uint8_t>& contexts);
  void drop_all();
  /// Calls `use(key, entry)` for every valid entry.
  template <class Use>
  void for_each(Use&& use) const {
    for (const Array& array : arrays_)
      for (Array::Slot slot = 0; slot < array.entries(); ++slot)
        if (array.key(slot) != 0) use(array.key(slot), array[slot]);
  }

 private:
  using Array = AssocCache<TlbEntry>;
  static constexpr int kNoArray = -1;

  /// Offers every matching slot to `take`, by page size; stops when it returns true.
  template <class Take>
  void visit(std::uint64_t va, const ContextKeys& keys, Take&& take) {
    for (std::size_t size = 0; size < kPageSizes; ++size) {
      if (population_[size] == 0) continue;
      Array& array = arrays_[static_cast<std::size_t>(array_of_[size])];
      const std::uint64_t page = key_page(va, kPageShift + 9 * static_cast<int>(size));
      const std::uint64_t low = page | (static_cast<std::uint64_t>(size) << kKeySizeShift);
      const Array::Slot slot = array.find(keys.own | low, page);
      if (slot != Array::kMiss && take(array, slot)) return;
      if (globals_ == 0) continue;
      const Array::Slot global = array.find(keys.global | low, page);
      if (global != Array::kMiss && take(array, global)) return;
    }
  }
  void forget(std::uint64_t key, bool global);

  std::vector<Array> arrays_;
  std::array<int, kPageSizes> array_of_{kNoArray, kNoArray, kNoArray};
  std::array<std::uint32_t, kPageSizes> population_{};  ///< valid entries by page size: an empty size is not probed
  std::uint32_t globals_ = 0;
};

}  // namespace vmem::hw
