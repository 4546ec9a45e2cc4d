#include "vmm/migrate.hpp"

#include <array>

#include "vmm/unmap.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {

bool migrate(Vm& vm, Gfn gfn) {
  if (vm.is_native() || !vm.contains(gfn)) return false;
  const Hpa old = vm.machine_address(gfn.address());
  if (old == hw::kNoMemory) return false;
  memory::MachineMemory& memory = vm.memory();
  if (memory.frame(old.frame()).use == memory::FrameUse::shared) return false;  // the others would stay behind
  const auto fresh = memory.allocate(0, memory::FrameUse::guest, vm.id());
  if (!fresh) return false;
  memory.frame(*fresh).gfn = static_cast<std::uint32_t>(gfn.value);
  std::array<std::byte, kPageSize> bytes;
  if (memory.bytes().is_written(old.frame().value)) {
    memory.bytes().read(old.value, bytes);
    memory.bytes().write(fresh->address().value, bytes);
  }
  Unmap unmap(vm);
  if (!unmap.take(gfn)) {
    memory.free(*fresh);
    return false;
  }
  // The table for 4 KiB pages is there: `take` has just emptied an entry of it.
  vm.second_stage()->map(vm.second_stage()->find(gfn), gfn, *fresh, PageSize::k4K,
                         paging::kRead | paging::kWrite | paging::kExecute);
  vm.add_resident(1);
  return true;
}

}  // namespace vmem::vmm
