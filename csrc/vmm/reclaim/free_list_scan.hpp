// The hypervisor finds free memory by itself, in the guest kernel's free lists.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "vmm/daemon.hpp"
#include "vmm/vm_config.hpp"

namespace vmem::vmm {

class Vm;

/// Since the VM was created.
struct ScanStat {
  std::uint64_t scans = 0;
  std::uint64_t unreadable = 0;  ///< scans that found no kernel that it knows
  std::uint64_t entries = 0;     ///< pages' entries read
  std::uint64_t found = 0;       ///< free pages in the lists
  std::uint64_t discarded = 0;   ///< frames taken
  std::uint64_t raced = 0;  ///< pages found free whose block was another when it was to be taken: in use, most of them
  Nanoseconds host_time = 0;  ///< of the host's processors
  Nanoseconds paused = 0;     ///< while the vCPUs stood still
};

/// Reads guest memory only, whatever is in it. Lists that lead astray end where they do.
class FreeListScan final : public Daemon {
 public:
  FreeListScan(Vm& vm, const ScanConfig& config);

  Nanoseconds next_deadline() const override { return deadline_; }
  void run_due(Nanoseconds now) override;
  const ScanStat& stat() const { return stat_; }

 private:
  struct Block {
    std::uint64_t gfn;
    std::uint8_t order;
  };

  /// Reads the lists. Returns the time that takes.
  Nanoseconds look();
  void look_at_list(std::uint64_t zone, std::uint64_t page_array, std::uint8_t order, std::vector<bool>& seen);
  bool is_free(std::uint64_t page_array, const Block& block);
  /// Takes what is still free of what was found. Returns the time that takes.
  Nanoseconds take();
  template <class T>
  T read(std::uint64_t at);

  Vm& vm_;
  ScanConfig config_;
  Nanoseconds deadline_;
  Nanoseconds due_;  ///< of the next scan
  std::uint64_t page_array_ = 0;
  std::vector<Block> found_;
  bool is_taking_ = false;
  ScanStat stat_;
};

}  // namespace vmem::vmm
