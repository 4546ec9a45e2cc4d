// Processes that map, unmap, protect, fork, exit and use their memory, against a page-by-page model of each.
#include "guest/kernel.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <vector>

#include "core/error.hpp"
#include "support/booted_guest.hpp"
#include "support/random.hpp"

namespace vmem::guest {
namespace {

constexpr Protection kProtections[] = {
    {false, false, false}, {true, false, false}, {true, true, false}, {true, false, true}, {true, true, true}};

struct PageModel {
  Protection protection;
  std::uint64_t value = 0;
  bool touched = false;
};
struct ProcessModel {
  Process* process;
  std::map<std::uint64_t, PageModel> pages{};  ///< by page number

  std::uint64_t touched() const {
    std::uint64_t count = 0;
    for (const auto& [page, model] : pages) count += model.touched ? 1 : 0;
    return count;
  }
  bool covers(std::uint64_t first, std::uint64_t count) const {
    return static_cast<std::uint64_t>(std::distance(pages.lower_bound(first), pages.lower_bound(first + count))) ==
           count;
  }
};

struct World {
  test::BootedGuest guest;
  bool large_pages;
  test::Random random;
  std::vector<ProcessModel> processes{};

  World(const vmm::VmConfig& config, bool large, std::uint64_t seed)
      : guest(config), large_pages(large), random(seed) {}

  hw::Vcpu& any_vcpu() { return guest.vm.vcpu(random.below(guest.vm.vcpu_count())); }

