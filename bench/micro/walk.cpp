// What a page walk costs: one and two dimensions, with and without the caches that shorten it. Every access misses both
// TLB levels.
#include <benchmark/benchmark.h>

#include "micro/workbench.hpp"

namespace vmem::bench {
namespace {

constexpr std::uint64_t kPages = 1 << 15;

void walk(benchmark::State& state, vmm::MmuMode mode, const hw::CpuConfig& cpu) {
  Workbench bench(mode, cpu, kPages);
  bench.touch(0, kPages);
  const std::uint64_t before = bench.vcpu().mmu().counters().walk_refs;
  for (std::uint64_t i = 0; auto _ : state) {
    Hpa at;
    bench.vcpu().access(bench.page(i), AccessKind::load, at);
    i = (i + 4099) % kPages;  // neither TLB level holds it any more when it comes round
  }
  const auto references = static_cast<double>(bench.vcpu().mmu().counters().walk_refs - before);
  state.counters["refs/walk"] = references / static_cast<double>(state.iterations());
}
BENCHMARK_CAPTURE(walk, one_dimension_no_caches, vmm::MmuMode::native, bare_cpu());
BENCHMARK_CAPTURE(walk, one_dimension, vmm::MmuMode::native, hw::cpu_preset("skylake-sp"));
BENCHMARK_CAPTURE(walk, two_dimensions_no_caches, vmm::MmuMode::nested, bare_cpu());
BENCHMARK_CAPTURE(walk, two_dimensions, vmm::MmuMode::nested, hw::cpu_preset("skylake-sp"));

}  // namespace
}  // namespace vmem::bench
