// The guest kernel's page-fault handler.
#include <array>

#include "guest/buddy.hpp"
#include "guest/kernel.hpp"
#include "guest/page_array.hpp"
#include "guest/refill.hpp"

namespace vmem::guest {
namespace {

std::uint64_t leaf_entry(Gfn gfn, const Protection& protection, bool written) {
  std::uint64_t entry = gfn.address().value | kPtePresent | kPteUser | kPteAccessed;
  if (protection.write) entry |= kPteWrite | (written ? kPteDirty : 0);
  return protection.execute ? entry : entry | kPteNoExecute;
}

void copy_page(hw::Vcpu& vcpu, Gfn from, Gfn to) {
  std::array<std::byte, kPageSize> bytes;
  vcpu.read(from.address(), bytes);
  vcpu.write(to.address(), bytes);
}

/// The leaf maps a page that this kernel gave out: not so if something else wrote to the table.
bool is_own_page(hw::Vcpu& vcpu, const PageTable::Slot& slot, std::uint64_t frames) {
  const Gfn gfn = slot.target();
  if (gfn.value + page_frames(leaf_page_size(slot.level)) > frames) return false;
  const auto page = vcpu.load<Page>(page_entry(gfn));
  return page.use == PageUse::anonymous && page.references != 0 && page.order <= 9 * (slot.level - 1);
}

}  // namespace

hw::TrapResult Kernel::on_page_fault(hw::Vcpu& vcpu, const hw::Fault& fault) {
  Process* process = current_[static_cast<std::size_t>(vcpu.id())];
  if (process == nullptr || fault.kind == hw::FaultKind::general_protection) return hw::TrapResult::signal;
  ++vmstat_.pgfault;
  if (fault.error_code & hw::kPfReserved) return hw::TrapResult::signal;  // a table that this kernel did not make
  const Vma* vma = process->areas.find(fault.gva.value);
  if (vma == nullptr || !vma->protection.allows(fault.access)) return hw::TrapResult::signal;
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
    if (!is_own_page(vcpu, slot, frames_)) return hw::TrapResult::signal;
    if (fault.access == AccessKind::store && !(slot.entry & kPteWrite)) return break_copy(vcpu, process, page, slot);
    // Either a stale TLB entry, which the fault itself has dropped, or a table that this kernel did not make.
    return process.table.allows(vcpu, fault.gva, fault.access) ? hw::TrapResult::resolved : hw::TrapResult::signal;
  }
  for (int size = static_cast<int>(vma.largest); size >= 0; --size) {
    const auto page_size = static_cast<PageSize>(size);
    const std::uint64_t start = align_down(fault.gva.value, page_bytes(page_size));
    if (slot.level < leaf_level(page_size) || start < vma.start || start + page_bytes(page_size) > vma.end) continue;
    const auto gfn = allocate_page(vcpu, page_size);
    if (!gfn) continue;
    vcpu.zero(gfn->address(), page_bytes(page_size));
    set<&Page::owner>(vcpu, page_entry(*gfn), (static_cast<std::uint64_t>(process.id) << 40) | (start >> kPageShift));
    if (!process.table.map_from(vcpu, slot, Gva{start}, page_size,
                                leaf_entry(*gfn, vma.protection, fault.access == AccessKind::store))) {
      free_page(vcpu, *gfn, 9 * size);
      break;
    }
    process.resident += page_frames(page_size);
    return hw::TrapResult::resolved;
  }
  return out_of_memory(vcpu, process);
}

hw::TrapResult Kernel::break_copy(hw::Vcpu& vcpu, Process& process, Gva page, const PageTable::Slot& slot) {
  const PageSize size = leaf_page_size(slot.level);
  const Gfn shared = slot.target();
  const std::uint64_t flags = (slot.entry & ~paging::kAddressBits) | kPteWrite | kPteDirty;
  if (is_exclusive(vcpu, slot)) {
    process.table.store(vcpu, slot, slot.entry | kPteWrite | kPteDirty);
    return hw::TrapResult::resolved;
  }
  if (size != PageSize::k4K)  // a large page is copied 4 KiB at a time, as Linux does
    return split_page(vcpu, process, page, slot) ? hw::TrapResult::resolved : out_of_memory(vcpu, process);
  const auto copy = allocate_page(vcpu, size);
  if (!copy) return out_of_memory(vcpu, process);
  copy_page(vcpu, shared, *copy);
  set<&Page::owner>(vcpu, page_entry(*copy),
                    (static_cast<std::uint64_t>(process.id) << 40) | (page.value >> kPageShift));
  set<&Page::references>(vcpu, page_entry(shared), get<&Page::references>(vcpu, page_entry(shared)) - 1);
  process.table.store(vcpu, slot, copy->address().value | flags);
  shoot_down(vcpu, process, page.value, page.value + kPageSize);
  return hw::TrapResult::resolved;
}

std::optional<Gfn> Kernel::allocate_page(hw::Vcpu& vcpu, PageSize size) {
  const int order = 9 * static_cast<int>(size);
  const auto gfn = order <= kMaxOrder ? Buddy::allocate(vcpu, order, PageUse::anonymous)
                                      : Buddy::allocate_gigantic(vcpu, order, PageUse::anonymous);
  if (gfn) vmstat_.pgalloc += 1ull << order;
  return gfn;
}

void Kernel::free_page(hw::Vcpu& vcpu, Gfn gfn, int order) {
  Buddy::free(vcpu, gfn, order);
  vmstat_.pgfree += 1ull << order;
}

hw::TrapResult Kernel::out_of_memory(hw::Vcpu& vcpu, Process& process) {
  if (BalloonDriver* balloon = devices_->balloon(); balloon != nullptr && balloon->on_out_of_memory(vcpu) != 0)
    return hw::TrapResult::resolved;  // the access is made again, and finds memory
  // The only process sure to be asking for memory is the one that faults.
  ++vmstat_.oom_kill;
  process.killed = true;
  unmap_range(vcpu, process, 0, align_up(process.areas.top(), 1ull << 47));
  return hw::TrapResult::killed;
}

}  // namespace vmem::guest
