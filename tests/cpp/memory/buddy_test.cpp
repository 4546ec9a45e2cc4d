#include "memory/buddy.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <map>
#include <vector>

#include "core/error.hpp"
#include "support/random.hpp"

namespace vmem::memory {
namespace {

/// Every frame on its own: free or not. Blocks are a map from head to order. Knows no lists and no merging.
class Model {
 public:
  Model(std::uint64_t frames, std::uint64_t reserved) : free_(frames, true) { set(0, reserved, false); }

  std::uint64_t free_frames() const { return static_cast<std::uint64_t>(std::count(free_.begin(), free_.end(), true)); }
  bool is_free(std::uint64_t first, std::uint64_t count) const {
    if (first + count > free_.size()) return false;
    for (std::uint64_t at = first; at < first + count; ++at)
      if (!free_[at]) return false;
    return true;
  }
  /// Merged as far as possible, so a block exists wherever its frames are all free.
  bool has_block(int order) const {
    for (std::uint64_t at = 0; at < free_.size(); at += 1ull << order)
      if (is_free(at, 1ull << order)) return true;
    return false;
  }
  /// The number of maximal naturally aligned free blocks of one order.
  std::uint64_t maximal_blocks(int order) const {
    std::uint64_t found = 0;
    for (std::uint64_t at = 0; at < free_.size(); at += 1ull << order) {
      const bool in_larger = order < Buddy::kMaxOrder && is_free(at & ~((2ull << order) - 1), 2ull << order);
      if (is_free(at, 1ull << order) && !in_larger) ++found;
    }
    return found;
  }
  std::uint64_t lowest_run(std::uint64_t count, std::uint64_t step) const {
    for (std::uint64_t at = step; at + count <= free_.size(); at += step)
      if (is_free(at, count)) return at;
    return 0;
  }
  void take(std::uint64_t head, int order) {
    REQUIRE(head % (1ull << order) == 0);
    REQUIRE(is_free(head, 1ull << order));  // neither outside nor anybody's
    set(head, 1ull << order, false);
    blocks[head] = order;
  }
  void release(std::uint64_t head) {
    set(head, 1ull << blocks.at(head), true);
    blocks.erase(head);
  }

  std::map<std::uint64_t, int> blocks;

