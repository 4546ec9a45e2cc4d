// Compiled without contraction of a * b + c: results must be equal bit for bit on every machine.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "sim/workloads/hash.hpp"
#include "sim/workloads/offsets.hpp"

namespace vmem::sim {
namespace {

constexpr std::uint64_t kMostRanks = 1ull << 18;
constexpr int kRandomBits = 53;
constexpr int kGuideBits = 16;

/// number^-exponent, to about 1e-13 of it. Additions, multiplications and divisions only: those round alike everywhere,
/// the logarithms of mathematical libraries do not.
double inverse_power(double number, double exponent) {
  int power = 0;
  double fraction = std::frexp(number, &power);
  if (fraction < 0.7071067811865476) {
    fraction *= 2;
    --power;
  }
  const double t = (fraction - 1) / (fraction + 1), t2 = t * t;
  double series = 0;
  for (int odd = 23; odd > 0; odd -= 2) series = series * t2 + 1 / static_cast<double>(odd);
  const double log2 = static_cast<double>(power) + 2 * t * series * std::numbers::log2e;
  const double whole = std::rint(-exponent * log2);
  const double x = (-exponent * log2 - whole) * std::numbers::ln2;
  double value = 1;
  for (int n = 16; n > 0; --n) value = value * x / static_cast<double>(n) + 1;
  return std::ldexp(value, static_cast<int>(whole));
}

class Zipf final : public Offsets {
 public:
  Zipf(std::uint64_t size, double skew)
      : Offsets(size),
        pages_(size >> kPageShift),
        group_((pages_ + kMostRanks - 1) / kMostRanks),
        ranks_((pages_ + group_ - 1) / group_) {
    if (!(skew > 0 && skew <= 8))
      throw ConfigError("a skew of " + std::to_string(skew) + ": accepted is an exponent above 0, at most 8");
    make_bounds(skew);
    make_guide();
    scatter();
  }
  void fill(std::uint64_t seed, std::uint64_t first, std::span<std::uint64_t> out) const override {
    const Hash random(seed), again(2);
    for (std::uint64_t& offset : out) {
      const std::uint64_t number = random(first++), more = again(number);
      const std::uint64_t page = places_[rank(number >> (64 - kRandomBits))] * group_ + below(more, group_);
      offset = (std::min(page, pages_ - 1) << kPageShift) + (more & (kPageSize / kWord - 1)) * kWord;
    }
  }

 private:
  /// A random number of 53 bits is below bounds_[k] with the probability of the ranks up to k.
  void make_bounds(double skew) {
    std::vector<double> shares(ranks_);
    double sum = 0;
    for (std::uint64_t k = 0; k < ranks_; ++k) shares[k] = sum += inverse_power(static_cast<double>(k + 1), skew);
    bounds_.resize(ranks_);
    for (std::uint64_t k = 0; k < ranks_; ++k) bounds_[k] = static_cast<std::uint64_t>(shares[k] / sum * 0x1p53);
    bounds_.back() = 1ull << kRandomBits;
  }
  /// Where a search begins and ends, by a number's upper bits: at the same rank, for most numbers.
  void make_guide() {
    guide_.resize((1u << kGuideBits) + 1);
    std::uint32_t at = 0;
    for (std::uint64_t i = 0; i < guide_.size(); ++i) {
      while (at < ranks_ && bounds_[at] <= i << (kRandomBits - kGuideBits)) ++at;
      guide_[i] = at;
    }
  }
  /// Popular pages lie anywhere: ranks go to places in the order of a hash.
  void scatter() {
    const Hash hash(1);
    places_.resize(ranks_);
    std::iota(places_.begin(), places_.end(), 0u);
    std::vector<std::uint64_t> keys(ranks_);
    for (std::uint64_t i = 0; i < ranks_; ++i) keys[i] = hash(i);
    std::stable_sort(places_.begin(), places_.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return keys[a] < keys[b]; });
  }
  std::uint64_t rank(std::uint64_t number) const {
    const std::uint64_t slot = number >> (kRandomBits - kGuideBits);
    const std::uint32_t low = guide_[slot], high = guide_[slot + 1];
    if (low == high) return low;
    const auto begin = bounds_.begin();
    return static_cast<std::uint64_t>(std::upper_bound(begin + low, begin + high, number) - begin);
  }

  std::uint64_t pages_, group_, ranks_;
  std::vector<std::uint64_t> bounds_;
  std::vector<std::uint32_t> guide_, places_;
};

}  // namespace

SharedOffsets zipf_offsets(std::uint64_t size, double skew) { return std::make_shared<Zipf>(size, skew); }

}  // namespace vmem::sim
