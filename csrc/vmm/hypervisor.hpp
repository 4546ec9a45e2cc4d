// The host: machine memory and the virtual machines on it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "vmm/activity.hpp"
#include "vmm/daemon.hpp"
#include "vmm/host.hpp"
#include "vmm/host_process.hpp"
#include "vmm/reclaim/reclaim.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {

/// Bytes.
struct MemoryInfo {
  std::uint64_t total = 0;
  std::uint64_t free = 0;
  std::uint64_t used = 0;
  std::uint64_t tables = 0;
  std::uint64_t processes = 0;  ///< programs of the host
  std::uint64_t committed = 0;  ///< the sum of what the VMs were promised
  std::uint64_t swap_total = 0;
  std::uint64_t swap_used = 0;
  std::uint64_t shared = 0;  ///< guest memory that is backed by a frame it shares
};

/// Calls `use` with the name and value of each, in this order.
template <class Use>
void each_field(const MemoryInfo& info, Use&& use) {
  use("total", info.total);
  use("free", info.free);
  use("used", info.used);
  use("tables", info.tables);
  use("processes", info.processes);
  use("committed", info.committed);
  use("swap_total", info.swap_total);
  use("swap_used", info.swap_used);
  use("shared", info.shared);
  // Another field needs another line above.
  static_assert(sizeof(MemoryInfo) == 9 * sizeof(std::uint64_t));
}

class Hypervisor {
 public:
  explicit Hypervisor(std::uint64_t memory_bytes, const HostConfig& config = {});
  Hypervisor(const Hypervisor&) = delete;
  Hypervisor& operator=(const Hypervisor&) = delete;

  Host& host() { return host_; }
  memory::MachineMemory& memory() { return host_.memory; }
  /// ConfigError, OutOfMemory. The reference stays valid until destroy_vm.
  Vm& create_vm(const VmConfig& config);
  void destroy_vm(Vm& vm);
  const std::vector<std::unique_ptr<Vm>>& vms() const { return vms_; }
  /// A program of the host with so much memory. ConfigError, OutOfMemory. The reference stays valid until destroyed.
  HostProcess& create_process(std::string name, std::uint64_t memory);
  void destroy_process(const HostProcess& process);
  const std::vector<std::unique_ptr<HostProcess>>& processes() const { return processes_; }
  const Reclaim& reclaim() const { return reclaim_; }
  ActivitySampler& activity() { return activity_; }
  MemoryInfo meminfo() const;
  /// From now on the daemon runs as time passes; it must outlive its registration.
  void add_daemon(Daemon& daemon) { daemons_.push_back(&daemon); }
  void remove_daemon(const Daemon& daemon) { std::erase(daemons_, &daemon); }
  /// In the order in which they were added, which is that in which they run when due at the same time.
  const std::vector<Daemon*>& daemons() const { return daemons_; }
  /// All invariants of the host; InvariantError names the first broken one (vmm/invariants.cpp).
  void check();

 private:
  Host host_;
  AdmissionConfig admission_;
  std::vector<std::unique_ptr<Vm>> vms_;
  Reclaim reclaim_;
  ActivitySampler activity_;
  std::vector<std::unique_ptr<HostProcess>> processes_;
  std::vector<Daemon*> daemons_;
  std::uint16_t next_id_ = 0;
  std::uint16_t next_process_id_ = 0;
};

}  // namespace vmem::vmm
