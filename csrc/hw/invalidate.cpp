// The invalidating operations of the Mmu, row by row of the table in docs/design/mmu.md.
#include "core/error.hpp"
#include "hw/mmu.hpp"

namespace vmem::hw {
namespace {

bool linear(const Context& context) { return context.pcid != Context::kGuestPhysical; }
bool global(const Context& context) { return context.pcid == Context::kGlobal; }

}  // namespace

void Mmu::drop_page(std::uint64_t va, const ContextKeys& keys) {
  l1_[0].drop_page(va, keys);
  l1_[1].drop_page(va, keys);
  l2_.drop_page(va, keys);
}

/// The guest's page around `va` in the current context and its globals.
void Mmu::drop_guest_page(std::uint64_t va) {
  drop_page(va, silicon_.keys);
  drop_visible_parts(va);
}

void Mmu::drop_visible_parts(std::uint64_t va) {
  const auto visible = [&](std::uint64_t key) {
    const std::size_t context = key_context(key);
    return context == key_context(silicon_.keys.own) || context == key_context(silicon_.keys.global);
  };
  for (TlbLevel& level : l1_) level.drop_parts(va, visible);
  l2_.drop_parts(va, visible);
}

/// The guest's page around `va` in every context that matches.
template <class Matches>
void Mmu::drop_guest_page_of(std::uint64_t va, Matches&& matches) {
  const std::vector<std::uint8_t> selected = contexts_.select(matches);
  for (std::size_t number = 0; number < selected.size(); ++number) {
    if (selected[number] == 0) continue;
    const std::uint64_t key = context_key(number);
    drop_page(va, {key, key, 0});
  }
  const auto chosen = [&](std::uint64_t key) { return selected[key_context(key)] != 0; };
  for (TlbLevel& level : l1_) level.drop_parts(va, chosen);
  l2_.drop_parts(va, chosen);
}

template <class Matches>
void Mmu::drop_contexts(Matches&& matches) {
  const std::vector<std::uint8_t> selected = contexts_.select(matches);
  l1_[0].drop(selected);
  l1_[1].drop(selected);
  l2_.drop(selected);
  silicon_.psc.drop(selected);
  silicon_.host_psc.drop(selected);
  silicon_.nested_tlb.drop(selected);
  silicon_.kernel_table = {};
}

void Mmu::invlpg(Gva gva) {
  if (!canonical(gva.value, silicon_.address_bits)) return;
  const std::uint16_t pcid = state().pcid(), vpid = state().vpid;
  const auto own = [&](const Context& c) { return linear(c) && c.vpid == vpid && c.pcid == pcid; };
  drop_guest_page_of(gva.value, [&](const Context& c) { return own(c) || (global(c) && c.vpid == vpid); });
  silicon_.psc.drop(contexts_.select(own));
}

void Mmu::invpcid(InvpcidType type, std::uint16_t pcid, Gva gva) {
  const std::uint16_t vpid = state().vpid;
  switch (type) {
    case InvpcidType::address: {
      if (!canonical(gva.value, silicon_.address_bits)) return;  // the instruction faults
      const auto own = [&](const Context& c) { return linear(c) && c.vpid == vpid && c.pcid == pcid; };
      drop_guest_page_of(gva.value, own);
      silicon_.psc.drop(contexts_.select(own));
      return;
    }
    case InvpcidType::single:
      drop_contexts([&](const Context& c) { return linear(c) && c.vpid == vpid && c.pcid == pcid; });
      break;
    case InvpcidType::all_with_globals:
      drop_contexts([&](const Context& c) { return linear(c) && c.vpid == vpid; });
      break;
    case InvpcidType::all_but_globals:
      drop_contexts([&](const Context& c) { return linear(c) && c.vpid == vpid && !global(c); });
      break;
  }
  ++silicon_.counters.tlb_flushes;
}

void Mmu::mov_cr3(std::uint64_t value) {
  const bool keep = (value & kCr3NoFlush) != 0 && state().has(kCr4Pcide);
  silicon_.state.cr3 = value & ~kCr3NoFlush;
  renew_keys();
  if (keep) return;
  const std::uint16_t pcid = state().pcid(), vpid = state().vpid;
  drop_contexts([&](const Context& c) { return linear(c) && c.vpid == vpid && c.pcid == pcid; });
  ++silicon_.counters.tlb_flushes;
}

void Mmu::mov_cr4(std::uint64_t value) {
  const std::uint64_t old = state().cr4;
  State next = state();
  next.cr4 = value;
  set_state(next);
  const std::uint16_t pcid = state().pcid(), vpid = state().vpid;
  const std::uint64_t changed = old ^ value;
  if ((changed & kCr4Pge) || ((changed & kCr4Pcide) && (old & kCr4Pcide))) {
    drop_contexts([&](const Context& c) { return linear(c) && c.vpid == vpid; });
  } else if ((changed & kCr4Smep) && (value & kCr4Smep)) {
    drop_contexts([&](const Context& c) { return linear(c) && c.vpid == vpid && (c.pcid == pcid || global(c)); });
  } else {
    return;
  }
  ++silicon_.counters.tlb_flushes;
}

bool Mmu::invvpid(InvvpidType type, std::uint16_t vpid, Gva gva) {
  if (vpid == 0 && type != InvvpidType::all) return false;
  switch (type) {
    case InvvpidType::address: {
      if (!canonical(gva.value, silicon_.address_bits)) return false;
      const auto all = [&](const Context& c) { return linear(c) && c.vpid == vpid; };
      drop_guest_page_of(gva.value, all);
      silicon_.psc.drop(contexts_.select(all));
      return true;
    }
    case InvvpidType::single:
      drop_contexts([&](const Context& c) { return linear(c) && c.vpid == vpid; });
      break;
    case InvvpidType::all:
      drop_contexts([&](const Context& c) { return linear(c) && c.vpid != 0; });
      break;
    case InvvpidType::single_but_globals:
      drop_contexts([&](const Context& c) { return linear(c) && c.vpid == vpid && !global(c); });
      break;
  }
  ++silicon_.counters.tlb_flushes;
  return true;
}

void Mmu::invept_single(std::uint64_t root) {
  const std::uint64_t table = root & paging::kAddressBits;
  drop_contexts([&](const Context& c) { return table != 0 && c.root == table; });
  ++silicon_.counters.tlb_flushes;
}

void Mmu::invept_all() {
  drop_contexts([](const Context& c) { return c.root != 0; });
  ++silicon_.counters.tlb_flushes;
}

void Mmu::flush() {
  drop_contexts([](const Context&) { return true; });
  ++silicon_.counters.tlb_flushes;
}

}  // namespace vmem::hw
