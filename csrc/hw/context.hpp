// Tags of cached translations: which address space an entry belongs to.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "core/address.hpp"

namespace vmem::hw {

/// A (VPID, PCID, second-stage root) triple, or the global or guest-physical part of one.
struct Context {
  static constexpr std::uint16_t kGlobal = 0x1000;  ///< in place of a PCID: global pages of (VPID, root)
  static constexpr std::uint16_t kGuestPhysical =
      0x1001;  ///< in place of a PCID: guest-physical mappings of a root, VPID 0

  std::uint16_t vpid = 0;
  std::uint16_t pcid = 0;
  std::uint64_t root = 0;

  auto operator<=>(const Context&) const = default;
};

// A cache key: bit 63 valid, 62:47 context number, 46:45 page size, 44:0 page number (57-bit addresses).
inline constexpr std::uint64_t kKeyValid = 1ull << 63;
inline constexpr int kKeyContextShift = 47;
inline constexpr int kKeySizeShift = 45;
inline constexpr std::uint64_t kKeyAddressMask = (1ull << 57) - 1;

constexpr std::uint64_t key_page(std::uint64_t address, int shift) { return (address & kKeyAddressMask) >> shift; }
/// Bits 56:0 of the first address of the page that a key names; the key says its size.
constexpr std::uint64_t key_address(std::uint64_t key) {
  const auto size = static_cast<int>((key >> kKeySizeShift) & 3);
  return (key & ((1ull << kKeySizeShift) - 1)) << (kPageShift + 9 * size);
}
constexpr std::size_t key_context(std::uint64_t key) {
  return static_cast<std::size_t>((key >> kKeyContextShift) & 0xffff);
}
/// The upper key bits of the context of that number.
constexpr std::uint64_t context_key(std::size_t number) {
  return kKeyValid | (static_cast<std::uint64_t>(number) << kKeyContextShift);
}

/// The upper key bits of the three kinds of entries a walk in one State may use.
struct ContextKeys {
  std::uint64_t own = 0;
  std::uint64_t global = 0;
  std::uint64_t guest_physical = 0;
};

/// Numbers contexts in order of first use. A number stays bound to its context until `clear`, which the owner of the
/// caches calls after flushing them all when `full`.
class ContextTable {
 public:
  bool full() const { return contexts_.size() + 3 > 0xffff; }
  void clear();
  std::uint64_t key(const Context& context);
  const Context& at(std::uint64_t key) const { return contexts_[key_context(key)]; }
  /// For each number, whether `matches(context)`.
  template <class Matches>
  std::vector<std::uint8_t> select(Matches&& matches) const {
    std::vector<std::uint8_t> selected(contexts_.size());
    for (std::size_t i = 0; i < contexts_.size(); ++i) selected[i] = matches(contexts_[i]) ? 1 : 0;
    return selected;
  }

 private:
  std::vector<Context> contexts_;
  std::map<Context, std::uint16_t> numbers_;
};

}  // namespace vmem::hw
