#include "vmm/vm.hpp"

#include <string>

#include "core/error.hpp"
#include "vmm/dispatch.hpp"
#include "vmm/unmap.hpp"

namespace vmem::vmm {
namespace {

const VmConfig& checked(const VmConfig& config, const memory::MachineMemory& memory) {
  const std::string who = "VM '" + config.name + "': ";
  if (config.memory == 0 || (config.memory & kPageMask) != 0) throw ConfigError(who + "memory of " + std::to_string(config.memory) + " bytes: accepted is a positive multiple of 4096");
  if (config.memory > 1ull << 44) throw ConfigError(who + "memory of " + std::to_string(config.memory) + " bytes: accepted is up to 16 TiB");
  if (config.vcpus < 1 || config.vcpus > kMaxVcpus) throw ConfigError(who + std::to_string(config.vcpus) + " vCPUs: accepted is 1 to " + std::to_string(kMaxVcpus));
  if (config.mode == MmuMode::native && config.memory > memory.bytes().size())
    throw ConfigError(who + "a native machine of " + std::to_string(config.memory) + " bytes does not fit into the host's " + std::to_string(memory.bytes().size()) + " bytes: it has no hypervisor that could overcommit");
  return config;
}

}  // namespace

Vm::Vm(memory::MachineMemory& memory, std::uint16_t id, const VmConfig& config) : memory_(memory), id_(id), config_(checked(config, memory)) {
  if (is_native()) {
    const int alignment = frames() >= page_frames(PageSize::k1G) ? 18 : frames() >= page_frames(PageSize::k2M) ? 9 : 0;
    const auto window = memory_.allocate_range(frames(), alignment, memory::FrameUse::guest, id_);
    if (!window) throw OutOfMemory("VM '" + config_.name + "': no " + std::to_string(config_.memory) + " contiguous free bytes left in the machine for a native machine");
    window_ = *window;
    resident_ = frames();
  } else {
    second_stage_.emplace(memory_, id_, config_.cpu.nested_format, config_.cpu.host_levels);
  }
  create_vcpus();
}

Vm::~Vm() {
  if (is_native()) {
    memory_.free_range(window_, frames());
  } else {
    release_all(*this);
  }
}

void Vm::create_vcpus() {
  for (int index = 0; index < config_.vcpus; ++index) {
    auto vcpu = std::make_unique<hw::Vcpu>(index, memory_.bytes(), window(), is_native() ? config_.memory : memory_.bytes().size(), config_.cpu);
    hw::State state = vcpu->mmu().state();
    state.cr4 |= hw::kCr4Pge | hw::kCr4Pcide | hw::kCr4Smep | hw::kCr4Smap;
    if (config_.mode == MmuMode::nested) {
      state.vpid = static_cast<std::uint16_t>(id_ + 1);
      state.second_stage = second_stage_->kind();
      state.second_stage_root = second_stage_->root_pointer();
    }
    vcpu->mmu().set_state(state);
    vcpu->connect(*this, hw::Intercepts{});
    vcpus_.push_back(std::move(vcpu));
  }
}

Counters Vm::counters() const {
  Counters sum;
  for (const auto& vcpu : vcpus_) sum += vcpu->mmu().counters();
  return sum;
}

void Vm::reset_counters() {
  for (const auto& vcpu : vcpus_) vcpu->mmu().reset_counters();
}

hw::Outcome Vm::on_fault(hw::Vcpu& vcpu, const hw::Fault& fault) { return dispatch(*this, vcpu, fault); }

std::byte* Vm::on_guest_physical(hw::Vcpu&, Gpa gpa, bool) {
  if (!contains(gpa.frame())) return nullptr;
  return memory_.bytes().data() + window().value + align_down(gpa.value, kPageSize);
}

void Vm::on_emulated_store(hw::Vcpu&, Gpa, const void*, std::size_t) {
  // No memory there: the store goes nowhere, as on a bus without a device.
}

void Vm::on_cr3_write(hw::Vcpu& vcpu, std::uint64_t value) { vcpu.mmu().mov_cr3(value); }

void Vm::on_invlpg(hw::Vcpu& vcpu, Gva gva) { vcpu.mmu().invlpg(gva); }

}  // namespace vmem::vmm
