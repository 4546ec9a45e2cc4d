// Giving a guest frame what an access to it needs: a machine frame, its bytes, and the right to store to it.
#pragma once

#include <cstdint>

#include "core/address.hpp"
#include "vmm/second_stage.hpp"

namespace vmem::hw {
class Vcpu;
}

namespace vmem::vmm {

class Vm;

/// What stood between a guest frame and the access, and is gone.
enum class Provided : std::uint8_t {
  nothing_missing,
  backed,      ///< it never had a machine frame, or a balloon gave it away
  swapped_in,  ///< the vCPU has to wait for the disk
  copied,      ///< it was shared, and is the VM's own now
  no_memory,   ///< the machine has no frame left for it
  lost,        ///< the swap did not give its bytes back: the VM cannot go on, and is killed
};

/// Repairs the second stage for an access to `gfn`, which lies in the VM. Counts the fault, and the wait, on `vcpu`.
Provided provide(Vm& vm, hw::Vcpu& vcpu, Gfn gfn, bool store);
/// As above, when `leaf` is what the second stage holds.
Provided provide(Vm& vm, hw::Vcpu& vcpu, Gfn gfn, bool store, const SecondStage::Leaf& leaf);

}  // namespace vmem::vmm
