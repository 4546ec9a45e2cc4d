// A virtual machine as the hypervisor sees it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/counters.hpp"
#include "hw/handlers.hpp"
#include "hw/vcpu.hpp"
#include "vmm/device_bus.hpp"
#include "vmm/host.hpp"
#include "vmm/provide.hpp"
#include "vmm/reclaim/free_hints.hpp"
#include "vmm/second_stage.hpp"
#include "vmm/vm_config.hpp"

namespace vmem::vmm {

class BlockDevice;
namespace balloon {
class BalloonDevice;
}
class FreeListScan;
class ReclaimSource;
class ShadowMmu;
class SoftwareTlb;

/// Pages of one VM since it was created.
struct VmStat {
  std::uint64_t swapped_out = 0;  ///< by the host
  std::uint64_t swapped_in = 0;
  std::uint64_t split = 0;  ///< large pages of its second stage that were cut
};

/// Owns the vCPUs and the second stage of one VM. Every frame that backs it is `FrameUse::guest` with this VM's id and
/// its gPFN in the frame table. A native "VM" is a machine of its own without a hypervisor: it owns a contiguous window
/// of machine memory, and nothing of it ever exits.
class Vm final : public hw::ExitHandler {
 public:
  /// ConfigError for an impossible configuration, OutOfMemory if the machine has no room.
  Vm(Host& host, std::uint16_t id, const VmConfig& config);
  ~Vm();
  Vm(const Vm&) = delete;
  Vm& operator=(const Vm&) = delete;

  std::uint16_t id() const { return id_; }
  const VmConfig& config() const { return config_; }
  std::uint64_t frames() const { return config_.memory >> kPageShift; }
  bool contains(Gfn gfn) const { return gfn.value < frames(); }
  bool is_native() const { return config_.mode == MmuMode::native; }
  Host& host() { return host_; }
  memory::MachineMemory& memory() { return host_.memory; }
  DeviceBus& devices() { return devices_; }
  /// nullptr: the VM was made without a disk.
  BlockDevice* disk() { return disk_; }
  void set_disk(BlockDevice& disk) { disk_ = &disk; }
  /// Where the guest swaps to; nullptr: the VM was made without.
  BlockDevice* swap_disk() { return swap_disk_; }
  void set_swap_disk(BlockDevice& disk) { swap_disk_ = &disk; }
  /// nullptr: the VM was made without a balloon.
  balloon::BalloonDevice* balloon() { return balloon_; }
  void set_balloon(balloon::BalloonDevice& device) { balloon_ = &device; }

  std::size_t vcpu_count() const { return vcpus_.size(); }
  hw::Vcpu& vcpu(std::size_t index) { return *vcpus_[index]; }
  const hw::Vcpu& vcpu(std::size_t index) const { return *vcpus_[index]; }
  /// Absent for a native machine.
  SecondStage* second_stage() { return second_stage_ ? &*second_stage_ : nullptr; }
  const SecondStage* second_stage() const { return second_stage_ ? &*second_stage_ : nullptr; }
  /// Shadow mode only; otherwise nullptr.
  ShadowMmu* shadow() { return shadow_.get(); }
  const ShadowMmu* shadow() const { return shadow_.get(); }
  /// Software-TLB mode only; otherwise nullptr.
  SoftwareTlb* software_tlb() { return software_tlb_.get(); }
  /// Tags what the processors cache of this VM; 0 for a native machine.
  std::uint16_t vpid() const { return is_native() ? std::uint16_t{0} : static_cast<std::uint16_t>(id_ + 1); }
  /// Native only: where guest-physical 0 lies.
  Hpa window() const { return window_.address(); }

