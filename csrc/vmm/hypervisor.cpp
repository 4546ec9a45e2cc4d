#include "vmm/hypervisor.hpp"

#include <algorithm>
#include <string>

#include "core/error.hpp"

namespace vmem::vmm {

Vm& Hypervisor::create_vm(const VmConfig& config) {
  if (vms_.size() >= memory::kNoOwner - 1)
    throw ConfigError("this host holds " + std::to_string(vms_.size()) + " VMs, the most it can");
  const auto taken = [&](std::uint16_t id) {
    return std::any_of(vms_.begin(), vms_.end(), [&](const auto& vm) { return vm->id() == id; });
  };
  while (next_id_ == memory::kNoOwner || taken(next_id_))
    next_id_ = next_id_ == memory::kNoOwner ? std::uint16_t{0} : static_cast<std::uint16_t>(next_id_ + 1);
  vms_.push_back(std::make_unique<Vm>(host_, next_id_, config));
  ++next_id_;
  return *vms_.back();
}

void Hypervisor::destroy_vm(Vm& vm) {
  std::erase_if(vms_, [&](const auto& held) { return held.get() == &vm; });
}

MemoryInfo Hypervisor::meminfo() const {
  MemoryInfo info;
  info.total = host_.memory.bytes().size();
  info.free = host_.memory.buddy().free_frames() << kPageShift;
  info.used = info.total - info.free;
  info.tables = host_.memory.used(memory::FrameUse::table) << kPageShift;
  info.swap_total = host_.swap.slots() << kPageShift;
  info.swap_used = host_.swap.used() << kPageShift;
  info.shared = host_.sharers.total() << kPageShift;
  for (const auto& vm : vms_) info.committed += vm->config().memory;
  return info;
}

}  // namespace vmem::vmm
