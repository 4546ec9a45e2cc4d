#include "guest/page_table.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "guest/buddy.hpp"
#include "support/guest_machine.hpp"
#include "support/random.hpp"

namespace vmem::guest {
namespace {

constexpr std::uint64_t kUserPage = kPtePresent | kPteWrite | kPteUser;

std::uint64_t span_of(int level) { return 1ull << (12 + 9 * level); }  ///< of a whole table

struct Leaf {
  int level;
  std::uint64_t entry;
  std::uint64_t bytes() const { return span_of(level - 1); }
};

/// Leaves by address; tables, the root aside, as (level, first address).
struct Model {
  int levels;
  std::map<std::uint64_t, Leaf> leaves{};
  std::set<std::pair<int, std::uint64_t>> tables{};

  const std::pair<const std::uint64_t, Leaf>* leaf_at(std::uint64_t va) const {
    auto at = leaves.upper_bound(va);
    if (at == leaves.begin()) return nullptr;
    --at;
    return va < at->first + at->second.bytes() ? &*at : nullptr;
  }
  /// Of the entry that a walk to `va` ends at.
  int level_at(std::uint64_t va) const {
    if (const auto* leaf = leaf_at(va)) return leaf->second.level;
    int level = levels;
    while (level > 1 && tables.count({level - 1, va / span_of(level - 1) * span_of(level - 1)}) != 0) --level;
    return level;
  }
  void make_tables(std::uint64_t va, int leaf_level) {
    for (int level = levels - 1; level >= leaf_level; --level)
      tables.insert({level, va / span_of(level) * span_of(level)});
  }
  std::uint64_t end_below(std::uint64_t va) const {
    const auto at = leaves.lower_bound(va);
    return at == leaves.begin() ? 0 : std::prev(at)->first + std::prev(at)->second.bytes();
  }
  std::uint64_t start_from(std::uint64_t va) const {
    const auto at = leaves.lower_bound(va);
    return at == leaves.end() ? ~0ull : at->first;
  }
};

/// A table under test, its model, and a processor that walks it.
struct Duel {
  test::BareGuest guest{test::vm_config(vmm::MmuMode::native, 64ull << 20)};
  hw::Vcpu& vcpu = guest.vcpu;
  PageAllocator pages{vcpu, 200, 16384, 1};
  std::uint64_t all_free;
  PageTable table;
  Model model;

  explicit Duel(int levels) : all_free(free()), table(vcpu, pages, levels), model{levels} {
    hw::State state = vcpu.mmu().state();
    state.cr3 = table.root().address().value;
    state.cr4 = (state.cr4 & ~hw::kCr4Pcide) | (levels == 5 ? hw::kCr4La57 : 0);
    vcpu.mmu().set_state(state);
  }
  std::uint64_t free() { return pages.free_frames(vcpu); }

