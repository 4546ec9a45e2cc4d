#include "guest/lru.hpp"

#include "core/error.hpp"

namespace vmem::guest {

void Lru::add(hw::Vcpu& vcpu, Gfn gfn) {
  const Gpa at = page_entry(gfn);
  auto page = vcpu.load<Page>(at);
  const Gpa list_at = list_entry(kind_of(page));
  auto list = vcpu.load<LruList>(list_at);
  page.flags = static_cast<std::uint16_t>(page.flags | page_flag::kLru);
  page.next = list.head;
  page.previous = 0;
  vcpu.store(at, page);
  if (list.head != 0) {
    set<&Page::previous>(vcpu, page_entry(Gfn{list.head}), short_number(gfn));
  } else {
    list.tail = short_number(gfn);
  }
  list.head = short_number(gfn);
  list.frames += 1ull << page.order;
  vcpu.store(list_at, list);
}

void Lru::remove(hw::Vcpu& vcpu, Gfn gfn) {
  const Gpa at = page_entry(gfn);
  auto page = vcpu.load<Page>(at);
  const Gpa list_at = list_entry(kind_of(page));
  auto list = vcpu.load<LruList>(list_at);
  if (page.previous != 0) {
    set<&Page::next>(vcpu, page_entry(Gfn{page.previous}), page.next);
  } else {
    list.head = page.next;
  }
  if (page.next != 0) {
    set<&Page::previous>(vcpu, page_entry(Gfn{page.next}), page.previous);
  } else {
    list.tail = page.previous;
  }
  list.frames -= 1ull << page.order;
  vcpu.store(list_at, list);
  page.flags = static_cast<std::uint16_t>(page.flags & ~page_flag::kLru);
  vcpu.store(at, page);
}

void Lru::move(hw::Vcpu& vcpu, Gfn gfn, bool active) {
  remove(vcpu, gfn);
  const auto flags = get<&Page::flags>(vcpu, page_entry(gfn));
  set<&Page::flags>(vcpu, page_entry(gfn),
                    static_cast<std::uint16_t>(active ? flags | page_flag::kActive : flags & ~page_flag::kActive));
  add(vcpu, gfn);
}

std::uint64_t Lru::check(hw::Vcpu& vcpu) {
  std::uint64_t pages = 0;
  for (int kind = 0; kind < kLruLists; ++kind) {
    const auto list = vcpu.load<LruList>(list_entry(static_cast<LruKind>(kind)));
    std::uint32_t previous = 0;
    std::uint64_t frames = 0;
    for (std::uint32_t at = list.head; at != 0; ++pages) {
      const auto page = vcpu.load<Page>(page_entry(Gfn{at}));
      if ((page.flags & page_flag::kLru) == 0 || static_cast<int>(kind_of(page)) != kind || page.previous != previous ||
          (page.use != PageUse::anonymous && page.use != PageUse::file) || frames > list.frames)
        throw InvariantError("guest reclaim: gPFN " + hex(at) + " does not belong where it is in list " +
                             std::to_string(kind));
      frames += 1ull << page.order;
      previous = at;
      at = page.next;
    }
    if (frames != list.frames || previous != list.tail)
      throw InvariantError("guest reclaim: list " + std::to_string(kind) + " counts " + std::to_string(list.frames) +
                           " frames and holds " + std::to_string(frames));
  }
  return pages;
}

}  // namespace vmem::guest
