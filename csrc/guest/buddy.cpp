#include "guest/buddy.hpp"

#include <algorithm>
#include <bit>
#include <string>

#include "core/error.hpp"
#include "guest/page_array.hpp"

namespace vmem::guest {
void Buddy::initialise(hw::Vcpu& vcpu, Gfn first, Gfn end) const {
  set<&Zone::managed>(vcpu, zone_, end.value - first.value);
  set<&Zone::first>(vcpu, zone_, first.value);
  set<&Zone::free>(vcpu, zone_, end.value - first.value);
  set<&Zone::frontier>(vcpu, zone_, first.value);
  set<&Zone::end>(vcpu, zone_, end.value);
}

std::uint64_t Buddy::free_frames(hw::Vcpu& vcpu) const { return get<&Zone::free>(vcpu, zone_); }

void Buddy::push(hw::Vcpu& vcpu, Gfn gfn, int order) const {
  const auto area = vcpu.load<FreeArea>(area_entry(zone_, order));
  auto page = vcpu.load<Page>(page_entry(gfn));
  page.next = area.head;
  page.previous = 0;
  page.use = PageUse::free;
  page.order = static_cast<std::uint8_t>(order);
  vcpu.store(page_entry(gfn), page);
  if (area.head != 0) {
    set<&Page::previous>(vcpu, page_entry(Gfn{area.head}), short_number(gfn));
  } else {
    vcpu.store(tail_entry(zone_, order), short_number(gfn));
  }
  vcpu.store(area_entry(zone_, order), FreeArea{short_number(gfn), area.count + 1});
}

void Buddy::push_back(hw::Vcpu& vcpu, Gfn gfn, int order) const {
  const auto tail = vcpu.load<std::uint32_t>(tail_entry(zone_, order));
  if (tail == 0) {
    push(vcpu, gfn, order);
    return;
  }
  auto page = vcpu.load<Page>(page_entry(gfn));
  page.next = 0;
  page.previous = tail;
  page.use = PageUse::free;
  page.order = static_cast<std::uint8_t>(order);
  vcpu.store(page_entry(gfn), page);
  set<&Page::next>(vcpu, page_entry(Gfn{tail}), short_number(gfn));
  vcpu.store(tail_entry(zone_, order), short_number(gfn));
  set<&FreeArea::count>(vcpu, area_entry(zone_, order), get<&FreeArea::count>(vcpu, area_entry(zone_, order)) + 1);
}

void Buddy::remove(hw::Vcpu& vcpu, Gfn gfn, int order) const {
  auto area = vcpu.load<FreeArea>(area_entry(zone_, order));
  const auto page = vcpu.load<Page>(page_entry(gfn));
  if (page.previous != 0) {
    set<&Page::next>(vcpu, page_entry(Gfn{page.previous}), page.next);
  } else {
    area.head = page.next;
  }
  if (page.next != 0) {
    set<&Page::previous>(vcpu, page_entry(Gfn{page.next}), page.previous);
  } else {
    vcpu.store(tail_entry(zone_, order), page.previous);
  }
  set<&Page::use>(vcpu, page_entry(gfn), PageUse::none);
  if ((page.flags & page_flag::kReported) != 0) set<&Page::flags>(vcpu, page_entry(gfn), 0);
  --area.count;
  vcpu.store(area_entry(zone_, order), area);
}

void Buddy::rotate_to_front(hw::Vcpu& vcpu, Gfn block, int order) const {
  const auto before = get<&Page::previous>(vcpu, page_entry(block));
  if (before == 0) return;
  const Gfn head = first_free(vcpu, order);
  const Gfn tail{vcpu.load<std::uint32_t>(tail_entry(zone_, order))};
  set<&Page::next>(vcpu, page_entry(tail), short_number(head));
  set<&Page::previous>(vcpu, page_entry(head), short_number(tail));
  set<&Page::next>(vcpu, page_entry(Gfn{before}), 0);
  set<&Page::previous>(vcpu, page_entry(block), 0);
  set<&FreeArea::head>(vcpu, area_entry(zone_, order), short_number(block));
  vcpu.store(tail_entry(zone_, order), before);
}

std::uint64_t Buddy::free_blocks(hw::Vcpu& vcpu, int order) const {
  const std::uint64_t listed = get<&FreeArea::count>(vcpu, area_entry(zone_, order));
  if (order != kMaxOrder) return listed;
  return listed + ((get<&Zone::end>(vcpu, zone_) - get<&Zone::frontier>(vcpu, zone_)) >> kMaxOrder);
}

bool Buddy::is_reported(hw::Vcpu& vcpu, Gfn block) {
  return (get<&Page::flags>(vcpu, page_entry(block)) & page_flag::kReported) != 0;
}

void Buddy::set_reported(hw::Vcpu& vcpu, Gfn block) {
  set<&Page::flags>(vcpu, page_entry(block), page_flag::kReported);
}

bool Buddy::is_free_head(hw::Vcpu& vcpu, Gfn gfn, int order) {
  const Gpa page = page_entry(gfn);
  return get<&Page::use>(vcpu, page) == PageUse::free && get<&Page::order>(vcpu, page) == order;
}

void Buddy::push_span(hw::Vcpu& vcpu, std::uint64_t first, std::uint64_t end) const {
  // From the top, so that the lists start with the lowest addresses.
  while (end > first) {
    const int length = static_cast<int>(std::bit_width(end - first)) - 1;
    const int order = std::min({std::countr_zero(end), length, kMaxOrder});
    end -= 1ull << order;
    push(vcpu, Gfn{end}, order);
  }
}

bool Buddy::advance_frontier(hw::Vcpu& vcpu) const {
  const auto frontier = get<&Zone::frontier>(vcpu, zone_);
  const auto end = get<&Zone::end>(vcpu, zone_);
  if (frontier == end) return false;
  const std::uint64_t next =
      std::min<std::uint64_t>(align_down(frontier, 1ull << kMaxOrder) + (1ull << kMaxOrder), end);
  push_span(vcpu, frontier, next);
  set<&Zone::frontier>(vcpu, zone_, next);
  return true;
}

void Buddy::take(hw::Vcpu& vcpu, Gfn gfn, int order, PageUse use) const {
  auto page = vcpu.load<Page>(page_entry(gfn));
  page.use = use;
  page.order = static_cast<std::uint8_t>(order);
  page.flags = 0;
  page.references = 1;
  vcpu.store(page_entry(gfn), page);
  set<&Zone::free>(vcpu, zone_, get<&Zone::free>(vcpu, zone_) - (1ull << order));
}

std::optional<Gfn> Buddy::allocate(hw::Vcpu& vcpu, int order, PageUse use) const {
  do {
    for (int from = order; from <= kMaxOrder; ++from) {
      const Gfn gfn{get<&FreeArea::head>(vcpu, area_entry(zone_, from))};
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

std::optional<Gfn> Buddy::allocate_gigantic(hw::Vcpu& vcpu, int order, PageUse use) const {
  const auto frontier = get<&Zone::frontier>(vcpu, zone_);
  const std::uint64_t first = align_up(frontier, 1ull << order);
  const std::uint64_t end = first + (1ull << order);
  if (end > get<&Zone::end>(vcpu, zone_)) return std::nullopt;
  push_span(vcpu, frontier, first);
  set<&Zone::frontier>(vcpu, zone_, end);
  take(vcpu, Gfn{first}, order, use);
  return Gfn{first};
}

std::optional<Gfn> Buddy::allocate_span(hw::Vcpu& vcpu, std::uint64_t frames, PageUse use) const {
  const auto first = get<&Zone::frontier>(vcpu, zone_);
  if (frames > get<&Zone::end>(vcpu, zone_) - first) return std::nullopt;
  for (std::uint64_t at = 0; at < frames; ++at) set<&Page::use>(vcpu, page_entry(Gfn{first + at}), use);
  const std::uint64_t end =
      std::min<std::uint64_t>(align_up(first + frames, 1ull << kMaxOrder), get<&Zone::end>(vcpu, zone_));
  push_span(vcpu, first + frames, end);
  set<&Zone::frontier>(vcpu, zone_, end);
  set<&Zone::free>(vcpu, zone_, get<&Zone::free>(vcpu, zone_) - frames);
  return Gfn{first};
}

Buddy::Block Buddy::merge(hw::Vcpu& vcpu, Block block) const {
  const auto frontier = get<&Zone::frontier>(vcpu, zone_);
  while (block.order < kMaxOrder) {
    const Gfn buddy{block.first.value ^ (1ull << block.order)};
    if (buddy.value + (1ull << block.order) > frontier || !is_free_head(vcpu, buddy, block.order)) break;
    remove(vcpu, buddy, block.order);
    block = {std::min(block.first, buddy), block.order + 1};
  }
  return block;
}

int Buddy::free(hw::Vcpu& vcpu, Gfn gfn, int order) const {
  auto page = vcpu.load<Page>(page_entry(gfn));
  page.use = PageUse::none;
  page.flags = 0;
  page.references = 0;
  vcpu.store(page_entry(gfn), page);
  set<&Zone::free>(vcpu, zone_, get<&Zone::free>(vcpu, zone_) + (1ull << order));
  const int part = std::min(order, kMaxOrder);
  int largest = 0;
  for (std::uint64_t at = 0; at < 1ull << order; at += 1ull << part) {
    const Block block = merge(vcpu, {gfn + at, part});
    push(vcpu, block.first, block.order);
    largest = std::max(largest, block.order);
  }
  return largest;
}

void Buddy::isolate(hw::Vcpu& vcpu, Gfn block, int order) const {
  remove(vcpu, block, order);
  set<&Zone::free>(vcpu, zone_, get<&Zone::free>(vcpu, zone_) - (1ull << order));
}

int Buddy::put_back(hw::Vcpu& vcpu, Gfn block, int order) const {
  set<&Zone::free>(vcpu, zone_, get<&Zone::free>(vcpu, zone_) + (1ull << order));
  const Block whole = merge(vcpu, {block, order});
  push_back(vcpu, whole.first, whole.order);
  return whole.order;
}

void Buddy::split(hw::Vcpu& vcpu, Gfn gfn, int order) {
  auto page = vcpu.load<Page>(page_entry(gfn));
  page.order = 0;
  for (std::uint64_t at = 0; at < 1ull << order; ++at, ++page.index) vcpu.store(page_entry(gfn + at), page);
}

void Buddy::check(hw::Vcpu& vcpu) const {
  std::uint64_t listed = get<&Zone::end>(vcpu, zone_) - get<&Zone::frontier>(vcpu, zone_);
  for (int order = 0; order <= kMaxOrder; ++order) {
    std::uint32_t blocks = 0, previous = 0;
    for (std::uint32_t at = get<&FreeArea::head>(vcpu, area_entry(zone_, order)); at != 0;
         previous = at, at = get<&Page::next>(vcpu, page_entry(Gfn{at}))) {
      if (!is_free_head(vcpu, Gfn{at}, order) || get<&Page::previous>(vcpu, page_entry(Gfn{at})) != previous)
        throw InvariantError("guest buddy: gPFN " + hex(at) + " in the list of order " + std::to_string(order) +
                             " is not a free head of that order");
      ++blocks;
      listed += 1ull << order;
    }
    if (blocks != get<&FreeArea::count>(vcpu, area_entry(zone_, order)) ||
        previous != vcpu.load<std::uint32_t>(tail_entry(zone_, order)))
      throw InvariantError("guest buddy: the list of order " + std::to_string(order) +
                           " does not hold as many blocks as it counts, or ends elsewhere");
  }
  if (listed != free_frames(vcpu))
    throw InvariantError("guest buddy: " + std::to_string(free_frames(vcpu)) + " frames counted free, lists hold " +
                         std::to_string(listed));
}

}  // namespace vmem::guest
