#include "hw/assoc_cache.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "support/random.hpp"

namespace vmem::hw {
namespace {

using Cache = AssocCache<int>;

/// One set as a row of ways with the history of each: no clocks, no masks, no stamps.
class SetModel {
 public:
  SetModel(std::uint32_t ways, Replacement replacement) : keys_(ways, 0), values_(ways, 0), replacement_(replacement) {
    for (std::uint32_t span = 1; span < ways; span *= 2) tree_.emplace_back(span, false);
  }

  std::optional<std::uint32_t> find(std::uint64_t key) const {
    const auto at = std::find(keys_.begin(), keys_.end(), key);
    if (at == keys_.end()) return std::nullopt;
    return static_cast<std::uint32_t>(at - keys_.begin());
  }
  int value(std::uint32_t way) const { return values_[way]; }
  void touch(std::uint32_t way) {
    if (replacement_ == Replacement::lru) move_to_back(way);
    if (replacement_ != Replacement::plru) return;
    // tree_[depth][i]: which half of the i-th part at that depth goes next; a touch makes it the other one.
    for (std::size_t depth = 0; depth < tree_.size(); ++depth) {
      const std::size_t part = keys_.size() >> depth;
      tree_[depth][way / part] = way % part < part / 2;
    }
  }
  std::uint32_t choose(SplitMix64& random) const {
    if (const auto invalid = find(0)) return *invalid;
    if (replacement_ == Replacement::random) return static_cast<std::uint32_t>(random() % keys_.size());
    if (replacement_ != Replacement::plru) return order_.front();
    std::size_t way = 0;
    for (std::size_t depth = 0; depth < tree_.size(); ++depth) {
      const std::size_t part = keys_.size() >> depth;
      if (tree_[depth][way / part]) way += part / 2;
    }
    return static_cast<std::uint32_t>(way);
  }
  void assign(std::uint32_t way, std::uint64_t key, int value) {
    keys_[way] = key;
    values_[way] = value;
    if (replacement_ == Replacement::fifo) move_to_back(way);
    touch(way);
  }
  void erase(std::uint32_t way) { keys_[way] = 0; }

 private:
  void move_to_back(std::uint32_t way) {
    std::erase(order_, way);
    order_.push_back(way);
  }

  std::vector<std::uint64_t> keys_;
  std::vector<int> values_;
  std::vector<std::uint32_t> order_;  ///< ways, next victim first
  std::vector<std::vector<bool>> tree_;
  Replacement replacement_;
};

struct Geometry {
  std::uint32_t sets, ways;
};

void random_steps(Cache& cache, std::vector<SetModel>& model, std::uint32_t ways, SplitMix64 draws) {
  test::Random random(ways);
  const auto sets = model.size();
  std::uint64_t now = 0;
  for (int step = 0; step < 6000; ++step) {
    const std::uint64_t key = 1 + random.below(sets * ways * 2), index = key * 7;
    SetModel& set = model[index % sets];
    const auto slot_of = [&](std::uint32_t way) { return static_cast<Cache::Slot>(index % sets * ways + way); };
    const auto held = set.find(key);
    const Cache::Slot found = cache.find(key, index);
    REQUIRE(found == (held ? slot_of(*held) : Cache::kMiss));
    if (held) REQUIRE(cache[found] == set.value(*held));
    if (random.one_in(20)) {
      if (!held) continue;
      cache.erase(found);
      set.erase(*held);
    } else if (held) {
      std::uint64_t* const stamp = cache.stamp(found);
      if (stamp != nullptr && random.one_in(2)) {
        *stamp = ++now;
      } else {
        cache.touch(found, ++now);
      }
      set.touch(*held);
    } else {
      const std::uint32_t way = set.choose(draws);
      const Cache::Slot slot = cache.choose(index);
      REQUIRE(slot == slot_of(way));
      cache.assign(slot, index, key, step, ++now);
      set.assign(way, key, step);
    }
  }
}

TEST_CASE("every policy agrees with a naive model of each set") {
  for (const Replacement replacement : {Replacement::lru, Replacement::fifo, Replacement::random, Replacement::plru}) {
    for (const Geometry& shape : {Geometry{1, 1}, Geometry{1, 8}, Geometry{4, 4}, Geometry{16, 1}, Geometry{3, 2},
                                  Geometry{128, 12}, Geometry{5, 16}, Geometry{7, 64}, Geometry{2, 5}}) {
      if (replacement == Replacement::plru && !std::has_single_bit(shape.ways)) continue;
      CAPTURE(static_cast<int>(replacement));
      CAPTURE(shape.sets);
      CAPTURE(shape.ways);
      Cache cache({shape.sets * shape.ways, shape.ways, replacement, 99});
      std::vector<SetModel> model(shape.sets, SetModel(shape.ways, replacement));
      random_steps(cache, model, shape.ways, SplitMix64(99));
    }
  }
}

TEST_CASE("first in, first out does not care about hits") {
  Cache cache({2, 2, Replacement::fifo, 0});
  std::uint64_t now = 0;
  cache.assign(cache.choose(0), 0, 1, 10, ++now);
  cache.assign(cache.choose(0), 0, 2, 20, ++now);
  cache.touch(cache.find(1, 0), ++now);
  cache.assign(cache.choose(0), 0, 3, 30, ++now);
  CHECK(cache.find(1, 0) == Cache::kMiss);
  CHECK(cache.find(2, 0) != Cache::kMiss);
}

TEST_CASE("erase_if and clear leave nothing that they should take") {
  Cache cache({32, 4, Replacement::lru, 0});
  for (std::uint64_t key = 1; key <= 32; ++key) cache.assign(cache.choose(key), key, key, static_cast<int>(key), key);
  cache.erase_if([](std::uint64_t key) { return key % 3 == 0; });
  for (std::uint64_t key = 1; key <= 32; ++key) CHECK((cache.find(key, key) == Cache::kMiss) == (key % 3 == 0));
  cache.clear();
  for (std::uint64_t key = 1; key <= 32; ++key) CHECK(cache.find(key, key) == Cache::kMiss);
}

TEST_CASE("impossible geometries are refused") {
  for (const CacheGeometry& geometry :
       {CacheGeometry{0, 0}, CacheGeometry{0, 4}, CacheGeometry{4, 0}, CacheGeometry{6, 4}, CacheGeometry{2, 4},
        CacheGeometry{12, 12, Replacement::plru}, CacheGeometry{128, 128, Replacement::plru}})
    CHECK_THROWS_AS(Cache{geometry}, ConfigError);
  CHECK_NOTHROW(Cache{CacheGeometry{64, 64, Replacement::plru}});
}

}  // namespace
}  // namespace vmem::hw
