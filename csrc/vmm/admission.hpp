// May another VM be started?
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace vmem::vmm {

struct Host;
class Vm;
struct VmConfig;

enum class AdmissionPolicy : std::uint8_t {
  none,  ///< always, as KVM: what is promised is the administrator's business
  esx,   ///< its reservation and overhead must fit into RAM beside the others', the rest of its memory into the swap
};

struct AdmissionConfig {
  AdmissionPolicy policy = AdmissionPolicy::none;
  std::uint64_t overhead = 32ull << 20;  ///< bytes a VM costs besides its memory (Waldspurger, OSDI 2002, section 6.2)
};

/// OutOfMemory, with the sums, if the policy forbids a VM of this configuration beside those there are.
void admit(const Host& host, const std::vector<std::unique_ptr<Vm>>& vms, const VmConfig& config,
           const AdmissionConfig& admission);

}  // namespace vmem::vmm
