// From a machine frame to every shadow entry that maps it.
#pragma once

#include <cstdint>
#include <vector>

#include "core/address.hpp"
#include "memory/machine_memory.hpp"

namespace vmem::vmm {

/// Chains of entry addresses that start in the frame table (Frame::rmap), for all VMs of a host: a shared frame is
/// mapped by several. An entry that maps a larger page is in the chain of its first frame.
class ReverseMap {
 public:
  explicit ReverseMap(memory::MachineMemory& memory) : memory_(memory), links_(1) {}

  void add(Hfn hfn, Hpa entry) {
    std::uint32_t& head = memory_.frame(hfn).rmap;
    std::uint32_t fresh = free_;
    if (fresh != 0) {
      free_ = links_[fresh].next;
    } else {
      fresh = static_cast<std::uint32_t>(links_.size());
      links_.emplace_back();
    }
    links_[fresh] = {entry, head};
    head = fresh;
  }
  /// The entry is in the chain.
  void remove(Hfn hfn, Hpa entry) {
    std::uint32_t* at = &memory_.frame(hfn).rmap;
    while (links_[*at].entry != entry) at = &links_[*at].next;
    const std::uint32_t gone = *at;
    *at = links_[gone].next;
    links_[gone].next = free_;
    free_ = gone;
  }
  std::vector<Hpa> entries(Hfn hfn) const {
    std::vector<Hpa> entries;
    for (std::uint32_t at = memory_.frame(hfn).rmap; at != 0; at = links_[at].next) entries.push_back(links_[at].entry);
    return entries;
  }
  bool empty(Hfn hfn) const { return memory_.frame(hfn).rmap == 0; }

 private:
  struct Link {
    Hpa entry;
    std::uint32_t next = 0;  ///< 0 ends a chain
  };
  memory::MachineMemory& memory_;
  std::vector<Link> links_;
  std::uint32_t free_ = 0;
};

}  // namespace vmem::vmm
