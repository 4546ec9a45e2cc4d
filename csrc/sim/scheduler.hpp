// Shares the physical CPUs of a host among its vCPUs, and runs programs in simulated time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "sim/task.hpp"
#include "sim/timekeeper.hpp"

namespace vmem::sim {

/// Physical CPUs take the vCPU that has been runnable for longest and run it for a quantum, or until it waits for disk
/// or swap, sleeps, or a daemon of the hypervisor is due. vCPUs are otherwise alike: no weights, no affinity. The tasks
/// of one vCPU take turns in the same way. docs/design/time.md says what of it is approximate.
class Scheduler {
 public:
  static constexpr Nanoseconds kQuantum = 3 * kMillisecond;

  explicit Scheduler(vmm::Hypervisor& hypervisor, Timekeeper& time) : hypervisor_(hypervisor), time_(time) {}

  /// Physical CPUs; 0: one for every vCPU.
  void set_cpus(std::size_t cpus) { cpus_ = cpus; }
  std::size_t cpus() const { return cpus_; }
  /// Positive.
  void set_quantum(Nanoseconds quantum) { quantum_ = quantum; }
  Nanoseconds quantum() const { return quantum_; }

  using Tasks = std::map<std::uint64_t, std::unique_ptr<Task>>;

  /// Returns its number.
  std::uint64_t start(std::unique_ptr<Task> task);
  /// By number, those that have ended too.
  const Tasks& tasks() const { return tasks_; }
  /// Forgets the tasks of a VM that goes away.
  void remove(const vmm::Vm& vm);

  /// How a run ended.
  enum class End : std::uint8_t { time, tasks, references, interrupted };
  /// Until `time`, or all tasks have ended, or they have made `references` in all since they were started, or the poll,
  /// which is given the time gone by, says no.
  End run_until(Nanoseconds time, std::uint64_t references, const Poll& poll);

 private:
  struct Entity;
  struct Run;

  std::vector<Entity> entities();
  void take_interrupts(VcpuClock& clock, Nanoseconds start, Nanoseconds limit);
  bool run_slice(Entity& entity, Nanoseconds limit, Run& run);

  vmm::Hypervisor& hypervisor_;
  Timekeeper& time_;
  std::size_t cpus_ = 0;
  Nanoseconds quantum_ = kQuantum;
  Tasks tasks_;
  std::uint64_t next_task_ = 0;
};

}  // namespace vmem::sim
