// What must always hold of a host, checked from scratch.
#include <string>

#include "core/error.hpp"
#include "vmm/hypervisor.hpp"
#include "vmm/shadow/shadow_mmu.hpp"

namespace vmem::vmm {
namespace {

[[noreturn]] void broken(const Vm& vm, const std::string& what) {
  throw InvariantError("VM '" + vm.config().name + "': " + what);
}

/// Every second-stage leaf names a frame block that says it belongs there, and the residents add up.
void check_second_stage(Vm& vm) {
  std::uint64_t resident = 0;
  vm.second_stage()->for_each([&](Gfn gfn, const SecondStage::Leaf& leaf) {
    const Hfn hfn = vm.second_stage()->target(leaf, gfn);
    const memory::Frame& frame = vm.memory().frame(hfn);
    if (frame.use != memory::FrameUse::guest || frame.owner != vm.id() || frame.gfn != gfn.value)
      broken(vm, "gPFN " + hex(gfn.value) + " is mapped to hPFN " + hex(hfn.value) + ", which belongs to VM " +
                     std::to_string(frame.owner) + " gPFN " + hex(frame.gfn));
    if (frame.order != 9 * static_cast<int>(leaf.size()))
      broken(vm, "gPFN " + hex(gfn.value) + " is mapped by a page of another size than its block of order " +
                     std::to_string(frame.order));
    resident += page_frames(leaf.size());
  });
  if (resident != vm.resident_frames())
    broken(vm, std::to_string(vm.resident_frames()) + " frames counted resident, " + std::to_string(resident) +
                   " are mapped");
}

/// TLBs hold nothing but what lies inside frames of the VM.
void check_tlbs(Vm& vm) {
  for (std::size_t i = 0; i < vm.vcpu_count(); ++i) {
    vm.vcpu(i).mmu().for_each_tlb_entry([&](const hw::Context&, std::uint64_t page, const hw::TlbEntry& entry) {
      const Hfn hfn{(vm.window().value + entry.base) >> kPageShift};
      bool owned = false;
      for (int order = 0; order <= memory::Buddy::kMaxOrder && !owned; ++order) {
        const memory::Frame& head = vm.memory().frame(Hfn{align_down(hfn.value, 1ull << order)});
        owned = head.use == memory::FrameUse::guest && head.owner == vm.id() && head.order >= order;
      }
      if (!owned)
        broken(vm, "a TLB of vCPU " + std::to_string(i) + " maps page " + hex(page) + " to hPFN " + hex(hfn.value) +
                       ", which is not the VM's");
    });
  }
}

}  // namespace

void Hypervisor::check() {
  host_.memory.buddy().check();
  std::uint64_t guest = 0;
  for (const auto& vm : vms_) {
    if (!vm->is_native()) check_second_stage(*vm);
    check_tlbs(*vm);
    if (vm->shadow() != nullptr) vm->shadow()->check();
    guest += vm->resident_frames();
  }
  if (guest != host_.memory.used(memory::FrameUse::guest))
    throw InvariantError("host: " + std::to_string(host_.memory.used(memory::FrameUse::guest)) +
                         " frames counted as guest memory, VMs hold " + std::to_string(guest));
  const std::uint64_t used = host_.memory.used(memory::FrameUse::guest) + host_.memory.used(memory::FrameUse::table) +
                             host_.memory.used(memory::FrameUse::process);
  if (used + host_.memory.buddy().free_frames() + 1 != host_.memory.bytes().frames())
    throw InvariantError("host: used " + std::to_string(used) + " and free " +
                         std::to_string(host_.memory.buddy().free_frames()) +
                         " frames do not add up to the machine's " + std::to_string(host_.memory.bytes().frames()));
}

}  // namespace vmem::vmm
