// One level of TLB: the arrays that hold the page sizes of that level.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <vector>

#include "core/address.hpp"
#include "hw/context.hpp"
#include "hw/cpu_config.hpp"
#include "hw/shortcuts.hpp"
#include "hw/tlb_entry.hpp"

namespace vmem::hw {

/// Caches leaf translations. Never walks, and knows no rights: the Mmu composes. Page sizes without an array are
/// fractured (docs/design/mmu.md, "Filling a level").
class alignas(512) TlbLevel {  // of a row of levels one is found by a shift
 public:
  /// `clock` counts touches, of this level and of others. `shortcuts`, of the first level only, is told of every entry
  /// that goes. Both outlive the level.
  TlbLevel(const std::vector<TlbConfig>& config, std::uint64_t& clock, Shortcuts* shortcuts = nullptr,
           Side side = Side::data);
  TlbLevel(const TlbLevel&) = delete;
  TlbLevel& operator=(const TlbLevel&) = delete;

  /// The place of the entry for `va`, touched; none on a miss. Valid until the level changes.
  [[gnu::always_inline]] TlbPlace lookup(std::uint64_t va, const ContextKeys& keys) {
    if (TlbArray* const array = array_of_[0]; array != nullptr) [[likely]] {
      const std::uint64_t page = key_page(va, kPageShift);
      const TlbArray::Slot slot = array->find(keys.own | page, page);
      if (slot != TlbArray::kMiss) {
        array->touch(slot, ++clock_);
        return {array, slot};
      }
    }
    return others_ == 0 ? TlbPlace{} : lookup_others(va, keys);
  }
  /// Calls `use(entry)`, which may change what it permits, for every entry that translates `va`, touching none.
  template <class Use>
  void for_page(std::uint64_t va, const ContextKeys& keys, Use&& use) {
    visit(va, keys, [&](TlbArray& array, TlbArray::Slot slot) {
      use(array[slot]);
      if (shortcuts_ != nullptr) shortcuts_->forget(va, side_, array[slot].size);
      return false;
    });
  }
  /// Precondition: no entry of this level translates `va` under these keys. So it is whenever a fill follows a miss or
  /// a fault. Returns where it is held; none if the level has no array for it.
  [[gnu::always_inline]] TlbPlace fill(std::uint64_t va, const ContextKeys& keys, const TlbEntry& entry) {
    if (!entry.is_plain() || array_of_[0] == nullptr) [[unlikely]]
      return fill_other(va, keys, entry);
    TlbArray& array = *array_of_[0];
    const std::uint64_t page = key_page(va, kPageShift);
    const TlbArray::Slot slot = array.choose(page);
    if (const std::uint64_t key = array.key(slot); key != 0 && others_ == 0) [[likely]] {
      if (shortcuts_ != nullptr) shortcuts_->forget_small(key << kPageShift, side_);
    } else {
      replace(array, slot, va, entry);
    }
    array.assign(slot, page, keys.own | page, entry, ++clock_);
    return {&array, slot};
  }
  /// Drops every entry that translates `va` under the given keys.
  void drop_page(std::uint64_t va, const ContextKeys& keys);
  /// Drops every entry of a context that `matches(key)` and of the guest's page around `va`, if that page is held in
  /// parts. The entries that translate `va` itself may be kept: they are `drop_page`'s.
  template <class Matches>
  void drop_parts(std::uint64_t va, Matches&& matches) {
    if (parts_[parts_line(va, PageSize::k2M)] == 0 && parts_[parts_line(va, PageSize::k1G)] == 0) return;
    for (TlbArray& array : arrays_)
      for (TlbArray::Slot slot = 0; slot < array.entries(); ++slot) {
        const std::uint64_t key = array.key(slot);
        if (key == 0 || !array[slot].is_part() || !matches(key)) continue;
        const int shift = page_shift(array[slot].guest_size);
        if (key_page(key_address(key), shift) == key_page(va, shift)) erase(array, slot);
      }
  }
  /// Drops the entries whose context number is selected.
  void drop(const std::vector<std::uint8_t>& contexts);
  void drop_all();
  /// Calls `use(key, entry)` for every valid entry.
  template <class Use>
  void for_each(Use&& use) const {
    for (const TlbArray& array : arrays_)
      for (TlbArray::Slot slot = 0; slot < array.entries(); ++slot)
        if (array.key(slot) != 0) use(array.key(slot), array[slot]);
  }

 private:
  /// Offers every matching slot to `take`, by page size; stops when it returns true.
  template <class Take>
  void visit(std::uint64_t va, const ContextKeys& keys, Take&& take) {
    for (unsigned sizes = populated_; sizes != 0; sizes &= sizes - 1) {
      const auto size = static_cast<std::size_t>(std::countr_zero(sizes));
      TlbArray& array = *array_of_[size];
      const std::uint64_t page = key_page(va, kPageShift + 9 * static_cast<int>(size));
      const std::uint64_t low = page | (static_cast<std::uint64_t>(size) << kKeySizeShift);
      const TlbArray::Slot slot = array.find(keys.own | low, page);
      if (slot != TlbArray::kMiss && take(array, slot)) return;
      if (globals_ == 0) continue;
      const TlbArray::Slot global = array.find(keys.global | low, page);
      if (global != TlbArray::kMiss && take(array, global)) return;
    }
  }
  /// The rest of `lookup`: a function of its own, so that the search for a 4 KiB page of this context, which is most,
  /// goes straight on.
  [[gnu::noinline]] TlbPlace lookup_others(std::uint64_t va, const ContextKeys& keys);
  void erase(TlbArray& array, TlbArray::Slot slot);
  void forget_shortcuts(std::uint64_t key, PageSize size) {
    if (shortcuts_ != nullptr) shortcuts_->forget(key_address(key), side_, size);
  }

  static constexpr std::size_t kPartsLines = 64;
  static std::size_t parts_line(std::uint64_t va, PageSize guest_size) {
    return static_cast<std::size_t>(key_page(va, page_shift(guest_size)) * 2 + (guest_size == PageSize::k1G ? 1 : 0)) %
           kPartsLines;
  }

  /// Any entry; larger than any page that the level has an array for, it becomes the largest smaller one around `va`.
  [[gnu::noinline]] TlbPlace fill_other(std::uint64_t va, const ContextKeys& keys, const TlbEntry& entry);
  /// Bookkeeping before `entry` takes that slot from what stands there, if anything does.
  [[gnu::noinline]] void replace(const TlbArray& array, TlbArray::Slot slot, std::uint64_t va, const TlbEntry& entry);
  void count_in(std::uint64_t va, const TlbEntry& entry);
  void count_out(std::uint64_t va, const TlbEntry& entry);

  std::vector<TlbArray> arrays_;
  std::array<TlbArray*, kPageSizes> array_of_{};        ///< null: no array for that page size
  std::array<std::uint32_t, kPageSizes> population_{};  ///< valid entries by page size
  unsigned populated_ = 0;  ///< a bit for each page size that has any: the others are not probed
  std::uint32_t globals_ = 0;
  std::uint32_t others_ = 0;  ///< entries that are not plain
  /// Entries that are parts of a guest's page, by a few bits of its number: dropping a page that is not here is quick.
  std::array<std::uint32_t, kPartsLines> parts_{};
  std::uint64_t& clock_;
  Shortcuts* shortcuts_;
  Side side_;
};

}  // namespace vmem::hw
