#include "vmm/unmap.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <vector>

#include "support/random.hpp"
#include "support/scripted_guest.hpp"
#include "vmm/hypervisor.hpp"

namespace vmem::vmm {
namespace {

constexpr std::uint64_t kGuestBytes = 16ull << 20;
constexpr Gfn kTables{3500}, kFirstData{1024};  // the data in 2 MiB pages of its own

VmConfig config_of(MmuMode mode, const char* cpu, PageSize largest) {
  VmConfig config;
  config.name = "guest";
  config.memory = kGuestBytes;
  config.vcpus = 2;
  config.mode = mode;
  config.backing = {largest};
  config.cpu = hw::cpu_preset(cpu);
  return config;
}

struct Host {
  Hypervisor hypervisor{128ull << 20};
  Vm& vm;
  test::ScriptedGuest guest{kTables};

  explicit Host(const VmConfig& config) : vm(hypervisor.create_vm(config)) {
    for (std::size_t i = 0; i < vm.vcpu_count(); ++i) guest.boot(vm.vcpu(i));
    for (std::uint64_t i = 0; i < 1200; ++i) guest.promise(gva(i), kFirstData + i);
  }
  static Gva gva(std::uint64_t page) { return Gva{0x40'0000'0000 + page * kPageSize}; }
  static Gfn gfn(std::uint64_t page) { return kFirstData + page; }

