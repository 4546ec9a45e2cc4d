// Paging-structure caches: upper-level entries, so that a walk may start below the root.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "hw/assoc_cache.hpp"
#include "hw/context.hpp"
#include "hw/cpu_config.hpp"
#include "paging/format.hpp"

namespace vmem::hw {

/// What a cached upper-level entry gives: the next table, where it lies, and the rights accumulated down to it.
struct PscEntry {
  std::uint64_t table = 0;      ///< where the walker reads it: a combined mapping holds the host address
  std::uint64_t table_gpa = 0;  ///< the same table as the entry names it
  paging::Rights rights = 0;
  paging::Rights table_rights = paging::kAllRights;  ///< what the second stage permits in that table
};

/// One cache for each level 5 … 2 of one dimension. Never reads memory.
class PagingStructureCaches {
 public:
  explicit PagingStructureCaches(const PscConfig& config) {
    for (std::size_t level = 2; level < config.levels.size(); ++level)
      if (config.levels[level]) levels_[level].emplace(*config.levels[level]);
  }

  struct Lookup {
    const PscEntry* entry = nullptr;  ///< null: a miss
    int level = 0;                    ///< in which it stands
  };
  /// The deepest cached entry on the way to `address`, touched.
  [[gnu::always_inline]] Lookup lookup(std::uint64_t address, std::uint64_t context, int top_level) {
    const PscEntry* const deepest = lookup_in(2, address, context);
    return deepest != nullptr ? Lookup{deepest, 2} : lookup_above(address, context, top_level);
  }
  /// Precondition: this level holds nothing for `address`. So it is for every entry a walk reads: the walk would have
  /// started below it.
  void fill(int level, std::uint64_t address, std::uint64_t context, const PscEntry& entry) {
    auto& cache = levels_[static_cast<std::size_t>(level)];
    if (!cache) return;
    const std::uint64_t page = key_page(address, paging::level_shift(level));
    cache->assign(cache->choose(page), page, context | page, entry, ++clock_);
  }
  /// Drops what would be used for one address in one context.
  void drop_path(std::uint64_t address, std::uint64_t context) {
    for (int level = 2; level <= paging::kMaxLevels; ++level) {
      auto& cache = levels_[static_cast<std::size_t>(level)];
      if (!cache) continue;
      const std::uint64_t page = key_page(address, paging::level_shift(level));
      if (const auto slot = cache->find(context | page, page); slot != Cache::kMiss) cache->erase(slot);
    }
  }
  /// Drops the entries whose context number is selected.
  void drop(const std::vector<std::uint8_t>& contexts) {
    for (auto& cache : levels_)
      if (cache) cache->erase_if([&](std::uint64_t key) { return contexts[key_context(key)] != 0; });
  }
  void drop_all() {
    for (auto& cache : levels_)
      if (cache) cache->clear();
  }
  /// Calls `use(level, key, entry)` for every valid entry.
  template <class Use>
  void for_each(Use&& use) const {
    for (std::size_t level = 2; level < levels_.size(); ++level) {
      if (!levels_[level]) continue;
      for (Cache::Slot slot = 0; slot < levels_[level]->entries(); ++slot)
        if (levels_[level]->key(slot) != 0)
          use(static_cast<int>(level), levels_[level]->key(slot), (*levels_[level])[slot]);
    }
  }

 private:
  using Cache = AssocCache<PscEntry>;

  [[gnu::always_inline]] const PscEntry* lookup_in(int level, std::uint64_t address, std::uint64_t context) {
    auto& cache = levels_[static_cast<std::size_t>(level)];
    if (!cache) return nullptr;
    const std::uint64_t page = key_page(address, paging::level_shift(level));
    const auto slot = cache->find(context | page, page);
    if (slot == Cache::kMiss) return nullptr;
    cache->touch(slot, ++clock_);
    return &(*cache)[slot];
  }
  /// The rest of `lookup`: most walks are led to a table of level 1.
  [[gnu::noinline]] Lookup lookup_above(std::uint64_t address, std::uint64_t context, int top_level) {
    for (int level = 3; level <= top_level; ++level)
      if (const PscEntry* const entry = lookup_in(level, address, context)) return {entry, level};
    return {};
  }

  std::array<std::optional<Cache>, paging::kMaxLevels + 1> levels_;
  std::uint64_t clock_ = 0;
};

}  // namespace vmem::hw
