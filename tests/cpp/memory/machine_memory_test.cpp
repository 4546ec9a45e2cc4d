#include "memory/machine_memory.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <vector>

#include "support/random.hpp"

namespace vmem::memory {
namespace {

bool reads_zero(const PhysicalMemory& bytes, Hfn first, std::uint64_t frames) {
  std::vector<std::byte> read(frames * kPageSize);
  bytes.read(first.address().value, read);
  return std::all_of(read.begin(), read.end(), [](std::byte byte) { return byte == std::byte{0}; });
}

void scribble(PhysicalMemory& bytes, Hfn first, std::uint64_t frames) {
  const std::vector<std::byte> dirt(frames * kPageSize, std::byte{0xa5});
  bytes.write(first.address().value, dirt);
}

std::uint64_t resident_bytes() {
  std::uint64_t all = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

struct Block {
  Hfn head;
  int order;
  FrameUse use;
};

TEST_CASE("no owner sees a byte of the one before, and uses are counted") {
  MachineMemory memory(1024 * kPageSize);
  const std::uint64_t all_free = memory.buddy().free_frames();
  std::vector<Block> blocks;
  test::Random random(3);
  for (int step = 0; step < 2000; ++step) {
    if (blocks.empty() || random.one_in(2)) {
      const int order = random.below(6);
      const FrameUse use = random.one_in(3) ? FrameUse::table : FrameUse::guest;
      const auto owner = static_cast<std::uint16_t>(random.below(5));
      const auto head = memory.allocate(order, use, owner);
      if (!head) continue;
      REQUIRE(reads_zero(memory.bytes(), *head, 1ull << order));
      REQUIRE(memory.frame(*head).use == use);
      REQUIRE(memory.frame(*head).owner == owner);
      REQUIRE(memory.frame(*head).order == order);
      const std::uint64_t from = random.below(1ull << order);  // often only a part of it is written
      scribble(memory.bytes(), *head + from, random.below((1ull << order) - from) + 1);
      blocks.push_back({*head, order, use});
    } else {
      const std::size_t victim = random.below(blocks.size());
      memory.free(blocks[victim].head);
      blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(victim));
    }
    for (const FrameUse use : {FrameUse::table, FrameUse::guest}) {
      std::uint64_t held = 0;
      for (const Block& block : blocks) held += block.use == use ? 1ull << block.order : 0;
      REQUIRE(memory.used(use) == held);
    }
  }
  for (const Block& block : blocks) memory.free(block.head);
  memory.buddy().check();
  CHECK(memory.buddy().free_frames() == all_free);
}

TEST_CASE("parts of a split block are freed one by one") {
  MachineMemory memory(2048 * kPageSize);
  const auto head = memory.allocate(9, FrameUse::guest, 1);
  REQUIRE(head);
  scribble(memory.bytes(), *head, 512);
  memory.buddy().split(*head, 0);
  memory.free(*head + 100);
  CHECK(memory.used(FrameUse::guest) == 511);
  const auto reused = memory.allocate(0, FrameUse::table, 2);
  REQUIRE(reused);
  CHECK(reads_zero(memory.bytes(), *reused, 1));
  CHECK(memory.bytes().is_written(head->value + 99));  // its neighbours keep their bytes
  CHECK(memory.bytes().is_written(head->value + 101));
}

TEST_CASE("a contiguous range is owned, counted, scrubbed and given back as a whole") {
  MachineMemory memory(4096 * kPageSize);
  const std::uint64_t all_free = memory.buddy().free_frames();
  const auto first = memory.allocate_range(1300, 9, FrameUse::guest, 9);
  REQUIRE(first);
  CHECK(first->value % 512 == 0);
  CHECK(memory.used(FrameUse::guest) == 1300);
  CHECK(memory.buddy().free_frames() == all_free - 1300);
  scribble(memory.bytes(), *first, 1300);
  CHECK_FALSE(memory.allocate_range(3000, 0, FrameUse::guest, 9));
  memory.free_range(*first, 1300);
  CHECK(memory.used(FrameUse::guest) == 0);
  CHECK(memory.buddy().free_frames() == all_free);
  CHECK(reads_zero(memory.bytes(), *first, 1300));
  memory.buddy().check();
}

TEST_CASE("freeing written frames lowers the simulator's own resident memory") {
  constexpr int kOrder = 14;  // 64 MiB
  constexpr std::uint64_t kMiB = 1ull << 20;
  MachineMemory memory(1ull << 40);  // costs nothing
  const auto head = memory.allocate(kOrder, FrameUse::guest, 1);
  REQUIRE(head);
  const std::uint64_t before = resident_bytes();
  for (std::uint64_t at = 0; at < 1ull << kOrder; ++at)
    memory.bytes().store<std::uint64_t>((*head + at).address().value, at + 1);
  const std::uint64_t written = resident_bytes();
  CHECK(written >= before + 60 * kMiB);
  memory.free(*head);
  const std::uint64_t freed = resident_bytes();
  CHECK(freed + 60 * kMiB <= written);
  CHECK(freed <= before + 4 * kMiB);
}

}  // namespace
}  // namespace vmem::memory
