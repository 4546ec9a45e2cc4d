// vmem_mmu: its life, its registers, single accesses.
#include "vmem/mmu.h"

#include <cstddef>
#include <memory>

#include "capi/cpu.hpp"
#include "capi/mmu_object.hpp"
#include "capi/result.hpp"
#include "capi/structure.hpp"
#include "hw/cpu_config.hpp"

namespace vmem::capi {
namespace {

Slots<vmem_mmu>& mmus() {
  static auto& slots = *new Slots<vmem_mmu>;  // outlives what runs at exit
  return slots;
}

void reshape(std::vector<hw::TlbConfig>& level, const vmem_tlb_shape& shape, const char* name) {
  if (shape.entries == 0) return;
  if (shape.entries > kMostEntries)
    throw Refusal(VMEM_E_ARGUMENT, std::string(name) + ".entries is " + std::to_string(shape.entries) +
                                       "; accepted is up to " + std::to_string(kMostEntries));
  level = {hw::TlbConfig{{shape.entries, shape.ways == 0 ? shape.entries : shape.ways}}};
}

int or_else(std::uint32_t given, int usual) { return given == 0 ? usual : static_cast<int>(given & 0xffff); }

hw::CpuConfig cpu_of(const vmem_mmu_config& config) {
  hw::CpuConfig cpu = processor(config.processor, config.cpu);
  cpu.maxphyaddr = or_else(config.maxphyaddr, cpu.maxphyaddr);
  cpu.guest_levels = or_else(config.guest_levels, cpu.guest_levels);
  cpu.host_levels = or_else(config.host_levels, cpu.host_levels);
  reshape(cpu.l1d, config.l1d, "l1d");
  reshape(cpu.l1i, config.l1i, "l1i");
  reshape(cpu.l2, config.l2, "l2");
  if (config.no_psc != 0) cpu.psc = cpu.host_psc = {};
  if (config.no_nested_tlb != 0) cpu.nested_tlb.reset();
  if (config.no_one_gib_pages != 0) cpu.one_gib_pages = false;
  if (config.no_execute_only != 0) cpu.execute_only = false;
  return cpu;
}

void check_memory(const vmem_mmu_config& config) {
  if ((config.memory == nullptr) != (config.memory_bytes == 0) || (config.memory_bytes & kPageMask) != 0)
    throw Refusal(VMEM_E_ARGUMENT, "memory_bytes is " + std::to_string(config.memory_bytes) +
                                       "; accepted is a positive multiple of 4096 with `memory`, 0 without");
}

template <class T>
T narrowed(std::uint32_t value, const char* name, std::uint32_t most) {
  if (value > most)
    throw Refusal(VMEM_E_ARGUMENT,
                  std::string(name) + " is " + std::to_string(value) + "; accepted is 0 to " + std::to_string(most));
  return static_cast<T>(value);
}

hw::State registers(const vmem_mmu_state& given) {
  if (given.eptp != 0 && given.ncr3 != 0)
    throw Refusal(VMEM_E_ARGUMENT, "eptp and ncr3: give one second stage, not two");
  hw::State state;
  state.cr0 = given.cr0;
  state.cr3 = given.cr3;
  state.cr4 = given.cr4;
  state.efer = given.efer;
  state.pkru = given.pkru;
  state.cpl = narrowed<std::uint8_t>(given.cpl, "cpl", 3);
  state.ac = narrowed<std::uint8_t>(given.ac, "ac", 1) != 0;
  state.vpid = narrowed<std::uint16_t>(given.vpid, "vpid", 0xffff);
  state.second_stage_root = given.eptp != 0 ? given.eptp : given.ncr3;
  state.second_stage = given.eptp != 0   ? hw::SecondStageKind::ept
                       : given.ncr3 != 0 ? hw::SecondStageKind::npt
                                         : hw::SecondStageKind::none;
  return state;
}

template <class Access>
vmem_status one_access(vmem_mmu* handle, std::uint64_t va, vmem_result* result, Access&& access) {
  MmuObject::Work work(object_of(handle, "mmu"));
  if (result != nullptr) filled(result, "result");
  hw::TlbEntry entry;
  hw::Fault fault;
  if (access(work.mmu(), entry, fault)) [[likely]] {
    if (result != nullptr) tell(entry, va, *result);
    return work.end(VMEM_OK);
  }
  if (result != nullptr) tell(fault, *result);
  return work.end(VMEM_FAULT);
}

}  // namespace
}  // namespace vmem::capi

using vmem::capi::guard;

vmem_status vmem_mmu_create(const vmem_mmu_config* config, vmem_mmu** mmu) {
  return guard([&] {
    using namespace vmem::capi;
    required(mmu, "mmu") = nullptr;
    const auto given = taken<vmem_mmu_config, offsetof(vmem_mmu_config, processor)>(config, "config");
    check_memory(given);
    *mmu = mmus().put(std::make_unique<MmuObject>(given, cpu_of(given)));
    return VMEM_OK;
  });
}

vmem_status vmem_mmu_destroy(vmem_mmu* mmu) {
  return guard([&] {
    using namespace vmem::capi;
    if (mmu == nullptr) return VMEM_OK;
    if (!object_of(mmu, "mmu").idle())
      throw Refusal(VMEM_E_BUSY, "this MMU is in the middle of a call and cannot be destroyed by its callbacks");
    mmus().retire(mmu);
    return VMEM_OK;
  });
}

vmem_status vmem_mmu_get_state(vmem_mmu* mmu, vmem_mmu_state* state) {
  return guard([&] {
    using namespace vmem::capi;
    MmuObject::Work work(object_of(mmu, "mmu"));
    vmem_mmu_state& out = filled(state, "state");
    const vmem::hw::State& is = work.mmu().state();
    out = {out.size, is.cpl, is.cr0, is.cr3, is.cr4, is.efer, 0, 0, is.pkru, is.ac, is.vpid, work.shadow()};
    (is.second_stage == vmem::hw::SecondStageKind::ept ? out.eptp : out.ncr3) = is.second_stage_root;
    return VMEM_OK;
  });
}

vmem_status vmem_mmu_set_state(vmem_mmu* mmu, const vmem_mmu_state* state) {
  return guard([&] {
    using namespace vmem::capi;
    MmuObject::Work work(object_of(mmu, "mmu"));
    const vmem_mmu_state given = taken(state, "state");
    work.mmu().set_state(registers(given));
    work.set_shadow(given.shadow != 0);
    return VMEM_OK;
  });
}

vmem_status vmem_mmu_access(vmem_mmu* mmu, uint64_t va, uint32_t kind, vmem_result* result) {
  return guard([&] {
    using namespace vmem::capi;
    const vmem::AccessKind what = access_kind(kind);
    return one_access(mmu, va, result,
                      [&](auto& unit, auto& entry, auto& fault) { return unit.access({va}, what, entry, fault); });
  });
}

vmem_status vmem_mmu_probe(vmem_mmu* mmu, uint64_t va, uint32_t kind, vmem_result* result) {
  return guard([&] {
    using namespace vmem::capi;
    const vmem::AccessKind what = access_kind(kind);
    return one_access(mmu, va, result,
                      [&](auto& unit, auto& entry, auto& fault) { return unit.probe({va}, what, entry, fault); });
  });
}
