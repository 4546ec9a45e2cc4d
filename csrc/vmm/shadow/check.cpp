// What must always hold of a shadow page table.
#include <algorithm>
#include <string>

#include "core/error.hpp"
#include "vmm/shadow/shadow_mmu.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {
namespace {

using paging::x86_64;

[[noreturn]] void broken(const Vm& vm, const ShadowPage& page, unsigned index, const std::string& what) {
  throw InvariantError("VM '" + vm.config().name + "': shadow page at hPA " + hex(page.table.value) + " of level " +
                       std::to_string(page.key.level) + ", entry " + std::to_string(index) + ": " + what);
}

/// Where the chain begins that a leaf of this level is in.
Hfn first_frame(Hfn hfn, int level) { return {align_down(hfn.value, page_frames(leaf_page_size(level)))}; }

/// A leaf maps what the hypervisor backs some guest frame of this VM with.
void check_leaf(Vm& vm, const ShadowPage& page, unsigned index, std::uint64_t entry) {
  const Hfn hfn{x86_64.target(entry, page.key.level) >> kPageShift};
  Hfn head = hfn;
  for (int order = 0; order <= memory::Buddy::kMaxOrder && vm.memory().frame(head).use == memory::FrameUse::none;
       ++order)
    head = Hfn{align_down(hfn.value, 1ull << order)};
  const memory::Frame& frame = vm.memory().frame(head);
  if (std::ranges::count(vm.host().reverse.entries(first_frame(hfn, page.key.level)), page.entry(index)) != 1)
    broken(vm, page, index, "is not in the reverse map of hPFN " + hex(hfn.value));
  if (frame.use == memory::FrameUse::shared) {
    if (entry & x86_64.write) broken(vm, page, index, "permits stores to the shared hPFN " + hex(hfn.value));
    const std::vector<Sharer> sharers = vm.host().sharers.of(hfn);
    if (std::ranges::none_of(sharers, [&](const Sharer& sharer) { return sharer.vm == vm.id(); }))
      broken(vm, page, index, "maps hPFN " + hex(hfn.value) + ", which the VM does not share");
    return;
  }
  if (frame.use != memory::FrameUse::guest || frame.owner != vm.id())
    broken(vm, page, index, "maps hPFN " + hex(hfn.value) + ", which is not the VM's");
  const Gfn gfn{frame.gfn + (hfn.value - head.value)};
  if (vm.machine_address(gfn.address()) != hfn.address())
    broken(vm, page, index, "maps hPFN " + hex(hfn.value) + ", which no longer backs gPFN " + hex(gfn.value));
  const bool traced = vm.shadow()->table().traced().touches(gfn, page.key.level);
  if (traced && (entry & x86_64.write))
    broken(vm, page, index, "permits stores to the traced guest table at gPFN " + hex(gfn.value));
}

/// An entry of a traced page permits no more than the guest's entry does.
void check_rights(const Vm& vm, const ShadowPage& page, unsigned index, std::uint64_t entry) {
  const std::uint64_t guest = vm.read_guest_entry(page.gfn().address() + 8ull * index);
  if (!x86_64.is_present(guest)) broken(vm, page, index, "is present, the guest's entry is not");
  const bool leaf = x86_64.is_leaf(guest, page.key.level);
  const bool guest_writes = (guest & x86_64.write) != 0 && (!leaf || (guest & x86_64.dirty) != 0 || page.key.level > 1);
  if ((entry & x86_64.write) && !guest_writes) broken(vm, page, index, "permits stores, the guest's entry does not");
  if ((entry & x86_64.user) && !(guest & x86_64.user))
    broken(vm, page, index, "permits user accesses, the guest's entry does not");
  if (!(entry & x86_64.no_execute) && (guest & x86_64.no_execute))
    broken(vm, page, index, "permits fetches, the guest's entry does not");
  if (page.key.level != 1) return;
  const Gfn gfn{x86_64.target(guest, 1) >> kPageShift};
  if (vm.machine_address(gfn.address()).value != x86_64.target(entry, 1))
    broken(vm, page, index, "maps another frame than the guest's entry names");
}

/// The fault that this entry makes goes straight to the guest.
void check_absent(const Vm& vm, const ShadowPage& page, unsigned index) {
  if (!page.traced || x86_64.is_present(vm.read_guest_entry(page.gfn().address() + 8ull * index)))
    broken(vm, page, index, "lets a fault through that may not be the guest's");
}

}  // namespace

void ShadowMmu::check() {
  table_.for_each([&](ShadowPage& page) {
    for (unsigned index = 0; index < paging::kEntries; ++index) {
      const std::uint64_t entry = table_.load(page.entry(index));
      if (!ShadowTable::in_use(entry)) {
        if (direct_faults_ && entry == 0) check_absent(vm_, page, index);
        continue;
      }
      if (page.traced) check_rights(vm_, page, index, entry);
      if (x86_64.is_leaf(entry, page.key.level)) {
        check_leaf(vm_, page, index, entry);
        continue;
      }
      const ShadowPage& child = table_.child(entry);
      if (child.key.level + 1 != page.key.level)
        broken(vm_, page, index, "links a page of level " + std::to_string(child.key.level));
      if (std::count(child.parents.begin(), child.parents.end(), page.entry(index)) != 1)
        broken(vm_, page, index, "links a page that does not know it");
    }
  });
}

}  // namespace vmem::vmm
