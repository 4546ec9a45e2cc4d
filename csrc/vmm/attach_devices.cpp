#include "vmm/attach_devices.hpp"

#include <memory>

#include "vmm/block_device.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {

void attach_devices(Vm& vm) {
  if (vm.config().disk.bytes == 0) return;
  auto disk = std::make_unique<BlockDevice>(vm, vm.devices().next_window(), vm.config().disk);
  vm.set_disk(*disk);
  vm.devices().attach(std::move(disk));
}

}  // namespace vmem::vmm
