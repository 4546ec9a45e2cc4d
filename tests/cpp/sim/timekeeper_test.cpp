#include "sim/timekeeper.hpp"

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "sim/machine.hpp"
#include "support/guest_machine.hpp"
#include "support/random.hpp"

namespace vmem::sim {
namespace {

using Notes = std::vector<std::pair<std::string, Nanoseconds>>;

struct Periodic final : vmm::Daemon {
  Periodic(Notes& notes, std::string name, Nanoseconds period)
      : notes_(notes), name_(std::move(name)), period_(period), next_(period) {}
  Nanoseconds next_deadline() const override { return next_; }
  void run_due(Nanoseconds now) override {
    notes_.emplace_back(name_, now);
    next_ += period_;
  }

 private:
  Notes& notes_;
  std::string name_;
  Nanoseconds period_, next_;
};

struct Stuck final : vmm::Daemon {
  Nanoseconds next_deadline() const override { return 5; }
  void run_due(Nanoseconds) override {}
};

struct World {
  Machine machine{256ull << 20};
  Guest& guest = machine.guest(machine.create_vm(test::vm_config(vmm::MmuMode::nested, 16 << 20)));
  hw::Vcpu& vcpu = guest.vm->vcpu(0);
  VcpuClock& clock() { return machine.time().vcpus(*guest.vm).front(); }
};

TEST_CASE("daemons run when they are due, in the order of their times, then of their registration") {
  World world;
  Notes notes;
  Periodic slow(notes, "slow", 6), fast(notes, "fast", 3);
  world.machine.hypervisor().add_daemon(slow);
  world.machine.hypervisor().add_daemon(fast);
  world.machine.time().advance_to(9);
  CHECK(notes == Notes{{"fast", 3}, {"slow", 6}, {"fast", 6}, {"fast", 9}});
  world.machine.hypervisor().remove_daemon(fast);
  world.machine.time().advance_to(20);
  CHECK(notes.size() == 6);
  CHECK(notes.back() == std::pair<std::string, Nanoseconds>{"slow", 18});
  CHECK(world.machine.time().now() == 20);
}

TEST_CASE("a daemon that stays due would stop time, and is named as what is wrong") {
  World world;
  Stuck stuck;
  world.machine.hypervisor().add_daemon(stuck);
  world.machine.time().advance_to(4);
  CHECK_THROWS_AS(world.machine.time().advance_to(5), InvariantError);
  world.machine.hypervisor().remove_daemon(stuck);
}

TEST_CASE("a call takes its cycles and its waits, and daemons run along") {
  World world;
  Notes notes;
  Periodic daemon(notes, "daemon", kMillisecond);
  world.machine.hypervisor().add_daemon(daemon);
  world.vcpu.count(ExitReason::io);  // 2,000 cycles at 3 GHz
  world.vcpu.wait(3 * kMillisecond);
  world.machine.time().charge(*world.guest.vm, world.vcpu);
  CHECK(world.machine.time().now() == 3 * kMillisecond + 666);
  CHECK(world.clock().times.running == 666);
  CHECK(world.clock().times.waiting == 3 * kMillisecond);
  CHECK(notes == Notes{{"daemon", kMillisecond}, {"daemon", 2 * kMillisecond}, {"daemon", 3 * kMillisecond}});
  world.machine.time().charge(*world.guest.vm, world.vcpu);  // nothing has happened since
  CHECK(world.machine.time().now() == 3 * kMillisecond + 666);
  world.machine.hypervisor().remove_daemon(daemon);
}

TEST_CASE("an interrupt's handler takes its vCPU's time, not the host's") {
  World world;
  world.vcpu.interrupts().raise(40, 1000);
  world.machine.time().advance_to(1000);
  CHECK(world.machine.time().now() == 1000);
  CHECK(world.clock().ready_at == 1666);  // an interrupt exit of 2,000 cycles
  world.vcpu.interrupts().raise(41, 1000);
  world.machine.time().advance_to(1665);
  CHECK(world.clock().times.running == 666);  // not delivered: the vCPU is busy
  world.machine.time().advance_to(1666);
  CHECK(world.clock().times.running == 1333);  // 4,000 cycles: the third of a nanosecond was kept
}

TEST_CASE("readings of a meter add up to one reading of the whole") {
  test::Random random(3);
  const CostModel costs;
  for (const std::uint64_t khz : {1'000ull, 2'100'000ull, 2'999'999ull, 3'000'000ull, 100'000'000ull}) {
    const Counters nothing;
    CpuMeter meter(nothing);
    Counters counters;
    Nanoseconds sum = 0;
    std::uint64_t cycles = 0;
    for (int i = 0; i < 500; ++i) {
      const std::uint64_t more = random.below(1ull << (i % 34));
      counters.accesses += more;
      cycles += more;
      sum += meter.read(counters, costs, {khz});
      REQUIRE(sum == cycles * 1'000'000 / khz);
    }
  }
}

TEST_CASE("frequencies have bounds") {
  World world;
  CHECK_THROWS_AS(world.machine.time().set_frequency({999}), ConfigError);
  CHECK_THROWS_AS(world.machine.time().set_frequency({100'000'001}), ConfigError);
  world.machine.time().set_frequency({1'000'000});
  world.vcpu.count(ExitReason::io);
  world.machine.time().charge(*world.guest.vm, world.vcpu);
  CHECK(world.machine.time().now() == 2000);
}

TEST_CASE("a poll can stop an advance between events") {
  World world;
  Notes notes;
  Periodic daemon(notes, "daemon", 10);
  world.machine.hypervisor().add_daemon(daemon);
  CHECK(!world.machine.time().advance_to(1000, [](std::uint64_t gone) { return gone < 30; }));
  CHECK(world.machine.time().now() == 30);
  world.machine.hypervisor().remove_daemon(daemon);
}

}  // namespace
}  // namespace vmem::sim
