// Swap slots, victims, and what a kernel does when its swap is full or its disk fails.
#include <doctest/doctest.h>

#include <cstdint>
#include <set>
#include <vector>

#include "core/error.hpp"
#include "guest/oom.hpp"
#include "guest/swap_map.hpp"
#include "support/booted_guest.hpp"
#include "support/random.hpp"
#include "vmm/block_device.hpp"

namespace vmem::guest {
namespace {

constexpr std::uint64_t kMiB = 1ull << 20;

vmm::VmConfig with_swap(std::uint64_t memory, std::uint64_t swap, vmm::MmuMode mode = vmm::MmuMode::nested) {
  vmm::VmConfig config = test::vm_config(mode, memory);
  config.swap = swap;
  return config;
}

Vma map(test::BootedGuest& guest, Process& process, std::uint64_t length, PageSize largest = PageSize::k4K) {
  MapRequest request;
  request.length = length;
  request.largest = largest;
  return guest.kernel.mmap(guest.vcpu, process, request);
}

TEST_CASE("slots come in ascending order, and random use agrees with a set") {
  test::BareGuest guest(test::vm_config(vmm::MmuMode::native, 4 * kMiB));
  SwapMap map;
  constexpr std::uint64_t kSlots = 700;
  map.create(guest.vcpu, kSlots, Gpa{0x20'0000});
  CHECK(map.slots() == kSlots - 1);
  for (SlotNumber expected = 1; expected < 5; ++expected) CHECK(map.take(guest.vcpu, Gfn{9}) == expected);
  std::set<SlotNumber> used{1, 2, 3, 4};
  test::Random random(3);
  for (int step = 0; step < 5000; ++step) {
    if (random.one_in(2) && used.size() < kSlots - 1) {
      const auto slot = map.take(guest.vcpu, Gfn{9});
      REQUIRE(slot);
      REQUIRE(used.insert(*slot).second);
      if (random.one_in(2)) {  // an entry instead of a page
        map.add_entry(guest.vcpu, *slot);
        map.drop_page(guest.vcpu, *slot);
      }
    } else if (!used.empty()) {
      const SlotNumber slot = *std::next(used.begin(), random.below(static_cast<int>(used.size())));
      if (map.at(guest.vcpu, slot).page != 0) map.drop_page(guest.vcpu, slot);
      if (map.at(guest.vcpu, slot).entries != 0) map.drop_entry(guest.vcpu, slot);
      used.erase(slot);
    }
    REQUIRE(map.free_slots(guest.vcpu) == kSlots - 1 - used.size());
    if (step % 500 == 0) map.check(guest.vcpu);
  }
  while (map.take(guest.vcpu, Gfn{9})) {
  }
  CHECK(map.free_slots(guest.vcpu) == 0);
  map.check(guest.vcpu);
  vmm::Vm& vm = guest.vm;
  vm.vcpu(0).store<std::uint64_t>(SwapArea::kAt + 8, 1);
  CHECK_THROWS_AS(map.check(guest.vcpu), InvariantError);
}

TEST_CASE("pages evicted together are written together, and pages of zeros are not") {
  test::BootedGuest guest(with_swap(8 * kMiB, 32 * kMiB));
  Process& process = guest.kernel.spawn(guest.vcpu, "process");
  const Vma vma = map(guest, process, 12 * kMiB);
  for (std::uint64_t va = vma.start; va < vma.end; va += kPageSize) REQUIRE(guest.write(process, va, va));
  const VmStat& stat = guest.kernel.vmstat();
  CHECK(stat.pswpout > 1000);
  const vmm::DiskStat& disk = guest.vm.swap_disk()->stat();
  CHECK(disk.written_bytes == stat.pswpout * kPageSize);
  CHECK(disk.writes * 10 < stat.pswpout);
  CHECK(stat.pgpgout == stat.pswpout * 4);
  CHECK(guest.kernel.meminfo().SwapTotal - guest.kernel.meminfo().SwapFree >= process.swapped);
  guest.check();

  Process& idle = guest.kernel.spawn(guest.vcpu, "zeros");
  const Vma zeros = map(guest, idle, 12 * kMiB);
  const std::uint64_t written = stat.pswpout;
  for (std::uint64_t va = zeros.start; va < zeros.end; va += kPageSize)
    REQUIRE(guest.access(idle, va, AccessKind::store));
  CHECK(stat.swpout_zero > 500);
  CHECK(stat.pswpout - written <= process.resident + 2048);  // what the other had
  for (std::uint64_t va = zeros.start; va < zeros.end; va += kPageSize) REQUIRE(guest.read(idle, va) == 0);
  CHECK(stat.swpin_zero > 500);
  for (std::uint64_t va = vma.start; va < vma.end; va += kPageSize) REQUIRE(guest.read(process, va) == va);
  guest.check();
}

TEST_CASE("a page read back and only looked at is clean: it goes again without a write") {
  test::BootedGuest guest(with_swap(8 * kMiB, 64 * kMiB));  // the swap is less than half full: copies stay
  Process& process = guest.kernel.spawn(guest.vcpu, "process");
  const Vma vma = map(guest, process, 12 * kMiB);
  for (std::uint64_t va = vma.start; va < vma.end; va += kPageSize) REQUIRE(guest.write(process, va, va));
  for (int round = 0; round < 2; ++round)
    for (std::uint64_t va = vma.start; va < vma.end; va += kPageSize) REQUIRE(guest.read(process, va) == va);
  const std::uint64_t written = guest.kernel.vmstat().pswpout;
  CHECK(guest.kernel.meminfo().SwapCached > 1000);
  for (std::uint64_t va = vma.start; va < vma.end; va += kPageSize) REQUIRE(guest.read(process, va) == va);
  CHECK(guest.kernel.vmstat().pswpout == written);
  for (std::uint64_t va = vma.start; va < vma.end; va += kPageSize) REQUIRE(guest.write(process, va, va + 1));
  for (std::uint64_t va = vma.start; va < vma.end; va += kPageSize) REQUIRE(guest.read(process, va) == va + 1);
  CHECK(guest.kernel.vmstat().pswpout > written + 2000);
  guest.check();
}

TEST_CASE("who has most is killed when memory and swap are full, not who asks; oom_score_adj decides otherwise") {
  for (const bool spared : {false, true}) {
    test::BootedGuest guest(with_swap(8 * kMiB, 4 * kMiB));
    Process& hog = guest.kernel.spawn(guest.vcpu, "hog");
    Process& small = guest.kernel.spawn(guest.vcpu, "small");
    if (spared) hog.oom_score_adj = -1000;
    const Vma most = map(guest, hog, 7 * kMiB), little = map(guest, small, 6 * kMiB);
    for (std::uint64_t va = most.start; va < most.end; va += kPageSize) REQUIRE(guest.write(hog, va, va));
    CHECK(oom_score(hog, 100'000) == (spared ? 0 : hog.resident + hog.swapped + hog.table.table_frames()));
    bool alive = true;
    for (std::uint64_t va = little.start; alive && va < little.end; va += kPageSize) alive = guest.write(small, va, va);
    CHECK(alive != spared);
    CHECK(hog.killed != spared);
    CHECK(small.killed == spared);
    CHECK(guest.kernel.vmstat().oom_kill == 1);
    guest.check();
    Process& left = spared ? hog : small;
    const Vma& area = spared ? most : little;
    for (std::uint64_t va = area.start; va < area.end; va += kPageSize) REQUIRE(guest.read(left, va) == va);
    CHECK_FALSE(guest.read(spared ? small : hog, (spared ? little : most).start));
  }
}

TEST_CASE("a swap disk that fails takes nothing with it") {
  test::BootedGuest guest(with_swap(8 * kMiB, 32 * kMiB));
  Process& process = guest.kernel.spawn(guest.vcpu, "process");
  const Vma vma = map(guest, process, 10 * kMiB);
  std::uint64_t written = vma.start;
  for (; written < vma.start + 5 * kMiB; written += kPageSize) REQUIRE(guest.write(process, written, written));
  guest.vm.swap_disk()->fail(true);
  while (written < vma.end && guest.write(process, written, written)) written += kPageSize;
  CHECK(process.killed);  // its pages could go nowhere
  CHECK(guest.kernel.vmstat().pswpin == 0);
  guest.check();
  guest.vm.swap_disk()->fail(false);
  Process& next = guest.kernel.spawn(guest.vcpu, "next");
  const Vma again = map(guest, next, 10 * kMiB);
  for (std::uint64_t va = again.start; va < again.end; va += kPageSize) REQUIRE(guest.write(next, va, va));
  guest.vm.swap_disk()->fail(true);
  std::uint64_t lost = 0;  // SIGBUS for what is on the disk, and only for that
  for (std::uint64_t va = again.start; va < again.end; va += kPageSize) {
    const auto value = guest.read(next, va);
    lost += value ? 0 : 1;
    if (value) REQUIRE(*value == va);
  }
  CHECK(lost > 100);
  CHECK_FALSE(next.killed);
  guest.vm.swap_disk()->fail(false);
  for (std::uint64_t va = again.start; va < again.end; va += kPageSize) REQUIRE(guest.read(next, va) == va);
  guest.check();
}

TEST_CASE("a swap whose map does not fit is refused") {
  CHECK_THROWS_AS(test::BootedGuest(with_swap(4 * kMiB, 4096 * kMiB)), ConfigError);
}

TEST_CASE("entries that something else wrote to a table name no slot: SIGSEGV, and nothing breaks") {
  test::BootedGuest guest(with_swap(8 * kMiB, 4 * kMiB));
  Process& process = guest.kernel.spawn(guest.vcpu, "process");
  const Vma vma = map(guest, process, 16 * kPageSize);
  REQUIRE(guest.write(process, vma.start, 1));
  const Gva hostile{vma.start + kPageSize};
  for (const std::uint64_t entry : {swap_entry(0), swap_entry(5), swap_entry(1u << 30), std::uint64_t{0xfff0}}) {
    process.table.store(guest.vcpu, process.table.find(guest.vcpu, hostile), entry);
    CHECK_FALSE(guest.read(process, hostile.value));
  }
  guest.kernel.munmap(guest.vcpu, process, vma.start, vma.end - vma.start);
  CHECK(process.swapped == 0);
  guest.check();
}

}  // namespace
}  // namespace vmem::guest
