#include "hw/walk.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "memory/physical_memory.hpp"
#include "support/random.hpp"
#include "support/tables.hpp"

namespace vmem::hw {
namespace {

using paging::kExecute;
using paging::kRead;
using paging::kUser;
using paging::kWrite;
using Reason = WalkEnd::Reason;
using test::kLarge;
using test::kNoExecute;
using test::kPresent;
using test::kUserPage;
using test::kWritable;

/// Keeps a record of all that a walk asks of it. Tables lie where they are said to.
struct Recorder {
  const memory::PhysicalMemory& memory;
  paging::ReservedBits reserved_bits;
  int refuse_mark_at = 0;     ///< level
  int refuse_descent_at = 0;  ///< level
  std::vector<std::uint64_t> reads{}, marks{}, descents{};

  std::uint64_t read(std::uint64_t at) {
    reads.push_back(at);
    return memory.load<std::uint64_t>(at);
  }
  const paging::ReservedBits& reserved() const { return reserved_bits; }
  bool mark_used(std::uint64_t at, std::uint64_t, const Cursor& cursor) {
    marks.push_back(at);
    return cursor.level != refuse_mark_at;
  }
  bool descend(std::uint64_t, std::uint64_t next, Cursor& cursor) {
    descents.push_back(next);
    if (cursor.level == refuse_descent_at) return false;
    cursor.table = cursor.table_gpa = next;
    --cursor.level;
    return true;
  }
};

constexpr std::uint64_t kTableFlags = kPresent | kWritable | kUserPage;
constexpr std::uint64_t kAddress = 0x0012'3456'789a'bcde;  // a different index at every level

struct Hand {
  memory::PhysicalMemory memory{1 << 20};
  test::Tables tables{memory, 16, kTableFlags};
  std::uint64_t root = tables.new_table();

