// What must always hold of the guest kernel's data.
#include <map>
#include <string>

#include "core/error.hpp"
#include "guest/buddy.hpp"
#include "guest/kernel.hpp"
#include "guest/page_array.hpp"

namespace vmem::guest {

void Kernel::check() {
  hw::Vcpu& vcpu = *vcpus_.front();
  Buddy::check(vcpu);
  std::map<std::uint64_t, std::uint32_t> references;  // by 4 KiB frame
  for (const auto& process : processes_) {
    std::uint64_t resident = 0;
    process->table.for_range(vcpu, Gva{0}, Gva{process->areas.top()}, [&](Gva at, const PageTable::Slot& slot) {
      if (process->areas.find(at.value) == nullptr)
        throw InvariantError("process '" + process->name + "': page " + hex(at.value) +
                             " is mapped outside every area");
      const std::uint64_t frames = page_frames(leaf_page_size(slot.level));
      resident += frames;
      for (std::uint64_t i = 0; i < frames; i += 1ull << get<&Page::order>(vcpu, page_entry(slot.target() + i)))
        ++references[slot.target().value + i];
    });
    if (resident != process->resident)
      throw InvariantError("process '" + process->name + "': " + std::to_string(process->resident) +
                           " pages counted resident, its table maps " + std::to_string(resident));
  }
  for (const auto& [gfn, count] : references) {
    const Gpa page = page_entry(Gfn{gfn});
    if (get<&Page::use>(vcpu, page) != PageUse::anonymous)
      throw InvariantError("guest gPFN " + hex(gfn) + " is mapped but not allocated");
    if (get<&Page::references>(vcpu, page) != count)
      throw InvariantError("guest gPFN " + hex(gfn) + " counts " + std::to_string(get<&Page::references>(vcpu, page)) +
                           " references, " + std::to_string(count) + " entries map it");
  }
}

}  // namespace vmem::guest
