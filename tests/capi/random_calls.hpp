// Sequences of calls of the C interface, made of bytes.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "check.h"

namespace vmem::test {

/// Numbers from given bytes, then (seed 0) zeros, or else from a random sequence.
class Source {
 public:
  Source(std::vector<unsigned char> bytes, std::uint64_t seed) : bytes_(std::move(bytes)), state_(seed) {}

  bool ended() const { return state_ == 0 && at_ >= bytes_.size(); }
  std::uint64_t word() {
    if (at_ < bytes_.size()) {
      std::uint64_t value = 0;
      for (int i = 0; i < 3 && at_ < bytes_.size(); ++i) value = value << 8 | bytes_[at_++];
      return value * 0x9e3779b97f4a7c15u >> 8;
    }
    if (state_ == 0) return 0;
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (state_ >> 33) * 0x9e3779b97f4a7c15u >> 8;
  }
  /// 0 to `most`.
  std::uint64_t upto(std::uint64_t most) { return word() % (most + 1); }
  std::uint32_t small(std::uint32_t most) { return static_cast<std::uint32_t>(upto(most)); }
  bool one_in(std::uint64_t n) { return word() % n == 0; }
  template <class T, std::size_t kCount>
  T pick(const T (&choices)[kCount]) {
    return choices[word() % kCount];
  }
  /// Mostly near something that exists; sometimes at the edges.
  std::uint64_t address(std::uint64_t base, std::uint64_t length) {
    constexpr std::uint64_t kEdges[] = {0,     1,         0xfff,      1ull << 47, (1ull << 47) - 1,
                                        ~0ull, ~0xfffull, 1ull << 63, 1ull << 56};
    return one_in(12) ? pick(kEdges) + upto(16) : base + upto(length + 4096);
  }

 private:
  std::vector<unsigned char> bytes_;
  std::size_t at_ = 0;
  std::uint64_t state_;
};

/// A structure of the interface, with room behind it for members that a newer one might have.
template <class T>
struct Roomy {
  T it{};
  std::array<unsigned char, 512> more{};

  explicit Roomy(Source& source) {
    it.size = sizeof it;
    if (source.one_in(30)) it.size = source.small(sizeof it + sizeof more);
    if (source.one_in(30)) more[source.upto(20)] = 1;
  }
};

struct Tally {
  std::uint64_t done = 0, refused = 0;

  void add(vmem_status status) {
    // vmem's own mistakes are what this looks for.
    CHECK(status != VMEM_E_INTERNAL && status != VMEM_E_INVARIANT);
    ++(status >= 0 ? done : refused);
  }
  Tally& operator+=(const Tally& other) {
    done += other.done;
    refused += other.refused;
    return *this;
  }
};

/// Filled in; now and then something that no processor is.
const vmem_cpu_config* some_processor(Source& source, vmem_cpu_config& processor);

/// One sequence, on objects of its own, which it destroys.
Tally make_calls(Source& source);
Tally make_mmu_calls(Source& source);
Tally make_host_calls(Source& source);

}  // namespace vmem::test
