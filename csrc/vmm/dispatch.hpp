// Whose fault is it?
#pragma once

#include "hw/fault.hpp"
#include "hw/handlers.hpp"

namespace vmem::hw {
class Vcpu;
}

namespace vmem::vmm {

class Vm;

/// The one function that every fault of every mode goes through. Decides whose fault it is, repairs what is the
/// hypervisor's, and says what happens next.
hw::Outcome dispatch(Vm& vm, hw::Vcpu& vcpu, hw::Fault& fault);

}  // namespace vmem::vmm
