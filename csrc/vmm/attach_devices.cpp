#include "vmm/attach_devices.hpp"

#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "vmm/balloon/balloon_device.hpp"
#include "vmm/balloon/balloon_reclaim.hpp"
#include "vmm/block_device.hpp"
#include "vmm/reclaim/free_list_scan.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {
namespace {

/// As mkswap: the signature ends the first page.
void make_swap_space(BlockDevice& disk) {
  constexpr std::string_view kSignature = "SWAPSPACE2";
  disk.contents().write(kPageSize - kSignature.size(), std::as_bytes(std::span(kSignature)));
}

}  // namespace

void attach_devices(Vm& vm) {
  if (vm.config().disk.bytes != 0) {
    auto disk = std::make_unique<BlockDevice>(vm, vm.devices().next_window(), vm.config().disk);
    vm.set_disk(*disk);
    vm.devices().attach(std::move(disk));
  }
  if (vm.config().swap != 0) {
    DiskConfig config = vm.config().disk;  // the same kind of disk
    config.bytes = vm.config().swap;
    auto swap = std::make_unique<BlockDevice>(vm, vm.devices().next_window(), config);
    make_swap_space(*swap);
    vm.set_swap_disk(*swap);
    vm.devices().attach(std::move(swap));
  }
  if (vm.config().balloon.present) {
    auto device = std::make_unique<balloon::BalloonDevice>(vm, vm.devices().next_window(), vm.config().balloon);
    vm.set_balloon(*device);
    vm.set_reclaim_source(std::make_unique<balloon::BalloonReclaim>(vm, *device));
    vm.devices().attach(std::move(device));
  }
  if (vm.config().scan.period != 0) vm.set_scan(std::make_unique<FreeListScan>(vm, vm.config().scan));
}

}  // namespace vmem::vmm