 private:
  void set(std::uint64_t first, std::uint64_t count, bool free) {
    for (std::uint64_t at = first; at < first + count; ++at) free_[at] = free;
  }
  std::vector<bool> free_;
};

void compare(const Buddy& buddy, const Model& model) {
  buddy.check();
  REQUIRE(buddy.free_frames() == model.free_frames());
  for (int order = 0; order <= 13; ++order) {
    REQUIRE(buddy.has_free(order) == model.has_block(order));
    REQUIRE(buddy.free_blocks(order) == model.maximal_blocks(order));
  }
}

void random_step(Buddy& buddy, FrameTable& frames, Model& model, test::Random& random) {
  const auto any_block = [&] {
    return std::next(model.blocks.begin(), random.below(static_cast<int>(model.blocks.size())));
  };
  const int order = random.below(8);
  switch (random.below(7)) {
    case 0:
    case 1: {
      const auto head = buddy.allocate(order);
      REQUIRE(head.has_value() == model.has_block(order));
      if (head) model.take(head->value, order);
      return;
    }
    case 2: {
      const std::uint64_t at = random.below(frames.size()), head = at & ~((1ull << order) - 1);
      REQUIRE(buddy.allocate_at(Hfn{at}, order) == model.is_free(head, 1ull << order));
      if (model.is_free(head, 1ull << order)) model.take(head, order);
      return;
    }
    case 3: {  // a run in the middle of nowhere: its blocks are cut naturally
      const std::uint64_t count = random.below(300ull) + 1, step = 1ull << order;
      const std::uint64_t expected = model.lowest_run(count, step);
      const auto first = buddy.allocate_range(count, order);
      REQUIRE((first ? first->value : 0) == expected);
      for (std::uint64_t at = expected; first && at < expected + count; at += 1ull << frames[Hfn{at}].order)
        model.take(at, frames[Hfn{at}].order);
      return;
    }
    case 4: {
      if (model.blocks.empty()) return;
      const auto [head, whole] = *any_block();
      const int to = random.below(whole + 1);
      frames[Hfn{head}].use = FrameUse::guest;
      frames[Hfn{head}].gfn = 1000;
      buddy.split(Hfn{head}, to);
      for (std::uint64_t part = 0; part < 1ull << whole; part += 1ull << to) {
        model.blocks[head + part] = to;
        REQUIRE(frames[Hfn{head + part}].gfn == 1000 + part);
        REQUIRE(frames[Hfn{head + part}].use == FrameUse::guest);
      }
      return;
    }
    default: {
      if (model.blocks.empty()) return;
      const auto [head, whole] = *any_block();
      REQUIRE(frames[Hfn{head}].order == whole);
      buddy.free(Hfn{head}, whole);
      model.release(head);
    }
  }
}

TEST_CASE("random allocation agrees with a map of frames, and everything merges in the end") {
  // Sizes that are no power of two, so that the last blocks are small; the last one is beyond one block of the model.
  for (const auto& [size, reserved] :
       std::map<std::uint64_t, std::uint64_t>{{63, 1}, {1000, 17}, {4096, 1}, {5001, 300}}) {
    CAPTURE(size);
    FrameTable frames(size);
    Buddy buddy(frames, reserved);
    Model model(size, reserved);
    compare(buddy, model);
    test::Random random(size);
    for (int step = 0; step < 1500; ++step) {
      random_step(buddy, frames, model, random);
      compare(buddy, model);
    }
    while (!model.blocks.empty()) {
      const auto [head, order] = *model.blocks.begin();
      buddy.free(Hfn{head}, order);
      model.release(head);
    }
    compare(buddy, model);
    CHECK(buddy.free_frames() == size - reserved);
  }
}

TEST_CASE("1 GiB blocks are found, cut and merged again") {
  constexpr std::uint64_t kGiB = 1ull << Buddy::kMaxOrder;
  FrameTable frames(3 * kGiB + 5);
  Buddy buddy(frames, 1);
  CHECK(buddy.free_blocks(Buddy::kMaxOrder) == 2);  // frame 0 breaks the first
  const auto first = buddy.allocate(Buddy::kMaxOrder), second = buddy.allocate(Buddy::kMaxOrder);
  REQUIRE(first);
  REQUIRE(second);
  CHECK(first->value % kGiB == 0);
  CHECK(second->value % kGiB == 0);
  CHECK(first->value != second->value);
  CHECK_FALSE(buddy.allocate(Buddy::kMaxOrder));
  buddy.split(*first, 9);
  for (std::uint64_t at = 0; at < kGiB; at += 512) buddy.free(*first + at, 9);
  buddy.free(*second, Buddy::kMaxOrder);
  buddy.check();
  CHECK(buddy.free_blocks(Buddy::kMaxOrder) == 2);
  CHECK(buddy.free_frames() == 3 * kGiB + 4);
}

TEST_CASE("check() notices what breaks the lists") {
  FrameTable frames(256);
  Buddy buddy(frames, 1);
  const auto head = buddy.allocate(3);
  REQUIRE(head);
  CHECK_NOTHROW(buddy.check());
  SUBCASE("a free head that claims to be allocated") { frames[Hfn{128}].use = FrameUse::guest; }
  SUBCASE("a free head of the wrong order") { frames[Hfn{128}].order = 3; }
  SUBCASE("a broken back link") { frames[Hfn{128}].previous = 7; }
  SUBCASE("a list that runs in a circle") { frames[Hfn{64}].next = 64; }
  SUBCASE("a list that ends early") { frames[Hfn{64}].next = 128; }
  CHECK_THROWS_AS(buddy.check(), InvariantError);
}

}  // namespace
}  // namespace vmem::memory
