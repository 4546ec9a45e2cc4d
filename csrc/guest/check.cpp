// What must always hold of the guest kernel's data.
#include <map>
#include <string>

#include "core/error.hpp"
#include "guest/kernel.hpp"

namespace vmem::guest {
namespace {

/// What the tables of all processes say.
struct Census {
  std::map<std::uint64_t, std::uint32_t> references;  ///< by 4 KiB frame
  std::map<SlotNumber, std::uint32_t> entries;        ///< by swap slot
};

void count_process(hw::Vcpu& vcpu, const Process& process, Census& census) {
  std::uint64_t resident = 0, swapped = 0;
  process.table.for_range(vcpu, Gva{0}, Gva{process.areas.top()}, [&](Gva at, const PageTable::Slot& slot) {
    if (process.areas.find(at.value) == nullptr)
      throw InvariantError("process '" + process.name + "': page " + hex(at.value) + " is mapped outside every area");
    if (slot.swapped()) {
      ++swapped;
      ++census.entries[slot_in(slot.entry)];
      return;
    }
    if (!slot.present()) return;
    const std::uint64_t frames = page_frames(leaf_page_size(slot.level));
    resident += frames;
    for (std::uint64_t i = 0; i < frames; i += 1ull << get<&Page::order>(vcpu, page_entry(slot.target() + i)))
      ++census.references[slot.target().value + i];
  });
  if (resident != process.resident || swapped != process.swapped)
    throw InvariantError("process '" + process.name + "': " + std::to_string(process.resident) +
                         " pages resident and " + std::to_string(process.swapped) +
                         " swapped are counted, its table has " + std::to_string(resident) + " and " +
                         std::to_string(swapped));
}

void check_page(hw::Vcpu& vcpu, const Mappings& mappings, std::uint64_t gfn, std::uint32_t count) {
  const auto page = vcpu.load<Page>(page_entry(Gfn{gfn}));
  if (page.use != PageUse::anonymous && page.use != PageUse::file)
    throw InvariantError("guest gPFN " + hex(gfn) + " is mapped but not allocated");
  if (page.references != count)
    throw InvariantError("guest gPFN " + hex(gfn) + " counts " + std::to_string(page.references) + " references, " +
                         std::to_string(count) + " entries map it");
  if ((page.flags & page_flag::kLru) == 0 && page.order <= kMaxOrder)
    throw InvariantError("guest gPFN " + hex(gfn) + " is mapped, and reclaim does not know it");
  std::uint32_t found = 0;
  mappings.for_each(vcpu, Gfn{gfn}, [&](Process&, Gva, const PageTable::Slot&) { ++found; });
  if (found != count)
    throw InvariantError("guest gPFN " + hex(gfn) + ": the reverse map finds " + std::to_string(found) + " of its " +
                         std::to_string(count) + " mappings");
}

void check_swap(hw::Vcpu& vcpu, const Swap& swap, std::uint64_t frames, const Census& census) {
  if (!swap.exists()) {
    if (!census.entries.empty()) throw InvariantError("guest swap: entries name slots, and there is no swap");
    return;
  }
  swap.map().check(vcpu);
  std::uint64_t cached = 0;
  for (std::uint64_t number = 1; number <= swap.map().slots(); ++number) {
    const auto slot_number = static_cast<SlotNumber>(number);
    const SwapSlot slot = swap.map().at(vcpu, slot_number);
    const auto named = census.entries.find(slot_number);
    const std::uint32_t entries = named == census.entries.end() ? 0 : named->second;
    if (slot.entries != entries)
      throw InvariantError("guest swap: slot " + std::to_string(number) + " counts " + std::to_string(slot.entries) +
                           " entries, " + std::to_string(entries) + " name it");
    if (slot.page == 0) continue;
    ++cached;
    const auto page = slot.page < frames ? vcpu.load<Page>(page_entry(Gfn{slot.page})) : Page{};
    if (page.use != PageUse::anonymous || (page.flags & page_flag::kSwapCache) == 0 || page.slot != number)
      throw InvariantError("guest swap: slot " + std::to_string(number) + " and gPFN " + hex(slot.page) +
                           " do not belong together");
  }
  if (cached != swap.cached())
    throw InvariantError("guest swap: " + std::to_string(swap.cached()) + " pages counted in the swap cache, " +
                         std::to_string(cached) + " are");
}

}  // namespace

void Kernel::check() {
  hw::Vcpu& vcpu = cpus_.boot();
  pages_.check(vcpu);
  Lru::check(vcpu);
  Census census;
  for (const auto& process : processes_.all()) count_process(vcpu, *process, census);
  cache_.check(vcpu);
  for (const auto& [gfn, count] : census.references) check_page(vcpu, mappings_, gfn, count);
  check_swap(vcpu, swap_, frames_, census);
  std::uint64_t huge = 0;
  for (const auto& [gfn, count] : census.references) huge += huge_pages(get<&Page::order>(vcpu, page_entry(Gfn{gfn})));
  if (huge != vmstat_.nr_anon_transparent_hugepages)
    throw InvariantError("guest: " + std::to_string(vmstat_.nr_anon_transparent_hugepages) +
                         " huge pages are counted, " + std::to_string(huge) + " are mapped");
}

}  // namespace vmem::guest
