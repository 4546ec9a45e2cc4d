#include "memory/physical_memory.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <vector>

#include "core/error.hpp"
#include "support/random.hpp"

namespace vmem::memory {
namespace {

constexpr std::uint64_t kFrames = 200;
constexpr std::uint64_t kBytes = kFrames * kPageSize;

std::vector<std::byte> bytes_of(const PhysicalMemory& memory, std::uint64_t at, std::uint64_t length) {
  std::vector<std::byte> bytes(length);
  memory.read(at, bytes);
  return bytes;
}

TEST_CASE("a size that no memory has is refused") {
  for (const std::uint64_t bytes : std::initializer_list<std::uint64_t>{0, 4095, 4104, (1ull << 44) + 4096})
    CHECK_THROWS_AS(PhysicalMemory{bytes}, ConfigError);
  const PhysicalMemory one_frame(kPageSize);
  CHECK(one_frame.size() == kPageSize);
  CHECK(one_frame.frames() == 1);
}

TEST_CASE("ranges are held against the end of memory, without overflow") {
  PhysicalMemory memory(kBytes);
  std::vector<std::byte> two(2);
  struct Range {
    std::uint64_t at, length;
    bool inside;
  };
  for (const Range& range :
       {Range{0, kBytes, true}, Range{kBytes, 0, true}, Range{kBytes - 1, 1, true}, Range{kBytes - 1, 2, false},
        Range{kBytes + 1, 0, false}, Range{0, kBytes + 1, false}, Range{~0ull, 1, false}, Range{1, ~0ull, false}})
    CHECK(memory.contains(range.at, range.length) == range.inside);
  CHECK_THROWS_AS(memory.read(kBytes - 1, two), ConfigError);
  CHECK_THROWS_AS(memory.write(kBytes - 1, two), ConfigError);
  CHECK_THROWS_AS(memory.write(~0ull - 1, two), ConfigError);
  CHECK_FALSE(memory.is_written(kFrames - 1));  // a refused write leaves no trace
  memory.write(kBytes - 2, two);
  CHECK(memory.is_written(kFrames - 1));
}

TEST_CASE("an empty write marks nothing, one across a border marks both frames") {
  PhysicalMemory memory(kBytes);
  memory.write(5 * kPageSize, {});
  CHECK_FALSE(memory.is_written(5));
  const std::vector<std::byte> bytes(2, std::byte{7});
  memory.write(6 * kPageSize - 1, bytes);
  for (std::uint64_t frame = 0; frame < kFrames; ++frame) CHECK(memory.is_written(frame) == (frame == 5 || frame == 6));
  CHECK(bytes_of(memory, 6 * kPageSize - 1, 2) == bytes);
}

/// Reads, writes and scrubs against a plain array of bytes and one of flags.
TEST_CASE("random writes and scrubs agree with plain arrays") {
  PhysicalMemory memory(kBytes);
  std::vector<std::byte> bytes(kBytes);
  std::vector<bool> written(kFrames);
  test::Random random(1);
  for (int step = 0; step < 3000; ++step) {
    if (random.one_in(4)) {
      const std::uint64_t first = random.below(kFrames), count = random.below(kFrames - first) + 1;
      std::uint64_t were_written = 0;
      for (std::uint64_t frame = first; frame < first + count; ++frame) {
        were_written += written[frame] ? 1 : 0;
        written[frame] = false;
        std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(frame * kPageSize), kPageSize, std::byte{0});
      }
      CHECK(memory.scrub(first, count) == were_written);
    } else if (random.one_in(2)) {
      const std::uint64_t at = random.below(kBytes / 8) * 8, value = random.bits();
      memory.store(at, value);
      std::memcpy(bytes.data() + at, &value, sizeof value);
      written[at / kPageSize] = true;
      CHECK(memory.load<std::uint64_t>(at) == value);
    } else {
      const std::uint64_t at = random.below(kBytes - 9000);
      std::vector<std::byte> data(random.below(9000) + 1);
      for (std::byte& byte : data) byte = static_cast<std::byte>(random.bits());
      memory.write(at, data);
      std::copy(data.begin(), data.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
      for (std::uint64_t frame = at / kPageSize; frame <= (at + data.size() - 1) / kPageSize; ++frame)
        written[frame] = true;
    }
    if (step % 50 != 0) continue;
    REQUIRE(bytes_of(memory, 0, kBytes) == bytes);
    for (std::uint64_t frame = 0; frame < kFrames; ++frame) REQUIRE(memory.is_written(frame) == written[frame]);
  }
}

}  // namespace
}  // namespace vmem::memory
