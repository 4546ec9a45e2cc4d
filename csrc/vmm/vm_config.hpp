// What a virtual machine is created with.
#pragma once

#include <cstdint>
#include <string>

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

struct VmConfig {
  std::string name;
  std::uint64_t memory = 0;  ///< bytes, a multiple of 4 KiB
  int vcpus = 1;
  MmuMode mode = MmuMode::nested;
  Backing backing;
  ShadowConfig shadow;
  hw::CpuConfig cpu;
  std::uint32_t software_tlb = 0;  ///< entries of the hypervisor's second-level TLB for each vCPU; 0: none
};

inline constexpr int kMaxVcpus = 255;

}  // namespace vmem::vmm
