// What a virtual machine is created with.
#pragma once

#include <cstdint>
#include <string>

#include "core/clock.hpp"
#include "hw/cpu_config.hpp"
#include "vmm/shadow/shadow_config.hpp"

namespace vmem::vmm {

/// How guest-virtual addresses become machine addresses.
enum class MmuMode : std::uint8_t { native, nested, shadow, software_tlb };

/// The largest page the hypervisor backs guest memory with. `k4K` never uses more; larger ones fall back when no
/// aligned free block is left.
struct Backing {
  PageSize largest = PageSize::k4K;
};

/// A virtual disk, and how long it takes: requests are served one after the other at `bandwidth`, and each is finished
/// `latency` after its last byte. The defaults are those of an NVMe SSD of data centres: 80 to 100 us for a random 4
/// KiB read, 2 GB/s.
struct DiskConfig {
  std::uint64_t bytes = 0;  ///< 0: none; otherwise a multiple of 4 KiB
  Nanoseconds latency = 90'000;
  std::uint64_t bandwidth = 2'000'000'000;  ///< bytes a second
};

/// A memory balloon (virtio 1.2, 5.5) and the features that it offers.
struct BalloonConfig {
  bool present = false;
  bool must_tell_host = false;
  bool deflate_on_oom = false;
  bool page_poison = true;  ///< QEMU's default
  bool free_page_reporting = false;
  bool free_page_hint = false;
  bool statistics = true;
};

/// The hypervisor looks for free memory in the guest kernel's free lists (docs/reference/guest-memory.md).
struct ScanConfig {
  Nanoseconds period = 0;  ///< 0: never
  /// Whether the VM's vCPUs stand still meanwhile. Otherwise what was found free is looked at again before it is taken.
  bool pauses = true;
  Nanoseconds entry_time = 30;      ///< to read one page's entry: a miss of the host's caches
  Nanoseconds discard_time = 1000;  ///< to take one range, and each frame in it: as the cost model's, at 3 GHz
  Nanoseconds frame_time = 200;
};

struct VmConfig {
  std::string name;
  std::uint64_t memory = 0;  ///< bytes, a multiple of 4 KiB
  int vcpus = 1;
  MmuMode mode = MmuMode::nested;
  Backing backing;
  ShadowConfig shadow;
  std::uint64_t reservation = 0;  ///< bytes that the host never reclaims
  std::uint64_t limit = 0;        ///< bytes of machine memory at most, if there is a swap for the rest; 0: none
  std::uint32_t shares = 1000;    ///< its weight when memory is reclaimed
  hw::CpuConfig cpu;
  std::uint32_t software_tlb = 0;  ///< entries of the hypervisor's second-level TLB for each vCPU; 0: none
  DiskConfig disk;
  std::uint64_t swap = 0;  ///< bytes of a second disk, prepared as swap space; 0: none
  BalloonConfig balloon;
  ScanConfig scan;
  bool can_be_swapped = true;  ///< by the host
};

inline constexpr std::uint64_t kLeastLimit = 1ull << 20;
inline constexpr std::uint32_t kMostShares = 1'000'000;
inline constexpr int kMaxVcpus = 255;

}  // namespace vmem::vmm