  Hpa access(std::uint64_t page, AccessKind kind, std::size_t vcpu = 0) {
    Hpa at;
    REQUIRE(vm.vcpu(vcpu).access(gva(page), kind, at));
    return at;
  }
  void write(std::uint64_t page, std::uint64_t value, std::size_t vcpu = 0) {
    hypervisor.memory().bytes().store(access(page, AccessKind::store, vcpu).value, value);
  }
  std::uint64_t read(std::uint64_t page, std::size_t vcpu = 0) {
    return hypervisor.memory().bytes().load<std::uint64_t>(access(page, AccessKind::load, vcpu).value);
  }
  bool is_free(Hfn hfn) {
    memory::Buddy& buddy = hypervisor.memory().buddy();
    if (!buddy.allocate_at(hfn, 0)) return false;
    buddy.free(hfn, 0);
    return true;
  }
  bool in_a_tlb(Hfn hfn) {
    bool found = false;
    for (std::size_t i = 0; i < vm.vcpu_count(); ++i)
      vm.vcpu(i).mmu().for_each_tlb_entry([&](const hw::Context&, std::uint64_t, const hw::TlbEntry& entry) {
        const std::uint64_t first = entry.base >> kPageShift;
        found |= hfn.value >= first && hfn.value < first + page_frames(entry.size);
      });
    return found;
  }
};

std::vector<VmConfig> configs() {
  std::vector<VmConfig> all;
  for (const PageSize largest : {PageSize::k4K, PageSize::k2M})
    for (const char* cpu : {"skylake-sp", "zen3"})
      for (const MmuMode mode : {MmuMode::nested, MmuMode::shadow}) all.push_back(config_of(mode, cpu, largest));
  return all;
}

template <class Test>
void for_each_config(Test&& test) {
  for (const VmConfig& config : configs()) {
    CAPTURE(config.cpu.name);
    CAPTURE(static_cast<int>(config.mode));
    CAPTURE(static_cast<int>(config.backing.largest));
    test(config);
  }
}

TEST_CASE("a taken frame is nowhere any more, and the next access backs a new one") {
  for_each_config([](const VmConfig& config) {
    Host host(config);
    for (const std::uint64_t page : {6ull, 7ull, 8ull}) host.write(page, 1000 + page);
    const Hpa old = host.access(7, AccessKind::load, 1), neighbour = host.access(8, AccessKind::load, 1);
    host.vm.vcpu(0).load<std::uint64_t>(Host::gfn(7).address());  // the kernel's own mapping holds it as well
    REQUIRE(host.in_a_tlb(old.frame()));
    const std::uint64_t resident = host.vm.resident_frames(), was_free = host.hypervisor.memory().buddy().free_frames();
    const std::uint64_t tables = host.vm.second_stage()->table_frames();
    {
      Unmap unmap(host.vm);
      REQUIRE(unmap.take(Host::gfn(7)));
      CHECK_FALSE(host.is_free(old.frame()));  // a TLB may still lead to it
      CHECK_FALSE(unmap.take(Host::gfn(7)));
      unmap.commit();
      CHECK_FALSE(host.in_a_tlb(old.frame()));
      CHECK_FALSE(host.vm.second_stage()->find(Host::gfn(7)).present);
      CHECK(host.is_free(old.frame()));
      CHECK_FALSE(host.hypervisor.memory().bytes().is_written(old.frame().value));
      CHECK(host.hypervisor.memory().bytes().load<std::uint64_t>(old.value) == 0);
    }
    CHECK(host.vm.resident_frames() == resident - 1);
    const std::uint64_t more_tables = host.vm.second_stage()->table_frames() - tables;
    CHECK(more_tables == (config.backing.largest == PageSize::k4K ? 0 : 1));  // of the split
    host.hypervisor.check();

    const Counters before = host.vm.counters();
    const int guest_faults = host.guest.faults();
    CHECK(host.vm.vcpu(0).load<std::uint64_t>(Host::gfn(7).address()) ==
          0);  // the kernel sees the new one, not the old
    CHECK(host.read(7) == 0);
    CHECK(host.read(6) == 1006);
    CHECK(host.access(8, AccessKind::load) == neighbour);
    CHECK(host.read(8) == 1008);
    const Counters events = host.vm.counters() - before;
    CHECK(events.faults[static_cast<std::size_t>(FaultClass::backed_on_demand)] == 1);
    CHECK(host.guest.faults() == guest_faults);  // the guest never learns of it
    CHECK(host.vm.resident_frames() == resident);
    CHECK(host.hypervisor.memory().buddy().free_frames() == was_free - more_tables);
    host.hypervisor.check();
  });
}

TEST_CASE("take_page takes the host's whole page") {
  for_each_config([](const VmConfig& config) {
    Host host(config);
    const std::uint64_t frames = page_frames(config.backing.largest);
    host.write(5, 55);
    host.write(600, 66);
    const Hfn old{host.access(5, AccessKind::load).frame().value};
    const std::uint64_t resident = host.vm.resident_frames();
    {
      Unmap unmap(host.vm);
      CHECK(unmap.take_page(Host::gfn(5)) == frames);
      CHECK(unmap.take_page(Host::gfn(5)) == 0);
    }  // the destructor commits
    CHECK(host.vm.resident_frames() == resident - frames);
    const Hfn head{old.value / frames * frames};
    for (const Hfn hfn : {head, old, head + (frames - 1)}) {
      CHECK(host.is_free(hfn));
      CHECK_FALSE(host.in_a_tlb(hfn));
    }
    CHECK(host.read(5) == 0);
    CHECK(host.read(600) == 66);
    host.hypervisor.check();
  });
}

TEST_CASE("random accesses of two vCPUs and takes: memory is what was last written, or zero once taken") {
  for_each_config([](const VmConfig& config) {
    Host host(config);
    std::map<std::uint64_t, std::uint64_t> written;
    test::Random random(77);
    for (int step = 0; step < 3000; ++step) {
      const std::uint64_t page = random.below(2ull) * 600 + random.below(40ull);
      const std::size_t vcpu = random.below(host.vm.vcpu_count());
      if (random.one_in(12)) {
        Unmap unmap(host.vm);
        for (std::uint64_t i = random.below(5ull); i > 0; --i) {
          const std::uint64_t victim = page / 600 * 600 + random.below(40ull);
          if (unmap.take(Host::gfn(victim))) written.erase(victim);
        }
      } else if (random.one_in(2)) {
        host.write(page, static_cast<std::uint64_t>(step) + 1, vcpu);
        written[page] = static_cast<std::uint64_t>(step) + 1;
      } else {
        const auto known = written.find(page);
        REQUIRE(host.read(page, vcpu) == (known == written.end() ? 0 : known->second));
      }
      if (step % 100 == 0) host.hypervisor.check();
    }
  });
}

TEST_CASE("without a frame for the split nothing is taken") {
  Host host(config_of(MmuMode::nested, "skylake-sp", PageSize::k2M));
  host.write(7, 70);
  std::vector<Hfn> hoard;
  while (const auto hfn = host.hypervisor.memory().buddy().allocate(0)) hoard.push_back(*hfn);
  {
    Unmap unmap(host.vm);
    CHECK_FALSE(unmap.take(Host::gfn(7)));
  }
  CHECK(host.read(7) == 70);
  for (const Hfn hfn : hoard) host.hypervisor.memory().buddy().free(hfn, 0);
  host.hypervisor.check();
}

TEST_CASE("a VM that goes leaves its machine as it was") {
  for_each_config([](const VmConfig& config) {
    Host host(config);
    for (std::uint64_t page = 0; page < 1100; page += 30) host.write(page, page + 1);
    host.hypervisor.destroy_vm(host.vm);
    memory::MachineMemory& memory = host.hypervisor.memory();
    CHECK(memory.buddy().free_frames() == memory.bytes().frames() - 1);
    for (std::uint64_t frame = 0; frame < memory.bytes().frames(); ++frame)
      REQUIRE_FALSE(memory.bytes().is_written(frame));
    host.hypervisor.check();
  });
}

}  // namespace
}  // namespace vmem::vmm
