// The end of a VM that the host can no longer keep.
#pragma once

namespace vmem::vmm {

class Vm;

/// Gives its memory and its place in the swap back. Its vCPUs never run again: every access ends with Outcome::kill. It
/// keeps the tables its vCPUs point to until it is destroyed, all of them empty.
void kill(Vm& vm);

}  // namespace vmem::vmm
