// Moving a guest frame to another machine frame, which the guest must not notice.
#pragma once

#include "core/address.hpp"

namespace vmem::hw {
class Vcpu;
}

namespace vmem::vmm {

class Vm;

/// Gives `gfn` another machine frame with the same bytes, as 4 KiB page. False: it has none now, or the machine has
/// none to spare, or the frame is shared.
bool migrate(Vm& vm, Gfn gfn);

}  // namespace vmem::vmm
