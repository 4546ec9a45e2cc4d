// Rounds of free page hinting, as the host counts them (virtio 1.2, 5.5.6.4; QEMU's FREE_PAGE_HINT_S_*).
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "virtio/balloon.hpp"

namespace vmem::vmm::balloon {

/// The host asks for hints under a new id; hints that come between the driver's telling of that id and of another one
/// belong to the round. A round that has been stopped keeps its pages until the host is done.
class HintRounds {
 public:
  enum class State : std::uint8_t { stopped, requested, started, done };

  void request() {
    id_ = id_ < virtio::balloon::kFirstHintRound || id_ == std::numeric_limits<std::uint32_t>::max()
              ? virtio::balloon::kFirstHintRound
              : id_ + 1;
    highest_ = std::max(highest_, id_);
    state_ = State::requested;
  }
  void stop() { state_ = State::stopped; }
  void finish() { state_ = State::done; }
  /// The driver tells an id. Anything told within a round ends it; an id of an earlier round is late, and ignored.
  void on_id(std::uint32_t id) {
    if (state_ == State::requested && id == id_) {
      state_ = State::started;
    } else if (state_ == State::started) {
      state_ = State::stopped;
    }
  }
  State state() const { return state_; }
  bool takes_hints() const { return state_ == State::started; }
  /// What the configuration shows. While a round goes on this is its id, unlike in QEMU, which shows 0 then: a driver
  /// that reads it again for another reason would take that for STOP.
  std::uint32_t command() const {
    switch (state_) {
      case State::stopped:
        return virtio::balloon::kHintStop;
      case State::done:
        return virtio::balloon::kHintDone;
      case State::requested:
      case State::started:
        break;
    }
    return id_;
  }
  /// The id of the last round; 0: there was none.
  std::uint32_t id() const { return id_; }
  bool has_issued(std::uint32_t id) const {
    return id == virtio::balloon::kHintStop || (id >= virtio::balloon::kFirstHintRound && id <= highest_);
  }

 private:
  State state_ = State::stopped;
  std::uint32_t id_ = 0, highest_ = 0;
};

}  // namespace vmem::vmm::balloon
