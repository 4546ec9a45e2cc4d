// What must always hold of a host, checked from scratch.
#include <algorithm>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "vmm/hypervisor.hpp"
#include "vmm/shadow/shadow_mmu.hpp"
#include "vmm/software_tlb/software_tlb.hpp"

namespace vmem::vmm {
namespace {

using memory::Frame;
using memory::FrameUse;

[[noreturn]] void broken(const Vm& vm, const std::string& what) {
  throw InvariantError("VM '" + vm.config().name + "': " + what);
}

/// The frame of a leaf says that it belongs there: as the VM's own, or as one that it shares and may not store to.
void check_leaf(Vm& vm, Gfn gfn, const SecondStage::Leaf& leaf) {
  const Hfn hfn = vm.second_stage()->target(leaf, gfn);
  const Frame& frame = vm.memory().frame(hfn);
  if (frame.use == FrameUse::shared) {
    const std::vector<Sharer> sharers = vm.host().sharers.of(hfn);
    if (std::ranges::count(sharers, Sharer{vm.id(), gfn}) != 1)
      broken(vm, "gPFN " + hex(gfn.value) + " is mapped to hPFN " + hex(hfn.value) + " but not one of its sharers");
    if (vm.second_stage()->rights(leaf.entry) & paging::kWrite)
      broken(vm, "gPFN " + hex(gfn.value) + " may be stored to, and shares hPFN " + hex(hfn.value));
  } else if (frame.use != FrameUse::guest || frame.owner != vm.id() || frame.gfn != gfn.value) {
    broken(vm, "gPFN " + hex(gfn.value) + " is mapped to hPFN " + hex(hfn.value) + ", which belongs to VM " +
                   std::to_string(frame.owner) + " gPFN " + hex(frame.gfn));
  }
  if (frame.order != 9 * static_cast<int>(leaf.size()))
    broken(vm, "gPFN " + hex(gfn.value) + " is mapped by a page of another size than its block of order " +
                   std::to_string(frame.order));
}

/// Every second-stage leaf names a frame that says it belongs there, and the residents add up.
void check_second_stage(Vm& vm) {
  std::uint64_t resident = 0;
  vm.second_stage()->for_each([&](Gfn gfn, const SecondStage::Leaf& leaf) {
    check_leaf(vm, gfn, leaf);
    resident += page_frames(leaf.size());
  });
  if (resident != vm.resident_frames())
    broken(vm, std::to_string(vm.resident_frames()) + " frames counted resident, " + std::to_string(resident) +
                   " are mapped");
}

/// Every slot in use is held by one entry of one VM.
void check_swap(const std::vector<std::unique_ptr<Vm>>& vms, const memory::SwapFile& swap) {
  std::vector<std::uint32_t> held;
  for (const auto& vm : vms) {
    if (vm->is_native()) continue;
    std::uint64_t swapped = 0;
    vm->second_stage()->for_each_swapped([&](Gfn gfn, memory::SwapSlot slot) {
      if (!swap.is_used(slot))
        broken(*vm, "gPFN " + hex(gfn.value) + " is in swap slot " + std::to_string(slot.value) + ", which is free");
      held.push_back(slot.value);
      ++swapped;
    });
    if (swapped != vm->swapped_frames())
      broken(*vm,
             std::to_string(vm->swapped_frames()) + " frames counted in the swap, " + std::to_string(swapped) + " are");
  }
  std::ranges::sort(held);
  if (std::ranges::adjacent_find(held) != held.end())
    throw InvariantError("host: two guest frames are in swap slot " +
                         std::to_string(*std::ranges::adjacent_find(held)));
  if (held.size() != swap.used())
    throw InvariantError("host: " + std::to_string(swap.used()) + " swap slots counted used, VMs hold " +
                         std::to_string(held.size()));
}

/// The VM's guest memory is backed with `hfn`, and may be stored to if it is said to be writable.
bool backs(Vm& vm, Hfn hfn, bool writable) {
  const memory::MachineMemory& memory = vm.memory();
  for (int order = 0; order <= memory::Buddy::kMaxOrder; ++order) {
    const Hfn head{align_down(hfn.value, 1ull << order)};
    const Frame& frame = memory.frame(head);
    if (frame.use == FrameUse::none || frame.order < order) continue;
    if (frame.use == FrameUse::guest)
      return frame.owner == vm.id() &&
             (vm.is_native() ||
              vm.machine_address(Gfn{frame.gfn + (hfn.value - head.value)}.address()) == hfn.address());
    if (frame.use != FrameUse::shared || writable) return false;
    const std::vector<Sharer> sharers = vm.host().sharers.of(hfn);
    return std::ranges::any_of(sharers, [&](const Sharer& sharer) { return sharer.vm == vm.id(); });
  }
  return false;
}

/// TLBs, the hypervisor's own among them, hold nothing but what backs the VM now, and no right to store to what it
/// shares.
void check_tlbs(Vm& vm) {
  constexpr hw::EntryFlags kStores = hw::kEntryWrite | hw::kEntryHostWrite;
  const auto check = [&](std::size_t vcpu, std::uint64_t page, const hw::TlbEntry& entry) {
    const Hfn hfn{(vm.window().value + entry.base) >> kPageShift};
    if (!backs(vm, hfn, (entry.flags & kStores) == kStores))
      broken(vm, "a TLB of vCPU " + std::to_string(vcpu) + " maps page " + hex(page) + " to hPFN " + hex(hfn.value) +
                     ", which does not back the VM so");
  };
  for (std::size_t i = 0; i < vm.vcpu_count(); ++i)
    vm.vcpu(i).mmu().for_each_tlb_entry(
        [&](const hw::Context&, std::uint64_t page, const hw::TlbEntry& entry) { check(i, page, entry); });
  if (vm.software_tlb() != nullptr)
    vm.software_tlb()->for_each_entry([&](std::size_t vcpu, std::uint64_t key, const hw::TlbEntry& entry) {
      check(vcpu, hw::key_address(key) >> page_shift(entry.size), entry);
    });
}

void check_processes(const std::vector<std::unique_ptr<HostProcess>>& processes, const memory::MachineMemory& memory) {
  std::uint64_t held = 0;
  for (const auto& process : processes) held += process->size() >> kPageShift;
  if (held != memory.used(FrameUse::process))
    throw InvariantError("host: " + std::to_string(memory.used(FrameUse::process)) +
                         " frames counted as host processes', they hold " + std::to_string(held));
}

void check_sums(const Host& host, std::uint64_t resident) {
  std::uint64_t shared_frames = host.memory.used(FrameUse::shared);
  if (resident != host.memory.used(FrameUse::guest) + host.sharers.total())
    throw InvariantError("host: " + std::to_string(host.memory.used(FrameUse::guest)) + " guest frames and " +
                         std::to_string(host.sharers.total()) + " shares of " + std::to_string(shared_frames) +
                         " frames counted, VMs hold " + std::to_string(resident));
  const std::uint64_t used = host.memory.used(FrameUse::guest) + shared_frames + host.memory.used(FrameUse::table) +
                             host.memory.used(FrameUse::process);
  if (used + host.memory.buddy().free_frames() + 1 != host.memory.bytes().frames())
    throw InvariantError("host: used " + std::to_string(used) + " and free " +
                         std::to_string(host.memory.buddy().free_frames()) + " frames do not add up to the machine's " +
                         std::to_string(host.memory.bytes().frames()));
}

}  // namespace

void Hypervisor::check() {
  host_.memory.buddy().check();
  std::uint64_t resident = 0;
  for (const auto& vm : vms_) {
    if (!vm->is_native()) check_second_stage(*vm);
    check_tlbs(*vm);
    if (vm->shadow() != nullptr) vm->shadow()->check();
    resident += vm->resident_frames();
  }
  check_swap(vms_, host_.swap);
  check_processes(processes_, host_.memory);
  check_sums(host_, resident);
}

}  // namespace vmem::vmm
