// References in, runs out.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/run.hpp"

namespace vmem::sim {

/// Turns a stream of references into runs, in the order of the runs' first references.
///
/// A run is held back until no older run can still grow. A run that would hold back `kWindow` others is ended, which
/// costs one more record and changes no counter. What comes out depends on the references only, never on how they were
/// cut into batches.
class Compactor {
 public:
  static constexpr std::size_t kWindow = 65536;

  void add(std::uint64_t address, AccessKind kind) {
    const std::uint64_t page = address & ~kPageMask;
    if (kind == AccessKind::fetch) {
      if (page == fetch_.page && runs_[fetch_.index].loads != UINT32_MAX) {
        ++runs_[fetch_.index].loads;
        return;
      }
      open(fetch_, data_, page, kind);
    } else {
      if (page == data_.page && extend(runs_[data_.index], kind)) return;
      open(data_, fetch_, page, kind);
    }
  }

  void add(std::span<const std::uint64_t> addresses, std::span<const std::uint8_t> kinds) {
    for (std::size_t i = 0; i < addresses.size(); ++i) add(addresses[i], static_cast<AccessKind>(kinds[i]));
  }

  /// Ends the open runs: at the end of the trace, and before a mapping call, which no run may span.
  void close() { fetch_ = data_ = Open{}; }

  /// Takes the runs that can no longer change.
  std::vector<Run> take();

 private:
  /// No page address is odd, so this one never matches.
  static constexpr std::uint64_t kNone = 1;
  struct Open {
    std::uint64_t page = kNone;
    std::size_t index = SIZE_MAX;
  };

  static bool extend(Run& run, AccessKind kind) {
    if (kind == AccessKind::load) {
      if (run.loads == UINT32_MAX) return false;
      ++run.loads;
      return true;
    }
    if (run.stores == 0 || run.stores == UINT32_MAX) return false;
    ++run.stores;
    return true;
  }

  void open(Open& stream, Open& other, std::uint64_t page, AccessKind kind);

  std::vector<Run> runs_;
  Open fetch_;
  Open data_;
};

}  // namespace vmem::sim
