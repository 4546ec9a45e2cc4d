// What the C interface costs beside the C++ core: single accesses, and batches of the same references.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "hw/cpu_config.hpp"
#include "hw/mmu.hpp"
#include "micro/workbench.hpp"
#include "vmem/host.h"
#include "vmem/mmu.h"

namespace vmem {
namespace {

constexpr std::uint64_t kBytes = 1 << 20;
constexpr std::uint64_t kPages = 32;  // in reach of the first level
constexpr std::size_t kBatch = 1 << 16;

/// Memory with tables that map kPages pages from 0 on.
struct Memory {
  std::vector<std::uint64_t> words = std::vector<std::uint64_t>(kBytes / 8);

  Memory() {
    for (std::uint64_t level = 0; level < 3; ++level) words[512 * (level + 1)] = (level + 2) << 12 | 7;
    for (std::uint64_t page = 0; page < kPages; ++page) words[512 * 4 + page] = page << 12 | 0x67;
  }
};

struct References {
  std::vector<std::uint64_t> addresses = std::vector<std::uint64_t>(kBatch);
  std::vector<std::uint8_t> kinds = std::vector<std::uint8_t>(kBatch);

  /// All over `pages` pages from `start` on.
  explicit References(std::uint64_t start = 0, std::uint64_t pages = kPages) {
    for (std::size_t i = 0; i < kBatch; ++i) {
      addresses[i] = start + i * 0x9e3779b97f4a7c15u % (pages << 12);
      kinds[i] = i % 3 == 0 ? VMEM_STORE : VMEM_LOAD;
    }
  }
};

vmem_mmu* make_mmu(Memory& memory) {
  vmem_mmu_config config;
  vmem_mmu_state state;
  vmem_mmu* mmu = nullptr;
  VMEM_INIT(config);
  config.memory = memory.words.data();
  config.memory_bytes = kBytes;
  VMEM_INIT(state);
  if (vmem_mmu_create(&config, &mmu) != VMEM_OK || vmem_mmu_get_state(mmu, &state) != VMEM_OK) return nullptr;
  state.cr3 = 1 << 12;
  return vmem_mmu_set_state(mmu, &state) == VMEM_OK ? mmu : nullptr;
}

/// The same without the C interface.
struct Core {
  hw::Mmu mmu;

  explicit Core(Memory& memory)
      : mmu({reinterpret_cast<std::byte*>(memory.words.data()), kBytes}, hw::cpu_preset("skylake-sp")) {
    hw::State state = mmu.state();
    state.cr3 = 1 << 12;
    mmu.set_state(state);
  }
};

void access_hit(benchmark::State& state) {
  Memory memory;
  vmem_mmu* const mmu = make_mmu(memory);
  vmem_result result;
  VMEM_INIT(result);
  for (std::uint64_t page = 0; auto _ : state) {
    if (vmem_mmu_access(mmu, page << 12, VMEM_LOAD, &result) != VMEM_OK) state.SkipWithError(vmem_last_error());
    benchmark::DoNotOptimize(result);
    page = (page + 7) % kPages;
  }
  vmem_mmu_destroy(mmu);
}
BENCHMARK(access_hit)->Name("capi/access_hit");

void batch(benchmark::State& state) {
  Memory memory;
  const References references;
  vmem_mmu* const mmu = make_mmu(memory);
  for (auto _ : state)
    if (vmem_mmu_access_batch(mmu, references.addresses.data(), references.kinds.data(), kBatch, nullptr, nullptr,
                              nullptr, nullptr) != VMEM_OK)
      state.SkipWithError(vmem_last_error());
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(kBatch));
  vmem_mmu_destroy(mmu);
}
BENCHMARK(batch)->Name("capi/batch");

void core_access_hit(benchmark::State& state) {
  Memory memory;
  Core core(memory);
  hw::TlbEntry entry;
  hw::Fault fault;
  for (std::uint64_t page = 0; auto _ : state) {
    benchmark::DoNotOptimize(core.mmu.access({page << 12}, AccessKind::load, entry, fault));
    page = (page + 7) % kPages;
  }
}
BENCHMARK(core_access_hit)->Name("core/access_hit");

/// As a program that embeds the core has it: an MMU and references that come from elsewhere.
[[gnu::noinline]] void make_accesses(hw::Mmu& mmu, const References& references) {
  mmu.access_batch(references.addresses.data(), references.kinds.data(), references.addresses.size(),
                   [](std::size_t, const hw::Fault&) { return true; });
}

void core_batch(benchmark::State& state) {
  Memory memory;
  const References references;
  Core core(memory);
  for (auto _ : state) make_accesses(core.mmu, references);
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(kBatch));
}
BENCHMARK(core_batch)->Name("core/batch");

