#include "sim/machine.hpp"

#include <algorithm>
#include <string>

#include "core/error.hpp"

namespace vmem::sim {
namespace {

constexpr std::size_t kBlock = 1 << 16;  ///< references between two polls: a few milliseconds at worst

void add(ReplayResult& result, const hw::BatchResult& part) {
  result.done += part.done;
  if (result.segfaults == 0 && part.signals > 0) result.first_segfault = part.first_signal;
  result.segfaults += part.signals;
  result.stopped = part.stopped;
}

/// An access was not made: by a SIGSEGV, unless the whole VM is gone.
bool refused(const Guest& guest) {
  if (guest.vm->is_killed())
    throw OutOfMemory("VM '" + guest.vm->config().name + "' was killed: the host had no memory left for it");
  return false;
}

}  // namespace

std::uint16_t Machine::create_vm(const vmm::VmConfig& config, const guest::BootParameters& parameters) {
  vmm::Vm& vm = hypervisor_.create_vm(config);
  try {
    std::vector<hw::Vcpu*> vcpus;
    vcpus.reserve(vm.vcpu_count());
    for (std::size_t i = 0; i < vm.vcpu_count(); ++i) vcpus.push_back(&vm.vcpu(i));
    auto kernel = std::make_unique<guest::Kernel>(std::move(vcpus), config.memory, config.cpu.guest_levels, parameters);
    vm.reset_counters();
    guests_[vm.id()] = {&vm, std::move(kernel)};
    time_.add(vm);
    vm.set_booted();
  } catch (const OutOfMemory& error) {
    hypervisor_.destroy_vm(vm);
    throw OutOfMemory("VM '" + config.name + "' cannot boot: " + error.what());
  } catch (...) {
    hypervisor_.destroy_vm(vm);
    throw;
  }
  return vm.id();
}

void Machine::destroy_vm(std::uint16_t id) {
  const Guest& victim = guest(id);
  vmm::Vm& vm = *victim.vm;
  for (const Event& event : victim.kernel->events().kept()) past_events_.add(event);
  scheduler_.remove(vm);
  time_.remove(vm);
  guests_.erase(id);
  hypervisor_.destroy_vm(vm);
}

Guest& Machine::guest(std::uint16_t id) {
  const auto at = guests_.find(id);
  if (at == guests_.end()) throw ConfigError("this VM has been destroyed");
  return at->second;
}

hw::Vcpu& Machine::vcpu(Guest& guest, std::size_t index) {
  if (index >= guest.vm->vcpu_count())
    throw ConfigError("vcpu " + std::to_string(index) + ": VM '" + guest.vm->config().name + "' has vCPUs 0 to " +
                      std::to_string(guest.vm->vcpu_count() - 1));
  return guest.vm->vcpu(index);
}

guest::Process& Machine::process(Guest& guest, int id) {
  for (const auto& process : guest.kernel->processes())
    if (process->id == id) return *process;
  throw ConfigError("process " + std::to_string(id) + " of VM '" + guest.vm->config().name + "' has exited");
}

ReplayResult Machine::access(Guest& guest, hw::Vcpu& vcpu, guest::Process& process,
                             std::span<const std::uint64_t> addresses, std::span<const std::uint8_t> kinds,
                             const Poll& poll) {
  ReplayResult result;
  guest.kernel->switch_to(vcpu, process);
  for (std::size_t at = 0; at < addresses.size() && !result.stopped; at += kBlock) {
    if (!poll(result.done)) {
      result.interrupted = true;
      break;
    }
    const std::size_t count = std::min(kBlock, addresses.size() - at);
    const hw::BatchResult part = vcpu.access_batch(addresses.data() + at, kinds.data() + at, count);
    add(result, part);
    time_.charge(*guest.vm, vcpu);
    result.stopped |= process.killed;
    if (part.done < count) break;
  }
  return result;
}

ReplayResult Machine::replay(Guest& guest, hw::Vcpu& vcpu, guest::Process& process, std::span<const Run> runs,
                             const Poll& poll) {
  constexpr std::size_t kRunsBetweenPolls = 1 << 14;
  ReplayResult result;
  guest.kernel->switch_to(vcpu, process);
  for (std::size_t at = 0; at < runs.size() && !result.stopped; at += kRunsBetweenPolls) {
    if (!poll(result.done)) {
      result.interrupted = true;
      break;
    }
    const auto block = runs.subspan(at, std::min(kRunsBetweenPolls, runs.size() - at));
    std::size_t begun = 0;
    add(result, vcpu.access_runs(block, begun));
    result.runs += begun;
    time_.charge(*guest.vm, vcpu);
    result.stopped |= process.killed;
    if (begun < block.size()) break;
  }
  return result;
}

bool Machine::read(Guest& guest, hw::Vcpu& vcpu, guest::Process& process, Gva start, std::span<std::byte> out,
                   Gva& at) {
  guest.kernel->switch_to(vcpu, process);
  for (at = start; !out.empty();) {
    const std::uint64_t part = std::min<std::uint64_t>(out.size(), kPageSize - at.offset());
    Hpa hpa;
    if (!vcpu.access(at, AccessKind::load, hpa)) return refused(guest);
    if (hpa == hw::kNoMemory) {
      std::fill_n(out.begin(), part, std::byte{0xff});
    } else {
      hypervisor_.memory().bytes().read(hpa.value, out.first(part));
    }
    out = out.subspan(part);
    at = at + part;
  }
  return true;
}

bool Machine::write(Guest& guest, hw::Vcpu& vcpu, guest::Process& process, Gva start, std::span<const std::byte> bytes,
                    Gva& at) {
  guest.kernel->switch_to(vcpu, process);
  for (at = start; !bytes.empty();) {
    const std::uint64_t part = std::min<std::uint64_t>(bytes.size(), kPageSize - at.offset());
    Hpa hpa;
    if (!vcpu.access(at, AccessKind::store, hpa)) return refused(guest);
    if (hpa != hw::kNoMemory) hypervisor_.memory().bytes().write(hpa.value, bytes.first(part));
    bytes = bytes.subspan(part);
    at = at + part;
  }
  return true;
}

void Machine::check() {
  hypervisor_.check();
  for (auto& [id, guest] : guests_)
    if (!guest.vm->is_killed()) guest.kernel->check();
}

}  // namespace vmem::sim
