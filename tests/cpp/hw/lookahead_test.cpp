// Reading ahead of walks: what is asked for, and that a walker sees nothing of it.
#include "hw/lookahead.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "hw/mmu.hpp"
#include "memory/physical_memory.hpp"
#include "support/random.hpp"
#include "support/tables.hpp"

namespace vmem::hw {
namespace {

TEST_CASE("a table that was noted is found for its region, and no other region has it") {
  TableHints hints;
  constexpr std::uint64_t kRegion = 2ull << 20;
  hints.note(5 * kRegion, 0x7000);
  CHECK(hints.leaf_entry(5 * kRegion) == 0x7000);
  CHECK(hints.leaf_entry(6 * kRegion - 1) == 0x7ff8);
  CHECK(hints.leaf_entry(5 * kRegion + 4096 * kRegion) == 0);  // the same line, another region
  hints.note(5 * kRegion + 4096 * kRegion, 0x9000);
  CHECK(hints.leaf_entry(5 * kRegion) == 0);
  CHECK(hints.leaf_entry(5 * kRegion + 4096 * kRegion + 3 * kPageSize) == 0x9018);
}

TEST_CASE("each element is asked for once, in order, the second time later, and none beyond the batch") {
  Lookahead ahead;
  std::vector<std::size_t> first, second;
  constexpr std::size_t kCount = 60;
  const auto walked = [&](std::size_t i) {
    ahead.walked(i, kCount, [&](std::size_t j) { first.push_back(j); }, [&](std::size_t j) { second.push_back(j); });
  };
  for (const std::size_t i : {5, 7, 12, 14, 16, 18, 23, 24, 25}) walked(i);  // never many close ones: nothing follows
  CHECK(first.empty());
  for (const std::size_t i : {26, 27}) walked(i);
  for (std::size_t i = 28; i < kCount; i += i % 3 == 0 ? 1 : 2) {
    walked(i);
    for (const auto& asked : {first, second}) {
      REQUIRE_FALSE(asked.empty());
      for (std::size_t at = 0; at < asked.size(); ++at) REQUIRE(asked[at] == asked.front() + at);
    }
    CHECK(first.back() >= second.back());
    CHECK(second.back() > i - 1);
  }
  CHECK(first.back() == kCount - 1);
  CHECK(second.back() == kCount - 1);
}

/// Memory behind a bus that counts what is read from it.
struct CountingBus : PhysicalBus {
  explicit CountingBus(memory::PhysicalMemory& behind) : view{behind.data(), behind.size()} {}
  std::uint64_t load(std::uint64_t at) override {
    ++loads;
    return view.load(at);
  }
  void store(std::uint64_t at, std::uint64_t entry) override { view.store(at, entry); }
  PhysicalView view;
  std::uint64_t loads = 0;
};

TEST_CASE("a batch reads from a bus what its walks count, and counts what single accesses count") {
  memory::PhysicalMemory memory(16 << 20);
  test::Tables guest(memory, 16, test::kPresent | test::kWritable | test::kUserPage);
  const std::uint64_t root = guest.new_table();
  constexpr std::uint64_t kStart = 0x4000'0000, kPages = 2000;
  for (std::uint64_t page = 0; page < kPages; ++page)
    guest.map(root, 4, kStart + (page << kPageShift), 1,
              (page << kPageShift) | test::kPresent | test::kWritable | test::kUserPage);
  CountingBus bus(memory);
  const CpuConfig cpu = cpu_preset("skylake-sp");
  Mmu by_bus({nullptr, 0, &bus}, cpu), batched({memory.data(), memory.size()}, cpu),
      single({memory.data(), memory.size()}, cpu);
  test::Random random(3);
  std::vector<std::uint64_t> addresses(20000);
  std::vector<std::uint8_t> kinds(addresses.size(), 0);
  for (std::uint64_t& address : addresses) address = kStart + (random.below(kPages) << kPageShift);
  for (Mmu* mmu : {&by_bus, &batched, &single}) {
    State state = mmu->state();
    state.cr3 = root;
    mmu->set_state(state);
  }
  const auto no_fault = [](std::size_t, Fault&) { return false; };
  CHECK(by_bus.access_batch(addresses.data(), kinds.data(), addresses.size(), no_fault) == addresses.size());
  CHECK(bus.loads == by_bus.counters().walk_refs);
  CHECK(batched.access_batch(addresses.data(), kinds.data(), addresses.size(), no_fault) == addresses.size());
  for (const std::uint64_t address : addresses) {
    TlbEntry entry;
    Fault fault;
    REQUIRE(single.access({address}, AccessKind::load, entry, fault));
  }
  CHECK(batched.counters().walks > 1000);
  CHECK(batched.counters().walks == single.counters().walks);
  CHECK(batched.counters().walk_refs == single.counters().walk_refs);
  CHECK(batched.counters().psc_hits == single.counters().psc_hits);
  CHECK(by_bus.counters().l2_hits == single.counters().l2_hits);
}

}  // namespace
}  // namespace vmem::hw
