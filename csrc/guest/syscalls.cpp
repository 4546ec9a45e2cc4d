// mmap, munmap, mprotect, brk, fork.
#include <algorithm>

#include "core/error.hpp"
#include "guest/buddy.hpp"
#include "guest/kernel.hpp"
#include "guest/page_array.hpp"

namespace vmem::guest {
namespace {

void check_range(const char* call, const Process& process, std::uint64_t start, std::uint64_t length) {
  const std::string where = std::string(call) + " of " + hex(length) + " bytes at " + hex(start) + ": ";
  if ((start & kPageMask) != 0) throw ConfigError(where + "the address must be a multiple of 4096");
  if (length == 0) throw ConfigError(where + "the length must be positive");
  if (length > process.areas.top() || start > process.areas.top() - length)
    throw ConfigError(where + "accepted are user addresses from " + hex(VmaSet::kLowest) + " to " +
                      hex(process.areas.top()));
}

}  // namespace

bool Kernel::is_exclusive(hw::Vcpu& vcpu, const PageTable::Slot& slot) {
  const Gpa page = page_entry(slot.target());
  return get<&Page::references>(vcpu, page) == 1 && get<&Page::order>(vcpu, page) == 9 * (slot.level - 1);
}

Vma Kernel::mmap(hw::Vcpu&, Process& process, const MapRequest& request) {
  const std::uint64_t length = align_up(request.length, kPageSize);
  check_range("mmap", process, request.address.value_or(0), length);
  std::uint64_t start = request.address.value_or(0);
  if (request.address) {
    if (start < VmaSet::kLowest)
      throw ConfigError("mmap at " + hex(start) + ": addresses below " + hex(VmaSet::kLowest) +
                        " are kept free to catch null pointers");
    if (process.areas.overlaps(start, start + length))
      throw ConfigError("mmap of " + hex(length) + " bytes at " + hex(start) + " overlaps an existing mapping");
  } else {
    const auto gap = process.areas.find_gap(length, page_bytes(request.largest));
    if (!gap)
      throw OutOfMemory("mmap: the address space of process '" + process.name + "' has no gap of " +
                        std::to_string(length) + " bytes");
    start = *gap;
  }
  const Vma vma{start, start + length, request.protection, request.largest, request.name};
  process.areas.insert(vma);
  return vma;
}

void Kernel::munmap(hw::Vcpu& vcpu, Process& process, std::uint64_t start, std::uint64_t length) {
  check_range("munmap", process, start, length);
  unmap_range(vcpu, process, start, start + align_up(length, kPageSize));
}

bool Kernel::split_page(hw::Vcpu& vcpu, Process& process, Gva page, const PageTable::Slot& slot) {
  if (!process.table.split(vcpu, slot)) return false;
  // Cut to single frames at once; other mappers of a shared large page keep their leaf, whose references each frame
  // carries.
  const Gfn gfn = slot.target();
  const auto order = get<&Page::order>(vcpu, page_entry(gfn));
  if (order != 0) Buddy::split(vcpu, gfn, order);
  shoot_down(vcpu, process, page.value, page.value + kPageSize);
  return true;
}

void Kernel::split_at(hw::Vcpu& vcpu, Process& process, std::uint64_t address) {
  for (;;) {
    const PageTable::Slot slot = process.table.find(vcpu, Gva{address});
    if (!slot.present()) return;
    const std::uint64_t page = align_down(address, page_bytes(leaf_page_size(slot.level)));
    if (page == address) return;
    if (!split_page(vcpu, process, Gva{page}, slot))
      throw OutOfMemory("the guest has no frame for the page table that splitting a large page takes");
  }
}

void Kernel::drop_reference(hw::Vcpu& vcpu, Gfn gfn, int order, std::vector<Gone>& gone) {
  const Gpa page = page_entry(gfn);
  const int block = get<&Page::order>(vcpu, page);
  const std::uint64_t blocks = 1ull << (order - block);
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const Gfn at = gfn + (i << block);
    const auto references = get<&Page::references>(vcpu, page_entry(at)) - 1;
    set<&Page::references>(vcpu, page_entry(at), references);
    if (references == 0) gone.push_back({at, block});
  }
}

