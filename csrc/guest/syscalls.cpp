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

void check_covered(const char* call, const Process& process, std::uint64_t start, std::uint64_t end) {
  if (!process.areas.covers(start, end))
    throw ConfigError(std::string(call) + " of " + hex(end - start) + " bytes at " + hex(start) +
                      ": part of the range is not mapped");
}

void check_mapped(const File& file, const MapRequest& request) {
  const std::string what = "mmap of file '" + file.name + "': ";
  if ((request.file->offset & kPageMask) != 0)
    throw ConfigError(what + "offset " + std::to_string(request.file->offset) + "; accepted is a multiple of 4096");
  const std::uint64_t mapped = file.pages() << kPageShift;
  if (request.file->offset >= mapped || align_up(request.length, kPageSize) > mapped - request.file->offset)
    throw ConfigError(what + std::to_string(request.length) + " bytes at " + std::to_string(request.file->offset) +
                      " end behind the file's " + std::to_string(file.bytes));
  if (request.largest != PageSize::k4K) throw ConfigError(what + "accepted are pages of 4KiB");
}

}  // namespace

Vma Kernel::mmap(hw::Vcpu&, Process& process, const MapRequest& request) {
  const std::uint64_t length = align_up(request.length, kPageSize);
  if (request.file) check_mapped(files_.at(request.file->file), request);
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
  Vma vma{start, start + length, request.protection, request.largest, request.name};
  if (request.file) {
    vma.file = request.file->file;
    vma.offset = request.file->offset;
    vma.shared = request.file->shared;
    process.maps_files = true;
  }
  process.areas.insert(vma);
  return vma;
}

void Kernel::munmap(hw::Vcpu& vcpu, Process& process, std::uint64_t start, std::uint64_t length) {
  check_range("munmap", process, start, length);
  unmap_range(vcpu, process, start, start + align_up(length, kPageSize));
}

void Kernel::split_at(hw::Vcpu& vcpu, Process& process, std::uint64_t address) {
  if (!mappings_.split_at(vcpu, process, address))
    throw OutOfMemory("the guest has no frame for the page table that splitting a large page takes");
}

void Kernel::clear_range(hw::Vcpu& vcpu, Process& process, std::uint64_t start, std::uint64_t end, std::uint64_t floor,
                         std::uint64_t ceiling) {
  std::vector<Mappings::Gone> gone;
  std::uint64_t first = end, last = start;
  const bool freed_tables = process.table.clear_range(vcpu, Gva{start}, Gva{end}, Gva{floor}, Gva{ceiling},
                                                      [&](Gva at, const PageTable::Slot& slot) {
                                                        if (slot.swapped()) drop_swap_entry(vcpu, process, slot.entry);
                                                        if (!slot.present()) return;
                                                        Mappings::keep_dirty(vcpu, slot);
                                                        const int order = 9 * (slot.level - 1);
                                                        Mappings::drop(vcpu, slot.target(), order, gone);
                                                        process.resident -= 1ull << order;
                                                        first = std::min(first, at.value);
                                                        last = std::max(last, at.value + (kPageSize << order));
                                                      });
  // A freed table may be in a paging-structure cache even if it held no leaf.
  if (freed_tables) {
    cpus_.shoot_down(vcpu, process, start, end);
  } else if (first < last) {
    cpus_.shoot_down(vcpu, process, first, last);
  }
  for (const Mappings::Gone& block : gone) release(vcpu, block);
}

void Kernel::drop_swap_entry(hw::Vcpu& vcpu, Process& process, std::uint64_t entry) {
  const SlotNumber number = slot_in(entry);
  if (!swap_.exists() || !swap_.map().is_slot(number) || swap_.map().at(vcpu, number).entries == 0)
    return;  // not this kernel's doing
  --process.swapped;
  swap_.map().drop_entry(vcpu, number);
  const SwapSlot slot = swap_.map().at(vcpu, number);
  if (slot.entries == 0 && slot.page != 0 && get<&Page::references>(vcpu, page_entry(Gfn{slot.page})) == 0)
    release(vcpu, {Gfn{slot.page}, 0});
}

void Kernel::unmap_range(hw::Vcpu& vcpu, Process& process, std::uint64_t start, std::uint64_t end) {
  if (start != 0) split_at(vcpu, process, start);
  if (end < process.areas.top()) split_at(vcpu, process, end);
  process.areas.erase(start, end);
  const std::uint64_t floor = start == 0 ? 0 : process.areas.floor_of(start);
  const std::uint64_t ceiling = end >= process.areas.top() ? ~0ull : process.areas.ceiling_of(end);
  clear_range(vcpu, process, start, end, floor, ceiling);
}

