#include <doctest/doctest.h>

#include <cstdint>
#include <initializer_list>
#include <optional>

#include "core/error.hpp"
#include "support/booted_guest.hpp"

namespace vmem::guest {
namespace {

constexpr std::uint64_t kTop = (1ull << 47) - kPageSize, kLarge = 2ull << 20;

struct Caller : test::BootedGuest {
  Process& process;

  explicit Caller(std::uint64_t bytes = 64ull << 20)
      : test::BootedGuest(test::vm_config(vmm::MmuMode::nested, bytes)), process(kernel.spawn(vcpu, "process")) {}

  Vma map(std::uint64_t length, std::optional<std::uint64_t> address = std::nullopt, PageSize largest = PageSize::k4K) {
    MapRequest request;
    request.length = length;
    request.address = address;
    request.largest = largest;
    return kernel.mmap(vcpu, process, request);
  }
  std::uint64_t brk(std::uint64_t end) { return kernel.brk(vcpu, process, end); }
};

TEST_CASE("mmap takes the highest gap, or the address it is given, and refuses what cannot be") {
  Caller caller;
  CHECK(caller.map(1).start == kTop - kPageSize);
  CHECK(caller.map(2 * kPageSize).end == kTop - kPageSize);
  const Vma aligned = caller.map(kLarge, std::nullopt, PageSize::k2M);
  CHECK(aligned.start % kLarge == 0);
  const Vma fixed = caller.map(kPageSize, 0x40'0000);
  CHECK(fixed.start == 0x40'0000);
  CHECK_THROWS_AS(caller.map(0), ConfigError);
  CHECK_THROWS_AS(caller.map(~0ull), ConfigError);
  CHECK_THROWS_AS(caller.map(kPageSize, 0x40'0000), ConfigError);      // taken
  CHECK_THROWS_AS(caller.map(2 * kPageSize, 0x3f'f000), ConfigError);  // overlaps
  CHECK_THROWS_AS(caller.map(kPageSize, 0x40'0800), ConfigError);      // not a page's address
  CHECK_THROWS_AS(caller.map(kPageSize, 0xf000), ConfigError);         // catches null pointers
  CHECK_THROWS_AS(caller.map(kPageSize, kTop), ConfigError);           // beyond user space
  CHECK_THROWS_AS(caller.map(kTop - VmaSet::kLowest), OutOfMemory);    // no such gap
  CHECK(caller.process.areas.areas().size() == 4);
}

TEST_CASE("munmap and mprotect refuse ranges outside user space, and mprotect those with holes") {
  Caller caller;
  caller.map(4 * kPageSize, 0x40'0000);
  for (const std::uint64_t start : {std::uint64_t{0x40'0001}, kTop, ~std::uint64_t{0} & ~kPageMask}) {
    CHECK_THROWS_AS(caller.kernel.munmap(caller.vcpu, caller.process, start, kPageSize), ConfigError);
    CHECK_THROWS_AS(caller.kernel.mprotect(caller.vcpu, caller.process, start, kPageSize, {}), ConfigError);
  }
  CHECK_THROWS_AS(caller.kernel.munmap(caller.vcpu, caller.process, 0x40'0000, 0), ConfigError);
  CHECK_THROWS_AS(caller.kernel.munmap(caller.vcpu, caller.process, 0x40'0000, ~0ull), ConfigError);
  caller.kernel.munmap(caller.vcpu, caller.process, 0x40'1000, kPageSize);
  CHECK_THROWS_AS(caller.kernel.mprotect(caller.vcpu, caller.process, 0x40'0000, 3 * kPageSize, {}), ConfigError);
  CHECK_NOTHROW(caller.kernel.munmap(caller.vcpu, caller.process, 0x10'0000, 0x100'0000));  // holes do not matter here
  CHECK(caller.process.areas.areas().empty());
}

TEST_CASE("a range that ends where a large page begins leaves that page whole") {
  Caller caller;
  const Vma vma = caller.map(3 * kLarge, std::nullopt, PageSize::k2M);
  for (std::uint64_t va = vma.start; va < vma.end; va += kLarge) REQUIRE(caller.write(caller.process, va, va));
  const auto level_at = [&](std::uint64_t va) { return caller.process.table.find(caller.vcpu, Gva{va}).level; };
  const std::uint64_t middle = vma.start + kLarge, tables = caller.process.table.table_frames();
  caller.kernel.mprotect(caller.vcpu, caller.process, middle, kLarge, {true, false, false});
  for (std::uint64_t va = vma.start; va < vma.end; va += kLarge) CHECK(level_at(va) == 2);
  CHECK_FALSE(caller.write(caller.process, middle + 8, 1));
  CHECK(caller.read(caller.process, middle) == middle);
  caller.kernel.munmap(caller.vcpu, caller.process, middle, kLarge);
  CHECK(level_at(vma.start) == 2);
  CHECK(level_at(middle + kLarge) == 2);
  CHECK(caller.process.table.table_frames() == tables);
  CHECK(caller.process.resident == 1024);
  caller.kernel.munmap(caller.vcpu, caller.process, vma.start, kPageSize);  // now a table is needed
  CHECK(level_at(vma.start + kPageSize) == 1);
  CHECK(caller.process.table.table_frames() == tables + 1);
  CHECK(caller.process.resident == 1023);
  caller.check();
}

TEST_CASE("brk grows and shrinks one area, and says where the heap ends when it cannot") {
  Caller caller;
  const std::uint64_t heap = caller.brk(0);
  CHECK(heap % kPageSize == 0);
  CHECK(caller.brk(0) == heap);
  CHECK(caller.process.areas.areas().empty());
  CHECK(caller.brk(heap + 100) == heap + 100);
  CHECK(caller.brk(heap + 5 * kPageSize + 1) == heap + 5 * kPageSize + 1);
  REQUIRE(caller.process.areas.areas().size() == 1);
  CHECK(caller.process.areas.find(heap)->end == heap + 6 * kPageSize);
  for (std::uint64_t page = 0; page < 6; ++page) CHECK(caller.write(caller.process, heap + page * kPageSize, page));
  CHECK_FALSE(caller.read(caller.process, heap + 6 * kPageSize));
  CHECK(caller.process.resident == 6);

  CHECK(caller.brk(heap + 2 * kPageSize) == heap + 2 * kPageSize);
  CHECK(caller.process.resident == 2);
  CHECK_FALSE(caller.read(caller.process, heap + 2 * kPageSize));
  CHECK(caller.brk(heap + 3 * kPageSize) == heap + 3 * kPageSize);
  CHECK(caller.read(caller.process, heap + 2 * kPageSize) == 0);  // not what was there before
  CHECK(caller.read(caller.process, heap + kPageSize) == 1);

  SUBCASE("below its start") { CHECK(caller.brk(heap - 1) == heap + 3 * kPageSize); }
  SUBCASE("into another mapping") {
    caller.map(kPageSize, heap + 10 * kPageSize);
    CHECK(caller.brk(heap + 11 * kPageSize) == heap + 3 * kPageSize);
    CHECK(caller.brk(heap + 10 * kPageSize) == heap + 10 * kPageSize);
  }
  SUBCASE("beyond user space") {
    for (const std::uint64_t end : {kTop + 1, std::uint64_t{1} << 63, ~std::uint64_t{0} - 5, ~std::uint64_t{0}})
      CHECK(caller.brk(end) == heap + 3 * kPageSize);
    CHECK(caller.read(caller.process, heap + kPageSize) == 1);
    CHECK(caller.process.resident == 3);
  }
  SUBCASE("back to nothing") {
    CHECK(caller.brk(heap) == heap);
    CHECK(caller.process.areas.areas().empty());
    CHECK(caller.process.resident == 0);
  }
  caller.check();
}

TEST_CASE("a fork shares frames until a store, in both directions") {
  Caller caller;
  const Vma vma = caller.map(8 * kPageSize);
  for (std::uint64_t page = 0; page < 8; ++page)
    REQUIRE(caller.write(caller.process, vma.start + page * kPageSize, 100 + page));
  const std::uint64_t before = caller.kernel.free_frames();
  Process& child = caller.kernel.fork(caller.vcpu, caller.process);
  CHECK(before - caller.kernel.free_frames() == child.table.table_frames());  // tables only
  CHECK(child.resident == 8);
  const std::uint64_t shared = caller.kernel.free_frames();
  CHECK(caller.write(child, vma.start, 7));
  CHECK(caller.write(caller.process, vma.start + kPageSize, 8));
  CHECK(caller.kernel.free_frames() == shared - 2);
  CHECK(caller.read(caller.process, vma.start) == 100);
  CHECK(caller.read(child, vma.start) == 7);
  CHECK(caller.read(child, vma.start + kPageSize) == 101);
  CHECK(caller.write(caller.process, vma.start, 9));  // the last one to hold it needs no copy
  CHECK(caller.kernel.free_frames() == shared - 2);
  caller.check();
  caller.kernel.exit(caller.vcpu, child);
  CHECK(caller.kernel.free_frames() == before);
  caller.check();
}

}  // namespace
}  // namespace vmem::guest
