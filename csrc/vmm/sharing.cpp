#include "vmm/sharing.hpp"

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "vmm/unmap.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {
namespace {

using memory::FrameUse;

constexpr paging::Rights kAllAccess = paging::kRead | paging::kWrite | paging::kExecute;

Hfn frame_of(Vm& vm, Gfn gfn) { return vm.second_stage()->target(vm.second_stage()->find(gfn), gfn); }

std::string_view contents(const memory::PhysicalMemory& bytes, Hfn hfn) {
  return {reinterpret_cast<const char*>(bytes.data() + hfn.address().value), kPageSize};
}

/// Frames that nobody wrote are read by nobody: the simulator's memory would grow by what it looks at.
std::uint64_t hash(const memory::PhysicalMemory& bytes, Hfn hfn) {
  static const std::uint64_t zeros = std::hash<std::string_view>{}(std::string(kPageSize, '\0'));
  return bytes.is_written(hfn.value) ? std::hash<std::string_view>{}(contents(bytes, hfn)) : zeros;
}

bool equal(const memory::PhysicalMemory& bytes, Hfn a, Hfn b) {
  if (!bytes.is_written(a.value) && !bytes.is_written(b.value)) return true;
  return contents(bytes, a) == contents(bytes, b);
}

/// One pass over all VMs; each is flushed once, at the end: no vCPU runs before that.
class Pass {
 public:
  explicit Pass(std::span<const std::unique_ptr<Vm>> vms) {
    for (const auto& vm : vms)
      if (!vm->is_native()) visited_.push_back({vm.get(), std::make_unique<Unmap>(*vm)});
  }
  std::uint64_t run() {
    std::uint64_t merged = 0;
    for (Visited& visited : visited_) merged += look_at(visited);
    return merged;
  }

 private:
  struct Visited {
    Vm* vm;
    std::unique_ptr<Unmap> unmap;
  };
  struct Candidate {
    Visited* in;
    Gfn gfn;
    Hfn frame() const { return frame_of(*in->vm, gfn); }
  };

  std::uint64_t look_at(Visited& visited) {
    std::vector<Gfn> gfns;
    visited.vm->second_stage()->for_each([&](Gfn gfn, const SecondStage::Leaf& leaf) {
      if (leaf.level == 1) gfns.push_back(gfn);
    });
    std::uint64_t merged = 0;
    for (const Gfn gfn : gfns) {
      const Candidate candidate{&visited, gfn};
      const auto [at, is_new] = by_hash_.try_emplace(hash(visited.vm->memory().bytes(), candidate.frame()), candidate);
      if (is_new) continue;
      if (merge(at->second, candidate)) {
        ++merged;
      } else {
        at->second = candidate;  // the older one has all the sharers it may have
      }
    }
    return merged;
  }

  static bool merge(const Candidate& kept, const Candidate& given_up) {
    Host& host = kept.in->vm->host();
    const Hfn frame = kept.frame();
    const bool is_shared = host.memory.frame(frame).use == FrameUse::shared;
    if (frame == given_up.frame() || (is_shared && Sharers::count(host.memory.frame(frame)) >= Sharers::kMost))
      return false;
    if (!equal(host.memory.bytes(), frame, given_up.frame())) return false;
    if (!is_shared) {
      kept.in->unmap->protect(kept.gfn);
      host.sharers.begin(frame);
    }
    Vm& vm = *given_up.in->vm;
    given_up.in->unmap->take_page(given_up.gfn);
    vm.second_stage()->map(vm.second_stage()->find(given_up.gfn), given_up.gfn, frame, PageSize::k4K,
                           paging::kRead | paging::kExecute);
    host.sharers.add(frame, {vm.id(), given_up.gfn});
    vm.add_resident(1);
    ++host.stat.merged;
    return true;
  }

  std::vector<Visited> visited_;
  std::unordered_map<std::uint64_t, Candidate> by_hash_;
};

}  // namespace

std::uint64_t share(std::span<const std::unique_ptr<Vm>> vms) { return Pass(vms).run(); }

bool break_share(Vm& vm, Gfn gfn) {
  Host& host = vm.host();
  SecondStage& stage = *vm.second_stage();
  const SecondStage::Leaf leaf = stage.find(gfn);
  const Hfn shared = stage.target(leaf, gfn);
  if (Sharers::count(host.memory.frame(shared)) == 1) {
    host.sharers.end(shared);
    stage.set(leaf, stage.with_rights(leaf.entry, kAllAccess));  // loosened: a TLB that is narrower faults once more
  } else {
    const auto own = host.memory.allocate(0, FrameUse::guest, vm.id());
    if (!own) return false;
    host.memory.frame(*own).gfn = static_cast<std::uint32_t>(gfn.value);
    memory::PhysicalMemory& bytes = host.memory.bytes();
    if (bytes.is_written(shared.value))
      bytes.write(own->address().value, {bytes.data() + shared.address().value, kPageSize});
    Unmap unmap(vm);
    unmap.take_page(gfn);
    stage.map(stage.find(gfn), gfn, *own, PageSize::k4K, kAllAccess);
    vm.add_resident(1);
  }
  ++host.stat.cow_broken;
  return true;
}

}  // namespace vmem::vmm
