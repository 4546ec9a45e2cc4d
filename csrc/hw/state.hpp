// The registers that decide how an address is translated.
#pragma once

#include <cstdint>

namespace vmem::hw {

inline constexpr std::uint64_t kCr0Pe = 1ull << 0;
inline constexpr std::uint64_t kCr0Wp = 1ull << 16;
inline constexpr std::uint64_t kCr0Pg = 1ull << 31;
inline constexpr std::uint64_t kCr4Pae = 1ull << 5;
inline constexpr std::uint64_t kCr4Pge = 1ull << 7;
inline constexpr std::uint64_t kCr4La57 = 1ull << 12;
inline constexpr std::uint64_t kCr4Pcide = 1ull << 17;
inline constexpr std::uint64_t kCr4Smep = 1ull << 20;
inline constexpr std::uint64_t kCr4Smap = 1ull << 21;
inline constexpr std::uint64_t kCr4Pke = 1ull << 22;
inline constexpr std::uint64_t kEferLme = 1ull << 8;
inline constexpr std::uint64_t kEferLma = 1ull << 10;
inline constexpr std::uint64_t kEferNxe = 1ull << 11;
inline constexpr std::uint64_t kCr3NoFlush = 1ull << 63;
inline constexpr std::uint64_t kEptpAccessedDirty = 1ull << 6;

enum class SecondStageKind : std::uint8_t { none, ept, npt };

/// Long mode only (docs/design/mmu.md). A raw value: setting it implies no invalidation.
struct State {
  std::uint64_t cr0 = kCr0Pe | kCr0Pg | kCr0Wp;
  std::uint64_t cr3 = 0;
  std::uint64_t cr4 = kCr4Pae;
  std::uint64_t efer = kEferLme | kEferLma | kEferNxe;
  std::uint32_t pkru = 0;
  std::uint8_t cpl = 3;
  bool ac = false;
  std::uint16_t vpid = 0;
  SecondStageKind second_stage = SecondStageKind::none;
  std::uint64_t second_stage_root = 0;  ///< EPTP or nCR3

  /// What a page permits does not differ between the two.
  bool same_rights(const State& other) const {
    return cr0 == other.cr0 && cr4 == other.cr4 && efer == other.efer && pkru == other.pkru && cpl == other.cpl &&
           ac == other.ac;
  }
  bool user() const { return cpl == 3; }
  bool wp() const { return (cr0 & kCr0Wp) != 0; }
  bool nxe() const { return (efer & kEferNxe) != 0; }
  bool has(std::uint64_t cr4_bit) const { return (cr4 & cr4_bit) != 0; }
  int levels() const { return has(kCr4La57) ? 5 : 4; }
  /// Of a canonical address.
  int address_bits() const { return has(kCr4La57) ? 57 : 48; }
  std::uint16_t pcid() const { return has(kCr4Pcide) ? static_cast<std::uint16_t>(cr3 & 0xfff) : std::uint16_t{0}; }
  std::uint64_t cr3_root() const { return cr3 & 0x000f'ffff'ffff'f000ull; }
  std::uint64_t stage2_root() const { return second_stage_root & 0x000f'ffff'ffff'f000ull; }
  /// The walker writes accessed and dirty bits of the second stage, and treats accesses to guest tables as writes.
  bool stage2_accessed_dirty() const {
    return second_stage == SecondStageKind::npt ||
           (second_stage == SecondStageKind::ept && (second_stage_root & kEptpAccessedDirty) != 0);
  }
  int stage2_levels(int npt_levels) const {
    return second_stage == SecondStageKind::ept ? static_cast<int>((second_stage_root >> 3) & 7) + 1 : npt_levels;
  }
};

}  // namespace vmem::hw
