#include "vmm/shadow/sync_unsync.hpp"

#include <algorithm>

#include "hw/vcpu.hpp"

namespace vmem::vmm {

void UnsyncSynchroniser::on_use(ShadowPage& page) {
  if (!page.traced) shadow_.resynchronise(page);
}

void UnsyncSynchroniser::on_store(Gfn gfn, std::uint64_t offset, std::size_t size) {
  const std::vector<ShadowPage*> shadows = shadow_.table().of_guest_table(gfn);
  const bool only_leaves =
      std::all_of(shadows.begin(), shadows.end(), [](const ShadowPage* page) { return page->key.level == 1; });
  replay_store(gfn, offset, size);
  if (!only_leaves) return;
  for (ShadowPage* page : shadow_.table().of_guest_table(gfn)) {
    shadow_.untrace(*page);
    out_of_step_.push_back(page->key);
  }
}

void UnsyncSynchroniser::on_flush(hw::Vcpu&, std::uint64_t) {
  for (const ShadowKey& key : out_of_step_) {
    ShadowPage* page = shadow_.table().find(key);
    if (page != nullptr && !page->traced) shadow_.resynchronise(*page);
  }
  out_of_step_.clear();
}

void UnsyncSynchroniser::on_invlpg(hw::Vcpu& vcpu, Gva gva) {
  ShadowTable& table = shadow_.table();
  ShadowPage* page = shadow_.root_of(vcpu);
  while (page != nullptr && page->key.level > 1) {
    const std::uint64_t entry = table.load(page->entry(paging::table_index(gva.value, page->key.level)));
    if (!ShadowTable::in_use(entry) || paging::x86_64.is_leaf(entry, page->key.level)) return;
    page = &table.child(entry);
  }
  if (page == nullptr || !page->shadows_guest_table() || page->traced) return;
  shadow_.resynchronise_entry(*page, paging::table_index(gva.value, 1));
}

}  // namespace vmem::vmm
