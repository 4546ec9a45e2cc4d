// Recorded programs.
#include "sim/programs/trace.hpp"

#include <algorithm>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "capi/result.hpp"
#include "capi/start.hpp"
#include "core/run.hpp"

namespace vmem::capi {
namespace {

using Runs = std::vector<Run>;

Runs copied(const vmem_run* runs, std::uint64_t count) {
  require_elements(runs, count, "runs");
  Runs copy;
  copy.reserve(count);
  for (const vmem_run& run : std::span(runs, count)) {
    copy.push_back({run.page, run.loads, run.stores});
    if (!well_formed(copy.back())) refuse_run(copy.size() - 1);
  }
  return copy;
}

/// Pages of user addresses; the kernel refuses what else is wrong.
bool is_range(std::uint64_t start, std::uint64_t length) {
  return ((start | length) & kPageMask) == 0 && length <= 1ull << 56 && start <= (1ull << 56) - length;
}

std::vector<sim::ReplayedCall> areas(const vmem_trace& given) {
  require_elements(given.areas, given.area_count, "areas");
  std::vector<sim::ReplayedCall> made;
  for (const vmem_trace_area& area : std::span(given.areas, given.area_count)) {
    const std::string which = "area " + std::to_string(made.size());
    if (area.length == 0 || !is_range(area.start, area.length))
      throw Refusal(VMEM_E_ARGUMENT, which + ": " + std::to_string(area.length) + " bytes at " +
                                         std::to_string(area.start) + "; accepted are pages below 2**56");
    if (area.reserved != 0)
      throw Refusal(VMEM_E_ARGUMENT, which + ": reserved is " + std::to_string(area.reserved) + "; accepted is 0");
    made.push_back({sim::ReplayedCall::Kind::mmap, area.start, area.length, protection(area.protection), "trace"});
  }
  return made;
}

/// The caller's runs, block by block.
class RunReader {
 public:
  explicit RunReader(std::shared_ptr<const Runs> runs) : runs_(std::move(runs)) {}
  sim::TraceItem operator()() {
    constexpr std::size_t kBlock = 1 << 16;
    if (at_ == runs_->size()) return std::monostate{};
    const auto rest = std::span(*runs_).subspan(at_);
    const auto block = rest.first(std::min(kBlock, rest.size()));
    at_ += block.size();
    return Runs(block.begin(), block.end());
  }

 private:
  std::shared_ptr<const Runs> runs_;
  std::size_t at_ = 0;
};

/// What the caller's function says. Where it breaks its rules, it counts as a callback that failed.
class ItemReader {
 public:
  ItemReader(vmem_trace_fn next, void* user, vmem_host* host) : next_(next), user_(user), host_(host) {}
  sim::TraceItem operator()() {
    vmem_trace_item item{};
    item.size = sizeof item;
    const std::string which = "item " + std::to_string(number_) + " of a trace: ";
    if (!succeeds([&] { return next_(user_, host_, number_, &item); }))
      throw Refusal(VMEM_E_CALLBACK, which + "the function that was to give it failed");
    try {
      sim::TraceItem made = read(item);
      ++number_;
      return made;
    } catch (const VmemError& error) {
      throw Refusal(VMEM_E_CALLBACK, which + error.what());
    }
  }

 private:
  static sim::TraceItem read(const vmem_trace_item& item) {
    if (item.reserved != 0)
      throw Refusal(VMEM_E_CALLBACK, "reserved is " + std::to_string(item.reserved) + "; accepted is 0");
    switch (item.kind) {
      case VMEM_ITEM_END:
        return std::monostate{};
      case VMEM_ITEM_RUNS:
        return copied(item.runs, item.count);
      case VMEM_ITEM_REFERENCES:
        return single(item);
      case VMEM_ITEM_MMAP:
        return call(item, sim::ReplayedCall::Kind::mmap);
      case VMEM_ITEM_MUNMAP:
        return call(item, sim::ReplayedCall::Kind::munmap);
      case VMEM_ITEM_MPROTECT:
        return call(item, sim::ReplayedCall::Kind::mprotect);
      case VMEM_ITEM_BRK:
        return call(item, sim::ReplayedCall::Kind::brk);
      default:
        throw Refusal(VMEM_E_CALLBACK, "kind is " + std::to_string(item.kind) + "; accepted is up to VMEM_ITEM_BRK");
    }
  }
  static sim::SingleReferences single(const vmem_trace_item& item) {
    require_elements(item.addresses, item.count, "addresses");
    require_elements(item.kinds, item.count, "kinds");
    const std::size_t count = item.count;
    sim::SingleReferences made{{item.addresses, item.addresses + count}, {item.kinds, item.kinds + count}};
    const std::size_t valid = count_valid(made.kinds.data(), count);
    if (valid < count) access_kind(made.kinds[valid]);  // refuses
    return made;
  }
  static sim::ReplayedCall call(const vmem_trace_item& item, sim::ReplayedCall::Kind kind) {
    if (!is_range(item.start, item.length))
      throw Refusal(VMEM_E_CALLBACK, std::to_string(item.length) + " bytes at " + std::to_string(item.start) +
                                         "; accepted are pages below 2**56");
    return {kind, item.start, item.length, protection(item.protection), item.name == nullptr ? "" : item.name};
  }

  vmem_trace_fn next_;
  void* user_;
  vmem_host* host_;
  std::uint64_t number_ = 0;
};

}  // namespace

sim::ProgramFactory trace(const vmem_trace& given, const Manner& how, vmem_host* host) {
  if (given.next != nullptr && (given.runs != nullptr || given.run_count != 0))
    throw Refusal(VMEM_E_ARGUMENT, "a trace of runs and of a function; accepted is one of them");
  const auto runs = std::make_shared<const Runs>(copied(given.runs, given.run_count));
  return [runs, first = areas(given), next = given.next, user = given.user, host, how] {
    sim::TraceConfig config{first, {}, how.compute, how.page};
    if (next != nullptr)
      config.pull = ItemReader(next, user, host);
    else
      config.pull = RunReader(runs);
    return std::make_unique<sim::TraceProgram>(std::move(config));
  };
}

}  // namespace vmem::capi
