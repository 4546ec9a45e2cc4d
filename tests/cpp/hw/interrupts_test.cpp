#include "hw/interrupts.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "support/guest_machine.hpp"

namespace vmem {
namespace {

using hw::Interrupts;
using hw::kTimerVector;

/// Notes what is delivered to it, and when.
struct Listener final : hw::TrapHandler {
  std::vector<std::pair<Nanoseconds, hw::Vector>> heard;
  hw::TrapResult on_page_fault(hw::Vcpu&, const hw::Fault&) override { return hw::TrapResult::signal; }
  void on_interrupt(hw::Vcpu& vcpu, hw::Vector vector) override { heard.emplace_back(vcpu.now(), vector); }
};

TEST_CASE("interrupts arrive in the order of their times, each once") {
  Interrupts interrupts;
  CHECK(interrupts.next() == Interrupts::kNever);
  interrupts.raise(40, 300);
  interrupts.raise(41, 100);
  interrupts.raise(40, 200);  // still pending: one interrupt, at the earlier time
  CHECK(interrupts.next() == 100);
  CHECK(!interrupts.take(99));
  CHECK(interrupts.take(1000) == 41);
  CHECK(interrupts.take(1000) == 40);
  CHECK(!interrupts.take(1000));
}

TEST_CASE("a timer has one deadline") {
  Interrupts interrupts;
  interrupts.set_timer(500);
  interrupts.set_timer(700);
  CHECK(interrupts.next() == 700);
  interrupts.set_timer(Interrupts::kNever);
  CHECK(interrupts.next() == Interrupts::kNever);
}

TEST_CASE("a vCPU that halts waits for the next interrupt, and the hypervisor counts its delivery") {
  test::BareGuest host(test::vm_config(vmm::MmuMode::nested, 1 << 20));
  Listener kernel;
  host.vcpu.install(kernel);
  CHECK(!host.vcpu.halt());
  host.vcpu.interrupts().raise(40, 1000);
  host.vcpu.interrupts().set_timer(5000);
  CHECK(host.vcpu.halt());
  CHECK(host.vcpu.halt());
  CHECK(kernel.heard == std::vector<std::pair<Nanoseconds, hw::Vector>>{{1000, 40}, {5000, kTimerVector}});
  CHECK(host.vcpu.take_waits() == 5000);
  CHECK(host.vm.counters().exits[static_cast<std::size_t>(ExitReason::interrupt)] == 2);
}

TEST_CASE("where no device answers, reads give ones and writes go nowhere; each exits") {
  test::BareGuest host(test::vm_config(vmm::MmuMode::nested, 1 << 20));
  CHECK(host.vcpu.io_read(0x1234) == 0xffff'ffffu);
  host.vcpu.io_write(0x1234, 1);
  CHECK(host.vcpu.hypercall(static_cast<hw::Hypercall>(77)) == hw::kNoHypercall);
  CHECK(host.vm.counters().exits[static_cast<std::size_t>(ExitReason::io)] == 2);
  CHECK(host.vm.counters().exits[static_cast<std::size_t>(ExitReason::hypercall)] == 1);
}

}  // namespace
}  // namespace vmem
