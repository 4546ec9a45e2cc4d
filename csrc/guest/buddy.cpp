#include "guest/buddy.hpp"

#include <algorithm>
#include <bit>
#include <string>

#include "core/error.hpp"
#include "guest/page_array.hpp"

namespace vmem::guest {
namespace {

std::uint32_t number(Gfn gfn) { return static_cast<std::uint32_t>(gfn.value); }

}  // namespace

void Buddy::initialise(hw::Vcpu& vcpu, Gfn first, Gfn end) {
  set<&Zone::managed>(vcpu, Zone::kAt, end.value - first.value);
  set<&Zone::free>(vcpu, Zone::kAt, end.value - first.value);
  set<&Zone::frontier>(vcpu, Zone::kAt, first.value);
  set<&Zone::end>(vcpu, Zone::kAt, end.value);
}

std::uint64_t Buddy::free_frames(hw::Vcpu& vcpu) { return get<&Zone::free>(vcpu, Zone::kAt); }

void Buddy::push(hw::Vcpu& vcpu, Gfn gfn, int order) {
  const Gpa area = area_entry(order), page = page_entry(gfn);
  const auto head = get<&FreeArea::head>(vcpu, area);
  set<&Page::next>(vcpu, page, head);
  set<&Page::previous>(vcpu, page, 0);
  set<&Page::use>(vcpu, page, PageUse::free);
  set<&Page::order>(vcpu, page, static_cast<std::uint8_t>(order));
  if (head != 0) set<&Page::previous>(vcpu, page_entry(Gfn{head}), number(gfn));
  set<&FreeArea::head>(vcpu, area, number(gfn));
  set<&FreeArea::count>(vcpu, area, get<&FreeArea::count>(vcpu, area) + 1);
}

void Buddy::remove(hw::Vcpu& vcpu, Gfn gfn, int order) {
  const Gpa area = area_entry(order), page = page_entry(gfn);
  const auto next = get<&Page::next>(vcpu, page);
  const auto previous = get<&Page::previous>(vcpu, page);
  if (previous != 0) {
    set<&Page::next>(vcpu, page_entry(Gfn{previous}), next);
  } else {
    set<&FreeArea::head>(vcpu, area, next);
  }
  if (next != 0) set<&Page::previous>(vcpu, page_entry(Gfn{next}), previous);
  set<&Page::use>(vcpu, page, PageUse::none);
  set<&FreeArea::count>(vcpu, area, get<&FreeArea::count>(vcpu, area) - 1);
}

bool Buddy::is_free_head(hw::Vcpu& vcpu, Gfn gfn, int order) {
  const Gpa page = page_entry(gfn);
  return get<&Page::use>(vcpu, page) == PageUse::free && get<&Page::order>(vcpu, page) == order;
}

void Buddy::push_span(hw::Vcpu& vcpu, std::uint64_t first, std::uint64_t end) {
  // From the top, so that the lists start with the lowest addresses.
  while (end > first) {
    const int length = static_cast<int>(std::bit_width(end - first)) - 1;
    const int order = std::min({std::countr_zero(end), length, kMaxOrder});
    end -= 1ull << order;
    push(vcpu, Gfn{end}, order);
  }
}

bool Buddy::advance_frontier(hw::Vcpu& vcpu) {
  const auto frontier = get<&Zone::frontier>(vcpu, Zone::kAt);
  const auto end = get<&Zone::end>(vcpu, Zone::kAt);
  if (frontier == end) return false;
  const std::uint64_t next = std::min<std::uint64_t>(align_down(frontier, 1ull << kMaxOrder) + (1ull << kMaxOrder), end);
  push_span(vcpu, frontier, next);
  set<&Zone::frontier>(vcpu, Zone::kAt, next);
  return true;
}

void Buddy::take(hw::Vcpu& vcpu, Gfn gfn, int order, PageUse use) {
  const Gpa page = page_entry(gfn);
  set<&Page::use>(vcpu, page, use);
  set<&Page::order>(vcpu, page, static_cast<std::uint8_t>(order));
  set<&Page::references>(vcpu, page, 1);
  set<&Zone::free>(vcpu, Zone::kAt, get<&Zone::free>(vcpu, Zone::kAt) - (1ull << order));
}

std::optional<Gfn> Buddy::allocate(hw::Vcpu& vcpu, int order, PageUse use) {
  do {
    for (int from = order; from <= kMaxOrder; ++from) {
      const Gfn gfn{get<&FreeArea::head>(vcpu, area_entry(from))};
      if (gfn.value == 0) continue;
      remove(vcpu, gfn, from);
      while (from > order) {
        --from;
        push(vcpu, gfn + (1ull << from), from);
      }
      take(vcpu, gfn, order, use);
      return gfn;
    }
  } while (advance_frontier(vcpu));
  return std::nullopt;
}

std::optional<Gfn> Buddy::allocate_gigantic(hw::Vcpu& vcpu, int order, PageUse use) {
  const auto frontier = get<&Zone::frontier>(vcpu, Zone::kAt);
  const std::uint64_t first = align_up(frontier, 1ull << order);
  const std::uint64_t end = first + (1ull << order);
  if (end > get<&Zone::end>(vcpu, Zone::kAt)) return std::nullopt;
  push_span(vcpu, frontier, first);
  set<&Zone::frontier>(vcpu, Zone::kAt, end);
  take(vcpu, Gfn{first}, order, use);
  return Gfn{first};
}

void Buddy::merge_and_push(hw::Vcpu& vcpu, Gfn gfn, int order) {
  const auto frontier = get<&Zone::frontier>(vcpu, Zone::kAt);
  while (order < kMaxOrder) {
    const Gfn buddy{gfn.value ^ (1ull << order)};
    if (buddy.value + (1ull << order) > frontier || !is_free_head(vcpu, buddy, order)) break;
    remove(vcpu, buddy, order);
    gfn = std::min(gfn, buddy);
    ++order;
  }
  push(vcpu, gfn, order);
}

void Buddy::free(hw::Vcpu& vcpu, Gfn gfn, int order) {
  set<&Page::use>(vcpu, page_entry(gfn), PageUse::none);
  set<&Page::references>(vcpu, page_entry(gfn), 0);
  set<&Zone::free>(vcpu, Zone::kAt, get<&Zone::free>(vcpu, Zone::kAt) + (1ull << order));
  const int block = std::min(order, kMaxOrder);
  for (std::uint64_t at = 0; at < 1ull << order; at += 1ull << block) merge_and_push(vcpu, gfn + at, block);
}

void Buddy::split(hw::Vcpu& vcpu, Gfn gfn, int order) {
  const auto use = get<&Page::use>(vcpu, page_entry(gfn));
  const auto references = get<&Page::references>(vcpu, page_entry(gfn));
  for (std::uint64_t at = 0; at < 1ull << order; ++at) {
    const Gpa page = page_entry(gfn + at);
    set<&Page::use>(vcpu, page, use);
    set<&Page::order>(vcpu, page, 0);
    set<&Page::references>(vcpu, page, references);
  }
}

void Buddy::check(hw::Vcpu& vcpu) {
  std::uint64_t listed = get<&Zone::end>(vcpu, Zone::kAt) - get<&Zone::frontier>(vcpu, Zone::kAt);
  for (int order = 0; order <= kMaxOrder; ++order) {
    std::uint32_t blocks = 0, previous = 0;
    for (std::uint32_t at = get<&FreeArea::head>(vcpu, area_entry(order)); at != 0; previous = at, at = get<&Page::next>(vcpu, page_entry(Gfn{at}))) {
      if (!is_free_head(vcpu, Gfn{at}, order) || get<&Page::previous>(vcpu, page_entry(Gfn{at})) != previous)
        throw InvariantError("guest buddy: gPFN " + hex(at) + " in the list of order " + std::to_string(order) + " is not a free head of that order");
      ++blocks;
      listed += 1ull << order;
    }
    if (blocks != get<&FreeArea::count>(vcpu, area_entry(order))) throw InvariantError("guest buddy: the list of order " + std::to_string(order) + " does not hold as many blocks as it counts");
  }
  if (listed != free_frames(vcpu)) throw InvariantError("guest buddy: " + std::to_string(free_frames(vcpu)) + " frames counted free, lists hold " + std::to_string(listed));
}

}  // namespace vmem::guest
