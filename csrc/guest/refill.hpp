// The guest kernel's TLB refill handler, for processors that do not walk page tables themselves.
#pragma once

#include "hw/fault.hpp"

namespace vmem::hw {
class Vcpu;
}

namespace vmem::guest {

/// Walks the table in CR3 by loads of `vcpu`, sets accessed and dirty bits as a walking processor would, and writes the
/// translation to the TLB. False: the table forbids the access; `page_fault` is what a walking processor would have
/// reported.
bool refill_tlb(hw::Vcpu& vcpu, const hw::Fault& miss, hw::Fault& page_fault);

}  // namespace vmem::guest
