// The lists of pages that reclaim looks at.
#pragma once

#include <cstdint>
#include <string>

#include "guest/layout.hpp"
#include "guest/page_array.hpp"
#include "hw/vcpu.hpp"

namespace vmem::guest {

/// Linux's lru_list, in the order of the lists in guest memory.
enum class LruKind : std::uint8_t { inactive_anonymous, active_anonymous, inactive_file, active_file };
constexpr bool is_active(LruKind kind) { return (static_cast<int>(kind) & 1) != 0; }
constexpr bool is_file(LruKind kind) { return (static_cast<int>(kind) & 2) != 0; }
constexpr LruKind lru_kind(bool file, bool active) { return static_cast<LruKind>((file ? 2 : 0) + (active ? 1 : 0)); }

/// Stateless: lists and links are in guest memory (layout.hpp). A page's flags say which list it is in: kLru, kActive,
/// and whether it is a file's.
class Lru {
 public:
  /// As the youngest of the list that its flags name; it is in none.
  static void add(hw::Vcpu& vcpu, Gfn gfn);
  static void remove(hw::Vcpu& vcpu, Gfn gfn);
  /// Takes it out if it is in a list.
  static void forget(hw::Vcpu& vcpu, Gfn gfn) {
    if ((get<&Page::flags>(vcpu, page_entry(gfn)) & page_flag::kLru) != 0) remove(vcpu, gfn);
  }
  /// Makes it the youngest of the active or the inactive list.
  static void move(hw::Vcpu& vcpu, Gfn gfn, bool active);
  /// The oldest; 0 if the list is empty.
  static Gfn oldest(hw::Vcpu& vcpu, LruKind kind) { return Gfn{get<&LruList::tail>(vcpu, list_entry(kind))}; }
  static std::uint64_t frames(hw::Vcpu& vcpu, LruKind kind) { return get<&LruList::frames>(vcpu, list_entry(kind)); }
  /// Throws InvariantError if lists, links and flags disagree. Returns the pages in all of them.
  static std::uint64_t check(hw::Vcpu& vcpu);

 private:
  static Gpa list_entry(LruKind kind) { return LruList::kAt + static_cast<std::uint64_t>(kind) * sizeof(LruList); }
  static LruKind kind_of(const Page& page) {
    return lru_kind(page.use == PageUse::file, (page.flags & page_flag::kActive) != 0);
  }
};

}  // namespace vmem::guest
