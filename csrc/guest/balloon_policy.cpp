#include "guest/balloon_policy.hpp"

#include <algorithm>

namespace vmem::guest {

std::optional<Gfn> BalloonHand::allocate(int order) {
  const auto block = pages_.allocate(vcpu_, order, PageUse::balloon, Need::once);
  if (block && order != 0) Buddy::split(vcpu_, *block, order);
  return block;
}

bool BalloonHand::has(Gfn page) const {
  if (!pages_.manages(page)) return false;
  const auto entry = vcpu_.load<Page>(page_entry(page));
  return entry.use == PageUse::balloon && (entry.flags & page_flag::kOffline) == 0;
}

BalloonPolicy::Choice LinuxBalloonPolicy::choose(BalloonHand& hand, std::uint64_t wanted) {
  const std::uint64_t count = std::min<std::uint64_t>(wanted, virtio::balloon::kPfnsPerRequest);
  Choice choice;
  while (choice.pages.size() < count && !choice.out_of_puff) {
    const auto page = hand.allocate(0);
    if (page) choice.pages.push_back(*page);
    choice.out_of_puff = !page;
  }
  // fill_balloon stacks what it allocates: the last comes first.
  std::reverse(choice.pages.begin(), choice.pages.end());
  return choice;
}

std::vector<Gfn> LinuxBalloonPolicy::release(std::span<const Gfn> balloon, std::uint64_t count) {
  const auto last = std::min({count, std::uint64_t{virtio::balloon::kPfnsPerRequest}, std::uint64_t{balloon.size()}});
  return {balloon.rbegin(), balloon.rbegin() + static_cast<std::ptrdiff_t>(last)};
}

}  // namespace vmem::guest
