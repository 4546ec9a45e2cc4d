// What the whole machine costs: batches of accesses, and first touches with both allocators and both tables.
#include <benchmark/benchmark.h>

#include "core/rng.hpp"
#include "micro/workbench.hpp"

namespace vmem::bench {
namespace {

void batch(benchmark::State& state, vmm::MmuMode mode) {
  const auto pages = static_cast<std::uint64_t>(state.range(0));
  Workbench bench(mode, hw::cpu_preset("skylake-sp"), pages);
  bench.touch(0, pages);
  SplitMix64 random(1);
  std::vector<std::uint64_t> addresses(1 << 16);
  std::vector<std::uint8_t> kinds(addresses.size());
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    addresses[i] = bench.page(random() % pages).value + 8 * (random() % 512);
    kinds[i] = static_cast<std::uint8_t>(random() % 4 == 0);
  }
  for (auto _ : state) bench.vcpu().access_batch(addresses.data(), kinds.data(), addresses.size());
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(addresses.size()));
}
// In reach of the L1, of the L2, and of neither.
BENCHMARK_CAPTURE(batch, native, vmm::MmuMode::native)->Arg(32)->Arg(1024)->Arg(65536);
BENCHMARK_CAPTURE(batch, nested, vmm::MmuMode::nested)->Arg(32)->Arg(1024)->Arg(65536);

void first_touch(benchmark::State& state, vmm::MmuMode mode) {
  constexpr std::uint64_t kPages = 1 << 17;
  for (auto _ : state) {
    state.PauseTiming();
    {
      Workbench bench(mode, hw::cpu_preset("skylake-sp"), kPages);
      state.ResumeTiming();
      bench.touch(0, kPages);
      state.PauseTiming();
    }
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kPages));
}
BENCHMARK_CAPTURE(first_touch, native, vmm::MmuMode::native)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(first_touch, nested, vmm::MmuMode::nested)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace vmem::bench
