#include "hw/tlb.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "support/random.hpp"

namespace vmem::hw {
namespace {

constexpr std::uint8_t k4K = 1, k2M = 2, k1G = 4;
constexpr std::uint64_t kLinear = (1ull << 57) - 1;

std::uint64_t first_of(std::uint64_t va, PageSize size) { return (va & kLinear) / page_bytes(size) * page_bytes(size); }

/// One translation as a person would write it down.
struct Held {
  std::uint64_t context;  ///< the key of its own context or of the globals
  std::uint64_t start;
  TlbEntry entry;

  bool translates(std::uint64_t va) const { return first_of(va, entry.size) == start; }
  bool of_guest_page(std::uint64_t va) const {
    return first_of(va, entry.guest_size) == first_of(start, entry.guest_size);
  }
};

/// Each set a list, least recently used first. Knows no keys, no counts of what is where.
class LevelModel {
 public:
  explicit LevelModel(const std::vector<TlbConfig>& config) {
    for (const TlbConfig& array : config)
      arrays_.push_back({array.page_sizes, array.geometry.ways,
                         std::vector<std::vector<Held>>(array.geometry.entries / array.geometry.ways)});
  }

  std::optional<TlbEntry> lookup(std::uint64_t va, const ContextKeys& keys) {
    for (const PageSize size : {PageSize::k4K, PageSize::k2M, PageSize::k1G})
      for (const std::uint64_t context : {keys.own, keys.global}) {
        std::vector<Held>* set = set_of(va, size);
        if (set == nullptr) continue;
        const auto at = std::find_if(set->begin(), set->end(), [&](const Held& held) {
          return held.context == context && held.entry.size == size && held.translates(va);
        });
        if (at == set->end()) continue;
        std::rotate(at, at + 1, set->end());
        return set->back().entry;
      }
    return std::nullopt;
  }
  bool fill(std::uint64_t va, const ContextKeys& keys, TlbEntry entry) {
    for (int size = static_cast<int>(entry.size); size >= 0; --size) {
      std::vector<Held>* set = set_of(va, static_cast<PageSize>(size));
      if (set == nullptr) continue;
      if (set->size() == ways_of(static_cast<PageSize>(size))) set->erase(set->begin());
      const std::uint64_t bytes = page_bytes(static_cast<PageSize>(size));
      entry.base = (entry.base + (va & kLinear) % page_bytes(entry.size)) / bytes * bytes;
      entry.size = static_cast<PageSize>(size);
      set->push_back({entry.global ? keys.global : keys.own, first_of(va, entry.size), entry});
      return true;
    }
    return false;
  }
  template <class Condemned>
  void drop_if(Condemned&& condemned) {
    for (Array& array : arrays_)
      for (auto& set : array.sets) std::erase_if(set, condemned);
  }
  template <class Use>
  void for_each(Use&& use) {
    for (Array& array : arrays_)
      for (auto& set : array.sets)
        for (Held& held : set) use(held);
  }

