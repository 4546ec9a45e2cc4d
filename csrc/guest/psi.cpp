#include "guest/psi.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace vmem::guest {
namespace {

constexpr std::size_t kMostIntervals = 4096;

void add_period(PsiLine& line, Nanoseconds stalled) {
  constexpr std::array<double, 3> kWindows = {10, 60, 300};  // seconds
  const double sample = 100.0 * static_cast<double>(stalled) / static_cast<double>(Psi::kPeriod);
  for (std::size_t i = 0; i < kWindows.size(); ++i) {
    const double keep = std::exp(-2.0 / kWindows[i]);
    line.average[i] = line.average[i] * keep + sample * (1 - keep);
  }
  line.total += stalled;
}

}  // namespace

void Psi::begin(const hw::Vcpu& vcpu) {
  const auto index = static_cast<std::size_t>(vcpu.id());
  if (depth_[index]++ == 0) since_[index] = vcpu.now();
}

void Psi::end(const hw::Vcpu& vcpu) {
  const auto index = static_cast<std::size_t>(vcpu.id());
  if (--depth_[index] != 0 || vcpu.now() == since_[index]) return;
  if (intervals_.size() >= kMostIntervals) settle(vcpu.now());
  intervals_.push_back({since_[index], vcpu.now()});
}

Psi::Share Psi::measure(Nanoseconds from, Nanoseconds to) const {
  std::vector<std::pair<Nanoseconds, int>> steps;
  const auto add = [&](Nanoseconds begin, Nanoseconds end) {
    if (std::max(begin, from) >= std::min(end, to)) return;
    steps.emplace_back(std::max(begin, from), 1);
    steps.emplace_back(std::min(end, to), -1);
  };
  for (const Interval& interval : intervals_) add(interval.begin, interval.end);
  for (std::size_t i = 0; i < depth_.size(); ++i)
    if (depth_[i] != 0) add(since_[i], to);
  std::sort(steps.begin(), steps.end());
  Share share;
  const std::size_t busy = cpus_.busy();
  int stalled = 0;
  Nanoseconds last = from;
  for (const auto& [time, change] : steps) {
    if (stalled > 0) share.some += time - last;
    if (stalled > 0 && static_cast<std::size_t>(stalled) >= busy) share.full += time - last;
    last = time;
    stalled += change;
  }
  return share;
}

void Psi::settle(Nanoseconds now) {
  for (; period_ + kPeriod <= now; period_ += kPeriod) {
    const Share share = measure(period_, period_ + kPeriod);
    add_period(some_, share.some);
    add_period(full_, share.full);
  }
  std::erase_if(intervals_, [&](const Interval& interval) { return interval.end <= period_; });
}

Psi::Pressure Psi::read(Nanoseconds now) {
  settle(now);
  const Share rest = measure(period_, now);
  Pressure pressure{some_, full_};
  pressure.some.total += rest.some;
  pressure.full.total += rest.full;
  return pressure;
}

}  // namespace vmem::guest
