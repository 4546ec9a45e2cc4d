// What the hypervisor knows of each machine frame.
#pragma once

#include <cstdint>

#include "core/address.hpp"
#include "memory/mapping.hpp"

namespace vmem::memory {

/// What a frame is used for. `none` is a frame inside a larger block, or one never touched.
/// `shared` backs several guest frames at once, read-only.
enum class FrameUse : std::uint8_t { none, free, reserved, table, guest, process, shared };
inline constexpr std::size_t kFrameUses = 7;

inline constexpr std::uint16_t kNoOwner = 0xffff;

/// One machine frame. Of a block of 2^order frames only the first, the head, carries its fields.
struct Frame {
  std::uint32_t next = 0;  ///< links of the free list the block is in; hPFN 0 is never allocated and ends a list. use
                           ///< == shared: chain of its sharers (vmm/sharers.hpp)
  std::uint32_t previous = 0;
  std::uint32_t gfn = 0;  ///< use == guest: where the owner's second stage maps it; shared: how many guest frames
  std::uint32_t rmap =
      0;  ///< chain of the shadow entries that map it (vmm/shadow/reverse_map.hpp); every frame has its own
  std::uint16_t owner = 0;  ///< use == guest, table: id of the VM; process: of the host process
  FrameUse use = FrameUse::none;
  std::uint8_t order = 0;
  std::uint32_t extra = 0;  ///< belongs to the current user of the frame
};
static_assert(sizeof(Frame) <= 24);

/// A flat array over all of machine memory, touched only where frames are used.
class FrameTable {
 public:
  explicit FrameTable(std::uint64_t frames) : frames_(frames), mapping_(align_up(frames * sizeof(Frame), kPageSize)) {}

  std::uint64_t size() const { return frames_; }
  Frame& operator[](Hfn hfn) { return entries()[hfn.value]; }
  const Frame& operator[](Hfn hfn) const { return entries()[hfn.value]; }

 private:
  Frame* entries() const { return reinterpret_cast<Frame*>(mapping_.data()); }

  std::uint64_t frames_;
  LazyMapping mapping_;
};

}  // namespace vmem::memory