 private:
  struct Array {
    std::uint8_t page_sizes;
    std::size_t ways;
    std::vector<std::vector<Held>> sets;
  };
  Array* array_of(PageSize size) {
    for (Array& array : arrays_)
      if (array.page_sizes >> static_cast<int>(size) & 1) return &array;
    return nullptr;
  }
  std::size_t ways_of(PageSize size) { return array_of(size)->ways; }
  std::vector<Held>* set_of(std::uint64_t va, PageSize size) {
    Array* array = array_of(size);
    return array == nullptr ? nullptr : &array->sets[(va & kLinear) / page_bytes(size) % array->sets.size()];
  }
  std::vector<Array> arrays_;
};

using Contents = std::multiset<std::tuple<std::uint64_t, std::uint64_t, PageSize, PageSize, EntryFlags, std::uint64_t>>;

Contents contents(const TlbLevel& level) {
  Contents all;
  level.for_each([&](std::uint64_t key, const TlbEntry& entry) {
    all.emplace(key_address(key), entry.base, entry.size, entry.guest_size, entry.flags, key_context(key));
  });
  return all;
}
Contents contents(LevelModel& level) {
  Contents all;
  level.for_each([&](const Held& held) {
    all.emplace(held.start, held.entry.base, held.entry.size, held.entry.guest_size, held.entry.flags,
                key_context(held.context));
  });
  return all;
}

TlbEntry random_entry(test::Random& random) {
  TlbEntry entry;
  entry.size = static_cast<PageSize>(random.below(3));
  entry.guest_size = std::max(entry.size, static_cast<PageSize>(random.below(3)));
  entry.base = random.below(1ull << 46) / page_bytes(entry.size) * page_bytes(entry.size);
  entry.flags = static_cast<EntryFlags>(random.below(kEntryFlagValues));
  entry.global = random.one_in(4);
  return entry;
}

/// One of 2 × 2 × 4 × 24 pages, in both halves of the address space, in places that share sets.
std::uint64_t random_address(test::Random& random) {
  const std::uint64_t half = random.one_in(2) ? 0xffff'8000'0000'0000 : 0;
  return half + (random.below(2ull) << 30) + (random.below(4ull) << 21) + (random.below(24ull) << 12) +
         random.below(4096ull);
}

void random_step(TlbLevel& level, LevelModel& model, const std::vector<ContextKeys>& keys, test::Random& random) {
  const std::uint64_t va = random_address(random);
  const ContextKeys& own = random.pick(keys);
  const auto visible = [&](std::uint64_t context) { return context == own.own || context == own.global; };
  switch (random.below(40)) {
    case 0:
      level.drop_page(va, own);
      model.drop_if([&](const Held& held) { return visible(held.context) && held.translates(va); });
      return;
    case 1:  // as INVLPG: the page and all its parts
      level.drop_page(va, own);
      level.drop_parts(va, [&](std::uint64_t key) { return visible(context_key(key_context(key))); });
      model.drop_if([&](const Held& held) { return visible(held.context) && held.of_guest_page(va); });
      return;
    case 2: {
      std::vector<std::uint8_t> selected(8);
      for (auto& one : selected) one = random.one_in(4) ? 1 : 0;
      level.drop(selected);
      model.drop_if([&](const Held& held) { return selected[key_context(held.context)] != 0; });
      return;
    }
    case 3:
      if (!random.one_in(10)) return;
      level.drop_all();
      model.drop_if([](const Held&) { return true; });
      return;
    case 4:
      level.for_page(va, own, [](TlbEntry& entry) { entry.flags |= kEntryDirty; });
      model.for_each([&](Held& held) {
        if (visible(held.context) && held.translates(va)) held.entry.flags |= kEntryDirty;
      });
      return;
    default: {
      const TlbPlace found = level.lookup(va, own);
      const auto expected = model.lookup(va, own);
      REQUIRE(static_cast<bool>(found) == expected.has_value());
      if (expected) {
        REQUIRE(found->physical(va) == expected->physical(va));
        return;
      }
      const TlbEntry entry = random_entry(random);
      const TlbPlace place = level.fill(va, own, entry);
      REQUIRE(static_cast<bool>(place) == model.fill(va, own, entry));
      if (place) REQUIRE(place->physical(va) == entry.physical(va));
    }
  }
}

TEST_CASE("a level of any shape agrees with lists of translations") {
  ContextTable table;
  std::vector<ContextKeys> keys;
  for (std::uint16_t pcid = 1; pcid <= 3; ++pcid)
    keys.push_back({table.key({1, pcid, 0}), table.key({1, Context::kGlobal, 0}), 0});
  keys.push_back({table.key({2, 1, 0}), table.key({2, Context::kGlobal, 0}), 0});
  const std::vector<std::vector<TlbConfig>> shapes = {
      {{{16, 4}, k4K}, {{8, 2}, k2M}, {{2, 2}, k1G}},
      {{{16, 4}, k4K}},                       // large pages are fractured to 4 KiB
      {{{9, 3}, k4K | k2M}},                  // three sets; 1 GiB is fractured to 2 MiB
      {{{6, 2}, k2M}, {{4, 4}, k1G}},         // 4 KiB pages are not held
      {{{24, 24}, k4K | k2M | k1G}},          // fully associative
      {{{40, 8}, k1G | k4K}, {{7, 1}, k2M}},  // five sets; seven direct-mapped ones
  };
  for (std::size_t shape = 0; shape < shapes.size(); ++shape) {
    CAPTURE(shape);
    std::uint64_t clock = 0;
    TlbLevel level(shapes[shape], clock);
    LevelModel model(shapes[shape]);
    test::Random random(shape);
    for (int step = 0; step < 8000; ++step) {
      random_step(level, model, keys, random);
      REQUIRE(contents(level) == contents(model));
    }
  }
}

}  // namespace
}  // namespace vmem::hw
