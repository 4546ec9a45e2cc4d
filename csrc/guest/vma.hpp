// A process's virtual memory areas.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "core/access.hpp"
#include "core/address.hpp"

namespace vmem::guest {

struct Protection {
  bool read = true;
  bool write = true;
  bool execute = false;

  /// As Linux on x86, whose page tables know no write-only or execute-only pages: any right lets loads in.
  bool allows(AccessKind access) const {
    switch (access) {
      case AccessKind::load:
        return read || write || execute;
      case AccessKind::store:
        return write;
      case AccessKind::fetch:
        return execute;
    }
    return false;
  }
  bool operator==(const Protection&) const = default;
};

/// [start, end) of a process's memory, with one protection.
struct Vma {
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  Protection protection;
  PageSize largest = PageSize::k4K;  ///< largest page the kernel may map it with; it falls back to smaller ones
  std::string name;
  std::uint32_t file = 0;      ///< number of the file that is mapped; 0: anonymous memory
  std::uint64_t offset = 0;    ///< bytes into the file at `start`
  bool shared = false;         ///< stores reach the file; otherwise they go to a private copy
  std::uint64_t grows_to = 0;  ///< of a stack: the lowest address to which it may grow; otherwise 0

  std::uint64_t page_at(std::uint64_t address) const { return (offset + (address - start)) >> kPageShift; }
  bool contains(std::uint64_t address) const { return address >= start && address < end; }
};

/// The areas of one process, disjoint, by address.
class VmaSet {
 public:
  /// Areas live in [kLowest, top).
  static constexpr std::uint64_t kLowest = 0x10000;
  explicit VmaSet(std::uint64_t top) : top_(top) {}

  std::uint64_t top() const { return top_; }
  const Vma* find(std::uint64_t address) const;
  bool overlaps(std::uint64_t start, std::uint64_t end) const;
  /// The highest gap of `length` bytes with the given alignment, as Linux's top-down mmap finds it.
  std::optional<std::uint64_t> find_gap(std::uint64_t length, std::uint64_t alignment) const;
  /// The range must not overlap an area.
  void insert(const Vma& vma) { areas_[vma.start] = vma; }
  /// Cuts [start, end) out of every area.
  void erase(std::uint64_t start, std::uint64_t end);
  /// Every address of [start, end) lies in an area.
  bool covers(std::uint64_t start, std::uint64_t end) const;
  /// Changes what lies in [start, end).
  template <class Change>
  void change(std::uint64_t start, std::uint64_t end, Change&& change) {
    cut_at(start);
    cut_at(end);
    for (auto at = areas_.lower_bound(start); at != areas_.end() && at->first < end; ++at) change(at->second);
  }
  /// End of the area below `address` (0 if none) and start of the one at or above (top if none).
  std::uint64_t floor_of(std::uint64_t address) const;
  std::uint64_t ceiling_of(std::uint64_t address) const;
  /// The stack that may grow down to `address`; nullptr if there is none.
  const Vma* stack_above(std::uint64_t address) const;
  void grow(std::uint64_t start, std::uint64_t to);
  const std::map<std::uint64_t, Vma>& areas() const { return areas_; }

 private:
  void cut_at(std::uint64_t address);

  std::uint64_t top_;
  std::map<std::uint64_t, Vma> areas_;
};

}  // namespace vmem::guest
