// Which devices a VM has.
#pragma once

namespace vmem::vmm {

class Vm;

/// Puts the devices that the VM's configuration asks for on its bus, always in the same order.
void attach_devices(Vm& vm);

}  // namespace vmem::vmm
