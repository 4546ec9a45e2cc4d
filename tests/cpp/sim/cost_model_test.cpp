#include "sim/cost_model.hpp"

#include <doctest/doctest.h>

#include <array>
#include <bit>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "support/random.hpp"

namespace vmem::sim {
namespace {

constexpr std::size_t kCount = sizeof(Counters) / sizeof(std::uint64_t);
using Values = std::array<std::uint64_t, kCount>;

Counters counters_of(const Values& values) { return std::bit_cast<Counters>(values); }

/// Every cost another prime, so that no two can be mistaken for each other or for a sum of two.
CostModel distinct() {
  CostModel model;
  model.access = 2;
  model.l2_tlb_hit = 101;
  model.walk_reference = 1009;
  model.dirty_assist = 10007;
  model.tlb_flush = 20011;
  model.guest_page_fault = 30011;
  model.exit = 40009;
  model.back_page = 50021;
  model.shadow_fill = 60013;
  model.emulated_store = 70001;
  model.software_tlb_hit = 75011;
  model.tlb_write = 77003;
  model.cow_break = 80021;
  model.host_swap_in = 900001;
  model.inflate_page = 110017;
  model.deflate_page = 120011;
  model.report_block = 130003;
  model.free_hint = 140009;
  model.discard = 150001;
  model.discard_small = 160001;
  model.discard_large = 170003;
  return model;
}

TEST_CASE("one event of each counter costs what its parameter says, and what is derived costs nothing twice") {
  std::map<std::string, std::uint64_t> expected = {{"accesses", 2},
                                                   {"l2_hits", 101},
                                                   {"walk_refs", 1009},
                                                   {"dirty_assists", 10007},
                                                   {"tlb_flushes", 20011},
                                                   {"software_tlb_hits", 75011},
                                                   {"balloon_inflated", 110017},
                                                   {"balloon_deflated", 120011},
                                                   {"free_reports", 130003},
                                                   {"free_hints", 140009},
                                                   {"discards", 150001},
                                                   {"discarded_small", 160001},
                                                   {"discarded_large", 170003},
                                                   {"faults.guest_page_fault", 30011},
                                                   {"faults.backed_on_demand", 50021},
                                                   {"faults.shadow_fill", 60013},
                                                   {"faults.cow_break", 80021},
                                                   {"faults.host_swap_in", 900001}};
  for (const char* exit : {"ept_violation", "shadow_page_fault", "page_table_write", "cr3_write", "invlpg", "io",
                           "hypercall", "tlb_refill", "tlb_write", "interrupt"})
    expected["exits." + std::string(exit)] = 40009;
  expected["exits.page_table_write"] += 70001;
  expected["exits.tlb_write"] += 77003;
  const CostModel model = distinct();
  std::size_t i = 0;
  Counters{}.for_each([&](std::string_view prefix, std::string_view name, std::uint64_t) {
    Values values{};
    values[i++] = 1;
    const std::string counter = std::string(prefix) + std::string(name);
    CAPTURE(counter);
    const auto cost = expected.find(counter);
    CHECK(model.cycles(counters_of(values)) == (cost == expected.end() ? 0 : cost->second));
    CHECK(model.walk_cycles(counters_of(values)) == (counter == "walk_refs" ? 1009u : 0u));
  });
  CHECK(i == kCount);
}

TEST_CASE("cycles are linear: those of parts add up to those of the whole") {
  test::Random random(1);
  const CostModel defaults, other = distinct();
  for (int round = 0; round < 200; ++round) {
    Values first, second, scaled;
    const std::uint64_t factor = random.below(1000ull);
    for (std::size_t i = 0; i < kCount; ++i) {
      first[i] = random.below(1ull << 30);
      second[i] = random.below(1ull << 30);
      scaled[i] = factor * first[i];
    }
    for (const CostModel* model : {&defaults, &other}) {
      const Counters a = counters_of(first), b = counters_of(second);
      Counters sum = a;
      sum += b;
      CHECK(model->cycles(sum) == model->cycles(a) + model->cycles(b));
      CHECK(model->cycles(sum - b) == model->cycles(a));
      CHECK(model->cycles(counters_of(scaled)) == factor * model->cycles(a));
    }
  }
  CHECK(defaults.cycles(Counters{}) == 0);
}

}  // namespace
}  // namespace vmem::sim
