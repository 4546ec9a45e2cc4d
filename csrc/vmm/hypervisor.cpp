#include "vmm/hypervisor.hpp"

#include <algorithm>
#include <string>

#include "core/error.hpp"
#include "vmm/attach_devices.hpp"
#include "vmm/balloon/balloon_device.hpp"
#include "vmm/reclaim/free_list_scan.hpp"

namespace vmem::vmm {

Hypervisor::Hypervisor(std::uint64_t memory_bytes, const HostConfig& config)
    : host_(memory_bytes, config.swap),
      admission_(config.admission),
      reclaim_(host_, vms_, config.reclaim),
      activity_(config.reclaim.seed) {
  host_.reclaim = &reclaim_;
  add_daemon(reclaim_);
}

HostProcess& Hypervisor::create_process(std::string name, std::uint64_t memory) {
  auto process = std::make_unique<HostProcess>(host_, reclaim_, next_process_id_++, std::move(name));
  process->resize(memory);
  processes_.push_back(std::move(process));
  return *processes_.back();
}

void Hypervisor::destroy_process(const HostProcess& process) {
  std::erase_if(processes_, [&](const auto& held) { return held.get() == &process; });
}

Vm& Hypervisor::create_vm(const VmConfig& config) {
  if (vms_.size() >= memory::kNoOwner - 1)
    throw ConfigError("this host holds " + std::to_string(vms_.size()) + " VMs, the most it can");
  admit(host_, vms_, config, admission_);
  const auto taken = [&](std::uint16_t id) {
    return std::any_of(vms_.begin(), vms_.end(), [&](const auto& vm) { return vm->id() == id; });
  };
  while (next_id_ == memory::kNoOwner || taken(next_id_))
    next_id_ = next_id_ == memory::kNoOwner ? std::uint16_t{0} : static_cast<std::uint16_t>(next_id_ + 1);
  auto vm = std::make_unique<Vm>(host_, next_id_, config);
  attach_devices(*vm);
  if (vm->balloon() != nullptr) add_daemon(*vm->balloon());
  if (vm->scan() != nullptr) add_daemon(*vm->scan());
  vms_.push_back(std::move(vm));
  ++next_id_;
  return *vms_.back();
}

void Hypervisor::destroy_vm(Vm& vm) {
  if (vm.balloon() != nullptr) remove_daemon(*vm.balloon());
  if (vm.scan() != nullptr) remove_daemon(*vm.scan());
  activity_.forget(vm);
  std::erase_if(vms_, [&](const auto& held) { return held.get() == &vm; });
}

MemoryInfo Hypervisor::meminfo() const {
  MemoryInfo info;
  info.total = host_.memory.bytes().size();
  info.free = host_.memory.buddy().free_frames() << kPageShift;
  info.used = info.total - info.free;
  info.processes = host_.memory.used(memory::FrameUse::process) << kPageShift;
  info.tables = host_.memory.used(memory::FrameUse::table) << kPageShift;
  info.swap_total = host_.swap.slots() << kPageShift;
  info.swap_used = host_.swap.used() << kPageShift;
  info.shared = host_.sharers.total() << kPageShift;
  for (const auto& vm : vms_) info.committed += vm->config().memory;
  return info;
}

}  // namespace vmem::vmm
