// Moves the clock of a host, and makes everything happen that is due by then.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "sim/vcpu_clock.hpp"
#include "vmm/hypervisor.hpp"

namespace vmem::sim {

/// Asked now and then, with a measure of progress; false stops.
using Poll = std::function<bool(std::uint64_t)>;

/// Owns the time of every vCPU. docs/design/time.md says what happens in which order.
class Timekeeper {
 public:
  Timekeeper(vmm::Hypervisor& hypervisor, const CostModel& costs) : hypervisor_(hypervisor), costs_(costs) {}

  Nanoseconds now() const { return hypervisor_.host().clock.now(); }
  Frequency frequency() const { return frequency_; }
  /// ConfigError outside Frequency's bounds. Holds for cycles that have not been charged yet.
  void set_frequency(Frequency frequency);

  void add(vmm::Vm& vm);
  void remove(const vmm::Vm& vm) { vcpus_.erase(vm.id()); }
  std::vector<VcpuClock>& vcpus(const vmm::Vm& vm) { return vcpus_.at(vm.id()); }
  void set_paused(const vmm::Vm& vm, bool paused);
  /// By VM in the order of ids, then by index.
  std::map<std::uint16_t, std::vector<VcpuClock>>& all() { return vcpus_; }

  /// A call on that vCPU is over, or a part of it: the clock moves on by what it took, waits included, and what is due
  /// by then happens.
  void charge(const vmm::Vm& vm, const hw::Vcpu& vcpu);
  /// Interrupts are delivered and daemons run, each at its time. False if the poll, which is given the time gone by,
  /// stopped it before.
  bool advance_to(Nanoseconds time, const Poll& poll);
  void advance_to(Nanoseconds time);

  /// When the next daemon of the hypervisor is due.
  Nanoseconds next_daemon() const;
  /// Runs every daemon that is due now.
  void run_daemons();
  /// The vCPU, which is ready, has been run from `start` on, and has computed for so long besides what was counted.
  void settle(VcpuClock& vcpu, Nanoseconds start, Nanoseconds computed) {
    vcpu.settle(start, computed, costs_, frequency_);
  }

 private:
  VcpuClock* next_interrupted();

  vmm::Hypervisor& hypervisor_;
  const CostModel& costs_;
  Frequency frequency_;
  std::map<std::uint16_t, std::vector<VcpuClock>> vcpus_;
};

}  // namespace vmem::sim