void Kernel::unmap_range(hw::Vcpu& vcpu, Process& process, std::uint64_t start, std::uint64_t end) {
  if (start != 0) split_at(vcpu, process, start);
  if (end < process.areas.top()) split_at(vcpu, process, end);
  process.areas.erase(start, end);
  std::vector<Gone> gone;
  std::uint64_t first = end, last = start;
  const std::uint64_t floor = start == 0 ? 0 : process.areas.floor_of(start);
  const std::uint64_t ceiling = end >= process.areas.top() ? ~0ull : process.areas.ceiling_of(end);
  const bool freed_tables = process.table.clear_range(vcpu, Gva{start}, Gva{end}, Gva{floor}, Gva{ceiling},
                                                      [&](Gva at, const PageTable::Slot& slot) {
                                                        const int order = 9 * (slot.level - 1);
                                                        drop_reference(vcpu, slot.target(), order, gone);
                                                        process.resident -= 1ull << order;
                                                        first = std::min(first, at.value);
                                                        last = std::max(last, at.value + (kPageSize << order));
                                                      });
  // A freed table may be in a paging-structure cache even if it held no leaf.
  if (freed_tables) {
    shoot_down(vcpu, process, start, end);
  } else if (first < last) {
    shoot_down(vcpu, process, first, last);
  }
  for (const Gone& block : gone) free_page(vcpu, block.gfn, block.order);
}

void Kernel::mprotect(hw::Vcpu& vcpu, Process& process, std::uint64_t start, std::uint64_t length,
                      const Protection& protection) {
  check_range("mprotect", process, start, length);
  const std::uint64_t end = start + align_up(length, kPageSize);
  if (!process.areas.covers(start, end))
    throw ConfigError("mprotect of " + hex(length) + " bytes at " + hex(start) + ": part of the range is not mapped");
  split_at(vcpu, process, start);
  split_at(vcpu, process, end);
  process.areas.protect(start, end, protection);
  bool changed = false;
  process.table.for_range(vcpu, Gva{start}, Gva{end}, [&](Gva, const PageTable::Slot& slot) {
    const bool shared = !is_exclusive(vcpu, slot);
    std::uint64_t entry = slot.entry & ~(kPteWrite | kPteNoExecute | kPteUser);
    // A shared page stays read-only until its first store; without any right the entry stays present but closed to the
    // user.
    if (protection.write && !shared) entry |= kPteWrite;
    if (!protection.execute) entry |= kPteNoExecute;
    if (protection.read || protection.write || protection.execute) entry |= kPteUser;
    if (entry == slot.entry) return;
    process.table.store(vcpu, slot, entry);
    changed = true;
  });
  if (changed) shoot_down(vcpu, process, start, end);
}

std::uint64_t Kernel::brk(hw::Vcpu& vcpu, Process& process, std::uint64_t end) {
  if (process.heap_start == 0)
    process.heap_start = process.program_break =
        process.areas.find_gap(kPageSize, kPageSize).has_value() ? 0x5555'5555'0000 : 0;
  if (end < process.heap_start || end > process.areas.top()) return process.program_break;
  const std::uint64_t old_end = align_up(process.program_break, kPageSize), new_end = align_up(end, kPageSize);
  if (new_end > old_end) {
    if (process.areas.overlaps(old_end, new_end)) return process.program_break;
    const Vma* below = old_end > process.heap_start ? process.areas.find(old_end - 1) : nullptr;
    Vma heap{old_end, new_end, {}, PageSize::k4K, "heap"};
    if (below != nullptr && below->protection == heap.protection) {
      heap.start = below->start;
      process.areas.erase(below->start, below->end);
    }
    process.areas.insert(heap);
  } else if (new_end < old_end) {
    unmap_range(vcpu, process, new_end, old_end);
  }
  return process.program_break = end;
}

Process& Kernel::fork(hw::Vcpu& vcpu, Process& parent) {
  Process& child = spawn(vcpu, parent.name);
  child.areas = parent.areas;
  child.program_break = parent.program_break;
  child.heap_start = parent.heap_start;
  bool room = true;
  parent.table.for_range(vcpu, Gva{0}, Gva{parent.areas.top()}, [&](Gva at, const PageTable::Slot& slot) {
    if (!room) return;
    const std::uint64_t entry = slot.entry & ~kPteWrite;
    if (entry != slot.entry) parent.table.store(vcpu, slot, entry);
    room = child.table.map(vcpu, at, leaf_page_size(slot.level), entry & ~kPteDirty);
    if (!room) return;
    const Gfn gfn = slot.target();
    const int block = get<&Page::order>(vcpu, page_entry(gfn));
    for (std::uint64_t i = 0; i < 1ull << (9 * (slot.level - 1) - block); ++i) {
      const Gpa page = page_entry(gfn + (i << block));
      set<&Page::references>(vcpu, page, get<&Page::references>(vcpu, page) + 1);
    }
    child.resident += page_frames(leaf_page_size(slot.level));
  });
  shoot_down(vcpu, parent, 0, parent.areas.top());
  if (room) return child;
  const std::string name = parent.name;
  exit(vcpu, child);
  throw OutOfMemory("fork of process '" + name + "': the guest has no frame left for the child's page tables");
}

}  // namespace vmem::guest