/// A VM whose process has touched `pages` pages, through the C interface or through the core.
struct Guest {
  vmem_host* host = nullptr;
  std::uint32_t vm = 0, process = 0;
  References references;

  explicit Guest(std::uint64_t pages) {
    vmem_host_config config;
    vmem_vm_config vm_config;
    vmem_map_request request;
    std::uint64_t start = 0;
    VMEM_INIT(config);
    VMEM_INIT(vm_config);
    VMEM_INIT(request);
    config.memory = 16ull << 30;  // as a Workbench has
    vm_config.memory = 4ull << 30;
    request.length = pages << 12;
    request.protection = VMEM_READ | VMEM_WRITE;
    if (vmem_host_create(&config, &host) != VMEM_OK || vmem_vm_create(host, &vm_config, &vm) != VMEM_OK ||
        vmem_process_spawn(host, vm, nullptr, &process) != VMEM_OK ||
        vmem_process_mmap(host, vm, 0, process, &request, &start) != VMEM_OK)
      std::abort();
    references = References(start, pages);
  }
  ~Guest() { vmem_host_destroy(host); }
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;
};

void machine_batch(benchmark::State& state) {
  Guest guest(static_cast<std::uint64_t>(state.range(0)));
  for (auto _ : state)
    if (vmem_process_access_batch(guest.host, guest.vm, 0, guest.process, guest.references.addresses.data(),
                                  guest.references.kinds.data(), kBatch, nullptr) != VMEM_OK)
      state.SkipWithError(vmem_last_error());
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatch));
}
BENCHMARK(machine_batch)->Name("capi/machine_batch")->Arg(32)->Arg(1024)->Arg(65536);

/// Three loads to the page of each reference.
template <class RunOf>
std::vector<RunOf> runs_of(const References& references) {
  std::vector<RunOf> runs;
  for (const std::uint64_t address : references.addresses) runs.push_back({address & ~kPageMask, 3, 0});
  return runs;
}

void machine_replay(benchmark::State& state) {
  Guest guest(static_cast<std::uint64_t>(state.range(0)));
  const auto runs = runs_of<vmem_run>(guest.references);
  for (auto _ : state)
    if (vmem_process_replay(guest.host, guest.vm, 0, guest.process, runs.data(), runs.size(), nullptr) != VMEM_OK)
      state.SkipWithError(vmem_last_error());
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatch));
}
BENCHMARK(machine_replay)->Name("capi/machine_replay")->Arg(32)->Arg(1024)->Arg(65536);

/// The same VM in the core.
struct CoreGuest {
  bench::Workbench bench;
  References references;

  explicit CoreGuest(std::uint64_t pages)
      : bench(vmm::MmuMode::nested, hw::cpu_preset("skylake-sp"), pages), references(bench.page(0).value, pages) {}
};

void core_machine_batch(benchmark::State& state) {
  CoreGuest core(static_cast<std::uint64_t>(state.range(0)));
  for (auto _ : state)
    core.bench.machine().access(core.bench.guest(), core.bench.vcpu(), core.bench.process(), core.references.addresses,
                                core.references.kinds, [](std::uint64_t) { return true; });
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatch));
}
BENCHMARK(core_machine_batch)->Name("core/machine_batch")->Arg(32)->Arg(1024)->Arg(65536);

void core_machine_replay(benchmark::State& state) {
  CoreGuest core(static_cast<std::uint64_t>(state.range(0)));
  const auto runs = runs_of<Run>(core.references);
  for (auto _ : state)
    core.bench.machine().replay(core.bench.guest(), core.bench.vcpu(), core.bench.process(), runs,
                                [](std::uint64_t) { return true; });
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatch));
}
BENCHMARK(core_machine_replay)->Name("core/machine_replay")->Arg(32)->Arg(1024)->Arg(65536);

}  // namespace
}  // namespace vmem
