// One machine frame for guest frames with the same bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "core/address.hpp"

namespace vmem::vmm {

class Vm;

/// Looks once at every guest frame, in the order of VMs and of guest-physical addresses, and merges those whose bytes
/// are equal, within a VM and between VMs. What a hash finds is compared byte for byte before it is shared. Only 4 KiB
/// pages are looked at: to cut large ones for it is a policy's business. Returns how many gave up their machine frame.
std::uint64_t share(std::span<const std::unique_ptr<Vm>> vms);
/// The VM gets a frame of its own with the bytes of the shared one that backs `gfn`; its last sharer keeps that. False:
/// the machine has no frame left.
bool break_share(Vm& vm, Gfn gfn);

}  // namespace vmem::vmm
