// gPA → hPA cache of the second dimension.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <optional>

#include "core/address.hpp"
#include "hw/assoc_cache.hpp"
#include "hw/context.hpp"
#include "paging/format.hpp"

namespace vmem::hw {

/// A leaf of the second stage.
struct HostMapping {
  std::uint64_t base = 0;  ///< host-physical address of the page
  paging::Rights rights = 0;
  bool dirty = false;
  PageSize size = PageSize::k4K;

  std::uint64_t physical(std::uint64_t gpa) const { return base | (gpa & (page_bytes(size) - 1)); }
};

/// Optional: without a geometry it never holds anything.
class NestedTlb {
 public:
  explicit NestedTlb(const std::optional<CacheGeometry>& geometry) {
    if (geometry) cache_.emplace(*geometry);
  }

  struct Lookup {
    const HostMapping* mapping = nullptr;
    bool unsuited = false;  ///< one is held that does not suit: what is found instead must replace it
  };
  /// The mapping of `gpa` if one is held that `suits(mapping)`; touched then, and only then.
  template <class Suits>
  [[gnu::always_inline]] Lookup lookup(std::uint64_t gpa, std::uint64_t context, const Suits& suits) {
    Lookup small;
    if (populated_ & kSmall) small = look_up_size(gpa, PageSize::k4K, context, suits);
    if (small.mapping != nullptr || (populated_ & ~kSmall) == 0) [[likely]]
      return small;
    const Lookup large = look_up_large(gpa, context, suits);
    return {large.mapping, small.unsuited || large.unsuited};
  }
  /// Precondition: no mapping of `gpa` is held that is of this size.
  [[gnu::always_inline]] void fill(std::uint64_t gpa, std::uint64_t context, const HostMapping& mapping) {
    if (!cache_) return;
    const auto [key, page] = key_of(gpa, mapping.size, context);
    const auto slot = cache_->choose(page);
    const std::uint64_t old = cache_->key(slot);
    if (old == 0 || (*cache_)[slot].size != mapping.size) [[unlikely]] {
      if (old != 0) count_out((*cache_)[slot].size);
      count_in(mapping.size);
    }
    cache_->assign(slot, page, key, mapping, ++clock_);
  }
  /// As `fill`, in the place of a mapping of this size if one is held.
  [[gnu::noinline]] void replace(std::uint64_t gpa, std::uint64_t context, HostMapping mapping) {
    const auto [key, page] = key_of(gpa, mapping.size, context);
    const auto old = cache_->find(key, page);
    if (old == Cache::kMiss) {
      fill(gpa, context, mapping);
    } else {
      (*cache_)[old] = mapping;
      cache_->touch(old, ++clock_);
    }
  }
  void drop_address(std::uint64_t gpa, std::uint64_t context) {
    if (!cache_) return;
    for (std::size_t size = 0; size < kPageSizes; ++size) {
      const auto [key, page] = key_of(gpa, static_cast<PageSize>(size), context);
      const auto slot = cache_->find(key, page);
      if (slot == Cache::kMiss) continue;
      count_out(static_cast<PageSize>(size));
      cache_->erase(slot);
    }
  }
  void drop(const std::vector<std::uint8_t>& contexts) {
    if (!cache_) return;
    for (Cache::Slot slot = 0; slot < cache_->entries(); ++slot) {
      if (cache_->key(slot) == 0 || contexts[key_context(cache_->key(slot))] == 0) continue;
      count_out((*cache_)[slot].size);
      cache_->erase(slot);
    }
  }
  void drop_all() {
    if (cache_) cache_->clear();
    population_ = {};
    populated_ = 0;
  }
  /// Calls `use(key, mapping)` for every valid entry.
  template <class Use>
  void for_each(Use&& use) const {
    if (!cache_) return;
    for (Cache::Slot slot = 0; slot < cache_->entries(); ++slot)
      if (cache_->key(slot) != 0) use(cache_->key(slot), (*cache_)[slot]);
  }

 private:
  using Cache = AssocCache<HostMapping>;
  static constexpr unsigned kSmall = 1u << static_cast<unsigned>(PageSize::k4K);
  struct Key {
    std::uint64_t key;
    std::uint64_t page;
  };
  static Key key_of(std::uint64_t gpa, PageSize size, std::uint64_t context) {
    const std::uint64_t page = key_page(gpa, page_shift(size));
    return {context | (static_cast<std::uint64_t>(size) << kKeySizeShift) | page, page};
  }

  template <class Suits>
  [[gnu::always_inline]] Lookup look_up_size(std::uint64_t gpa, PageSize size, std::uint64_t context,
                                             const Suits& suits) {
    const auto [key, page] = key_of(gpa, size, context);
    const auto slot = cache_->find(key, page);
    if (slot == Cache::kMiss) return {};
    const HostMapping& mapping = (*cache_)[slot];
    if (!suits(mapping)) return {nullptr, true};
    cache_->touch(slot, ++clock_);
    return {&mapping, false};
  }
  template <class Suits>
  [[gnu::noinline]] Lookup look_up_large(std::uint64_t gpa, std::uint64_t context, Suits suits) {
    Lookup found;
    for (unsigned sizes = populated_ & ~kSmall; sizes != 0 && found.mapping == nullptr; sizes &= sizes - 1) {
      const auto size = static_cast<PageSize>(std::countr_zero(sizes));
      const Lookup held = look_up_size(gpa, size, context, suits);
      found = {held.mapping, found.unsuited || held.unsuited};
    }
    return found;
  }

  void count_in(PageSize size) {
    ++population_[static_cast<std::size_t>(size)];
    populated_ |= 1u << static_cast<unsigned>(size);
  }
  void count_out(PageSize size) {
    if (--population_[static_cast<std::size_t>(size)] == 0) populated_ &= ~(1u << static_cast<unsigned>(size));
  }

  std::optional<Cache> cache_;
  std::uint64_t clock_ = 0;
  std::array<std::uint32_t, kPageSizes> population_{};  ///< valid mappings by page size
  unsigned populated_ = 0;                              ///< a bit for each page size that has any
};

}  // namespace vmem::hw
