// Where a synthetic program's references go: offsets into its memory, by a formula of their position in the stream.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "core/address.hpp"

namespace vmem::sim {

inline constexpr std::uint64_t kWord = 8;  ///< what one reference reads or writes

/// Has no state, so that one object serves every stream of its kind. Offsets are multiples of 8 below size(), equal on
/// every machine: integers only, or floating-point operations that IEEE 754 rounds alike everywhere.
class Offsets {
 public:
  /// `size` bytes: a positive multiple of 4 KiB.
  explicit Offsets(std::uint64_t size);
  virtual ~Offsets() = default;
  Offsets(const Offsets&) = delete;
  Offsets& operator=(const Offsets&) = delete;

  std::uint64_t size() const { return size_; }
  /// Those of the references `first`, `first` + 1, … of the stream of a seed.
  virtual void fill(std::uint64_t seed, std::uint64_t first, std::span<std::uint64_t> out) const = 0;

 private:
  std::uint64_t size_;
};

using SharedOffsets = std::shared_ptr<const Offsets>;

// Each in a file of its own; ConfigError for what cannot be.

/// Every word alike.
SharedOffsets uniform_offsets(std::uint64_t size);
/// Pages by Zipf's law: the k-th most popular in proportion to 1 / k^skew, popular ones scattered. Beyond 2^18 pages a
/// rank is a group of neighbours, alike among themselves.
SharedOffsets zipf_offsets(std::uint64_t size, double skew);
/// Every `step` bytes, from the start again at the end.
SharedOffsets strided_offsets(std::uint64_t size, std::uint64_t step);
/// A share of the references goes to the hot part of the pages, the rest anywhere, every word alike. After every
/// `phase` references the hot part lies elsewhere. `share` is in 2^-63.
SharedOffsets hot_cold_offsets(std::uint64_t size, std::uint64_t hot, std::uint64_t share, std::uint64_t phase);
/// Node after node of a linked list through all of memory, in an order without any: every 64-byte node once in a round.
SharedOffsets chase_offsets(std::uint64_t size);
/// Every one of them `burst` words in a row, wrapping around within its page: an object that is read as a whole.
SharedOffsets burst_offsets(SharedOffsets of, std::uint64_t burst);
/// Words alike, each twice in a row: to be read, then written.
SharedOffsets update_offsets(std::uint64_t size);

}  // namespace vmem::sim
