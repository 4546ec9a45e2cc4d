#include "sim/cost_model.hpp"

#include <numeric>

namespace vmem::sim {

std::uint64_t CostModel::cycles(const Counters& c) const {
  const auto fault = [&](FaultClass kind) { return c.faults[static_cast<std::size_t>(kind)]; };
  const std::uint64_t exits = std::accumulate(c.exits.begin(), c.exits.end(), std::uint64_t{0});
  std::uint64_t cycles = c.accesses * access + c.l2_hits * l2_tlb_hit + walk_cycles(c) +
                         c.dirty_assists * dirty_assist + c.tlb_flushes * tlb_flush;
  cycles += fault(FaultClass::guest_page_fault) * guest_page_fault + exits * exit;
  cycles += fault(FaultClass::backed_on_demand) * back_page + fault(FaultClass::shadow_fill) * shadow_fill;
  cycles += fault(FaultClass::cow_break) * cow_break + fault(FaultClass::host_swap_in) * host_swap_in;
  cycles +=
      c.software_tlb_hits * software_tlb_hit + c.exits[static_cast<std::size_t>(ExitReason::tlb_write)] * tlb_write;
  cycles += c.balloon_inflated * inflate_page + c.balloon_deflated * deflate_page + c.free_reports * report_block;
  cycles += c.free_hints * free_hint + c.discards * discard + c.discarded_small * discard_small +
            c.discarded_large * discard_large;
  return cycles + c.exits[static_cast<std::size_t>(ExitReason::page_table_write)] * emulated_store;
}

}  // namespace vmem::sim