void Kernel::discard(hw::Vcpu& vcpu, Process& process, std::uint64_t start, std::uint64_t length) {
  check_range("madvise", process, start, length);
  const std::uint64_t end = start + align_up(length, kPageSize);
  check_covered("madvise", process, start, end);
  split_at(vcpu, process, start);
  split_at(vcpu, process, end);
  clear_range(vcpu, process, start, end, end, start);  // the areas stay, and so do the tables
}

void Kernel::advise_page_size(Process& process, std::uint64_t start, std::uint64_t length, PageSize largest) {
  check_range("madvise", process, start, length);
  const std::uint64_t end = start + align_up(length, kPageSize);
  check_covered("madvise", process, start, end);
  process.areas.change(start, end, [&](Vma& area) { area.largest = largest; });
}

void Kernel::mprotect(hw::Vcpu& vcpu, Process& process, std::uint64_t start, std::uint64_t length,
                      const Protection& protection) {
  check_range("mprotect", process, start, length);
  const std::uint64_t end = start + align_up(length, kPageSize);
  check_covered("mprotect", process, start, end);
  split_at(vcpu, process, start);
  split_at(vcpu, process, end);
  process.areas.change(start, end, [&](Vma& area) { area.protection = protection; });
  bool changed = false;
  process.table.for_range(vcpu, Gva{start}, Gva{end}, [&](Gva, const PageTable::Slot& slot) {
    if (!slot.present()) return;  // swapped: what it may be used for is in the area
    const bool of_file = get<&Page::use>(vcpu, page_entry(slot.target())) == PageUse::file;
    const bool shared = of_file || !Mappings::is_exclusive(vcpu, slot) || is_named_by_swap(vcpu, slot.target());
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
  if (changed) cpus_.shoot_down(vcpu, process, start, end);
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
  processes_.adopt(child, parent);
  child.areas = parent.areas;
  child.program_break = parent.program_break;
  child.heap_start = parent.heap_start;
  child.oom_score_adj = parent.oom_score_adj;
  child.maps_files = parent.maps_files;
  bool room = true;
  parent.table.for_range(vcpu, Gva{0}, Gva{parent.areas.top()}, [&](Gva at, const PageTable::Slot& found) {
    room = room && copy_leaf(vcpu, parent, child, at, found);
  });
  cpus_.shoot_down(vcpu, parent, 0, parent.areas.top());
  if (room) return child;
  const std::string name = parent.name;
  exit(vcpu, child);
  throw OutOfMemory("fork of process '" + name + "': the guest has no frame left for the child's page tables");
}

bool Kernel::copy_leaf(hw::Vcpu& vcpu, Process& parent, Process& child, Gva at, const PageTable::Slot& found) {
  PageTable::Slot slot = found;
  // A place in the child's table first: what that takes may make reclaim change the parent's entry.
  const PageSize size = slot.present() ? leaf_page_size(slot.level) : PageSize::k4K;
  if (!slot.present() && !slot.swapped()) return true;  // not this kernel's doing
  if (!child.table.make_room(vcpu, at, size)) return false;
  slot.entry = vcpu.load<std::uint64_t>(slot.at);
  if (slot.level > 1 && (slot.entry & kPteLarge) == 0) {  // split meanwhile
    bool room = true;
    parent.table.for_range(vcpu, at, Gva{at.value + page_bytes(size)}, [&](Gva small, const PageTable::Slot& leaf) {
      room = room && copy_leaf(vcpu, parent, child, small, leaf);
    });
    return room;
  }
  if (slot.swapped()) {
    const SlotNumber number = slot_in(slot.entry);
    if (!child.table.map(vcpu, at, PageSize::k4K, slot.entry)) return false;
    swap_.map().add_entry(vcpu, number);
    ++child.swapped;
    return true;
  }
  if (!slot.present()) return true;
  const std::uint64_t entry = slot.entry & ~kPteWrite;
  if (entry != slot.entry) parent.table.store(vcpu, slot, entry);
  if (!child.table.map(vcpu, at, size, entry & ~kPteDirty)) return false;
  Mappings::share(vcpu, slot);
  child.resident += page_frames(size);
  return true;
}

}  // namespace vmem::guest
