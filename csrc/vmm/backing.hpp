// Giving a guest frame its machine frame.
#pragma once

#include "core/address.hpp"
#include "vmm/second_stage.hpp"

namespace vmem::vmm {

class Vm;

/// Backs `gfn`, which has no machine frame, with the largest page its VM's Backing asks for that is aligned inside the
/// VM, wholly unbacked, and free in the machine. False: the machine has no memory left. `empty` is what the second
/// stage's `find(gfn)` gave.
bool back(Vm& vm, SecondStage::Leaf empty, Gfn gfn);

}  // namespace vmem::vmm
