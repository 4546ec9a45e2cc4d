#include "vmm/software_tlb/second_level_tlb.hpp"

namespace vmem::vmm {

SecondLevelTlb::SecondLevelTlb(std::uint32_t entries) : level_({hw::TlbConfig{{entries, kWays}, 0b111}}, clock_) {
  permissions_.update(permissions_for_);
}

hw::ContextKeys SecondLevelTlb::keys(const hw::State& guest) {
  // 4096 PCIDs and the globals of one VM: the table cannot fill up.
  return {contexts_.key({guest.vpid, guest.pcid(), 0}), contexts_.key({guest.vpid, hw::Context::kGlobal, 0}), 0};
}

const hw::TlbEntry* SecondLevelTlb::find(const hw::State& guest, Gva gva, AccessKind access) {
  const hw::TlbPlace place = level_.lookup(gva.value, keys(guest));
  if (!place) return nullptr;
  if (!permissions_for_.same_rights(guest)) {
    permissions_.update(guest);
    permissions_for_ = guest;
  }
  if (permissions_[place->flags] & hw::access_bit(access)) return &*place;
  invlpg(guest, gva);
  return nullptr;
}

void SecondLevelTlb::fill(const hw::State& guest, Gva gva, const hw::TlbEntry& entry) {
  level_.drop_page(gva.value, keys(guest));
  level_.fill(gva.value, keys(guest), entry);
}

void SecondLevelTlb::invlpg(const hw::State& guest, Gva gva) {
  const hw::ContextKeys visible = keys(guest);
  level_.drop_page(gva.value, visible);
  level_.drop_parts(gva.value, [&](std::uint64_t key) {
    return hw::key_context(key) == hw::key_context(visible.own) ||
           hw::key_context(key) == hw::key_context(visible.global);
  });
}

void SecondLevelTlb::flush_pcid(std::uint16_t pcid) {
  level_.drop(contexts_.select([&](const hw::Context& context) { return context.pcid == pcid; }));
}

void SecondLevelTlb::flush() { level_.drop_all(); }

}  // namespace vmem::vmm
