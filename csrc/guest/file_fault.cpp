// Faults in mappings of files, and the system calls on files.
#include "core/error.hpp"
#include "guest/kernel.hpp"
#include "guest/leaf.hpp"

namespace vmem::guest {
namespace {

constexpr std::uint64_t kFirstStack = 33 * kPageSize;  // 132 KiB, as Linux's exec makes it

}  // namespace

hw::TrapResult Kernel::fault_file(hw::Vcpu& vcpu, Process& process, const hw::Fault& fault) {
  const Vma before = *process.areas.find(fault.gva.value);
  const bool store = fault.access == AccessKind::store;
  const Gva page{align_down(fault.gva.value, kPageSize)};
  const PageCache::Found found = cache_.hold(vcpu, files_.at(before.file), before.page_at(page.value));
  if (found.is_major) ++vmstat_.pgmajfault;
  if (found.failed) return hw::TrapResult::signal;  // SIGBUS
  if (found.page.value == 0) return out_of_memory(vcpu, process);
  // A private page that is written to at once is a copy from the beginning: the page cache's is needed no longer.
  if (store && !before.shared) {
    const hw::TrapResult result = copy_file_page(vcpu, process, page, found.page);
    cache_.release(vcpu, found.page);
    return result;
  }
  // First the tables, for which it may have to wait: a page that becomes dirty and writable does both at once.
  if (!process.table.make_room(vcpu, page, PageSize::k4K)) {
    cache_.release(vcpu, found.page);
    return out_of_memory(vcpu, process);
  }
  if (process.table.find(vcpu, page).entry != 0) {
    cache_.release(vcpu, found.page);
    return hw::TrapResult::resolved;
  }
  if (store) cache_.mark_dirty(vcpu, found.page);
  Protection protection = before.protection;
  protection.write = protection.write && store;
  process.table.map(vcpu, page, PageSize::k4K, leaf_entry(found.page, protection, store));
  ++process.resident;  // the reference is the entry's now
  if (store) cache_.throttle(vcpu);
  return hw::TrapResult::resolved;
}

hw::TrapResult Kernel::copy_file_page(hw::Vcpu& vcpu, Process& process, Gva page, Gfn from) {
  const auto copy = allocate_page(vcpu, PageSize::k4K);
  if (!copy) return out_of_memory(vcpu, process);
  copy_page(vcpu, from, *copy);
  set_owner(vcpu, *copy, process, page.value >> kPageShift);
  const Vma* const vma = process.areas.find(page.value);
  if (vma == nullptr || process.table.find(vcpu, page).entry != 0 ||
      !process.table.map(vcpu, page, PageSize::k4K, leaf_entry(*copy, vma->protection, true))) {
    pages_.free(vcpu, *copy, 0);
    return vma == nullptr || process.table.find(vcpu, page).entry != 0 ? hw::TrapResult::resolved
                                                                       : out_of_memory(vcpu, process);
  }
  ++process.resident;
  Lru::add(vcpu, *copy);
  return hw::TrapResult::resolved;
}

hw::TrapResult Kernel::make_writable(hw::Vcpu& vcpu, Process& process, Gva page, const PageTable::Slot& slot) {
  const Vma& vma = *process.areas.find(page.value);
  const auto entry = vcpu.load<Page>(page_entry(slot.target()));
  if (slot.level != 1 || entry.use != PageUse::file || entry.owner != vma.file ||
      entry.index != vma.page_at(page.value))
    return hw::TrapResult::signal;  // a table that this kernel did not make
  cache_.mark_dirty(vcpu, slot.target());
  process.table.store(vcpu, slot, slot.entry | kPteWrite | kPteDirty | kPteAccessed);
  cpus_.shoot_down(vcpu, process, page.value, page.value + kPageSize);
  cache_.throttle(vcpu);
  return hw::TrapResult::resolved;
}

Vma Kernel::map_stack(Process& process, std::uint64_t limit) {
  if (limit < kFirstStack || limit > 1ull << 40)
    throw ConfigError("a stack of at most " + std::to_string(limit) + " bytes: accepted is " +
                      std::to_string(kFirstStack) + " to " + std::to_string(1ull << 40));
  const auto gap = process.areas.find_gap(align_up(limit, kPageSize) + (kPageSize << 8), kPageSize);
  if (!gap)
    throw OutOfMemory("the address space of process '" + process.name + "' has no gap for a stack of " +
                      std::to_string(limit) + " bytes");
  const std::uint64_t end = *gap + align_up(limit, kPageSize) + (kPageSize << 8);
  Vma stack{end - kFirstStack, end, {}, PageSize::k4K, "[stack]"};
  stack.grows_to = end - align_up(limit, kPageSize);
  process.areas.insert(stack);
  return stack;
}

void Kernel::check_file_range(const char* call, FileNumber number, std::uint64_t offset, std::uint64_t length) {
  const File& file = files_.at(number);
  if (offset > file.bytes || length > file.bytes - offset)
    throw ConfigError(std::string(call) + " of " + std::to_string(length) + " bytes at " + std::to_string(offset) +
                      " of file '" + file.name + "': it has " + std::to_string(file.bytes));
}

void Kernel::unlink(hw::Vcpu& vcpu, FileNumber number) {
  File& file = files_.at(number);
  if (mappings_.is_mapped(number))
    throw ConfigError("file '" + file.name + "': a process maps it; it can be unlinked when none does");
  cache_.truncate(vcpu, file);
  files_.remove(file);
}

bool Kernel::read_file(hw::Vcpu& vcpu, FileNumber number, std::uint64_t offset, std::span<std::byte> out) {
  check_file_range("read", number, offset, out.size());
  File& file = files_.at(number);
  while (!out.empty()) {
    const std::uint64_t part = std::min<std::uint64_t>(out.size(), kPageSize - (offset & kPageMask));
    const PageCache::Found found = cache_.hold(vcpu, file, offset >> kPageShift);
    if (found.page.value == 0) return false;
    vcpu.read(found.page.address() + (offset & kPageMask), out.first(part));
    cache_.touch(vcpu, found.page);
    cache_.release(vcpu, found.page);
    out = out.subspan(part);
    offset += part;
  }
  return true;
}

bool Kernel::write_file(hw::Vcpu& vcpu, FileNumber number, std::uint64_t offset, std::span<const std::byte> bytes) {
  check_file_range("write", number, offset, bytes.size());
  File& file = files_.at(number);
  while (!bytes.empty()) {
    const std::uint64_t part = std::min<std::uint64_t>(bytes.size(), kPageSize - (offset & kPageMask));
    const std::uint64_t index = offset >> kPageShift;
    const PageCache::Found found =
        part == kPageSize ? cache_.hold_empty(vcpu, file, index) : cache_.hold(vcpu, file, index);
    if (found.page.value == 0) return false;
    vcpu.write(found.page.address() + (offset & kPageMask), bytes.first(part));
    cache_.mark_dirty(vcpu, found.page);
    cache_.touch(vcpu, found.page);
    cache_.release(vcpu, found.page);
    cache_.throttle(vcpu);
    bytes = bytes.subspan(part);
    offset += part;
  }
  return true;
}

}  // namespace vmem::guest
