#include "vmm/attach_devices.hpp"

#include <memory>
#include <utility>

#include "vmm/balloon/balloon_device.hpp"
#include "vmm/block_device.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {

void attach_devices(Vm& vm) {
  if (vm.config().disk.bytes != 0) {
    auto disk = std::make_unique<BlockDevice>(vm, vm.devices().next_window(), vm.config().disk);
    vm.set_disk(*disk);
    vm.devices().attach(std::move(disk));
  }
  if (vm.config().balloon.present) {
    auto device = std::make_unique<balloon::BalloonDevice>(vm, vm.devices().next_window(), vm.config().balloon);
    vm.set_balloon(*device);
    vm.devices().attach(std::move(device));
  }
}

}  // namespace vmem::vmm
