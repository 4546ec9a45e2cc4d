// The three ways to keep a shadow in step with the guest's tables.
#pragma once

#include <cstdint>
#include <memory>

#include "core/address.hpp"
#include "vmm/shadow/shadow_config.hpp"
#include "vmm/shadow/shadow_page.hpp"

namespace vmem::hw {
class Vcpu;
}

namespace vmem::vmm {

class ShadowMmu;

/// Asked at each occasion on which the guest's tables may have changed, or on which a guest may rely on a change having
/// been seen.
class Synchroniser {
 public:
  virtual ~Synchroniser() = default;
  /// What stands for the guest table at `gfn`, which the walk of `gva` reads at `level` below `root`.
  virtual ShadowKey key(std::uint64_t cr3, Gfn gfn, int level, Gva gva) const = 0;
  /// A page of a guest table was made, or is linked again.
  virtual void on_use(ShadowPage& page) = 0;
  /// The guest stored to bytes [offset, offset + size) of a traced table; the bytes are in place.
  virtual void on_store(Gfn gfn, std::uint64_t offset, std::size_t size) = 0;
  /// The guest loads CR3 and flushes its PCID.
  virtual void on_flush(hw::Vcpu& vcpu, std::uint64_t cr3) = 0;
  virtual void on_invlpg(hw::Vcpu& vcpu, Gva gva) = 0;
};

std::unique_ptr<Synchroniser> make_synchroniser(ShadowSync sync, ShadowMmu& shadow);

}  // namespace vmem::vmm
