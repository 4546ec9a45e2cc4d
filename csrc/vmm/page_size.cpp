#include "vmm/page_size.hpp"

#include "vmm/unmap.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {
namespace {

constexpr std::uint64_t kFrames = page_frames(PageSize::k2M);

bool is_collapsible(Vm& vm, Gfn first) {
  if (!vm.contains(first + (kFrames - 1))) return false;
  for (std::uint64_t i = 0; i < kFrames; ++i) {
    const SecondStage::Leaf leaf = vm.second_stage()->find(first + i);
    if (!leaf.present || leaf.level != 1) return false;
    if (vm.memory().frame(vm.second_stage()->target(leaf, first + i)).use != memory::FrameUse::guest) return false;
  }
  return true;
}

void copy_if_written(memory::PhysicalMemory& bytes, Hfn from, Hfn to) {
  if (bytes.is_written(from.value)) bytes.write(to.address().value, {bytes.data() + from.address().value, kPageSize});
}

}  // namespace

bool split(Vm& vm, Gfn gfn) {
  if (vm.is_native() || !vm.contains(gfn)) return false;
  const SecondStage::Leaf leaf = vm.second_stage()->find(gfn);
  if (!leaf.present || leaf.level == 1) return false;
  Unmap unmap(vm);
  return unmap.split(gfn, PageSize::k4K);
}

bool collapse(Vm& vm, Gfn gfn) {
  if (vm.is_native() || !vm.contains(gfn)) return false;
  const Gfn first{align_down(gfn.value, kFrames)};
  if (!is_collapsible(vm, first)) return false;
  const auto head = vm.memory().allocate(9, memory::FrameUse::guest, vm.id());
  if (!head) return false;
  vm.memory().frame(*head).gfn = static_cast<std::uint32_t>(first.value);
  SecondStage& stage = *vm.second_stage();
  Unmap unmap(vm);
  for (std::uint64_t i = 0; i < kFrames; ++i) {
    copy_if_written(vm.memory().bytes(), stage.target(stage.find(first + i), first + i), *head + i);
    unmap.take_page(first + i);
  }
  unmap.commit();  // no paging-structure cache leads to the table any more
  stage.replace_table(first, *head);
  vm.add_resident(static_cast<std::int64_t>(kFrames));
  ++vm.host().stat.collapsed;
  return true;
}

}  // namespace vmem::vmm
