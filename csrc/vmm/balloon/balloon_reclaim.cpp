#include "vmm/balloon/balloon_reclaim.hpp"

#include <algorithm>

#include "vmm/vm.hpp"

namespace vmem::vmm::balloon {

std::uint64_t BalloonReclaim::request(std::uint64_t frames) {
  // Nobody is there to hear it, or what it gives would not become free.
  if (!device_.is_up() || device_.is_inhibited()) return 0;
  if (vm_.config().backing.largest != PageSize::k4K) return 0;
  const std::uint64_t all = vm_.frames();
  const std::uint64_t most = std::min(all * kMostPercent / 100, all - std::min(all, vm_.reserved_frames()));
  const std::uint64_t in = device_.held();
  const std::uint64_t wanted = std::min(most, in + frames);
  if (wanted <= in) return 0;
  device_.set_pressure(wanted);
  return wanted - in;
}

void BalloonReclaim::relax() { device_.set_pressure(std::min(device_.pressure(), device_.held())); }

std::uint64_t BalloonReclaim::given() const {
  const std::uint64_t held = std::min(device_.pressure(), device_.held());
  return held > device_.wanted() ? held - device_.wanted() : 0;
}

std::uint64_t BalloonReclaim::give_back(std::uint64_t frames) {
  const std::uint64_t back = std::min(frames, given());
  if (back != 0) device_.set_pressure(std::min(device_.pressure(), device_.held()) - back);
  return back;
}

}  // namespace vmem::vmm::balloon
