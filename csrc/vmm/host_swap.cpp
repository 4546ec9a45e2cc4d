#include "vmm/host_swap.hpp"

#include <array>

#include "vmm/unmap.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {

SwapOut swap_out(Vm& vm, Gfn gfn, Unmap& unmap) {
  if (vm.is_native() || !vm.contains(gfn)) return SwapOut::not_backed;
  SecondStage& stage = *vm.second_stage();
  Host& host = vm.host();
  const SecondStage::Leaf leaf = stage.find(gfn);
  if (!leaf.present) return SwapOut::not_backed;
  if (host.swap.free() == 0) return SwapOut::no_slot;
  if (!unmap.split(gfn, PageSize::k4K)) return SwapOut::no_table;
  const memory::PhysicalMemory& bytes = host.memory.bytes();
  const std::uint64_t frame = stage.target(leaf, gfn).value;
  const auto slot =
      bytes.is_written(frame)
          ? host.swap.store(std::span<const std::byte, kPageSize>(bytes.data() + (frame << kPageShift), kPageSize))
          : host.swap.store_zeros();
  if (!slot) return SwapOut::disk_error;
  unmap.take_page(gfn);
  stage.set_swapped(stage.find(gfn), *slot);
  vm.add_swapped(1);
  ++vm.stat().swapped_out;
  ++host.stat.swapped_out;
  return SwapOut::done;
}

SwapIn swap_in(Vm& vm, const SecondStage::Leaf& leaf, Gfn gfn) {
  Host& host = vm.host();
  const memory::SwapSlot slot = SecondStage::slot_of(leaf);
  const auto hfn = host.memory.allocate(0, memory::FrameUse::guest, vm.id());
  if (!hfn) return SwapIn::no_frame;
  if (host.swap.has_bytes(slot)) {
    std::array<std::byte, kPageSize> bytes;
    if (!host.swap.load(slot, 0, bytes)) {
      host.memory.free(*hfn);
      host.events.add("swap_read_error", vm.config().name, {{"gfn", gfn.value}, {"slot", slot.value}});
      return SwapIn::disk_error;
    }
    host.memory.bytes().write(hfn->address().value, bytes);
  }
  host.memory.frame(*hfn).gfn = static_cast<std::uint32_t>(gfn.value);
  // The entry stands in a table for 4 KiB pages already: no frame is needed for one.
  vm.second_stage()->map(leaf, gfn, *hfn, PageSize::k4K, paging::kRead | paging::kWrite | paging::kExecute);
  host.swap.release(slot);
  vm.add_resident(1);
  vm.add_swapped(-1);
  ++vm.stat().swapped_in;
  ++host.stat.swapped_in;
  return SwapIn::done;
}

}  // namespace vmem::vmm
