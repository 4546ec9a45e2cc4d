#include "sim/trace_codec.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "sim/trace_compactor.hpp"
#include "support/random.hpp"

namespace vmem::sim {
namespace {

struct Reference {
  std::uint64_t address;
  AccessKind kind;
};

std::vector<Reference> random_references(test::Random& random, std::size_t count) {
  std::vector<Reference> references;
  std::array<std::uint64_t, 2> page{};
  while (references.size() < count) {
    const bool fetch = random.one_in(3);
    if (random.one_in(4))
      page[fetch] = random.one_in(10) ? random.bits() >> 12 << 12 : (random.below(100ull) + 1000) << 12;
    const auto kind = fetch ? AccessKind::fetch : random.one_in(3) ? AccessKind::store : AccessKind::load;
    references.push_back({page[fetch] + random.below(kPageSize), kind});
  }
  return references;
}

/// The definition of a run (core/run.hpp), without any holding back.
std::vector<Run> naive_runs(const std::vector<Reference>& references) {
  std::vector<Run> runs;
  std::array<std::optional<std::size_t>, 2> open;
  for (const auto& [address, kind] : references) {
    const bool fetch = kind == AccessKind::fetch, store = kind == AccessKind::store;
    const std::uint64_t page = address / kPageSize * kPageSize;
    auto& mine = open[fetch];
    const bool goes_on = mine && page_address(runs[*mine]) == page && !(store && runs[*mine].stores == 0);
    if (!goes_on) {
      mine = runs.size();
      runs.push_back({page | static_cast<std::uint64_t>(kind), 0, 0});
    }
    ++(store ? runs[*mine].stores : runs[*mine].loads);
  }
  return runs;
}

std::vector<Run> compacted(const std::vector<Reference>& references, test::Random& random) {
  Compactor compactor;
  std::vector<Run> runs;
  const auto take = [&] {
    const std::vector<Run> ready = compactor.take();
    runs.insert(runs.end(), ready.begin(), ready.end());
  };
  for (const Reference& reference : references) {
    compactor.add(reference.address, reference.kind);
    if (random.one_in(50)) take();
  }
  compactor.close();
  take();
  return runs;
}

TEST_CASE("compacted runs are the naive ones, however often they are taken, and survive the codec") {
  test::Random random(3);
  for (int round = 0; round < 40; ++round) {
    const auto references = random_references(random, random.below(std::size_t{4000}));
    const std::vector<Run> runs = compacted(references, random);
    REQUIRE(runs == naive_runs(references));
    for (const Run& run : runs) REQUIRE(well_formed(run));
    const std::string payload = encode_runs(runs);
    REQUIRE(decode_runs(payload, runs.size()) == runs);
  }
}

TEST_CASE("a run that would hold back a window of others ends, and no reference is lost") {
  Compactor compactor;
  compactor.add(0x5000, AccessKind::load);
  for (std::uint64_t i = 0; i < 2 * Compactor::kWindow; ++i) compactor.add((i % 7 + 10) << 12, AccessKind::fetch);
  compactor.add(0x5008, AccessKind::load);
  CHECK(compactor.take().size() > Compactor::kWindow);
  compactor.close();
  std::uint64_t data = 0;
  for (const Run& run : compactor.take()) data += first_kind(run) == AccessKind::load ? run.loads : 0;
  CHECK(data == 1);  // in a run of its own; the first one went with the window
}

TEST_CASE("counts and pages at their limits survive the codec") {
  constexpr std::uint32_t kMost = std::numeric_limits<std::uint32_t>::max();
  const std::uint64_t last = ~kPageMask;
  const std::vector<Run> runs = {{last | 0, kMost, 0}, {0 | 2, kMost, 0}, {last | 1, kMost, kMost},
                                 {0 | 1, 0, 1},        {last | 2, 1, 0},  {0 | 0, 1, 0}};
  CHECK(decode_runs(encode_runs(runs), runs.size()) == runs);
  CHECK(decode_runs(encode_runs({}), 0).empty());
}

TEST_CASE("runs that no compactor makes are not encoded") {
  for (const Run& run : {Run{0x1000, 0, 0}, Run{0x1000, 1, 1}, Run{0x1001, 1, 0}, Run{0x1002, 1, 1}, Run{0x1003, 1, 0},
                         Run{0x1004, 1, 0}, Run{0x1002, 0, 0}})
    CHECK_THROWS_AS(encode_runs({&run, 1}), ConfigError);
  CHECK_THROWS_AS(encode_runs(std::vector<Run>(kMaxBlockRuns + 1, Run{0x1000, 1, 0})), ConfigError);
}

TEST_CASE("whatever the bytes, decoding gives well-formed runs or says what is wrong") {
  test::Random random(9);
  const auto references = random_references(random, 300);
  const std::vector<Run> runs = naive_runs(references);
  const std::string good = encode_runs(runs);
  for (std::size_t length = 0; length < good.size(); ++length)
    CHECK_THROWS_AS(decode_runs({good.data(), length}, runs.size()), TraceError);
  CHECK_THROWS_AS(decode_runs(good, runs.size() + 1), TraceError);
  CHECK_THROWS_AS(decode_runs(good, runs.size() - 1), TraceError);
  CHECK_THROWS_AS(decode_runs(good + '\0', runs.size()), TraceError);
  CHECK_THROWS_AS(decode_runs(good, kMaxBlockRuns + 1), TraceError);
  int refused = 0;
  for (int round = 0; round < 5000; ++round) {
    std::string bad = good;
    for (std::uint64_t flips = random.below(4ull) + 1; flips > 0; --flips)
      bad[random.below(bad.size())] = static_cast<char>(random.bits());
    try {
      for (const Run& run : decode_runs(bad, runs.size())) REQUIRE(well_formed(run));
    } catch (const TraceError& error) {
      REQUIRE(error.offset <= bad.size());
      ++refused;
    }
  }
  CHECK(refused > 100);
}

}  // namespace
}  // namespace vmem::sim
