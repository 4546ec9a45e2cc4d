#include "guest/psi.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "support/guest_machine.hpp"

namespace vmem::guest {
namespace {

/// Two vCPUs, of which so many run a process, and what they stall.
struct Fixture {
  static vmm::VmConfig config() {
    vmm::VmConfig config = test::vm_config(vmm::MmuMode::native, 4ull << 20);
    config.vcpus = 2;
    return config;
  }
  test::BareGuest guest{config()};
  VmStat vmstat;
  Cpus cpus{{&guest.vm.vcpu(0), &guest.vm.vcpu(1)}, vmstat};
  PageAllocator pages{guest.vcpu, 100, 1024, 2};
  Process first{guest.vcpu, pages, 1, "first", 4, 2}, second{guest.vcpu, pages, 2, "second", 4, 2};
  Psi psi{cpus};

  Fixture() { cpus.switch_to(guest.vm.vcpu(0), first); }
  void stall(std::size_t vcpu, Nanoseconds from, Nanoseconds to) {
    hw::Vcpu& cpu = guest.vm.vcpu(vcpu);
    cpu.set_lead(from);
    const Psi::Stall outer(psi, cpu);
    {
      const Psi::Stall inner(psi, cpu);  // a stall within a stall is the same one
      cpu.set_lead(to);
    }
  }
};

TEST_CASE("with one busy vCPU some is full, and the averages decay as Linux's do") {
  Fixture f;
  f.stall(0, 0, kSecond / 2);
  const Psi::Pressure now = f.psi.read(2 * kSecond);
  CHECK(now.some.total == kSecond / 2);
  CHECK(now.full.total == kSecond / 2);
  const double share = 25;
  CHECK(now.some.average[0] == doctest::Approx(share * (1 - std::exp(-2.0 / 10))));
  CHECK(now.some.average[1] == doctest::Approx(share * (1 - std::exp(-2.0 / 60))));
  CHECK(now.some.average[2] == doctest::Approx(share * (1 - std::exp(-2.0 / 300))));
  const Psi::Pressure later = f.psi.read(12 * kSecond);
  CHECK(later.some.total == kSecond / 2);
  CHECK(later.some.average[0] == doctest::Approx(now.some.average[0] * std::exp(-1.0)));
}

TEST_CASE("some is the union of stalls, full the time at which all busy vCPUs stall") {
  Fixture f;
  f.cpus.switch_to(f.guest.vm.vcpu(1), f.second);
  f.stall(0, 100 * kMillisecond, 400 * kMillisecond);
  f.stall(1, 300 * kMillisecond, 900 * kMillisecond);
  const Psi::Pressure now = f.psi.read(kSecond);
  CHECK(now.some.total == 800 * kMillisecond);
  CHECK(now.full.total == 100 * kMillisecond);
  CHECK(now.some.average[0] == 0);  // no period of 2 s is over
}

TEST_CASE("a stall that lasts for periods fills them, and one that goes on counts up to now") {
  Fixture f;
  f.stall(0, kSecond, 7 * kSecond);
  const Psi::Pressure now = f.psi.read(7 * kSecond);
  CHECK(now.some.total == 6 * kSecond);
  const double keep = std::exp(-2.0 / 10);
  const double expected = ((50 * (1 - keep)) * keep + 100 * (1 - keep)) * keep + 100 * (1 - keep);
  CHECK(now.some.average[0] == doctest::Approx(expected));
  f.guest.vcpu.set_lead(8 * kSecond);
  const Psi::Stall open(f.psi, f.guest.vcpu);
  CHECK(f.psi.read(9 * kSecond).some.total == 7 * kSecond);
}

TEST_CASE("any number of stalls takes no more memory than a few thousand") {
  Fixture f;
  for (Nanoseconds i = 0; i < 20'000; ++i) f.stall(0, i * kMillisecond, i * kMillisecond + 1000);
  CHECK(f.psi.read(20 * kSecond).some.total == 20'000 * 1000);
}

}  // namespace
}  // namespace vmem::guest
