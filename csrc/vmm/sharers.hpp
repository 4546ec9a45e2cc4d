// Which guest frames a shared machine frame backs.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/address.hpp"
#include "memory/machine_memory.hpp"

namespace vmem::vmm {

struct Sharer {
  std::uint16_t vm = 0;
  Gfn gfn;

  bool operator==(const Sharer&) const = default;
};

/// Chains that start in the frame table (Frame::next of a frame whose use is `shared`; Frame::gfn counts them).
/// Invariant: a frame has the use `shared` exactly as long as its chain is not empty, and every sharer's second stage
/// maps it read-only.
class Sharers {
 public:
  /// As KSM's max_page_sharing: a chain is searched when one of its sharers leaves.
  static constexpr std::uint32_t kMost = 256;

  explicit Sharers(memory::MachineMemory& memory) : memory_(memory), links_(1) {}

  static std::uint32_t count(const memory::Frame& frame) { return frame.gfn; }
  /// Makes a guest frame's only user the first sharer.
  void begin(Hfn hfn) {
    memory::Frame& frame = memory_.frame(hfn);
    const Sharer first{frame.owner, Gfn{frame.gfn}};
    memory_.hand_over(hfn, memory::FrameUse::shared, memory::kNoOwner);
    frame.gfn = 0;
    frame.next = 0;
    add(hfn, first);
  }
  void add(Hfn hfn, const Sharer& sharer) {
    memory::Frame& frame = memory_.frame(hfn);
    std::uint32_t fresh = free_;
    if (fresh != 0) {
      free_ = links_[fresh].next;
    } else {
      fresh = static_cast<std::uint32_t>(links_.size());
      links_.emplace_back();
    }
    links_[fresh] = {static_cast<std::uint32_t>(sharer.gfn.value), frame.next, sharer.vm};
    frame.next = fresh;
    ++frame.gfn;
    ++total_;
  }
  /// Returns how many are left. The sharer is one.
  std::uint32_t remove(Hfn hfn, const Sharer& sharer) {
    memory::Frame& frame = memory_.frame(hfn);
    std::uint32_t* at = &frame.next;
    while (links_[*at].vm != sharer.vm || links_[*at].gfn != sharer.gfn.value) at = &links_[*at].next;
    const std::uint32_t gone = *at;
    *at = links_[gone].next;
    links_[gone].next = free_;
    free_ = gone;
    --total_;
    return --frame.gfn;
  }
  /// Its only sharer becomes its owner again.
  void end(Hfn hfn) {
    memory::Frame& frame = memory_.frame(hfn);
    const Link last = links_[frame.next];
    remove(hfn, {last.vm, Gfn{last.gfn}});
    memory_.hand_over(hfn, memory::FrameUse::guest, last.vm);
    frame.gfn = last.gfn;
  }
  std::vector<Sharer> of(Hfn hfn) const {
    std::vector<Sharer> sharers;
    for (std::uint32_t at = memory_.frame(hfn).next; at != 0; at = links_[at].next)
      sharers.push_back({links_[at].vm, Gfn{links_[at].gfn}});
    return sharers;
  }
  /// Guest frames that are backed by a shared machine frame.
  std::uint64_t total() const { return total_; }

 private:
  struct Link {
    std::uint32_t gfn = 0;
    std::uint32_t next = 0;  ///< 0 ends a chain
    std::uint16_t vm = 0;
  };
  memory::MachineMemory& memory_;
  std::vector<Link> links_;
  std::uint32_t free_ = 0;
  std::uint64_t total_ = 0;
};

}  // namespace vmem::vmm
