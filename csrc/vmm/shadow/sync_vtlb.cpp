#include "vmm/shadow/sync_vtlb.hpp"

#include "hw/vcpu.hpp"

namespace vmem::vmm {
namespace {

using paging::x86_64;

std::uint64_t pcid_of(const ShadowPage& page) { return page.key.subject & kPageMask; }
bool is_root(const ShadowPage& page, int levels) { return page.key.level == levels; }

}  // namespace

ShadowKey VtlbSynchroniser::key(std::uint64_t cr3, Gfn, int level, Gva gva) const {
  ShadowKey key;
  key.kind = ShadowKey::Kind::private_tree;
  key.level = static_cast<std::uint8_t>(level);
  key.subject = cr3 & ~hw::kCr3NoFlush;
  key.place = level == paging::kMaxLevels ? 0 : (gva.value & hw::kKeyAddressMask) >> paging::level_shift(level + 1);
  return key;
}

void VtlbSynchroniser::on_flush(hw::Vcpu& vcpu, std::uint64_t cr3) {
  const int levels = shadow_.guest_state(vcpu).levels();
  std::vector<ShadowPage*> roots;
  shadow_.table().for_each([&](ShadowPage& page) {
    if (is_root(page, levels) && pcid_of(page) == (cr3 & kPageMask)) roots.push_back(&page);
  });
  for (const ShadowPage* root : roots)
    for (unsigned index = 0; index < paging::kEntries; ++index)
      if (shadow_.table().drop_entry(root->entry(index), root->key.level)) shadow_.must_flush();
}

void VtlbSynchroniser::on_invlpg(hw::Vcpu& vcpu, Gva gva) {
  const int levels = shadow_.guest_state(vcpu).levels();
  std::vector<ShadowPage*> roots;
  shadow_.table().for_each([&](ShadowPage& page) {
    if (is_root(page, levels)) roots.push_back(&page);
  });
  for (const ShadowPage* root : roots) drop_path(*root, gva, root != shadow_.root_of(vcpu));
}

void VtlbSynchroniser::drop_path(const ShadowPage& root, Gva gva, bool only_global) {
  ShadowTable& table = shadow_.table();
  for (const ShadowPage* page = &root;;) {
    const Hpa at = page->entry(paging::table_index(gva.value, page->key.level));
    const std::uint64_t entry = table.load(at);
    if (!ShadowTable::in_use(entry)) return;
    const bool leaf = x86_64.is_leaf(entry, page->key.level);
    if (!leaf && !(entry & ShadowTable::kSplintered)) {
      page = &table.child(entry);
      continue;
    }
    // A splintered page is dropped whole; the processor holds it in parts, of which INVLPG would find but one.
    if (leaf && only_global && !(entry & x86_64.global)) return;
    table.drop_entry(at, page->key.level);
    if (!leaf) shadow_.must_flush();
    return;
  }
}

}  // namespace vmem::vmm
