// Shortcuts alone, and in two Mmus of one configuration that run the same stream: one asks its shortcuts first, the
// other makes every access.
#include "hw/shortcuts.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "hw/mmu.hpp"
#include "memory/physical_memory.hpp"
#include "support/random.hpp"
#include "support/tables.hpp"

namespace vmem::hw {
namespace {

using Values = std::vector<std::uint64_t>;

Values values_of(const Counters& counters) {
  Values values;
  counters.for_each([&](std::string_view, std::string_view, std::uint64_t value) { values.push_back(value); });
  return values;
}

constexpr std::uint64_t kTableFlags = test::kPresent | test::kWritable | test::kUserPage;
constexpr std::uint64_t kSecondStageTables = 600, kGuestTables = 16;           // first frames
constexpr std::uint64_t kRegions[] = {0x4000'0000, 0x8000'0000, 0xc000'0000};  // by page size

/// One machine: tables of two address spaces, a second stage if there is one, and the Mmu.
struct Machine {
  memory::PhysicalMemory memory{8 << 20};
  test::Tables guest{memory, kGuestTables, kTableFlags};
  std::uint64_t roots[2] = {guest.new_table(), guest.new_table()};
  std::vector<std::uint64_t> leaves;  ///< addresses of the guest's leaf entries
  Mmu mmu;

  Machine(const CpuConfig& cpu, SecondStageKind kind, test::Random random) : mmu({memory.data(), memory.size()}, cpu) {
    for (const std::uint64_t root : roots)
      for (int size = 0; size < 3; ++size)
        for (std::uint64_t page = 0; page < 30; ++page)
          leaves.push_back(
              guest.map(root, 4, kRegions[size] + (page << (12 + 9 * size)), size + 1, random_leaf(random, size)));
    State state = mmu.state();
    state.cr3 = roots[0];
    state.cr4 |= kCr4Pcide | kCr4Pge;
    if (kind != SecondStageKind::none) state.second_stage_root = second_stage(kind, random);
    state.second_stage = kind;
    mmu.set_state(state);
  }

  static std::uint64_t random_leaf(test::Random& random, int size) {
    std::uint64_t entry = (random.below(4ull) << 30) | (random.below(512ull) << 21) | (random.below(512ull) << 12);
    entry = entry >> (12 + 9 * size) << (12 + 9 * size);
    entry |= kTableFlags | (size > 0 ? test::kLarge : 0);
    if (random.one_in(3)) entry ^= test::kWritable;
    if (random.one_in(6)) entry ^= test::kUserPage;
    if (random.one_in(3)) entry ^= test::kNoExecute;
    if (random.one_in(4)) entry |= test::kGlobalPage;
    if (random.one_in(10)) entry ^= test::kPresent;
    return entry | random.below(3ull) << 59;  // protection key
  }

  /// The tables themselves identically by small pages, the rest by 2 MiB and 1 GiB, with rights taken away here and
  /// there.
  std::uint64_t second_stage(SecondStageKind kind, test::Random& random) {
    const bool ept = kind == SecondStageKind::ept;
    const std::uint64_t all = ept ? 7 : kTableFlags, leaf = ept ? 7 | paging::kEptWriteBack : kTableFlags;
    test::Tables tables(memory, kSecondStageTables, all);
    const std::uint64_t root = tables.new_table();
    for (std::uint64_t gpa = 0; gpa < memory.size(); gpa += kPageSize) tables.map(root, 4, gpa, 1, gpa | leaf);
    for (std::uint64_t gpa = 8 << 20; gpa < 2ull << 30; gpa += 2 << 20)
      if (!random.one_in(10))
        tables.map(root, 4, gpa, 2, gpa | (random.one_in(4) ? leaf & ~2ull : leaf) | test::kLarge);
    for (std::uint64_t gpa = 2ull << 30; gpa < 4ull << 30; gpa += 1 << 30)
      tables.map(root, 4, gpa, 3, gpa | leaf | test::kLarge);
    return ept ? root | 3 << 3 | 6 | kEptpAccessedDirty : root;
  }
};

constexpr std::uint64_t kSwitches[] = {kCr4Smep, kCr4Smap, kCr4Pke, kCr4Pge};

/// Something other than an access, done to both machines alike.
void disturb(Machine& machine, test::Random random, std::uint64_t va) {
  Mmu& mmu = machine.mmu;
  const std::uint64_t root = machine.roots[random.below(2)], pcid = random.below(3ull);
  State state = mmu.state();
  switch (random.below(10)) {
    case 0:
    case 1:  // an edit that nobody announces
      machine.memory.store(random.pick(machine.leaves), Machine::random_leaf(random, 0));
      return;
    case 2:
      return mmu.invlpg({va});
    case 3:
      return mmu.mov_cr3(root | pcid | (random.one_in(2) ? kCr3NoFlush : 0));
    case 4:
      return mmu.mov_cr4(state.cr4 ^ random.pick(kSwitches));
    case 5:
      return mmu.invpcid(static_cast<Mmu::InvpcidType>(random.below(4)), static_cast<std::uint16_t>(pcid), {va});
    case 6:
      return state.second_stage_root != 0 ? mmu.invept_single(state.second_stage_root) : mmu.flush();
    case 7:
      state.pkru = static_cast<std::uint32_t>(random.below(64ull));
      return mmu.set_state(state);
    case 8:
      state.cpl = random.one_in(3) ? 0 : 3;
      state.ac = random.one_in(2);
      return mmu.set_state(state);
    default:
      state.cr0 ^= kCr0Wp;
      return mmu.set_state(state);
  }
}

std::uint64_t random_address(test::Random& random, std::uint64_t last) {
  if (random.one_in(2)) return last ^ random.below(4096ull);
  if (random.one_in(200)) return 1ull << 63 | last;  // not canonical
  const int size = random.below(3);
  return kRegions[size] + (random.below(30ull) << (12 + (random.one_in(3) ? 9 : 0))) + random.below(4096ull);
}

/// Returns how often the shortcuts said yes. The two must never differ in a counter, a bit of memory or an answer.
int compare(const CpuConfig& cpu, SecondStageKind kind, std::uint64_t seed) {
  Machine quick(cpu, kind, test::Random(seed)), plain(cpu, kind, test::Random(seed));
  test::Random random(seed + 1);
  int said_yes = 0;
  std::uint64_t va = kRegions[0];
  for (int step = 0; step < 12000; ++step) {
    if (random.one_in(25)) {
      const test::Random same(random.bits());
      disturb(quick, same, va);
      disturb(plain, same, va);
    }
    va = random_address(random, va);
    const auto access = random.one_in(5) ? AccessKind::fetch : random.one_in(3) ? AccessKind::store : AccessKind::load;
    TlbEntry entry, expected;
    Fault fault, expected_fault;
    const Values before = values_of(plain.mmu.counters());
    const bool passed = plain.mmu.access({va}, access, expected, expected_fault);
    const Values after = values_of(plain.mmu.counters());
    if (quick.mmu.stretch().touch(va, access)) {
      ++said_yes;
      Counters hit;
      hit.accesses = 1;
      (access == AccessKind::fetch ? hit.l1i_hits : hit.l1d_hits) = 1;
      (access == AccessKind::load ? hit.loads : access == AccessKind::store ? hit.stores : hit.fetches) = 1;
      const Values one = values_of(hit);
      REQUIRE(passed);
      for (std::size_t i = 0; i < after.size(); ++i) REQUIRE(after[i] - before[i] == one[i]);
      quick.mmu.count_hits(hit.loads, hit.stores, hit.fetches);
    } else {
      REQUIRE(quick.mmu.access({va}, access, entry, fault) == passed);
      if (passed) REQUIRE(entry.physical(va) == expected.physical(va));
      REQUIRE(fault.error_code == expected_fault.error_code);
      REQUIRE(fault.qualification == expected_fault.qualification);
    }
    REQUIRE(values_of(quick.mmu.counters()) == after);
  }
  CHECK(std::memcmp(quick.memory.data(), plain.memory.data(), plain.memory.size()) == 0);
  return said_yes;
}

TEST_CASE("shortcuts say yes to plain first-level hits only, and changes nothing that shows later") {
  std::vector<CpuConfig> cpus = {cpu_preset("skylake-sp"), cpu_preset("zen3")};
  for (const Replacement replacement : {Replacement::lru, Replacement::plru, Replacement::fifo, Replacement::random}) {
    CpuConfig cpu = cpu_preset("skylake-sp");
    cpu.l1d = {{{8, 4, replacement, 1}, 0b011}};  // 1 GiB pages are fractured
    cpu.l1i = {{{4, 2, replacement, 2}, 0b001}};
    cpu.l2 = {{{24, 8, replacement, 3}, 0b111}};
    cpus.push_back(cpu);
  }
  for (std::size_t i = 0; i < cpus.size(); ++i) {
    for (const SecondStageKind kind : {SecondStageKind::none, SecondStageKind::ept, SecondStageKind::npt}) {
      CAPTURE(i);
      CAPTURE(static_cast<int>(kind));
      CHECK(compare(cpus[i], kind, 10 * i) > 500);
    }
  }
}

TEST_CASE("shortcuts know the page, the side and the kinds that they were told") {
  TlbArray array({4, 4});
  array.assign(0, 0, 1, TlbEntry{}, 1);
  const TlbPlace place{&array, 0};
  Shortcuts shortcuts;
  std::uint64_t clock = 2;
  const auto knows = [&](std::uint64_t va, AccessKind kind) {
    return Shortcuts::Stretch(shortcuts, clock).touch(va, kind);
  };
  CHECK_FALSE(knows(0, AccessKind::load));  // an empty line is not page 0
  CHECK_FALSE(knows(0, AccessKind::fetch));
  const auto readable = static_cast<std::uint8_t>(access_bit(AccessKind::load) | PermissionTable::kStoreButClean);
  shortcuts.remember(0x5123, Side::data, place, readable);
  CHECK(knows(0x5fff, AccessKind::load));
  CHECK_FALSE(knows(0x5000, AccessKind::store));
  CHECK_FALSE(knows(0x5000, AccessKind::fetch));
  CHECK_FALSE(knows(0x6000, AccessKind::load));
  CHECK_FALSE(knows(0x5000 | 1ull << 63, AccessKind::load));
  shortcuts.remember(0x5000, Side::instruction, place, access_bit(AccessKind::fetch));
  SUBCASE("what may be stored to at once is remembered for both kinds") {
    const auto writable = static_cast<std::uint8_t>(access_bit(AccessKind::load) | access_bit(AccessKind::store));
    shortcuts.remember(0x9000, Side::data, place, writable);
    CHECK(knows(0x9000, AccessKind::load));
    CHECK(knows(0x9000, AccessKind::store));
    CHECK_FALSE(knows(0x9000, AccessKind::fetch));
  }
  SUBCASE("forgetting one side leaves the other") {
    shortcuts.forget(0x5000, Side::data, PageSize::k4K);
    CHECK_FALSE(knows(0x5000, AccessKind::load));
    CHECK(knows(0x5000, AccessKind::fetch));
  }
  SUBCASE("clear forgets all") {
    shortcuts.clear();
    CHECK_FALSE(knows(0x5000, AccessKind::load));
    CHECK_FALSE(knows(0x5000, AccessKind::fetch));
  }
  SUBCASE("a large entry that goes takes every line that could lead to it") {
    TlbEntry large;
    large.size = PageSize::k2M;
    array.assign(1, 0, 2, large, 2);
    for (std::uint64_t va = 0x20'0000; va < 0x20'a000; va += kPageSize)
      shortcuts.remember(va, Side::data, {&array, 1}, access_bit(AccessKind::load));
    CHECK(knows(0x20'3000, AccessKind::load));
    shortcuts.forget(0x20'0000, Side::data, PageSize::k2M);
    for (std::uint64_t va = 0x20'0000; va < 0x20'a000; va += kPageSize) CHECK_FALSE(knows(va, AccessKind::load));
  }
}

}  // namespace
}  // namespace vmem::hw
