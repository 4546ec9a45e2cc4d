#include "core/counters.hpp"

#include <doctest/doctest.h>

#include <array>
#include <bit>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace vmem {
namespace {

using Names = std::vector<std::string>;
using Values = std::vector<std::uint64_t>;

/// The names as they are promised to users, in the order of the struct.
const Names kNames = {"accesses",
                      "loads",
                      "stores",
                      "fetches",
                      "l1i_hits",
                      "l1d_hits",
                      "l2_hits",
                      "tlb_misses",
                      "walks",
                      "walk_refs",
                      "walk_refs_guest",
                      "walk_refs_host",
                      "psc_hits",
                      "nested_tlb_hits",
                      "dirty_assists",
                      "software_tlb_hits",
                      "tlb_flushes",
                      "balloon_inflated",
                      "balloon_deflated",
                      "free_reports",
                      "free_hints",
                      "discards",
                      "discarded_small",
                      "discarded_large",
                      "exits.ept_violation",
                      "exits.shadow_page_fault",
                      "exits.page_table_write",
                      "exits.cr3_write",
                      "exits.invlpg",
                      "exits.io",
                      "exits.hypercall",
                      "exits.tlb_refill",
                      "exits.tlb_write",
                      "exits.interrupt",
                      "faults.guest_page_fault",
                      "faults.shadow_fill",
                      "faults.backed_on_demand",
                      "faults.host_swap_in",
                      "faults.cow_break",
                      "faults.dirty_trap",
                      "faults.spurious"};
constexpr std::size_t kCount = 41;

static_assert(std::is_trivially_copyable_v<Counters> && sizeof(Counters) == kCount * sizeof(std::uint64_t));

/// Counters whose fields, in the order of the struct, are first, first + step, …
Counters series(std::uint64_t first, std::uint64_t step) {
  std::array<std::uint64_t, kCount> values;
  for (std::size_t i = 0; i < kCount; ++i) values[i] = first + step * i;
  return std::bit_cast<Counters>(values);
}

Values values_of(const Counters& counters) {
  Values values;
  counters.for_each([&](std::string_view, std::string_view, std::uint64_t value) { values.push_back(value); });
  return values;
}

TEST_CASE("for_each visits every counter once, by its promised name, with its own value") {
  Names names;
  series(100, 7).for_each([&](std::string_view prefix, std::string_view name, std::uint64_t value) {
    CHECK(value == 100 + 7 * names.size());
    names.push_back(std::string(prefix) + std::string(name));
  });
  CHECK(names == kNames);
  CHECK(std::set<std::string>(names.begin(), names.end()).size() == kCount);
}

TEST_CASE("sum and difference work on every counter") {
  const Counters early = series(5, 3), late = series(1000, 11);
  const Values difference = values_of(late - early);
  for (std::size_t i = 0; i < kCount; ++i) CHECK(difference[i] == 995 + 8 * i);
  Counters sum = late - early;
  sum += early;
  CHECK(values_of(sum) == values_of(late));
  CHECK(values_of(late - late) == Values(kCount, 0));
}

TEST_CASE("counting an event changes that event's counter only") {
  Counters counters;
  counters.count(ExitReason::invlpg);
  counters.count(ExitReason::invlpg);
  counters.count(FaultClass::cow_break);
  std::size_t i = 0;
  counters.for_each([&](std::string_view, std::string_view, std::uint64_t value) {
    const std::string& name = kNames[i++];
    CAPTURE(name);
    CHECK(value == (name == "exits.invlpg" ? 2u : name == "faults.cow_break" ? 1u : 0u));
  });
}

}  // namespace
}  // namespace vmem
