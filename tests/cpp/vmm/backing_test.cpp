#include "vmm/backing.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "support/scripted_guest.hpp"
#include "vmm/hypervisor.hpp"

namespace vmem::vmm {
namespace {

constexpr std::uint64_t kMiB = 1ull << 20, kGiB = 1ull << 30;

VmConfig config_of(std::uint64_t bytes, PageSize largest) {
  VmConfig config;
  config.name = "guest";
  config.memory = bytes;
  config.backing = {largest};
  config.cpu = hw::cpu_preset("skylake-sp");
  return config;
}

/// The size that `gfn` is backed with, after it has been.
PageSize back_and_look(Vm& vm, Gfn gfn) {
  const SecondStage::Leaf empty = vm.second_stage()->find(gfn);
  REQUIRE_FALSE(empty.present);
  REQUIRE(back(vm, empty, gfn));
  const SecondStage::Leaf leaf = vm.second_stage()->find(gfn);
  REQUIRE(leaf.present);
  CHECK(vm.second_stage()->target(leaf, gfn).value % page_frames(leaf.size()) == gfn.value % page_frames(leaf.size()));
  return leaf.size();
}

/// Frames of a machine taken away for good, one by one.
struct Hoard {
  memory::MachineMemory& memory;
  std::vector<Hfn> frames{};

