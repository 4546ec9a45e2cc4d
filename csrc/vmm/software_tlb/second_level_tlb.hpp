// A second-level TLB in the hypervisor's own memory: gVA → hPA, as Disco kept one.
#pragma once

#include <cstdint>

#include "core/access.hpp"
#include "core/address.hpp"
#include "hw/context.hpp"
#include "hw/state.hpp"
#include "hw/tlb.hpp"

namespace vmem::vmm {

/// Of one vCPU. Invariant: it holds nothing that the guest has invalidated, and nothing of a frame that has gone. Four
/// ways, LRU, any page size.
class SecondLevelTlb {
 public:
  static constexpr std::uint32_t kWays = 4;

  /// `entries`: a positive multiple of kWays.
  explicit SecondLevelTlb(std::uint32_t entries);
  SecondLevelTlb(const SecondLevelTlb&) = delete;
  SecondLevelTlb& operator=(const SecondLevelTlb&) = delete;

  /// The entry for `gva` if it permits the access as it is. One that does not is dropped, as a page fault drops what a
  /// processor's TLB holds.
  const hw::TlbEntry* find(const hw::State& guest, Gva gva, AccessKind access);
  void fill(const hw::State& guest, Gva gva, const hw::TlbEntry& entry);
  void invlpg(const hw::State& guest, Gva gva);
  /// Everything of the PCID but global pages.
  void flush_pcid(std::uint16_t pcid);
  void flush();
  /// Calls `use(key, entry)` for every entry.
  template <class Use>
  void for_each(Use&& use) const {
    level_.for_each(use);
  }

 private:
  hw::ContextKeys keys(const hw::State& guest);

  hw::ContextTable contexts_;
  hw::PermissionTable permissions_;
  hw::State permissions_for_;
  std::uint64_t clock_ = 0;  ///< touches so far
  hw::TlbLevel level_;
};

}  // namespace vmem::vmm
