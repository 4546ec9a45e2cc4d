// Addresses of the three spaces, and their 4 KiB frame numbers.
//
// The spaces never convert into each other implicitly: mixing them is the very bug this project studies.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>

namespace vmem {

inline constexpr int kPageShift = 12;
inline constexpr std::uint64_t kPageSize = 1ull << kPageShift;
inline constexpr std::uint64_t kPageMask = kPageSize - 1;

namespace detail {

template <class Space>
struct Frame;

template <class Space>
struct Address {
  std::uint64_t value = 0;

  constexpr auto operator<=>(const Address&) const = default;
  constexpr Address operator+(std::uint64_t bytes) const { return {value + bytes}; }
  constexpr Frame<Space> frame() const { return {value >> kPageShift}; }
  constexpr std::uint64_t offset() const { return value & kPageMask; }
};

template <class Space>
struct Frame {
  std::uint64_t value = 0;

  constexpr auto operator<=>(const Frame&) const = default;
  constexpr Frame operator+(std::uint64_t frames) const { return {value + frames}; }
  constexpr Address<Space> address() const { return {value << kPageShift}; }
};

struct GuestVirtual;
struct GuestPhysical;
struct HostPhysical;

}  // namespace detail

using Gva = detail::Address<detail::GuestVirtual>;
using Gpa = detail::Address<detail::GuestPhysical>;
using Hpa = detail::Address<detail::HostPhysical>;
using Gfn = detail::Frame<detail::GuestPhysical>;
using Hfn = detail::Frame<detail::HostPhysical>;

/// The three page sizes of long mode, by the level of their leaf minus one.
enum class PageSize : std::uint8_t { k4K = 0, k2M = 1, k1G = 2 };
inline constexpr int kPageSizes = 3;

constexpr int page_shift(PageSize size) { return kPageShift + 9 * static_cast<int>(size); }
constexpr std::uint64_t page_bytes(PageSize size) { return 1ull << page_shift(size); }
constexpr std::uint64_t page_frames(PageSize size) { return 1ull << (9 * static_cast<int>(size)); }
constexpr int leaf_level(PageSize size) { return static_cast<int>(size) + 1; }
constexpr PageSize leaf_page_size(int level) { return static_cast<PageSize>(level - 1); }

constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}
constexpr std::uint64_t align_down(std::uint64_t value, std::uint64_t alignment) { return value & ~(alignment - 1); }

}  // namespace vmem