  Recorder recorder() { return {memory, paging::reserved_bits_x86_64(46, true, true)}; }
  WalkEnd walk_x86(Recorder& dimension, int levels) {
    Cursor cursor{root, root, levels};
    return walk<paging::x86_64>(dimension, kAddress, cursor);
  }
};

TEST_CASE("a walk reads one entry a level, down to its leaf") {
  for (const int levels : {4, 5}) {
    for (int leaf_level = 1; leaf_level <= 3; ++leaf_level) {
      CAPTURE(levels);
      CAPTURE(leaf_level);
      Hand hand;
      const std::uint64_t entry = 0x1234'4000'0000 | kTableFlags | (leaf_level > 1 ? kLarge : 0);
      const std::uint64_t at = hand.tables.map(hand.root, levels, kAddress, leaf_level, entry);
      Recorder dimension = hand.recorder();
      const WalkEnd end = hand.walk_x86(dimension, levels);
      CHECK(end.reason == Reason::leaf);
      CHECK(end.level == leaf_level);
      CHECK(end.at == at);
      CHECK(end.entry == entry);
      CHECK(end.rights == (kRead | kWrite | kUser | kExecute));
      REQUIRE(dimension.reads.size() == static_cast<std::size_t>(levels - leaf_level + 1));
      CHECK(dimension.reads.back() == at);
      // Everything above the leaf is marked and descended through, the leaf itself is not.
      dimension.reads.pop_back();
      CHECK(dimension.marks == dimension.reads);
      CHECK(dimension.descents.size() == dimension.reads.size());
    }
  }
}

TEST_CASE("rights are the AND of the way, whichever entry withholds them") {
  constexpr std::uint64_t kBits[] = {kWritable, kUserPage, kNoExecute};
  constexpr paging::Rights kRights[] = {kWrite, kUser, kExecute};
  for (int which = 0; which < 3; ++which) {
    for (int level = 1; level <= 4; ++level) {
      Hand hand;
      hand.tables.map(hand.root, 4, kAddress, 1, 0x5000 | kTableFlags);
      Recorder probe = hand.recorder();
      hand.walk_x86(probe, 4);
      const std::uint64_t at = probe.reads[static_cast<std::size_t>(4 - level)];
      hand.memory.store(at, hand.memory.load<std::uint64_t>(at) ^ kBits[which]);
      Recorder dimension = hand.recorder();
      const WalkEnd end = hand.walk_x86(dimension, 4);
      CHECK(end.reason == Reason::leaf);
      CHECK(end.rights == (paging::kAllRights & ~kRights[which]));
    }
  }
}

TEST_CASE("an entry that stops a walk is named, and nothing below it is read") {
  for (int level = 1; level <= 4; ++level) {
    for (const bool present : {false, true}) {
      CAPTURE(level);
      CAPTURE(present);
      Hand hand;
      hand.tables.map(hand.root, 4, kAddress, 1, 0x5000 | kTableFlags);
      Recorder probe = hand.recorder();
      hand.walk_x86(probe, 4);
      const std::uint64_t at = probe.reads[static_cast<std::size_t>(4 - level)];
      // Not present beats reserved: a reserved bit stands in both.
      const std::uint64_t entry = 1ull << 50 | (present ? kPresent : 0);
      hand.memory.store(at, entry);
      Recorder dimension = hand.recorder();
      const WalkEnd end = hand.walk_x86(dimension, 4);
      CHECK(end.reason == (present ? Reason::reserved : Reason::not_present));
      CHECK(end.level == level);
      CHECK(end.at == at);
      CHECK(end.entry == entry);
      CHECK(end.rights == (kRead | kExecute));  // of the way, that entry included
      CHECK(dimension.reads.size() == static_cast<std::size_t>(5 - level));
      CHECK(dimension.marks.size() == static_cast<std::size_t>(4 - level));  // that entry was not used
    }
  }
}

TEST_CASE("a dimension that refuses ends the walk") {
  Hand hand;
  hand.tables.map(hand.root, 4, kAddress, 1, 0x5000 | kTableFlags);
  for (int level = 2; level <= 4; ++level) {
    Recorder read_only = hand.recorder(), unreachable = hand.recorder();
    read_only.refuse_mark_at = unreachable.refuse_descent_at = level;
    CHECK(hand.walk_x86(read_only, 4).reason == Reason::table_read_only);
    CHECK(read_only.descents.size() == static_cast<std::size_t>(4 - level));
    const WalkEnd end = hand.walk_x86(unreachable, 4);
    CHECK(end.reason == Reason::table_unreachable);
    CHECK(end.level == level);
    CHECK(unreachable.reads.size() == static_cast<std::size_t>(5 - level));
  }
}

TEST_CASE("a cursor in the middle goes on from there with the rights it has") {
  Hand hand;
  const std::uint64_t at = hand.tables.map(hand.root, 4, kAddress, 1, 0x5000 | kTableFlags);
  Recorder dimension = hand.recorder();
  Cursor cursor{at & ~0xfffull, at & ~0xfffull, 1, kRead | kUser};
  const WalkEnd end = walk<paging::x86_64>(dimension, kAddress, cursor);
  CHECK(end.at == at);
  CHECK(end.rights == (kRead | kUser));
  CHECK(dimension.reads == std::vector<std::uint64_t>{at});
}

/// Small tables of random entries, and a walk written out again with division and bit numbers.
TEST_CASE("random EPT tables: a walk agrees with one written out by hand") {
  test::Random random(8);
  memory::PhysicalMemory memory(64 * kPageSize);
  const paging::ReservedBits reserved = paging::reserved_bits_ept(40, true, false);
  int leaves = 0;
  for (int round = 0; round < 3000; ++round) {
    std::uint64_t at[5], entries[5], table = 1 + random.below(60ull);
    const std::uint64_t root = table << 12, address = random.below(1ull << 48);
    for (int level = 4; level >= 1; --level) {
      at[level] = table * 4096 + (address >> (12 + 9 * (level - 1))) % 512 * 8;
      table = 1 + random.below(60ull);
      entries[level] = table << 12 | (random.one_in(8) ? random.below(8ull) : 7) | (level == 1 ? 6u << 3 : 0);
      if (level > 1 && level < 4 && random.one_in(8)) entries[level] = (random.below(100ull) << 30) | 0xb7;
      if (random.one_in(20)) entries[level] ^= 1ull << random.below(64);
      memory.store(at[level], entries[level]);
    }
    Reason expected = Reason::leaf;
    std::uint64_t rights = 7;
    int level = 4;
    for (;; --level) {
      entries[level] = memory.load<std::uint64_t>(at[level]);  // two levels may share a frame, even an entry
      rights &= entries[level] % 8;
      const bool leaf = level == 1 || (level < 4 && (entries[level] >> 7 & 1));
      if (entries[level] % 8 == 0)
        expected = Reason::not_present;
      else if (reserved.violated(entries[level], level, leaf))
        expected = Reason::reserved;
      if (expected != Reason::leaf || leaf) break;
      if ((entries[level] & paging::kAddressBits) != at[level - 1] / 4096 * 4096) break;
    }
    Recorder dimension{memory, reserved};
    Cursor cursor{root, root, 4};
    if (expected == Reason::leaf && level > 1 && (entries[level] >> 7 & 1) == 0) continue;  // led elsewhere
    const WalkEnd end = walk<paging::ept>(dimension, address, cursor);
    CHECK(end.reason == expected);
    CHECK(end.level == level);
    CHECK(end.at == at[level]);
    CHECK(end.rights == (rights | kUser));
    leaves += expected == Reason::leaf ? 1 : 0;
  }
  CHECK(leaves > 1000);
}

}  // namespace
}  // namespace vmem::hw
