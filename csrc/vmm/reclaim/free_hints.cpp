#include "vmm/reclaim/free_hints.hpp"

#include <array>
#include <span>

#include "vmm/balloon/discard.hpp"
#include "vmm/guest_memory.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {

bool FreeHints::take(Discard& discard, std::uint64_t gfn, std::uint64_t order, std::uint64_t& taken) {
  if (order > kMostOrder || gfn >= vm_.frames() || (1ull << order) > vm_.frames() - gfn) {
    ++stat_.refused;
    return false;
  }
  ++stat_.blocks;
  stat_.pages += 1ull << order;
  const std::uint64_t frames = discard.range(Gfn{gfn}, 1ull << order);
  stat_.discarded += frames;
  taken += frames;
  return true;
}

std::uint64_t FreeHints::on_block(hw::Vcpu& vcpu, std::uint64_t gfn, std::uint64_t order) {
  ++stat_.calls;
  std::uint64_t taken = 0;
  Discard discard(vm_);
  const bool good = take(discard, gfn, order, taken);
  Counters& counters = vcpu.mmu().event_counters();
  counters.free_hints += good ? 1 : 0;
  discard.add_to(counters);
  return good ? taken : hw::kBadHypercall;
}

std::uint64_t FreeHints::on_batch(hw::Vcpu& vcpu, Gpa array, std::uint64_t count) {
  ++stat_.calls;
  std::array<std::uint64_t, kMostBlocks> blocks;
  if (count > kMostBlocks) return hw::kBadHypercall;
  GuestMemory memory(vm_, vcpu);
  if (!memory.read(array, std::as_writable_bytes(std::span(blocks).first(count)))) return hw::kBadHypercall;
  std::uint64_t taken = 0, good = 0;
  Discard discard(vm_);
  for (std::uint64_t i = 0; i < count; ++i) good += take(discard, blocks[i] >> 8, blocks[i] & 0xff, taken) ? 1 : 0;
  Counters& counters = vcpu.mmu().event_counters();
  counters.free_hints += good;
  discard.add_to(counters);
  return taken;
}

}  // namespace vmem::vmm
