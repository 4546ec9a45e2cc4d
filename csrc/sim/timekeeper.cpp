#include "sim/timekeeper.hpp"

#include <algorithm>
#include <string>

#include "core/error.hpp"

namespace vmem::sim {

void Timekeeper::set_frequency(Frequency frequency) {
  if (frequency.khz < Frequency::kLeast || frequency.khz > Frequency::kMost)
    throw ConfigError("a processor frequency of " + std::to_string(frequency.khz) + " kHz: accepted is " +
                      std::to_string(Frequency::kLeast) + " to " + std::to_string(Frequency::kMost));
  frequency_ = frequency;
}

void Timekeeper::add(vmm::Vm& vm) {
  auto& clocks = vcpus_[vm.id()];
  clocks.reserve(vm.vcpu_count());
  for (std::size_t i = 0; i < vm.vcpu_count(); ++i) clocks.emplace_back(vm.vcpu(i));
}

void Timekeeper::set_paused(const vmm::Vm& vm, bool paused) {
  for (VcpuClock& vcpu : vcpus(vm)) vcpu.is_paused = paused;
}

void Timekeeper::charge(const vmm::Vm& vm, const hw::Vcpu& vcpu) {
  VcpuClock& charged = vcpus_.at(vm.id())[static_cast<std::size_t>(vcpu.id())];
  // An interrupt's handler may have made it busy beyond now; what was called ran after that.
  settle(charged, std::max(now(), charged.ready_at), 0);
  advance_to(charged.ready_at);
}

void Timekeeper::advance_to(Nanoseconds time) {
  advance_to(time, [](std::uint64_t) { return true; });
}

bool Timekeeper::advance_to(Nanoseconds time, const Poll& poll) {
  const Nanoseconds began = now();
  for (;;) {
    const Nanoseconds daemons = next_daemon();
    VcpuClock* const interrupted = next_interrupted();
    const Nanoseconds interrupt = interrupted == nullptr ? hw::Interrupts::kNever : interrupted->next_interrupt();
    const Nanoseconds next = std::min(daemons, interrupt);
    if (next > time) break;
    hypervisor_.host().clock.advance_to(next);
    if (daemons <= now()) {
      run_daemons();
    } else {
      interrupted->vcpu->deliver_interrupt();
      settle(*interrupted, now(), 0);
    }
    if (!poll(now() - began)) return false;
  }
  hypervisor_.host().clock.advance_to(time);
  return true;
}

VcpuClock* Timekeeper::next_interrupted() {
  VcpuClock* earliest = nullptr;
  Nanoseconds when = hw::Interrupts::kNever;
  for (auto& [id, clocks] : vcpus_)
    for (VcpuClock& vcpu : clocks)
      if (const Nanoseconds at = vcpu.next_interrupt(); at < when) {
        when = at;
        earliest = &vcpu;
      }
  return earliest;
}

Nanoseconds Timekeeper::next_daemon() const {
  Nanoseconds earliest = vmm::Daemon::kNever;
  for (const vmm::Daemon* daemon : hypervisor_.daemons()) earliest = std::min(earliest, daemon->next_deadline());
  return earliest;
}

void Timekeeper::run_daemons() {
  const std::vector<vmm::Daemon*> daemons = hypervisor_.daemons();  // one may add another
  for (vmm::Daemon* daemon : daemons) {
    if (daemon->next_deadline() > now()) continue;
    daemon->run_due(now());
    if (daemon->next_deadline() <= now())
      throw InvariantError("a daemon of the hypervisor that ran at " + std::to_string(now()) +
                           " ns is due again at that very time: time would stand still");
  }
}

}  // namespace vmem::sim
