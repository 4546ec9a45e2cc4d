// What the pointers of the C interface point to.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>

#include "capi/refusal.hpp"

namespace vmem::capi {

/// One handle's target. It is never given back to the allocator, so that a handle that was destroyed can be told from
/// one that lives: it is asked for its mark, and has none.
template <class Object, std::uint64_t kMark>
struct Slot {
  std::atomic<std::uint64_t> mark = 0;
  std::unique_ptr<Object> object;

  static constexpr std::uint64_t mark_of_life() { return kMark; }
};

/// The slot type behind a type of the C interface, which is never complete: not even debugging information, by which
/// interfaces are compared, knows more of it.
template <class Handle>
struct SlotOf;

template <class Handle>
using SlotType = typename SlotOf<Handle>::type;  // NOLINT(readability-redundant-typename): not to clang 15 and older

/// The slots of one kind. Those of destroyed objects serve again, the longest dead first and not before many others
/// died after them.
template <class Handle>
class Slots {
  using Slot = SlotType<Handle>;

 public:
  template <class Object>
  Handle* put(std::unique_ptr<Object> object) {
    const std::scoped_lock lock(mutex_);
    const bool reuses = retired_.size() > kRetired;
    if (!reuses) slots_.emplace_back();
    Slot* const slot = reuses ? retired_.front() : &slots_.back();
    if (reuses) retired_.pop_front();
    slot->object = std::move(object);
    slot->mark.store(Slot::mark_of_life(), std::memory_order_release);
    return reinterpret_cast<Handle*>(slot);
  }

  /// The handle is alive.
  void retire(Handle* handle) {
    auto* const slot = reinterpret_cast<Slot*>(handle);
    slot->mark.store(0, std::memory_order_release);
    slot->object.reset();
    const std::scoped_lock lock(mutex_);
    retired_.push_back(slot);
  }

 private:
  static constexpr std::size_t kRetired = 4096;

  std::mutex mutex_;
  std::deque<Slot> slots_;
  std::deque<Slot*> retired_;
};

/// The object of a handle. NULL, destroyed, and of another kind: VMEM_E_HANDLE.
template <class Handle>
auto& object_of(Handle* handle, const char* name) {
  using Slot = SlotType<Handle>;
  if (handle == nullptr) [[unlikely]]
    throw Refusal(VMEM_E_HANDLE, std::string(name) + " is NULL");
  const auto* const slot = reinterpret_cast<const Slot*>(handle);
  if (reinterpret_cast<std::uintptr_t>(handle) % alignof(Slot) != 0 ||
      slot->mark.load(std::memory_order_acquire) != Slot::mark_of_life()) [[unlikely]]
    throw Refusal(VMEM_E_HANDLE, std::string(name) + " has been destroyed, or never was one");
  return *slot->object;
}

}  // namespace vmem::capi