  void spawn() { processes.push_back({&guest.kernel.spawn(any_vcpu(), "process")}); }
  void fork(std::size_t parent) {
    ProcessModel child = processes[parent];
    child.process = &guest.kernel.fork(any_vcpu(), *child.process);
    processes.push_back(child);
  }
  void exit(std::size_t victim) {
    guest.kernel.exit(any_vcpu(), *processes[victim].process);
    processes.erase(processes.begin() + static_cast<std::ptrdiff_t>(victim));
  }
  void mmap(ProcessModel& model) {
    MapRequest request;
    request.length = random.below(30ull) * kPageSize + 1 + random.below(kPageSize);
    if (large_pages && random.one_in(2)) request.largest = PageSize::k2M, request.length += 2 << 20;
    request.protection = random.pick(kProtections);
    const Vma vma = guest.kernel.mmap(any_vcpu(), *model.process, request);
    REQUIRE(vma.end - vma.start == align_up(request.length, kPageSize));
    REQUIRE(vma.start % page_bytes(request.largest) == 0);
    for (std::uint64_t page = vma.start >> 12; page < vma.end >> 12; ++page)
      REQUIRE(model.pages.emplace(page, PageModel{request.protection}).second);  // nowhere something else was
  }
  void munmap(ProcessModel& model, std::uint64_t first, std::uint64_t count) {
    guest.kernel.munmap(any_vcpu(), *model.process, first << 12, count << 12);
    model.pages.erase(model.pages.lower_bound(first), model.pages.lower_bound(first + count));
  }
  void mprotect(ProcessModel& model, std::uint64_t first, std::uint64_t count) {
    const Protection& protection = random.pick(kProtections);
    if (!model.covers(first, count)) {
      CHECK_THROWS_AS(guest.kernel.mprotect(any_vcpu(), *model.process, first << 12, count << 12, protection),
                      ConfigError);
      return;
    }
    guest.kernel.mprotect(any_vcpu(), *model.process, first << 12, count << 12, protection);
    for (std::uint64_t page = first; page < first + count; ++page) model.pages[page].protection = protection;
  }
  void use(ProcessModel& model, std::uint64_t page) {
    const auto at = model.pages.find(page);
    const std::size_t on = random.below(guest.vm.vcpu_count());
    const bool mapped = at != model.pages.end();
    if (random.one_in(2)) {
      const std::uint64_t value = random.bits();
      const bool done = guest.write(*model.process, page << 12, value, on);
      REQUIRE(done == (mapped && at->second.protection.write));
      if (done) at->second.value = value, at->second.touched = true;
    } else if (random.one_in(6)) {
      const bool done = guest.access(*model.process, page << 12, AccessKind::fetch, on).has_value();
      REQUIRE(done == (mapped && at->second.protection.execute));
      if (done) at->second.touched = true;
    } else {
      const auto value = guest.read(*model.process, page << 12, on);
      REQUIRE(value.has_value() == (mapped && at->second.protection.read));
      if (!value) return;
      REQUIRE(*value == at->second.value);
      at->second.touched = true;
    }
  }
  void step() {
    const std::size_t which = random.below(processes.size());
    ProcessModel& model = processes[which];
    const std::uint64_t choice = random.below(200ull);
    if (choice < 2 && processes.size() < 4) return fork(which);
    if (choice < 3 && processes.size() < 4) return spawn();
    if (choice < 5 && processes.size() > 1) return exit(which);
    if (model.pages.empty() || (choice < 10 && model.pages.size() < 3000)) return mmap(model);
    // A page that is mapped, or lies a little beside one.
    auto near = model.pages.lower_bound(model.pages.begin()->first +
                                        random.below(model.pages.rbegin()->first - model.pages.begin()->first + 1));
    const std::uint64_t page = near->first - (random.one_in(20) ? 1 : 0), top = model.process->areas.top() >> 12;
    const std::uint64_t wanted = choice < 20 && random.one_in(4) ? 600 : random.below(20ull) + 1;
    const std::uint64_t count = std::min(wanted, top - page);
    if (choice < 20) return munmap(model, page, count);
    if (choice < 35) return mprotect(model, page, count);
    use(model, page);
  }
  void compare() {
    guest.check();
    for (const ProcessModel& model : processes) {
      std::uint64_t mapped = 0;
      for (const auto& [start, vma] : model.process->areas.areas()) mapped += (vma.end - vma.start) >> 12;
      REQUIRE(mapped == model.pages.size());
      if (!large_pages) REQUIRE(model.process->resident == model.touched());
      REQUIRE(model.process->resident >= model.touched());
    }
  }
};

void live(const vmm::VmConfig& config, bool large_pages, std::uint64_t seed) {
  World world(config, large_pages, seed);
  const std::uint64_t all_free = world.guest.kernel.free_frames();
  world.spawn();
  for (int step = 0; step < 4000; ++step) {
    world.step();
    if (step % 100 == 0) world.compare();
  }
  world.compare();
  while (!world.processes.empty()) world.exit(0);
  world.guest.check();
  CHECK(world.guest.kernel.free_frames() == all_free);
  CHECK(world.guest.kernel.vmstat().oom_kill == 0);
}

TEST_CASE("processes agree with their models, native and nested, with small pages and large ones") {
  for (const char* cpu : {"skylake-sp", "zen3"}) {
    for (const vmm::MmuMode mode : {vmm::MmuMode::native, vmm::MmuMode::nested}) {
      for (const bool large_pages : {false, true}) {
        CAPTURE(cpu);
        CAPTURE(static_cast<int>(mode));
        CAPTURE(large_pages);
        vmm::VmConfig config = test::vm_config(mode, 256ull << 20, cpu);
        config.vcpus = 3;
        config.backing = {large_pages ? PageSize::k2M : PageSize::k4K};
        live(config, large_pages, 5);
      }
    }
  }
}

TEST_CASE("processes agree with their models under shadow paging, however it is synchronised") {
  for (const vmm::ShadowSync sync : {vmm::ShadowSync::trace, vmm::ShadowSync::unsync, vmm::ShadowSync::vtlb}) {
    for (const bool large_pages : {false, true}) {
      CAPTURE(static_cast<int>(sync));
      CAPTURE(large_pages);
      vmm::VmConfig config = test::vm_config(vmm::MmuMode::shadow, 256ull << 20);
      config.vcpus = 2;
      config.shadow.sync = sync;
      live(config, large_pages, 6);
    }
  }
}

}  // namespace
}  // namespace vmem::guest
