// A virtual disk (virtio 1.2, 5.2): one request queue, contents held by the host.
#pragma once

#include <cstdint>

#include "memory/physical_memory.hpp"
#include "virtio/block.hpp"
#include "vmm/virtio_device.hpp"
#include "vmm/vm_config.hpp"

namespace vmem::vmm {

/// Since the VM was created.
struct DiskStat {
  std::uint64_t reads = 0, writes = 0, flushes = 0;  ///< requests
  std::uint64_t read_bytes = 0, written_bytes = 0;
  std::uint64_t errors = 0;  ///< requests answered with an error
};

/// Data moves when the driver notifies; the request is finished when the time model says so. The contents are bytes
/// only where something other than zeros has been written.
class BlockDevice final : public VirtioDevice {
 public:
  static constexpr std::uint16_t kQueueSize = 128;
  static constexpr std::uint32_t kMaxSegments = 126;

  /// ConfigError for an impossible disk.
  BlockDevice(Vm& vm, std::uint32_t window, const DiskConfig& config);

  std::uint64_t bytes() const { return contents_.size(); }
  const DiskStat& stat() const { return stat_; }
  /// The contents, as the host sees them.
  memory::PhysicalMemory& contents() { return contents_; }
  /// From now on every request that moves data is answered with an error, or no longer.
  void fail(bool fails) { fails_ = fails; }

 protected:
  void on_notify(hw::Vcpu& vcpu, std::uint32_t queue) override;
  std::uint32_t read_config(std::uint32_t offset) override;

 private:
  struct Served {
    virtio::block::Status status;
    std::uint32_t written;  ///< bytes of data, into guest memory
    std::uint64_t moved;    ///< bytes between disk and guest
  };
  /// `out` is what the header leaves of the readable part; `in` ends with the status byte.
  Served serve(GuestMemory& memory, const virtio::block::Header& header, virtio::Stream& out, virtio::Stream& in);
  Served read_sectors(GuestMemory& memory, std::uint64_t sector, virtio::Stream& in);
  Served write_sectors(GuestMemory& memory, std::uint64_t sector, virtio::Stream& out);
  void handle(hw::Vcpu& vcpu, GuestMemory& memory, const virtio::Chain& chain);
  bool holds(std::uint64_t sector, std::uint64_t bytes) const;
  Nanoseconds finish_time(Nanoseconds now, std::uint64_t bytes);

  DiskConfig config_;
  memory::PhysicalMemory contents_;
  Nanoseconds busy_until_ = 0;
  DiskStat stat_;
  bool fails_ = false;
};

}  // namespace vmem::vmm
