#include "memory/buddy.hpp"

#include <algorithm>
#include <bit>
#include <string>

#include "core/error.hpp"

namespace vmem::memory {

Buddy::Buddy(FrameTable& frames, std::uint64_t reserved) : frames_(frames) {
  reserved = std::max<std::uint64_t>(reserved, 1);
  frames_[Hfn{0}].use = FrameUse::reserved;
  if (frames.size() > reserved) free_span(reserved, frames.size() - reserved);
}

void Buddy::free_span(std::uint64_t first, std::uint64_t count) {
  // From the top, so that the lists start with the lowest addresses.
  std::uint64_t end = first + count;
  while (end > first) {
    const int alignment = std::min(std::countr_zero(end), kMaxOrder);
    const int length = static_cast<int>(std::bit_width(end - first)) - 1;
    const int order = std::min(alignment, length);
    end -= 1ull << order;
    push(Hfn{end}, order);
    free_frames_ += 1ull << order;
  }
}

void Buddy::push(Hfn head, int order) {
  const auto list = static_cast<std::size_t>(order);
  Frame& frame = frames_[head];
  frame = Frame{};
  frame.use = FrameUse::free;
  frame.order = static_cast<std::uint8_t>(order);
  frame.next = heads_[list];
  if (heads_[list] != 0) frames_[Hfn{heads_[list]}].previous = static_cast<std::uint32_t>(head.value);
  heads_[list] = static_cast<std::uint32_t>(head.value);
  ++blocks_[list];
}

void Buddy::remove(Hfn head, int order) {
  const auto list = static_cast<std::size_t>(order);
  Frame& frame = frames_[head];
  if (frame.previous != 0) {
    frames_[Hfn{frame.previous}].next = frame.next;
  } else {
    heads_[list] = frame.next;
  }
  if (frame.next != 0) frames_[Hfn{frame.next}].previous = frame.previous;
  frame = Frame{};
  frame.order = static_cast<std::uint8_t>(order);
  --blocks_[list];
}

std::optional<Hfn> Buddy::allocate(int order) {
  int from = order;
  while (from <= kMaxOrder && heads_[static_cast<std::size_t>(from)] == 0) ++from;
  if (from > kMaxOrder) return std::nullopt;
  const Hfn head{heads_[static_cast<std::size_t>(from)]};
  remove(head, from);
  while (from > order) {
    --from;
    push(head + (1ull << from), from);
  }
  frames_[head].order = static_cast<std::uint8_t>(order);
  free_frames_ -= 1ull << order;
  return head;
}

bool Buddy::allocate_at(Hfn hfn, int order) {
  for (int from = order; from <= kMaxOrder; ++from) {
    Hfn head{align_down(hfn.value, 1ull << from)};
    if (head.value >= frames_.size() || frames_[head].use != FrameUse::free || frames_[head].order != from) continue;
    remove(head, from);
    while (from > order) {
      --from;
      const Hfn upper = head + (1ull << from);
      const bool in_upper = hfn >= upper;
      push(in_upper ? head : upper, from);
      if (in_upper) head = upper;
    }
    frames_[head].order = static_cast<std::uint8_t>(order);
    free_frames_ -= 1ull << order;
    return true;
  }
  return false;
}

void Buddy::free(Hfn head, int order) {
  free_frames_ += 1ull << order;
  frames_[head] = Frame{};
  while (order < kMaxOrder) {
    const Hfn buddy{head.value ^ (1ull << order)};
    if (buddy.value + (1ull << order) > frames_.size() || frames_[buddy].use != FrameUse::free ||
        frames_[buddy].order != order)
      break;
    remove(buddy, order);
    frames_[buddy] = Frame{};
    head = std::min(head, buddy);
    ++order;
  }
  push(head, order);
}

void Buddy::split(Hfn head, int to) {
  const Frame whole = frames_[head];
  for (std::uint64_t at = 0; at < 1ull << whole.order; at += 1ull << to) {
    Frame& part = frames_[head + at];
    const std::uint32_t rmap = part.rmap;  // each frame of a block has a chain of its own
    part = whole;
    part.rmap = rmap;
    part.gfn = static_cast<std::uint32_t>(whole.gfn + at);
    part.order = static_cast<std::uint8_t>(to);
  }
}

std::optional<Hfn> Buddy::allocate_range(std::uint64_t count, int align_order) {
  const std::uint64_t step = 1ull << align_order;
  std::uint64_t start = align_up(1, step);
  for (std::uint64_t at = start; start + count <= frames_.size();) {
    const Frame& frame = frames_[Hfn{at}];
    if (frame.use != FrameUse::free) {  // restart behind this frame
      at = start = align_up(at + 1, step);
      continue;
    }
    at += 1ull << frame.order;
    if (at < start + count) continue;
    for (std::uint64_t taken = start; taken < start + count;) {
      const int order =
          std::min({std::countr_zero(taken), static_cast<int>(std::bit_width(start + count - taken)) - 1, kMaxOrder});
      allocate_at(Hfn{taken}, order);
      taken += 1ull << order;
    }
    return Hfn{start};
  }
  return std::nullopt;
}

bool Buddy::has_free(int order) const {
  for (int from = order; from <= kMaxOrder; ++from)
    if (heads_[static_cast<std::size_t>(from)] != 0) return true;
  return false;
}

void Buddy::check() const {
  std::uint64_t counted = 0;
  for (int order = 0; order <= kMaxOrder; ++order) {
    std::uint64_t blocks = 0;
    for (std::uint32_t at = heads_[static_cast<std::size_t>(order)], previous = 0; at != 0;
         previous = at, at = frames_[Hfn{at}].next) {
      const Frame& frame = frames_[Hfn{at}];
      if (frame.use != FrameUse::free || frame.order != order || frame.previous != previous ||
          (at & ((1ull << order) - 1)) != 0)
        throw InvariantError("host buddy: block " + hex(at) + " in the list of order " + std::to_string(order) +
                             " is not a free head of that order");
      ++blocks;
    }
    if (blocks != blocks_[static_cast<std::size_t>(order)])
      throw InvariantError("host buddy: order " + std::to_string(order) + " counts " +
                           std::to_string(blocks_[static_cast<std::size_t>(order)]) + " blocks, its list holds " +
                           std::to_string(blocks));
    counted += blocks << order;
  }
  if (counted != free_frames_)
    throw InvariantError("host buddy: " + std::to_string(free_frames_) + " frames counted free, lists hold " +
                         std::to_string(counted));
}

}  // namespace vmem::memory
