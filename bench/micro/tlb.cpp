// What a TLB costs: lookup and fill of one level.
#include "hw/tlb.hpp"

#include <benchmark/benchmark.h>

namespace vmem::hw {
namespace {

constexpr ContextKeys kKeys{kKeyValid, kKeyValid | (1ull << kKeyContextShift), kKeyValid | (2ull << kKeyContextShift)};

struct Filled {
  std::uint64_t clock = 0;
  TlbLevel level;

  Filled(std::int64_t entries, std::int64_t ways)
      : level({{{static_cast<std::uint32_t>(entries), static_cast<std::uint32_t>(ways)}, 1}}, clock) {
    for (std::uint64_t page = 0; page < static_cast<std::uint64_t>(entries); ++page)
      level.fill(page << kPageShift, kKeys, {page << kPageShift});
  }
};

void lookup_hit(benchmark::State& state) {
  const auto entries = static_cast<std::uint64_t>(state.range(0));
  Filled tlb(state.range(0), state.range(1));
  for (std::uint64_t page = 0; auto _ : state) {
    benchmark::DoNotOptimize(tlb.level.lookup(page << kPageShift, kKeys));
    page = (page + 7) % entries;
  }
}
BENCHMARK(lookup_hit)->Args({64, 4})->Args({64, 64})->Args({1536, 12})->Name("tlb/lookup_hit");

void lookup_miss(benchmark::State& state) {
  Filled tlb(state.range(0), state.range(1));
  for (std::uint64_t page = 1 << 20; auto _ : state)
    benchmark::DoNotOptimize(tlb.level.lookup(page++ << kPageShift, kKeys));
}
BENCHMARK(lookup_miss)->Args({64, 4})->Args({64, 64})->Args({1536, 12})->Name("tlb/lookup_miss");

void fill_evicting(benchmark::State& state) {
  Filled tlb(state.range(0), state.range(1));
  for (std::uint64_t page = 1 << 20; auto _ : state) tlb.level.fill(page++ << kPageShift, kKeys, {0});
}
BENCHMARK(fill_evicting)->Args({64, 4})->Args({64, 64})->Args({1536, 12})->Name("tlb/fill_evicting");

}  // namespace
}  // namespace vmem::hw
