// Somebody who is told what one access meets on its way.
#pragma once

#include <cstdint>

#include "core/counters.hpp"
#include "hw/fault.hpp"
#include "hw/handlers.hpp"

namespace vmem::hw {

/// Whose table a walk reads.
enum class Dimension : std::uint8_t { guest, host };
/// What shortens a walk.
enum class WalkCache : std::uint8_t { psc, host_psc, nested_tlb };

/// Absent (nullptr) except while an access is explained, so none of it is on the hot path: TLB hits are not told, and
/// walks are told by an instance of the walker of their own (`Told`).
class Story {
 public:
  /// A walk begins: `gva` has no TLB entry that suffices.
  virtual void walks(Gva gva) = 0;
  /// `level` is that of the entry found, 0 on a miss; of a nested TLB, the leaf's.
  virtual void looks_up(WalkCache cache, std::uint64_t address, int level) = 0;
  /// One counted reference. `at` is where the entry stands, in the space of that table: guest-physical for the guest's
  /// own, else machine.
  virtual void reads(Dimension dimension, int level, std::uint64_t at, std::uint64_t entry) = 0;
  /// A walk in software by the guest's kernel has read so many entries.
  virtual void walks_in_software(std::uint64_t references) = 0;
  virtual void raises(const Fault& fault) = 0;
  virtual void decides(const Fault& fault, Outcome outcome) = 0;
  virtual void handles(const Fault& fault, TrapResult result) = 0;
  virtual void counts(ExitReason reason) = 0;
  virtual void counts(FaultClass kind) = 0;

 protected:
  ~Story() = default;
};

}  // namespace vmem::hw
