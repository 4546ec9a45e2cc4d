#include "vmm/backing.hpp"

#include "vmm/vm.hpp"

namespace vmem::vmm {
namespace {

bool back_with(Vm& vm, SecondStage::Leaf& empty, Gfn gfn, PageSize size) {
  const std::uint64_t frames = page_frames(size);
  const Gfn first{align_down(gfn.value, frames)};
  if (!vm.contains(first + (frames - 1))) return false;
  if (empty.level < leaf_level(size)) return false;  // part of it is backed already
  if (size != PageSize::k4K && vm.resident_frames() + frames > vm.limit_frames()) return false;
  memory::MachineMemory& memory = vm.memory();
  const auto hfn = memory.allocate(9 * static_cast<int>(size), memory::FrameUse::guest, vm.id());
  if (!hfn) return false;
  memory.frame(*hfn).gfn = static_cast<std::uint32_t>(first.value);
  if (!vm.second_stage()->map(empty, first, *hfn, size, paging::kRead | paging::kWrite | paging::kExecute)) {
    memory.free(*hfn);
    empty = vm.second_stage()->find(gfn);  // tables made on the way stay, for the next attempt to use
    return false;
  }
  vm.add_resident(static_cast<std::int64_t>(frames));
  return true;
}

}  // namespace

bool back(Vm& vm, SecondStage::Leaf empty, Gfn gfn) {
  for (int size = static_cast<int>(vm.config().backing.largest); size >= 0; --size)
    if (back_with(vm, empty, gfn, static_cast<PageSize>(size))) return true;
  return false;
}

}  // namespace vmem::vmm
