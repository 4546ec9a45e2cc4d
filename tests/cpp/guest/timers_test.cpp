#include "guest/timers.hpp"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "sim/machine.hpp"
#include "support/guest_machine.hpp"

namespace vmem {
namespace {

using guest::Timers;
using hw::Interrupts;

struct Fixture {
  sim::Machine machine{64ull << 20};
  sim::Guest& guest = machine.guest(machine.create_vm(test::vm_config(vmm::MmuMode::nested, 1 << 20)));
  Timers& timers = guest.kernel->timers();
  std::vector<std::pair<std::string, Nanoseconds>> ran;

  Timers::Id named(const char* name) {
    return timers.add([this, name](hw::Vcpu& vcpu) { ran.emplace_back(name, vcpu.now()); });
  }
};

TEST_CASE_FIXTURE(Fixture, "timers run at their deadlines, equal ones in the order of arming, each once") {
  const auto a = named("a"), b = named("b"), c = named("c");
  timers.arm(c, 2000);
  timers.arm(b, 5000);
  timers.arm(a, 5000);
  machine.time().advance_to(1999);
  CHECK(ran.empty());
  machine.time().advance_to(20'000);
  REQUIRE(ran.size() == 3);
  CHECK(ran[0] == std::pair<std::string, Nanoseconds>{"c", 2000});
  CHECK(ran[1] == std::pair<std::string, Nanoseconds>{"b", 5000});
  CHECK(ran[2] == std::pair<std::string, Nanoseconds>{"a", 5000});
  CHECK(!timers.is_armed(a));
}

TEST_CASE_FIXTURE(Fixture, "arming again replaces the deadline, cancelling takes it away") {
  const auto a = named("a"), b = named("b");
  timers.arm(a, 1000);
  timers.arm(a, 3000);
  timers.arm(b, 2000);
  timers.cancel(b);
  CHECK(guest.vm->vcpu(0).interrupts().next() == 3000);
  machine.time().advance_to(10'000);
  CHECK(ran == std::vector<std::pair<std::string, Nanoseconds>>{{"a", 3000}});
  CHECK(guest.vm->vcpu(0).interrupts().next() == Interrupts::kNever);
}

TEST_CASE_FIXTURE(Fixture, "work that arms itself anew is periodic") {
  Timers::Id tick = 0;
  tick = timers.add([&](hw::Vcpu& vcpu) {
    ran.emplace_back("tick", vcpu.now());
    timers.arm(tick, vcpu.now() + 2 * kSecond);
  });
  timers.arm(tick, 2 * kSecond);
  machine.time().advance_to(11 * kSecond);
  REQUIRE(ran.size() == 5);
  for (std::size_t i = 0; i < 5; ++i) CHECK(ran[i].second == 2 * kSecond * (i + 1));
}

TEST_CASE_FIXTURE(Fixture, "work that waits keeps its vCPU: what is due meanwhile runs later") {
  const auto late = named("late");
  const auto slow = timers.add([&](hw::Vcpu& vcpu) { vcpu.wait(kMillisecond); });
  timers.arm(slow, 1000);
  timers.arm(late, 2000);
  machine.time().advance_to(5 * kMillisecond);
  CHECK(ran == std::vector<std::pair<std::string, Nanoseconds>>{{"late", kMillisecond + 1000}});
}

}  // namespace
}  // namespace vmem
