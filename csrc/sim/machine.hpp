// A host with its virtual machines and what runs inside them: the one place that knows both hypervisor and guest
// kernel.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>

#include "core/event_log.hpp"
#include "core/run.hpp"
#include "sim/cost_model.hpp"
#include "sim/guest.hpp"
#include "sim/scheduler.hpp"
#include "sim/timekeeper.hpp"
#include "vmm/hypervisor.hpp"

namespace vmem::sim {

/// How a replay ended.
struct ReplayResult {
  std::uint64_t done = 0;  ///< references
  std::uint64_t segfaults = 0;
  Gva first_segfault;
  bool stopped = false;      ///< the process was killed or the VM cannot go on
  bool interrupted = false;  ///< the poll asked to stop
  std::size_t runs = 0;      ///< of a replay: those begun

  bool ended_early() const { return stopped || interrupted; }
};

/// Owns everything of one simulated host. VMs are named by id.
class Machine {
 public:
  explicit Machine(std::uint64_t memory_bytes, const vmm::HostConfig& config = {})
      : hypervisor_(memory_bytes, config), time_(hypervisor_, costs_), scheduler_(hypervisor_, time_) {}
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  vmm::Hypervisor& hypervisor() { return hypervisor_; }
  CostModel& costs() { return costs_; }
  Timekeeper& time() { return time_; }
  Scheduler& scheduler() { return scheduler_; }
  std::uint16_t create_vm(const vmm::VmConfig& config, const guest::BootParameters& parameters = {});
  void destroy_vm(std::uint16_t id);
  /// ConfigError if there is no such VM, vCPU or process.
  Guest& guest(std::uint16_t id);
  static hw::Vcpu& vcpu(Guest& guest, std::size_t index);
  static guest::Process& process(Guest& guest, int id);

  /// Guests by VM id.
  const std::map<std::uint16_t, Guest>& guests() const { return guests_; }
  /// Of the kernels of VMs that have been destroyed.
  const Events& past_events() const { return past_events_; }

  /// Time passes as these calls proceed. The poll is asked between blocks of references. Ends before a kind that does
  /// not exist.
  ReplayResult access(Guest& guest, hw::Vcpu& vcpu, guest::Process& process, std::span<const std::uint64_t> addresses,
                      std::span<const std::uint8_t> kinds, const Poll& poll);
  /// Ends before a run that is malformed.
  ReplayResult replay(Guest& guest, hw::Vcpu& vcpu, guest::Process& process, std::span<const Run> runs,
                      const Poll& poll);
  /// Bytes through the MMU, one access a page. False at the first SIGSEGV, whose address goes to `at`.
  bool read(Guest& guest, hw::Vcpu& vcpu, guest::Process& process, Gva start, std::span<std::byte> out, Gva& at);
  bool write(Guest& guest, hw::Vcpu& vcpu, guest::Process& process, Gva start, std::span<const std::byte> bytes,
             Gva& at);
  /// Every invariant of host and guests.
  void check();

 private:
  vmm::Hypervisor hypervisor_;
  CostModel costs_;
  Timekeeper time_;
  Scheduler scheduler_;
  std::map<std::uint16_t, Guest> guests_;
  Events past_events_;
};

}  // namespace vmem::sim