  bool take_one() {
    const auto hfn = memory.allocate(0, memory::FrameUse::process, memory::kNoOwner);
    if (hfn) frames.push_back(*hfn);
    return hfn.has_value();
  }
  void take_at(Hfn hfn) {
    REQUIRE(memory.buddy().allocate_at(hfn, 0));
    frames.push_back(hfn);
  }
  void give_back(Hfn hfn) {
    REQUIRE(std::erase(frames, hfn) == 1);
    memory.free(hfn);
  }
};

TEST_CASE("the largest page that is asked for, inside the VM and free, is taken") {
  Hypervisor hypervisor(8 * kGiB);
  Vm& small = hypervisor.create_vm(config_of(64 * kMiB, PageSize::k4K));
  CHECK(back_and_look(small, Gfn{512}) == PageSize::k4K);
  Vm& medium = hypervisor.create_vm(config_of(2 * kGiB, PageSize::k2M));
  CHECK(back_and_look(medium, Gfn{1000}) == PageSize::k2M);
  Vm& large = hypervisor.create_vm(config_of(2 * kGiB + 3 * kMiB, PageSize::k1G));
  CHECK(back_and_look(large, Gfn{300000}) == PageSize::k1G);
  // The end of the VM: 2 MiB still fits in front of it, the last MiB takes small pages.
  CHECK(back_and_look(large, Gfn{2 * 262144 + 511}) == PageSize::k2M);
  CHECK(back_and_look(large, Gfn{2 * 262144 + 512}) == PageSize::k4K);
  CHECK(small.resident_frames() == 1);
  CHECK(medium.resident_frames() == 512);
  CHECK(large.resident_frames() == 262144 + 512 + 1);
  hypervisor.check();
}

TEST_CASE("what is partly backed is completed with the size that is left") {
  Hypervisor hypervisor(4 * kGiB);
  Vm& vm = hypervisor.create_vm(config_of(2 * kGiB, PageSize::k1G));
  // One small page by hand, as after a page was taken away.
  const auto hfn = hypervisor.memory().allocate(0, memory::FrameUse::guest, vm.id());
  REQUIRE(hfn);
  hypervisor.memory().frame(*hfn).gfn = 5;
  REQUIRE(vm.second_stage()->map(vm.second_stage()->find(Gfn{5}), Gfn{5}, *hfn, PageSize::k4K, paging::kRead));
  vm.add_resident(1);
  CHECK(back_and_look(vm, Gfn{6}) == PageSize::k4K);    // its 2 MiB have a table
  CHECK(back_and_look(vm, Gfn{600}) == PageSize::k2M);  // its 1 GiB has one
  CHECK(back_and_look(vm, Gfn{262144}) == PageSize::k1G);
  hypervisor.check();
}

TEST_CASE("a fragmented machine backs with 2 MiB instead of 1 GiB, then with 4 KiB, then not at all") {
  Hypervisor hypervisor(2 * kGiB);
  Hoard hoard{hypervisor.memory()};
  Vm& vm = hypervisor.create_vm(config_of(4 * kGiB, PageSize::k1G));
  hypervisor.memory().buddy().check();
  hoard.take_at(Hfn{262144 + 1000});  // one frame in the machine's second GiB; the first holds frame 0 and the tables
  CHECK(back_and_look(vm, Gfn{0}) == PageSize::k2M);
  std::uint64_t next = 512;
  while (hypervisor.memory().buddy().has_free(9)) {
    CHECK(back_and_look(vm, Gfn{next}) == PageSize::k2M);
    next += 512;
  }
  CHECK(back_and_look(vm, Gfn{next}) == PageSize::k4K);
  while (hypervisor.memory().buddy().free_frames() > 0 && back(vm, vm.second_stage()->find(Gfn{++next}), Gfn{next})) {
  }
  CHECK(hypervisor.memory().buddy().free_frames() == 0);
  ++next;
  CHECK_FALSE(back(vm, vm.second_stage()->find(Gfn{next}), Gfn{next}));
  CHECK_FALSE(vm.second_stage()->find(Gfn{next}).present);
}

/// However few frames are left for tables, what was made of them is found again when the VM goes.
TEST_CASE("a failed attempt at a large page loses no frame") {
  for (std::uint64_t spare = 0; spare < 6; ++spare) {
    for (const PageSize largest : {PageSize::k2M, PageSize::k1G}) {
      CAPTURE(spare);
      Hypervisor hypervisor(2 * kGiB);
      Vm& vm = hypervisor.create_vm(config_of(kGiB, largest));
      Hoard hoard{hypervisor.memory()};
      const auto block = hypervisor.memory().allocate(9 * static_cast<int>(largest), memory::FrameUse::process, 0);
      REQUIRE(block);
      while (hoard.take_one()) {
      }
      for (std::uint64_t i = 0; i < spare; ++i) hoard.give_back(hoard.frames[i * 2]);  // no two of them buddies
      hypervisor.memory().free(*block);
      CHECK(back(vm, vm.second_stage()->find(Gfn{77}), Gfn{77}));
      hypervisor.memory().buddy().check();
      hypervisor.destroy_vm(vm);
      CHECK(hypervisor.memory().used(memory::FrameUse::table) == 0);
      CHECK(hypervisor.memory().buddy().free_frames() + hoard.frames.size() + 1 ==
            hypervisor.memory().bytes().frames());
    }
  }
}

TEST_CASE("an access that finds the machine full stops its batch, and the host stays whole") {
  Hypervisor hypervisor(8 * kMiB);
  Vm& vm = hypervisor.create_vm(config_of(64 * kMiB, PageSize::k2M));
  test::ScriptedGuest guest(Gfn{0});
  guest.boot(vm.vcpu(0));
  std::vector<std::uint64_t> addresses;
  for (std::uint64_t page = 0; page < 3000; ++page) {
    addresses.push_back(0x1000'0000 + page * kPageSize);
    guest.promise(Gva{addresses.back()}, Gfn{100 + page});
  }
  const std::vector<std::uint8_t> kinds(addresses.size(), 1);
  const hw::BatchResult result = vm.vcpu(0).access_batch(addresses.data(), kinds.data(), addresses.size());
  CHECK(result.stopped);
  CHECK(result.signals == 0);
  CHECK(result.done > 500);
  CHECK(result.done < addresses.size());
  hypervisor.check();
  const Counters counters = vm.counters();
  CHECK(counters.accesses == result.done);
  CHECK(vm.is_killed());  // the last resort, and there is nobody else
  CHECK(vm.resident_frames() == 0);
  Hpa at;
  CHECK_FALSE(vm.vcpu(0).access(Gva{addresses[0]}, AccessKind::store, at));
}

}  // namespace
}  // namespace vmem::vmm
