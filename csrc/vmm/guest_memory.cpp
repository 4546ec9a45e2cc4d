#include "vmm/guest_memory.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/error.hpp"
#include "vmm/provide.hpp"
#include "vmm/reclaim/reclaim.hpp"
#include "vmm/shadow/shadow_mmu.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {
namespace {

/// Calls `use(at, offset, count)` for the part of each page.
template <class Use>
void by_page(Gpa at, std::uint64_t bytes, Use&& use) {
  for (std::uint64_t done = 0; done < bytes;) {
    const Gpa here = at + done;
    const std::uint64_t part = std::min(bytes - done, kPageSize - here.offset());
    use(here, done, part);
    done += part;
  }
}

}  // namespace

bool GuestMemory::contains(Gpa at, std::uint64_t bytes) const {
  const std::uint64_t size = vm_.frames() << kPageShift;
  return at.value <= size && bytes <= size - at.value;
}

std::byte* GuestMemory::reach(Gpa at, bool store) {
  if (!vm_.is_native()) {
    SecondStage::Leaf leaf = vm_.second_stage()->find(at.frame());
    if (!store && !leaf.present && !SecondStage::is_swapped(leaf)) return nullptr;
    if (!leaf.present) {
      // One request may bring in more pages than the reserve of the exit covers. Nobody holds on to a pointer that an
      // earlier call has returned.
      vm_.host().reclaim->before_exit(vm_);
      leaf = vm_.second_stage()->find(at.frame());
    }
    if (provide(vm_, on_, at.frame(), store, leaf) == Provided::no_memory)
      throw OutOfMemory("a device of VM '" + vm_.config().name + "' needs guest-physical " + hex(at.value) +
                        " and the host has no memory left for it");
  }
  return vm_.memory().bytes().data() + vm_.machine_address(at).value;
}

bool GuestMemory::read(Gpa at, std::span<std::byte> out) {
  if (!contains(at, out.size())) return false;
  by_page(at, out.size(), [&](Gpa here, std::uint64_t from, std::uint64_t count) {
    if (const std::byte* bytes = reach(here, false)) {
      std::memcpy(out.data() + from, bytes, count);
    } else {
      std::memset(out.data() + from, 0, count);
    }
  });
  return true;
}

void GuestMemory::write_page(Gpa at, std::span<const std::byte> bytes) {
  std::byte* const to = reach(at, true);
  if (ShadowMmu* shadow = vm_.shadow(); shadow != nullptr && shadow->is_traced(at.frame())) {
    for (std::uint64_t done = 0; done < bytes.size();) {
      const std::uint64_t part = std::min<std::uint64_t>(8 - (at.value + done) % 8, bytes.size() - done);
      shadow->on_traced_store(at + done, bytes.data() + done, part);
      done += part;
    }
    return;
  }
  vm_.memory().bytes().mark_written(vm_.machine_address(at).frame().value);
  std::memcpy(to, bytes.data(), bytes.size());
}

bool GuestMemory::write(Gpa at, std::span<const std::byte> bytes) {
  if (!contains(at, bytes.size())) return false;
  by_page(at, bytes.size(),
          [&](Gpa here, std::uint64_t from, std::uint64_t count) { write_page(here, bytes.subspan(from, count)); });
  return true;
}

bool GuestMemory::zero(Gpa at, std::uint64_t bytes) {
  static constexpr std::array<std::byte, kPageSize> kZeros{};
  if (!contains(at, bytes)) return false;
  by_page(at, bytes, [&](Gpa here, std::uint64_t, std::uint64_t count) {
    const std::byte* const held = reach(here, false);
    if (held == nullptr) return;
    if (vm_.memory().bytes().is_written(vm_.machine_address(here).frame().value))
      write_page(here, std::span(kZeros).first(count));
  });
  return true;
}

}  // namespace vmem::vmm
