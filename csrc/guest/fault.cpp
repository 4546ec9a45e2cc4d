// The guest kernel's page-fault handler.
#include "guest/kernel.hpp"
#include "guest/leaf.hpp"
#include "guest/oom.hpp"
#include "guest/refill.hpp"

namespace vmem::guest {
hw::TrapResult Kernel::on_page_fault(hw::Vcpu& vcpu, const hw::Fault& fault) {
  Process* process = cpus_.current(vcpu);
  if (process == nullptr || fault.kind == hw::FaultKind::general_protection) return hw::TrapResult::signal;
  if (process->killed) return hw::TrapResult::killed;
  ++vmstat_.pgfault;
  if (fault.error_code & hw::kPfReserved) return hw::TrapResult::signal;  // a table that this kernel did not make
  const Vma* vma = process->areas.find(fault.gva.value);
  if (vma == nullptr) {
    const Vma* const stack = process->areas.stack_above(fault.gva.value);
    if (stack == nullptr) return hw::TrapResult::signal;
    process->areas.grow(stack->start, align_down(fault.gva.value, kPageSize));
    vma = process->areas.find(fault.gva.value);
  }
  if (!vma->protection.allows(fault.access)) return hw::TrapResult::signal;
  return demand_page(vcpu, *process, *vma, fault);
}

hw::TrapResult Kernel::on_tlb_refill(hw::Vcpu& vcpu, const hw::Fault& fault) {
  hw::Fault page_fault;
  if (refill_tlb(vcpu, fault, page_fault)) return hw::TrapResult::resolved;
  vcpu.count(FaultClass::guest_page_fault);
  return on_page_fault(vcpu, page_fault);
}

hw::TrapResult Kernel::demand_page(hw::Vcpu& vcpu, Process& process, const Vma& vma, const hw::Fault& fault) {
  const PageTable::Slot slot = process.table.find(vcpu, fault.gva);
  if (slot.present()) {
    const Gva page{align_down(fault.gva.value, page_bytes(leaf_page_size(slot.level)))};
    if (!Mappings::is_own(vcpu, slot, frames_)) return hw::TrapResult::signal;
    if (fault.access == AccessKind::store && !(slot.entry & kPteWrite)) return break_copy(vcpu, process, page, slot);
    // Either a stale TLB entry, which the fault itself has dropped, or a table that this kernel did not make.
    return process.table.allows(vcpu, fault.gva, fault.access) ? hw::TrapResult::resolved : hw::TrapResult::signal;
  }
  if (slot.swapped()) return swap_in(vcpu, process, fault, slot);
  return vma.file != 0 ? fault_file(vcpu, process, fault) : fault_anonymous(vcpu, process, vma, fault, slot);
}

hw::TrapResult Kernel::fault_anonymous(hw::Vcpu& vcpu, Process& process, const Vma& vma, const hw::Fault& fault,
                                       PageTable::Slot slot) {
  for (int size = static_cast<int>(vma.largest); size >= 0; --size) {
    const auto page_size = static_cast<PageSize>(size);
    const std::uint64_t start = align_down(fault.gva.value, page_bytes(page_size));
    if (slot.level < leaf_level(page_size) || start < vma.start || start + page_bytes(page_size) > vma.end) continue;
    const auto gfn = allocate_page(vcpu, page_size);
    if (!gfn) continue;
    vcpu.zero(gfn->address(), page_bytes(page_size));
    set_owner(vcpu, *gfn, process, start >> kPageShift);
    if (!process.table.map_from(vcpu, slot, Gva{start}, page_size,
                                leaf_entry(*gfn, vma.protection, fault.access == AccessKind::store))) {
      pages_.free(vcpu, *gfn, 9 * size);
      vmstat_.nr_anon_transparent_hugepages -= huge_pages(9 * size);
      break;
    }
    process.resident += page_frames(page_size);
    if (page_size != PageSize::k1G) Lru::add(vcpu, *gfn);  // larger ones are never reclaimed
    return hw::TrapResult::resolved;
  }
  return out_of_memory(vcpu, process);
}

hw::TrapResult Kernel::swap_in(hw::Vcpu& vcpu, Process& process, const hw::Fault& fault, const PageTable::Slot& slot) {
  const SlotNumber number = slot_in(slot.entry);
  if (!swap_.exists() || !swap_.map().is_slot(number) || swap_.map().at(vcpu, number).entries == 0)
    return hw::TrapResult::signal;  // a table that this kernel did not make
  const std::uint32_t evicted = swap_.map().at(vcpu, number).evicted;
  const bool was_cached = swap_.map().at(vcpu, number).page != 0;
  Swap::Read read;
  {
    const Psi::Stall stall(psi_, vcpu);
    read = swap_.read(vcpu, number);
  }
  if (read.is_major) ++vmstat_.pgmajfault;
  if (read.failed) return hw::TrapResult::signal;  // SIGBUS
  if (!read.page) return out_of_memory(vcpu, process);
  const Gfn gfn = *read.page;
  if (!was_cached) {
    set_owner(vcpu, gfn, process, fault.gva.value >> kPageShift);
    reclaim_.on_refault(vcpu, gfn, evicted);
    Lru::add(vcpu, gfn);
  }
  // The wait may have changed anything: the entry, and the areas.
  const Vma* vma = process.areas.find(fault.gva.value);
  if (vcpu.load<std::uint64_t>(slot.at) != slot.entry || vma == nullptr) {
    std::vector<Mappings::Gone> gone;
    Mappings::drop(vcpu, gfn, 0, gone);
    return hw::TrapResult::resolved;  // in the swap cache, for whoever wants it
  }
  const bool store = fault.access == AccessKind::store;
  // do_swap_page: a page that others have entries for is shared, and copied when it is written to.
  const bool exclusive =
      get<&Page::references>(vcpu, page_entry(gfn)) == 1 && swap_.map().at(vcpu, number).entries == 1;
  Protection protection = vma->protection;
  if (!exclusive) protection.write = false;
  process.table.store(vcpu, slot, leaf_entry(gfn, protection, store));
  ++process.resident;
  --process.swapped;
  swap_.map().drop_entry(vcpu, number);
  // should_try_to_free_swap: the copy on the disk is about to be outdated, or the space is scarce.
  const bool scarce = swap_.map().free_slots(vcpu) * 2 < swap_.map().slots();
  const auto flags = get<&Page::flags>(vcpu, page_entry(gfn));
  if (exclusive && (store || scarce) && (flags & page_flag::kWriteback) == 0) swap_.remove(vcpu, gfn);
  return hw::TrapResult::resolved;
}

hw::TrapResult Kernel::break_copy(hw::Vcpu& vcpu, Process& process, Gva page, const PageTable::Slot& slot) {
  const PageSize size = leaf_page_size(slot.level);
  const Gfn shared = slot.target();
  const Vma* const vma = process.areas.find(page.value);
  if (vma != nullptr && vma->shared) return make_writable(vcpu, process, page, slot);
  const std::uint64_t flags = (slot.entry & ~paging::kAddressBits) | kPteWrite | kPteDirty | kPteAccessed;
  const bool of_file = get<&Page::use>(vcpu, page_entry(shared)) == PageUse::file;
  if (!of_file && Mappings::is_exclusive(vcpu, slot) && !is_named_by_swap(vcpu, shared)) {
    process.table.store(vcpu, slot, slot.entry | kPteWrite | kPteDirty);
    return hw::TrapResult::resolved;
  }
  if (size != PageSize::k4K)  // a large page is copied 4 KiB at a time, as Linux does
    return mappings_.split(vcpu, process, page, slot) ? hw::TrapResult::resolved : out_of_memory(vcpu, process);
  const auto copy = allocate_page(vcpu, size);
  if (!copy) return out_of_memory(vcpu, process);
  if (vcpu.load<std::uint64_t>(slot.at) != slot.entry) {  // reclaim took the page meanwhile
    pages_.free(vcpu, *copy, 0);
    return hw::TrapResult::resolved;
  }
  copy_page(vcpu, shared, *copy);
  set_owner(vcpu, *copy, process, page.value >> kPageShift);
  process.table.store(vcpu, slot, copy->address().value | flags);
  cpus_.shoot_down(vcpu, process, page.value, page.value + kPageSize);
  Lru::add(vcpu, *copy);
  Mappings::keep_dirty(vcpu, slot);
  std::vector<Mappings::Gone> gone;
  Mappings::drop(vcpu, shared, 0, gone);
  for (const Mappings::Gone& block : gone) release(vcpu, block);
  return hw::TrapResult::resolved;
}

bool Kernel::is_named_by_swap(hw::Vcpu& vcpu, Gfn gfn) const {
  const auto page = vcpu.load<Page>(page_entry(gfn));
  return (page.flags & page_flag::kSwapCache) != 0 && swap_.map().at(vcpu, page.slot).entries != 0;
}

std::optional<Gfn> Kernel::allocate_page(hw::Vcpu& vcpu, PageSize size) {
  const int order = 9 * static_cast<int>(size);
  const auto gfn = order == 0           ? pages_.allocate(vcpu, 0, PageUse::anonymous)
                   : order <= kMaxOrder ? pages_.allocate(vcpu, order, PageUse::anonymous, Need::modest)
                                        : pages_.allocate_gigantic(vcpu, order, PageUse::anonymous);
  if (gfn) {
    vmstat_.pgalloc += 1ull << order;
    vmstat_.nr_anon_transparent_hugepages += huge_pages(order);
  }
  if (size == PageSize::k2M) ++(gfn ? vmstat_.thp_fault_alloc : vmstat_.thp_fault_fallback);
  return gfn;
}

void Kernel::release(hw::Vcpu& vcpu, const Mappings::Gone& block) {
  const auto page = vcpu.load<Page>(page_entry(block.gfn));
  if (page.use == PageUse::file) return;  // the page cache keeps it
  if ((page.flags & page_flag::kWriteback) != 0) {
    // Freed when the write has ended.
    set<&Page::flags>(vcpu, page_entry(block.gfn), static_cast<std::uint16_t>(page.flags | page_flag::kReclaim));
    return;
  }
  if (is_named_by_swap(vcpu, block.gfn)) return;  // it waits in the swap cache for those who will map it
  Lru::forget(vcpu, block.gfn);
  if ((page.flags & page_flag::kSwapCache) != 0) swap_.remove(vcpu, block.gfn);
  pages_.free(vcpu, block.gfn, block.order);
  vmstat_.pgfree += 1ull << block.order;
  vmstat_.nr_anon_transparent_hugepages -= huge_pages(block.order);
}

hw::TrapResult Kernel::out_of_memory(hw::Vcpu& vcpu, Process& process) {
  if (BalloonDriver* balloon = devices_->balloon(); balloon != nullptr && balloon->on_out_of_memory(vcpu) != 0)
    return hw::TrapResult::resolved;  // the access is made again, and finds memory
  Process* const victim = oom_victim(processes_, pages_.managed_frames(vcpu) + swap_.map().slots());
  kill(vcpu, victim != nullptr ? *victim : process);
  return process.killed ? hw::TrapResult::killed : hw::TrapResult::resolved;
}

void Kernel::kill(hw::Vcpu& vcpu, Process& process) {
  ++vmstat_.oom_kill;
  events_.add({vcpu.now(),
               "oom_kill",
               process.name,
               {{"pid", static_cast<std::uint64_t>(process.id)},
                {"resident", process.resident << kPageShift},
                {"swapped", process.swapped << kPageShift},
                {"free", pages_.free_frames(vcpu) << kPageShift},
                {"swap_free", swap_.map().free_slots(vcpu) << kPageShift}}});
  process.killed = true;
  unmap_range(vcpu, process, 0, align_up(process.areas.top(), 1ull << 47));
}

}  // namespace vmem::guest