  void map(std::uint64_t va, PageSize size, std::uint64_t entry) {
    const int level = leaf_level(size);
    va = va / page_bytes(size) * page_bytes(size);
    const bool expected = model.leaf_at(va) != nullptr ? model.level_at(va) == level : model.level_at(va) >= level;
    REQUIRE(table.map(vcpu, Gva{va}, size, entry) == expected);
    if (!expected) return;
    model.make_tables(va, level);
    model.leaves[va] = {level, entry | (level > 1 ? kPteLarge : 0)};
  }
  void split(std::uint64_t va) {
    const auto* held = model.leaf_at(va);
    if (held == nullptr || held->second.level == 1) return;
    const auto [start, leaf] = *held;
    REQUIRE(table.split(vcpu, table.find(vcpu, Gva{va}), Need::patient) == PageTable::Split::done);
    model.leaves.erase(start);
    model.make_tables(start, leaf.level - 1);
    for (std::uint64_t i = 0; i < 512; ++i) {
      const std::uint64_t at = i * span_of(leaf.level - 2);
      model.leaves[start + at] = {leaf.level - 1, (leaf.level == 2 ? leaf.entry & ~kPteLarge : leaf.entry) + at};
    }
  }
  void clear(std::uint64_t start, std::uint64_t end) {
    if (const auto* cut = model.leaf_at(start)) start = cut->first;
    if (const auto* cut = model.leaf_at(end - 1)) end = cut->first + cut->second.bytes();
    const std::uint64_t floor = model.end_below(start), ceiling = model.start_from(end);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> seen, expected;
    for (auto at = model.leaves.lower_bound(start); at != model.leaves.end() && at->first < end;
         at = model.leaves.erase(at))
      expected.emplace_back(at->first, at->second.entry);
    const std::size_t freed = std::erase_if(model.tables, [&](const auto& held) {
      const auto [level, first] = held;
      const bool overlaps = first < end && first + span_of(level) > start;
      return overlaps && first >= floor && first + span_of(level) <= ceiling;
    });
    const bool said =
        table.clear_range(vcpu, Gva{start}, Gva{end}, Gva{floor}, Gva{ceiling},
                          [&](Gva at, const PageTable::Slot& slot) { seen.emplace_back(at.value, slot.entry); });
    REQUIRE(seen == expected);
    REQUIRE(said == (freed > 0));
  }
  void look(std::uint64_t va) {
    const PageTable::Slot slot = table.find(vcpu, Gva{va});
    const auto* held = model.leaf_at(va);
    REQUIRE(slot.present() == (held != nullptr));
    REQUIRE(slot.level == model.level_at(va));
    hw::TlbEntry translation;
    hw::Fault fault;
    REQUIRE(vcpu.mmu().probe(Gva{va}, AccessKind::load, translation, fault) == (held != nullptr));
    if (held == nullptr) return;
    REQUIRE(slot.entry == held->second.entry);
    REQUIRE(translation.physical(va) == slot.target().address().value + va % held->second.bytes());
  }
  void compare() {
    REQUIRE(table.table_frames() == model.tables.size() + 1);
    REQUIRE(free() == all_free - table.table_frames());
    pages.check(vcpu);
    auto expected = model.leaves.begin();
    table.for_range(vcpu, Gva{0}, Gva{1ull << 56}, [&](Gva at, const PageTable::Slot& slot) {
      REQUIRE(expected != model.leaves.end());
      REQUIRE(at.value == expected->first);
      REQUIRE(slot.entry == expected->second.entry);
      ++expected;
    });
    REQUIRE(expected == model.leaves.end());
  }
};

TEST_CASE("random maps, splits and clears agree with a map of leaves, down to the last table") {
  for (const int levels : {4, 5}) {
    CAPTURE(levels);
    Duel duel(levels);
    test::Random random(static_cast<std::uint64_t>(levels));
    const auto address = [&] {  // near the borders of tables of every level
      std::uint64_t va = random.below(2ull) << (levels == 5 ? 48 : 39);
      va += (random.below(3ull) << 30) + (random.below(3ull) << 21) + (random.below(4ull) << 12);
      return va + (random.one_in(2) ? 0x1f'e000 : 0);
    };
    for (int step = 0; step < 1500; ++step) {
      const std::uint64_t va = address();
      if (random.one_in(2)) {
        const auto size = static_cast<PageSize>(random.one_in(3) ? random.below(3) : 0);
        duel.map(va, size,
                 random.below(1ull << 9) << page_shift(size) | kUserPage | (random.one_in(2) ? kPteDirty : 0));
      } else if (random.one_in(8)) {
        duel.split(va);
      } else if (random.one_in(2)) {
        const std::uint64_t length = random.one_in(10) ? 1ull << 31 : (random.below(600ull) + 1) << 12;
        duel.clear(va, va + length);
      }
      duel.look(address());
      if (step % 10 == 0) duel.compare();
    }
    duel.clear(0, 1ull << (levels == 5 ? 56 : 47));
    duel.compare();
    CHECK(duel.table.table_frames() == 1);
    duel.table.destroy(duel.vcpu);
    CHECK(duel.free() == duel.all_free);
  }
}

TEST_CASE("for_range visits the leaves that overlap the range, ascending") {
  Duel duel(4);
  for (const std::uint64_t page : {0ull, 1ull, 2ull, 511ull, 512ull, 1024ull})
    duel.map(page << 12, page == 1024 ? PageSize::k2M : PageSize::k4K, (page & ~511ull) << 12 | kUserPage);
  std::vector<std::uint64_t> seen;
  duel.table.for_range(duel.vcpu, Gva{0x1000}, Gva{0x40'1000},
                       [&](Gva at, const PageTable::Slot&) { seen.push_back(at.value >> 12); });
  CHECK(seen == std::vector<std::uint64_t>{1, 2, 511, 512, 1024});  // the last one begins inside and ends outside
}

TEST_CASE("a table that a neighbour may still use stays, empty or not") {
  Duel duel(4);
  duel.map(0x20'0000, PageSize::k4K, 0x5000 | kUserPage);
  const auto clear = [&](std::uint64_t floor, std::uint64_t ceiling) {
    return duel.table.clear_range(duel.vcpu, Gva{0x20'0000}, Gva{0x20'1000}, Gva{floor}, Gva{ceiling},
                                  [](Gva, const PageTable::Slot&) {});
  };
  CHECK_FALSE(clear(0x20'0000, 0x3f'f000));  // an area begins in the last page of the table's 2 MiB
  CHECK_FALSE(clear(0x20'1000, 1ull << 47));
  CHECK(duel.table.table_frames() == 4);
  CHECK_FALSE(duel.table.find(duel.vcpu, Gva{0x20'0000}).present());
  CHECK(clear(0x20'0000, 0x40'0000));
  CHECK(duel.table.table_frames() == 3);  // those above reach further
  CHECK(clear(0, 1ull << 47));
  CHECK(duel.table.table_frames() == 1);
}

TEST_CASE("a guest without a frame for a table says so") {
  test::BareGuest guest(test::vm_config(vmm::MmuMode::native, 4ull << 20));
  PageAllocator pages(guest.vcpu, 100, 1000, 1);
  // All but three of those above the watermark.
  std::vector<Gfn> taken;
  while (const auto gfn = pages.allocate(guest.vcpu, 0, PageUse::kernel)) taken.push_back(*gfn);
  for (int i = 0; i < 3; ++i, taken.pop_back()) pages.free(guest.vcpu, taken.back(), 0);
  const std::uint64_t least = pages.free_frames(guest.vcpu) - 3;
  PageTable table(guest.vcpu, pages, 4);
  CHECK_FALSE(table.map(guest.vcpu, Gva{0x1000}, PageSize::k4K, kUserPage));
  CHECK(table.table_frames() == 3);
  CHECK(pages.free_frames(guest.vcpu) == least);
  CHECK_FALSE(table.find(guest.vcpu, Gva{0x1000}).present());
  CHECK_THROWS_AS(PageTable(guest.vcpu, pages, 4), OutOfMemory);
  table.clear_range(guest.vcpu, Gva{0}, Gva{1ull << 47}, Gva{0}, Gva{1ull << 47},
                    [](Gva, const PageTable::Slot&) { FAIL("nothing is mapped"); });
  CHECK(pages.free_frames(guest.vcpu) == least + 2);  // all but the root
}

}  // namespace
}  // namespace vmem::guest
