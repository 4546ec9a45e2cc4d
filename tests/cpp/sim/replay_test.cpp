// A page-compact trace is exact: its replay leaves every counter as its references, made one by one, do.
#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "sim/machine.hpp"
#include "sim/trace_compactor.hpp"
#include "support/guest_machine.hpp"
#include "support/random.hpp"

namespace vmem::sim {
namespace {

using Values = std::vector<std::uint64_t>;

Values values_of(const Counters& counters) {
  Values values;
  counters.for_each([&](std::string_view, std::string_view, std::uint64_t value) { values.push_back(value); });
  return values;
}

/// Areas of one process: code, data, data in large pages, both in one, and data that is only read.
struct Place {
  std::uint64_t start, pages;
  guest::Protection protection;
  PageSize largest;
};
constexpr Place kCode{0x40'0000, 700, {true, false, true}, PageSize::k4K};
constexpr Place kData{0x1000'0000, 3000, {true, true, false}, PageSize::k4K};
constexpr Place kLargeData{0x4000'0000, 4096, {true, true, false}, PageSize::k2M};
constexpr Place kBoth{0x6000'0000, 50, {true, true, true}, PageSize::k4K};
constexpr Place kReadOnly{0x7100'0000, 30, {true, false, false}, PageSize::k4K};

struct World {
  Machine machine{2ull << 30};
  Guest& guest;
  hw::Vcpu& vcpu;
  guest::Process& process;
  ReplayResult total{};

  explicit World(const vmm::VmConfig& config)
      : guest(machine.guest(machine.create_vm(config))),
        vcpu(Machine::vcpu(guest, 0)),
        process(guest.kernel->spawn(vcpu, "process")) {
    for (const Place& place : {kCode, kData, kLargeData, kBoth, kReadOnly}) {
      guest::MapRequest request;
      request.length = place.pages * kPageSize;
      request.protection = place.protection;
      request.address = place.start;
      // Splitting a guest's large page for its dirty bit flushes a shadowed vCPU, which ends other runs' hits.
      request.largest = config.mode == vmm::MmuMode::shadow ? PageSize::k4K : place.largest;
      guest.kernel->mmap(vcpu, process, request);
    }
  }
  void add(const ReplayResult& part) {
    total.done += part.done;
    total.segfaults += part.segfaults;
    CHECK_FALSE(part.stopped);
    CHECK_FALSE(part.interrupted);
  }
};

struct References {
  std::vector<std::uint64_t> addresses;
  std::vector<std::uint8_t> kinds;
};

References random_references(test::Random& random, std::size_t count) {
  References references;
  const auto anywhere = [&](const Place& place, std::uint64_t hot) {
    return place.start + (random.one_in(4) ? random.below(place.pages) : random.below(hot) % place.pages) * kPageSize;
  };
  std::uint64_t code = kCode.start, data = kData.start;
  for (std::size_t i = 0; i < count; ++i) {
    const bool fetch = random.one_in(3);
    if (fetch && random.one_in(5)) code = random.one_in(8) ? anywhere(kBoth, 10) : anywhere(kCode, 40);
    if (!fetch && random.one_in(3)) {
      const std::uint64_t where = random.below(100ull);
      data = where < 50   ? anywhere(kData, 90)
             : where < 80 ? anywhere(kLargeData, 600)
             : where < 90 ? anywhere(kBoth, 10)
             : where < 95 ? anywhere(kReadOnly, 5)
                          : anywhere(kCode, 10);
    }
    const bool writable = data < kCode.start || (data >= kData.start && data < kReadOnly.start);
    const bool store = !fetch && writable && random.one_in(4);
    references.addresses.push_back((fetch ? code : data) + random.below(kPageSize));
    references.kinds.push_back(static_cast<std::uint8_t>(fetch   ? AccessKind::fetch
                                                         : store ? AccessKind::store
                                                                 : AccessKind::load));
  }
  return references;
}

/// The two streams meet in the second level only: where the first holds nothing of one, their order matters to it.
References data_references(test::Random& random, std::size_t count) {
  References data;
  const References all = random_references(random, count);
  for (std::size_t i = 0; i < count; ++i) {
    if (all.kinds[i] == static_cast<std::uint8_t>(AccessKind::fetch)) continue;
    data.addresses.push_back(all.addresses[i]);
    data.kinds.push_back(all.kinds[i]);
  }
  return data;
}

void compare(const vmm::VmConfig& config, std::uint64_t seed,
             References (*make)(test::Random&, std::size_t) = random_references) {
  World single(config), compact(config);
  test::Random random(seed);
  const Poll go_on = [](std::uint64_t) { return true; };
  for (int batch = 0; batch < 12; ++batch) {
    const References references = make(random, 1 + random.below(std::size_t{20000}));
    single.add(single.machine.access(single.guest, single.vcpu, single.process, references.addresses, references.kinds,
                                     go_on));
    Compactor compactor;
    compactor.add(references.addresses, references.kinds);
    compactor.close();
    const std::vector<Run> runs = compactor.take();
    compact.add(compact.machine.replay(compact.guest, compact.vcpu, compact.process, runs, go_on));
    REQUIRE(compact.total.done == single.total.done);
    REQUIRE(compact.total.segfaults == single.total.segfaults);
    REQUIRE(values_of(compact.guest.vm->counters()) == values_of(single.guest.vm->counters()));
    REQUIRE(compact.process.resident == single.process.resident);
    if (batch % 4 != 0) continue;  // what a trace's mapping calls do between runs
    for (World* world : {&single, &compact}) {
      world->guest.kernel->munmap(world->vcpu, world->process, kData.start + 20 * kPageSize, 40 * kPageSize);
      guest::MapRequest again;
      again.length = 40 * kPageSize;
      again.address = kData.start + 20 * kPageSize;
      world->guest.kernel->mmap(world->vcpu, world->process, again);
    }
  }
  const Counters counters = single.guest.vm->counters();
  CHECK(counters.accesses == counters.l1i_hits + counters.l1d_hits + counters.l2_hits + counters.tlb_misses);
  CHECK(counters.accesses == counters.loads + counters.stores + counters.fetches);
  if (config.mode != vmm::MmuMode::shadow) CHECK(counters.dirty_assists > 0);
  CHECK(counters.l2_hits > 0);
  CHECK(single.total.segfaults == 0);
  single.machine.check();
  compact.machine.check();
}

TEST_CASE("replayed runs count what their references count, one by one") {
  for (const char* cpu : {"skylake-sp", "icelake-sp", "zen2", "zen4", "neoverse-n1"}) {
    for (const vmm::MmuMode mode : {vmm::MmuMode::native, vmm::MmuMode::nested, vmm::MmuMode::shadow}) {
      CAPTURE(cpu);
      CAPTURE(static_cast<int>(mode));
      vmm::VmConfig config = test::vm_config(mode, 256ull << 20, cpu);
      config.backing = {mode == vmm::MmuMode::nested ? PageSize::k2M : PageSize::k4K};
      compare(config, 11);
    }
  }
}

TEST_CASE("they do where no first level holds their pages, or one with few ways does") {
  using hw::Replacement;
  const std::vector<hw::TlbConfig> odd[] = {
      {{{16, 4, Replacement::lru, 0}, 0b010}},  // every access to a 4 KiB page goes to the second level
      {{{6, 3, Replacement::lru, 0}, 0b111}},   // neither a power of two of sets nor four ways
      {{{24, 12, Replacement::fifo, 0}, 0b001}},
      {{{8, 1, Replacement::random, 5}, 0b011}},
  };
  for (const auto& l1d : odd) {
    vmm::VmConfig config = test::vm_config(vmm::MmuMode::nested, 256ull << 20);
    config.cpu.l1d = l1d;
    compare(config, 12, data_references);
  }
}

TEST_CASE("a malformed run is refused where it stands, after those before it were made") {
  const std::uint64_t page = kData.start, store = static_cast<std::uint64_t>(AccessKind::store);
  const Run malformed[] = {{page, 0, 0}, {page, 2, 1}, {page | store, 2, 0}, {page | 3, 1, 0}, {page | 8, 1, 0}};
  for (const Run& bad : malformed)
    for (const std::size_t at : {std::size_t{0}, std::size_t{1}, std::size_t{6}, std::size_t{20001}}) {
      CAPTURE(bad.page);
      CAPTURE(at);
      World world(test::vm_config(vmm::MmuMode::nested, 256ull << 20));
      std::vector<Run> runs(at + 3, Run{kData.start, 3, 0});
      runs[at] = bad;
      const ReplayResult result =
          world.machine.replay(world.guest, world.vcpu, world.process, runs, [](std::uint64_t) { return true; });
      CHECK(result.runs == at);
      CHECK(result.done == 3 * at);
      CHECK_FALSE(result.ended_early());
      CHECK(world.guest.vm->counters().accesses == 3 * at);
    }
}

TEST_CASE("a kind that does not exist ends a batch where it stands") {
  for (const std::size_t at : {std::size_t{0}, std::size_t{1}, std::size_t{4096}, std::size_t{70000}}) {
    CAPTURE(at);
    World world(test::vm_config(vmm::MmuMode::nested, 256ull << 20));
    const std::vector<std::uint64_t> addresses(at + 3, kData.start);
    std::vector<std::uint8_t> kinds(at + 3, 1);
    kinds[at] = 3;
    const ReplayResult result = world.machine.access(world.guest, world.vcpu, world.process, addresses, kinds,
                                                     [](std::uint64_t) { return true; });
    CHECK(result.done == at);
    CHECK_FALSE(result.ended_early());
    CHECK(world.guest.vm->counters().stores == at);
    CHECK(world.guest.vm->counters().accesses == at);
  }
}

TEST_CASE("a poll that says no stops between blocks, and what was done is counted") {
  World world(test::vm_config(vmm::MmuMode::nested, 256ull << 20));
  std::vector<Run> runs(100000, Run{kData.start, 3, 0});
  std::uint64_t last = 0;
  const ReplayResult result =
      world.machine.replay(world.guest, world.vcpu, world.process, runs, [&](std::uint64_t done) {
        last = done;
        return done < 100000;
      });
  CHECK(result.interrupted);
  CHECK(result.done == last);
  CHECK(result.done >= 100000);
  CHECK(result.done < 300000);
  CHECK(world.guest.vm->counters().accesses == result.done);
}

}  // namespace
}  // namespace vmem::sim
