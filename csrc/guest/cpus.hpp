// Which process each vCPU runs, and what its TLB may hold of the others.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "guest/process.hpp"
#include "guest/vmstat.hpp"
#include "hw/vcpu.hpp"

namespace vmem::guest {

class Cpus {
 public:
  Cpus(std::vector<hw::Vcpu*> vcpus, VmStat& vmstat)
      : vcpus_(std::move(vcpus)), vmstat_(vmstat), current_(vcpus_.size(), nullptr) {}

  std::size_t size() const { return vcpus_.size(); }
  hw::Vcpu& boot() const { return *vcpus_.front(); }
  const std::vector<hw::Vcpu*>& all() const { return vcpus_; }
  /// nullptr: the vCPU runs none.
  Process* current(const hw::Vcpu& vcpu) const { return current_[static_cast<std::size_t>(vcpu.id())]; }

  /// vCPUs that run a process.
  std::size_t busy() const {
    return static_cast<std::size_t>(
        std::count_if(current_.begin(), current_.end(), [](auto* it) { return it != nullptr; }));
  }

  /// Makes `process` the one that `vcpu` runs.
  void switch_to(hw::Vcpu& vcpu, Process& process);
  /// No vCPU uses a translation of [start, end) of the process any more.
  void shoot_down(const hw::Vcpu& vcpu, Process& process, std::uint64_t start, std::uint64_t end);
  /// No vCPU runs the process or keeps a root of it.
  void leave(const Process& process);
  /// A PCID is used by one process at a time.
  void claim_pcid(const Process& process, std::size_t vcpu);
  void join(Process& process) { sharers_.push_back(&process); }

 private:
  std::vector<hw::Vcpu*> vcpus_;
  VmStat& vmstat_;
  std::vector<Process*> current_;  ///< by vCPU
  std::vector<Process*> sharers_;  ///< every process: those with the same PCID must not meet in a TLB
};

}  // namespace vmem::guest
