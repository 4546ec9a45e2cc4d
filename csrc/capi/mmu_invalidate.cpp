// vmem_mmu: the instructions that invalidate, and the counters.
#include "capi/counters.hpp"
#include "capi/mmu_object.hpp"
#include "vmem/mmu.h"

namespace vmem::capi {
namespace {

template <class Use>
vmem_status with(vmem_mmu* handle, Use&& use) noexcept {
  return guard([&] {
    MmuObject::Work work(object_of(handle, "mmu"));
    use(work.mmu());
    return work.end(VMEM_OK);
  });
}

std::uint32_t accepted(std::uint32_t value, std::uint32_t least, std::uint32_t most, const char* name) {
  if (value < least || value > most)
    throw Refusal(VMEM_E_ARGUMENT, std::string(name) + " is " + std::to_string(value) + "; accepted is " +
                                       std::to_string(least) + " to " + std::to_string(most));
  return value;
}

}  // namespace
}  // namespace vmem::capi

using namespace vmem::capi;
using vmem::hw::Mmu;

vmem_status vmem_mmu_invlpg(vmem_mmu* mmu, uint64_t va) {
  return with(mmu, [&](Mmu& unit) { unit.invlpg({va}); });
}

vmem_status vmem_mmu_invpcid(vmem_mmu* mmu, uint32_t type, uint32_t pcid, uint64_t va) {
  return with(mmu, [&](Mmu& unit) {
    unit.invpcid(static_cast<Mmu::InvpcidType>(accepted(type, 0, 3, "INVPCID type")),
                 static_cast<std::uint16_t>(accepted(pcid, 0, 4095, "pcid")), {va});
  });
}

vmem_status vmem_mmu_invvpid(vmem_mmu* mmu, uint32_t type, uint32_t vpid, uint64_t va) {
  return with(mmu, [&](Mmu& unit) {
    const auto what = static_cast<Mmu::InvvpidType>(accepted(type, 0, 3, "INVVPID type"));
    if (!unit.invvpid(what, static_cast<std::uint16_t>(accepted(vpid, 0, 0xffff, "vpid")), {va}))
      throw Refusal(VMEM_E_ARGUMENT, "INVVPID fails: VPID 0, or an address that is not canonical");
  });
}

vmem_status vmem_mmu_invept(vmem_mmu* mmu, uint32_t type, uint64_t eptp) {
  return with(mmu, [&](Mmu& unit) {
    if (accepted(type, 1, 2, "INVEPT type") == 1)
      unit.invept_single(eptp);
    else
      unit.invept_all();
  });
}

vmem_status vmem_mmu_mov_cr3(vmem_mmu* mmu, uint64_t value) {
  return with(mmu, [&](Mmu& unit) { unit.mov_cr3(value); });
}

vmem_status vmem_mmu_mov_cr4(vmem_mmu* mmu, uint64_t value) {
  return with(mmu, [&](Mmu& unit) { unit.mov_cr4(value); });
}

vmem_status vmem_mmu_flush(vmem_mmu* mmu) {
  return with(mmu, [](Mmu& unit) { unit.flush(); });
}

vmem_status vmem_mmu_counter(vmem_mmu* mmu, const char* name, uint64_t* value) {
  return with(mmu, [&](Mmu& unit) { required(value, "value") = counter(unit.counters(), name); });
}

vmem_status vmem_mmu_reset_counters(vmem_mmu* mmu) {
  return with(mmu, [](Mmu& unit) { unit.reset_counters(); });
}