  std::uint64_t resident_frames() const { return resident_; }
  void add_resident(std::int64_t frames) { resident_ += static_cast<std::uint64_t>(frames); }
  /// What the host never reclaims from it, and what it may hold at most.
  std::uint64_t reserved_frames() const { return config_.reservation >> kPageShift; }
  std::uint64_t limit_frames() const { return config_.limit != 0 ? config_.limit >> kPageShift : kNoLimit; }
  /// What makes the guest give memory back by itself; nullptr: it has no such thing.
  ReclaimSource* reclaim_source() const { return reclaim_source_.get(); }
  void set_reclaim_source(std::unique_ptr<ReclaimSource> source);
  const FreeHints& free_hints() const { return free_hints_; }
  /// nullptr: the hypervisor does not look into this guest's free lists.
  FreeListScan* scan() const { return scan_.get(); }
  void set_scan(std::unique_ptr<FreeListScan> scan);
  /// Its kernel runs: from now on it is not given up for the lack of memory before others are.
  bool is_booted() const { return is_booted_; }
  void set_booted() { is_booted_ = true; }
  /// The host had no memory left for it (vmm/kill.hpp).
  bool is_killed() const { return is_killed_; }
  void set_killed() { is_killed_ = true; }
  /// Frames that lie in the host's swap.
  std::uint64_t swapped_frames() const { return swapped_; }
  void add_swapped(std::int64_t frames) { swapped_ += static_cast<std::uint64_t>(frames); }
  VmStat& stat() { return stat_; }
  /// Where the hypervisor finds a guest-physical address; kNoMemory if it has no machine frame.
  Hpa machine_address(Gpa gpa) const;
  /// Guest memory as it is, machine frame or not, within one page that lies in the VM: zeros if never backed, and what
  /// is in the host's swap without bringing it in.
  void read_guest(Gpa at, std::span<std::byte> out) const;
  /// An 8-byte entry of a guest's table: as `read_guest`, and all ones outside the guest's memory.
  std::uint64_t read_guest_entry(Gpa at) const;
  /// The frame is there and the VM's own.
  void write_guest_entry(Gpa at, std::uint64_t entry);
  /// Where an access would go by the guest's tables and the hypervisor's map, caches aside; changes nothing. kNoMemory
  /// if nowhere.
  Hpa probe(hw::Vcpu& vcpu, Gva gva, AccessKind access);
  /// Invalidates whatever the processors cache of this VM's memory.
  void flush_processors();
  /// The sum over all vCPUs.
  Counters counters() const;
  void reset_counters();

  hw::Outcome on_fault(hw::Vcpu& vcpu, hw::Fault& fault) override;
  std::byte* on_guest_physical(hw::Vcpu& vcpu, Gpa gpa, bool store) override;
  void on_emulated_store(hw::Vcpu& vcpu, Gpa gpa, const void* bytes, std::size_t size) override;
  Hpa emulated_address(Gpa gpa) override;
  void on_cr3_write(hw::Vcpu& vcpu, std::uint64_t value) override;
  void on_invlpg(hw::Vcpu& vcpu, Gva gva) override;
  void on_tlb_write(hw::Vcpu& vcpu, const hw::TlbWrite& write) override;
  std::uint32_t on_io_read(hw::Vcpu& vcpu, std::uint32_t port) override;
  void on_io_write(hw::Vcpu& vcpu, std::uint32_t port, std::uint32_t value) override;
  std::uint64_t on_hypercall(hw::Vcpu& vcpu, hw::Hypercall number, std::uint64_t first, std::uint64_t second) override;
  void on_interrupt(hw::Vcpu& vcpu) override;

 private:
  static constexpr std::uint64_t kNoLimit = 1ull << 62;
  void create_vcpus();
  /// With the last resort, if it must be: never `no_memory`.
  Provided provide_at_last(hw::Vcpu& vcpu, Gfn gfn, bool store);
  /// False: the VM cannot go on.
  bool provide_to_kernel(hw::Vcpu& vcpu, Gfn gfn, bool store);

  Host& host_;
  std::uint16_t id_;
  VmConfig config_;
  Hfn window_;
  std::optional<SecondStage> second_stage_;
  std::vector<std::unique_ptr<hw::Vcpu>> vcpus_;
  DeviceBus devices_;
  BlockDevice* disk_ = nullptr;  ///< on the bus
  BlockDevice* swap_disk_ = nullptr;
  balloon::BalloonDevice* balloon_ = nullptr;
  std::unique_ptr<ShadowMmu> shadow_;
  std::unique_ptr<SoftwareTlb> software_tlb_;
  std::uint64_t resident_ = 0;
  std::uint64_t swapped_ = 0;
  VmStat stat_;
  std::unique_ptr<ReclaimSource> reclaim_source_;
  FreeHints free_hints_{*this};
  std::unique_ptr<FreeListScan> scan_;
  bool is_booted_ = false;
  bool is_killed_ = false;
};

}  // namespace vmem::vmm
