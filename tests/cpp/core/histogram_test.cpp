#include "core/histogram.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

namespace vmem {
namespace {

TEST_CASE("every value lies in its bucket, and buckets are no wider than a 64th of what is in them") {
  std::uint64_t last = 0;
  for (std::size_t bucket = 0; bucket < 2000; ++bucket) {
    const std::uint64_t highest = Histogram::highest(bucket);
    CHECK(Histogram::bucket(highest) == bucket);
    CHECK(Histogram::bucket(highest + 1) == bucket + 1);
    CHECK((bucket == 0 || highest > last));
    CHECK((highest - last <= 1 || (highest - last) * 64 <= highest + 1));
    last = highest;
  }
  CHECK(Histogram::highest(Histogram::bucket(~std::uint64_t{0})) == ~std::uint64_t{0});
}

TEST_CASE("small values are exact, counts always") {
  Histogram histogram;
  histogram.add(127, 3);
  histogram.add(5, 0);
  histogram.add(1'000'000, 2);
  histogram.add(1'000'001, 4);
  std::vector<std::uint64_t> values, times;
  histogram.for_each([&](std::uint64_t highest, std::uint64_t count) {
    values.push_back(highest);
    times.push_back(count);
  });
  CHECK(times == std::vector<std::uint64_t>{3, 6});
  CHECK(values[0] == 127);
  CHECK((values[1] >= 1'000'001 && values[1] < 1'015'626));
}

}  // namespace
}  // namespace vmem
