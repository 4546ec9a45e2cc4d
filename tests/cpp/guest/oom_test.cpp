// A guest that runs out of memory: somebody is killed or told so, nothing is lost, and nobody else notices.
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "core/error.hpp"
#include "support/booted_guest.hpp"

namespace vmem::guest {
namespace {

constexpr std::uint64_t kGuestBytes = 8ull << 20, kLarge = 2ull << 20;

Vma map(test::BootedGuest& guest, Process& process, std::uint64_t length, PageSize largest = PageSize::k4K) {
  MapRequest request;
  request.length = length;
  request.largest = largest;
  return guest.kernel.mmap(guest.vcpu, process, request);
}

/// Frames the kernel's allocator has, taken so that nobody else gets them.
struct Hoard {
  test::BootedGuest& guest;
  std::vector<Gfn> frames{};

  /// What the kernel then has besides `left` it keeps for itself: returns that.
  std::uint64_t take_all_but(std::uint64_t left) {
    while (const auto gfn = guest.kernel.pages().allocate(guest.vcpu, 0, PageUse::kernel)) frames.push_back(*gfn);
    const std::uint64_t reserve = guest.kernel.free_frames();
    for (; left != 0; --left, frames.pop_back()) guest.kernel.pages().free(guest.vcpu, frames.back(), 0);
    return reserve;
  }
  void give_back() {
    for (const Gfn gfn : frames) guest.kernel.pages().free(guest.vcpu, gfn, 0);
    frames.clear();
  }
};

template <class Test>
void for_each_mode(Test&& test) {
  for (const vmm::MmuMode mode : {vmm::MmuMode::native, vmm::MmuMode::nested, vmm::MmuMode::shadow}) {
    CAPTURE(static_cast<int>(mode));
    test::BootedGuest guest(test::vm_config(mode, kGuestBytes));
    test(guest);
  }
}

TEST_CASE("who faults without memory left is killed, and all it had is free again") {
  for_each_mode([](test::BootedGuest& guest) {
    Process& bystander = guest.kernel.spawn(guest.vcpu, "bystander");
    const Vma kept = map(guest, bystander, 20 * kPageSize);
    for (std::uint64_t va = kept.start; va < kept.end; va += kPageSize) REQUIRE(guest.write(bystander, va, va + 1));
    Process& hog = guest.kernel.spawn(guest.vcpu, "hog");
    const std::uint64_t before = guest.kernel.free_frames();
    const Vma wanted = map(guest, hog, 8 * kGuestBytes);
    guest.kernel.switch_to(guest.vcpu, hog);
    std::vector<std::uint64_t> addresses;
    for (std::uint64_t va = wanted.start; va < wanted.end; va += kPageSize) addresses.push_back(va);
    const std::vector<std::uint8_t> kinds(addresses.size(), 1);
    const hw::BatchResult result = guest.vcpu.access_batch(addresses.data(), kinds.data(), addresses.size());
    CHECK(result.stopped);
    CHECK(result.signals == 0);
    CHECK(result.done > before * 9 / 10);  // all but a few went to its pages, the rest to their tables
    CHECK(result.done <= before);
    CHECK(hog.killed);
    CHECK(hog.resident == 0);
    CHECK(hog.areas.areas().empty());
    CHECK(hog.table.table_frames() == 1);
    CHECK(guest.kernel.free_frames() == before);
    CHECK(guest.kernel.vmstat().oom_kill == 1);
    guest.check();
    CHECK_FALSE(guest.read(hog, wanted.start));
    CHECK_FALSE(bystander.killed);
    for (std::uint64_t va = kept.start; va < kept.end; va += kPageSize) CHECK(guest.read(bystander, va) == va + 1);
    guest.kernel.exit(guest.vcpu, hog);
    CHECK(guest.kernel.free_frames() == before + 1);
    guest.check();
  });
}

TEST_CASE("a large page that is not to be had becomes small ones") {
  for_each_mode([](test::BootedGuest& guest) {
    Process& process = guest.kernel.spawn(guest.vcpu, "process");
    const Vma vma = map(guest, process, 2 * kGuestBytes, PageSize::k2M);
    std::uint64_t large = 0, small = 0;
    const std::uint64_t reserve = guest.kernel.zoneinfo().front().marks.min;
    for (std::uint64_t va = vma.start; guest.kernel.free_frames() > reserve + 8; va += kPageSize) {
      const std::uint64_t resident = process.resident;
      REQUIRE(guest.write(process, va, va));
      const std::uint64_t more = process.resident - resident;
      large += more == 512 ? 1 : 0;
      small += more == 1 ? 1 : 0;
      REQUIRE((more == 0 || more == 1 || more == 512));
    }
    CHECK(large >= 2);
    CHECK(small > 100);
    guest.check();
  });
}

TEST_CASE("a copy that finds no frame kills the one that stores, not the one it shares with") {
  for (const PageSize size : {PageSize::k4K, PageSize::k2M}) {
    CAPTURE(static_cast<int>(size));
    for_each_mode([&](test::BootedGuest& guest) {
      Process& parent = guest.kernel.spawn(guest.vcpu, "parent");
      const Vma vma = map(guest, parent, page_bytes(size), size);
      REQUIRE(guest.write(parent, vma.start, 111));
      Process& child = guest.kernel.fork(guest.vcpu, parent);
      Hoard hoard{guest};
      hoard.take_all_but(0);
      CHECK_FALSE(guest.write(child, vma.start, 222));
      CHECK(child.killed);
      CHECK(child.resident == 0);
      CHECK_FALSE(parent.killed);
      CHECK(guest.read(parent, vma.start) == 111);
      guest.check();
      hoard.give_back();
      CHECK(guest.write(parent, vma.start, 333));
      CHECK(guest.read(parent, vma.start) == 333);
      guest.check();
    });
  }
}

TEST_CASE("a fork without room for tables leaves everything as it was") {
  for_each_mode([](test::BootedGuest& guest) {
    Process& parent = guest.kernel.spawn(guest.vcpu, "parent");
    const Vma vma = map(guest, parent, 4ull << 20);
    for (std::uint64_t va = vma.start; va < vma.end; va += 64 * kPageSize) REQUIRE(guest.write(parent, va, va));
    Hoard hoard{guest};
    for (const std::uint64_t left : {0, 1, 2, 3, 4, 5}) {  // root, two upper tables, three lowest ones
      CAPTURE(left);
      const std::uint64_t reserve = hoard.take_all_but(left);
      CHECK_THROWS_AS(guest.kernel.fork(guest.vcpu, parent), OutOfMemory);
      CHECK(guest.kernel.processes().size() == 1);
      CHECK(guest.kernel.free_frames() == reserve + left);
      guest.check();
      for (std::uint64_t va = vma.start; va < vma.end; va += 64 * kPageSize) REQUIRE(guest.read(parent, va) == va);
      hoard.give_back();
    }
    hoard.take_all_but(8);
    Process& child = guest.kernel.fork(guest.vcpu, parent);
    CHECK(guest.read(child, vma.start) == vma.start);
    guest.check();
  });
}

TEST_CASE("a call that must split a large page without a frame for the table fails and changes nothing") {
  for_each_mode([](test::BootedGuest& guest) {
    Process& process = guest.kernel.spawn(guest.vcpu, "process");
    const Vma vma = map(guest, process, kLarge, PageSize::k2M);
    REQUIRE(guest.write(process, vma.start + 5 * kPageSize, 5));
    REQUIRE(process.resident == 512);
    Hoard hoard{guest};
    hoard.take_all_but(0);
    CHECK_THROWS_AS(guest.kernel.munmap(guest.vcpu, process, vma.start + kPageSize, kPageSize), OutOfMemory);
    CHECK_THROWS_AS(guest.kernel.mprotect(guest.vcpu, process, vma.start + kPageSize, kPageSize, {true, false, false}),
                    OutOfMemory);
    CHECK(process.resident == 512);
    CHECK(guest.read(process, vma.start + 5 * kPageSize) == 5);
    CHECK(guest.write(process, vma.start + kPageSize, 1));
    guest.check();
    guest.kernel.munmap(guest.vcpu, process, vma.start, kLarge);  // a whole page needs no table
    CHECK(process.resident == 0);
    guest.check();
  });
}

}  // namespace
}  // namespace vmem::guest
