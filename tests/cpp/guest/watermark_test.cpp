// Linux's arithmetic of zones, held against /proc/zoneinfo and /proc/meminfo of a real guest: Linux 6.1, 1 GiB, one
// vCPU, under QEMU 7.2.
#include "guest/watermark.hpp"

#include <doctest/doctest.h>

namespace vmem::guest {
namespace {

/// Managed frames when the watermarks were worked out: before the kernel freed its initial memory.
constexpr std::array<std::uint64_t, 3> kManaged = {3840, 242'300, 0};

TEST_CASE("watermarks are those of a real guest") {
  const auto marks = watermarks(kManaged);
  CHECK(marks[0].min + marks[1].min == 45'056 / 4 - 1);  // min_free_kbytes, each zone's part rounded down
  CHECK(marks[0].low == 218);                            // as its per-CPU list's limit tells
  CHECK(marks[0].high == 261);
  CHECK(marks[1].low == 13'860);
  CHECK(marks[1].high == 16'632);
  CHECK(marks[2].high == 0);
}

TEST_CASE("per-CPU lists are those of a real guest") {
  const auto marks = watermarks(kManaged);
  CHECK(per_cpu_limits(3840, marks[0].low, 1).batch == 1);
  CHECK(per_cpu_limits(3840, marks[0].low, 1).high == 218);
  CHECK(per_cpu_limits(245'063, marks[1].low, 1).batch == 63);
  CHECK(per_cpu_limits(245'063, marks[1].low, 1).high == 13'860);
  CHECK(per_cpu_limits(245'063, marks[1].low, 1000).high == 63 * 4);  // many vCPUs share the low watermark
}

TEST_CASE("MemAvailable is that of a real idle guest, to the kilobyte") {
  const auto marks = watermarks(kManaged);
  const std::uint64_t available = available_memory({.free = 955'608 / 4,
                                                    .page_cache = 0,  // all it cached was tmpfs, which no reclaim frees
                                                    .reclaimable = 9032 / 4,
                                                    .low_watermark = marks[0].low + marks[1].low,
                                                    .total_reserve = total_reserve(kManaged)});
  CHECK(available * 4 == 888'768);
}

TEST_CASE("cache counts but for its half, or the low watermarks if that is less; nothing is less than nothing") {
  CHECK(available_memory({.free = 100, .page_cache = 40, .reclaimable = 10, .low_watermark = 30, .total_reserve = 5}) ==
        100 + 20 + 5 - 5);
  CHECK(available_memory({.free = 0, .page_cache = 400, .low_watermark = 30}) == 370);
  CHECK(available_memory({.free = 4, .total_reserve = 5}) == 0);
}

}  // namespace
}  // namespace vmem::guest
