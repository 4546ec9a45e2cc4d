#include "vmm/shadow/sync_guest_tables.hpp"

namespace vmem::vmm {

ShadowKey GuestTableSynchroniser::key(std::uint64_t, Gfn gfn, int level, Gva) const {
  ShadowKey key;
  key.level = static_cast<std::uint8_t>(level);
  key.subject = gfn.value;
  return key;
}

void GuestTableSynchroniser::replay_store(Gfn gfn, std::uint64_t offset, std::size_t size) {
  const std::vector<ShadowPage*> shadows = shadow_.table().of_guest_table(gfn);
  std::vector<ShadowKey> keys;  // a page may go with the entry above it
  keys.reserve(shadows.size());
  for (const ShadowPage* page : shadows) keys.push_back(page->key);
  for (const ShadowKey& key : keys) {
    ShadowPage* page = shadow_.table().find(key);
    if (page == nullptr) continue;
    if (page->parents.empty() && page->pins == 0) {  // a root that no vCPU runs on: cheaper to make anew than to follow
      shadow_.table().zap(*page);
      continue;
    }
    for (std::uint64_t index = offset / 8; index <= (offset + size - 1) / 8; ++index) {
      shadow_.table().drop_entry(page->entry(static_cast<unsigned>(index)), key.level);
      if (key.level == 1) shadow_.prefetch(*page, static_cast<unsigned>(index));
      shadow_.classify(*page, static_cast<unsigned>(index));
    }
  }
}

}  // namespace vmem::vmm
