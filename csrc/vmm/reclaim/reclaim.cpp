#include "vmm/reclaim/reclaim.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "vmm/host_swap.hpp"
#include "vmm/kill.hpp"
#include "vmm/reclaim/reclaim_source.hpp"
#include "vmm/unmap.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {
namespace {

/// More frames than one exit takes: page, guest tables on the way to it, their second-stage tables, shadow pages.
constexpr std::uint64_t kReserve = 64;
/// One exit of a VM at its limit takes no more of its own.
constexpr std::uint64_t kLimitSlack = 8;
/// Pages swapped for one flush of the VM that gives them.
constexpr std::uint64_t kBatch = 64;

const ReclaimConfig& checked(const ReclaimConfig& config) {
  check_thresholds(config.thresholds);
  if (config.period == 0) throw ConfigError("the period of host reclaim is 0 ns; accepted is 1 ns or more");
  return config;
}

/// What can be taken from it.
std::uint64_t spare(const Vm& vm) {
  if (vm.is_native() || !vm.config().can_be_swapped || vm.resident_frames() <= vm.reserved_frames()) return 0;
  return vm.resident_frames() - vm.reserved_frames();
}

}  // namespace

Reclaim::Reclaim(Host& host, const std::vector<std::unique_ptr<Vm>>& vms, const ReclaimConfig& config)
    : host_(host),
      vms_(vms),
      config_(checked(config)),
      victims_(config.victims, config.seed),
      reserve_(std::min(kReserve, host.memory.bytes().frames() / 16)),
      next_(host.clock.now() + config.period) {}

bool Reclaim::is_at_limit(const Vm& vm) { return vm.resident_frames() + kLimitSlack > vm.limit_frames(); }

void Reclaim::make_room_for(Vm& vm) {
  if (vm.is_native()) return;
  if (is_at_limit(vm)) swap_from(vm, kBatch);
  if (host_.memory.buddy().free_frames() >= reserve_) return;
  swap_until(reserve_ + kBatch);
}

bool Reclaim::free_up(std::uint64_t frames) { return swap_until(frames + reserve_); }

Vm* Reclaim::poorest() const {
  Vm* found = nullptr;
  for (const auto& vm : vms_) {
    if (spare(*vm) == 0) continue;
    if (found == nullptr ||
        vm->resident_frames() * found->config().shares > found->resident_frames() * vm->config().shares)
      found = vm.get();
  }
  return found;
}

bool Reclaim::swap_until(std::uint64_t free) {
  const memory::Buddy& buddy = host_.memory.buddy();
  while (buddy.free_frames() < free) {
    Vm* const giver = poorest();
    if (giver == nullptr) return false;
    const std::uint64_t wanted = std::min({kBatch, free - buddy.free_frames(), spare(*giver)});
    if (swap_from(*giver, wanted) == 0) return false;
  }
  return true;
}

std::uint64_t Reclaim::swap_from(Vm& vm, std::uint64_t count) {
  constexpr int kTries = 16;  // pages that the disk refuses, before the others are given up as well
  if (host_.swap.free() == 0) return 0;
  std::uint64_t done = 0;
  Unmap unmap(vm);
  for (int refused = 0; done < count && refused < kTries;) {
    const auto gfn = victims_.pick(vm, unmap);
    if (!gfn) break;
    switch (swap_out(vm, *gfn, unmap)) {
      case SwapOut::done:
        ++done;
        continue;
      case SwapOut::no_table:
        unmap.commit();  // frees what was taken so far
        [[fallthrough]];
      case SwapOut::disk_error:
        ++refused;
        continue;
      case SwapOut::not_backed:
      case SwapOut::no_slot:
        return done;
    }
  }
  return done;
}

void Reclaim::enter_state(HostState state) {
  if (state == state_) return;
  host_.events.add("host_state", "host",
                   {{"from", static_cast<std::uint64_t>(state_)},
                    {"to", static_cast<std::uint64_t>(state)},
                    {"free", host_.memory.buddy().free_frames() << kPageShift},
                    {"swap_free", host_.swap.free() << kPageShift}});
  state_ = state;
  if (state != HostState::high) return;
  for (const auto& vm : vms_)
    if (vm->reclaim_source() != nullptr) vm->reclaim_source()->relax();
}

std::uint64_t Reclaim::ask_balloons(std::uint64_t frames) {
  if (!config_.asks_balloons) return 0;
  std::vector<Vm*> givers;
  for (const auto& vm : vms_)
    if (vm->reclaim_source() != nullptr && spare(*vm) > 0) givers.push_back(vm.get());
  std::ranges::stable_sort(givers, [](const Vm* a, const Vm* b) {
    return a->resident_frames() * b->config().shares > b->resident_frames() * a->config().shares;
  });
  std::uint64_t expected = 0;
  for (const Vm* vm : givers)
    if (expected < frames) expected += vm->reclaim_source()->request(std::min(frames - expected, spare(*vm)));
  balloons_hold_ = balloons_hold_ || expected != 0;
  return expected;
}

void Reclaim::give_back(std::uint64_t frames) {
  std::vector<Vm*> takers;
  for (const auto& vm : vms_)
    if (vm->reclaim_source() != nullptr && vm->reclaim_source()->given() != 0) takers.push_back(vm.get());
  std::ranges::stable_sort(takers, [](const Vm* a, const Vm* b) {
    return a->resident_frames() * b->config().shares < b->resident_frames() * a->config().shares;
  });
  for (const Vm* vm : takers) frames -= vm->reclaim_source()->give_back(frames);
  balloons_hold_ = !takers.empty();
}

Nanoseconds Reclaim::next_deadline() const {
  const HostState next =
      next_state(state_, host_.memory.buddy().free_frames(), host_.memory.bytes().frames(), config_.thresholds);
  return state_ == HostState::high && next == HostState::high && !balloons_hold_ ? kNever : next_;
}

void Reclaim::run_due(Nanoseconds now) {
  next_ = now + config_.period;
  const std::uint64_t total = host_.memory.bytes().frames();
  const memory::Buddy& buddy = host_.memory.buddy();
  enter_state(next_state(state_, buddy.free_frames(), total, config_.thresholds));
  const std::uint64_t goal = frames_for_high(total, config_.thresholds);
  if (buddy.free_frames() >= goal) {
    if (state_ == HostState::high) give_back(buddy.free_frames() - goal);
    return;
  }
  if (state_ == HostState::high) return;
  const std::uint64_t needed = goal - buddy.free_frames();
  const std::uint64_t expected = ask_balloons(needed);
  // Balloons take their time: in the worse states the swap does not wait for them to get out of there.
  const std::uint64_t at_once = state_ == HostState::soft ? 0 : frames_for_soft(total, config_.thresholds);
  swap_until(std::max(goal - std::min(expected, needed), at_once));
  enter_state(next_state(state_, buddy.free_frames(), total, config_.thresholds));
}

bool Reclaim::last_resort(Vm& vm) {
  Vm* victim = nullptr;
  for (const auto& other : vms_)  // by age
    if (!other->is_native() && !other->is_killed() && (victim == nullptr || spare(*other) >= spare(*victim)))
      victim = other.get();
  if (victim == nullptr || !vm.is_booted()) victim = &vm;
  host_.events.add("host_out_of_memory", victim->config().name,
                   {{"resident", victim->resident_frames() << kPageShift},
                    {"swapped", victim->swapped_frames() << kPageShift},
                    {"free", host_.memory.buddy().free_frames() << kPageShift},
                    {"swap_free", host_.swap.free() << kPageShift}});
  kill(*victim);
  return victim != &vm;
}

}  // namespace vmem::vmm
