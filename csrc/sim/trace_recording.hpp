// The word stream of the recorder plugin (python/vmem/data/recorder/recorder.c): words in, runs and mapping calls out.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "sim/trace_compactor.hpp"

namespace vmem::sim {

/// A mapping call of the recorded program that succeeded.
struct MapCall {
  enum class Kind : std::uint8_t { mmap = 0, munmap = 1, mprotect = 2, brk = 3 };
  Kind kind;
  std::uint64_t start;
  std::uint64_t length;
  std::uint8_t prot;  ///< PROT_READ 1, PROT_WRITE 2, PROT_EXEC 4
  std::string name;   ///< of the file mapped, or empty
};

using RecordedItem = std::variant<std::vector<Run>, MapCall>;

class Recording {
 public:
  /// Decodes as many whole words and events as `bytes` holds and says how many bytes that was; the rest is given again
  /// with more. A stream that no recorder writes is a TraceError.
  std::size_t feed(std::span<const char> bytes, std::vector<RecordedItem>& items);

  /// Ends the stream and returns its last runs.
  std::vector<Run> finish();

  /// Whether the program ended by itself, so that the recorder could finish its stream.
  bool complete() const { return complete_; }
  std::uint64_t references() const { return references_; }

 private:
  /// Returns the bytes of the event at the front of `bytes`, or 0 if it is not all there.
  std::size_t event(std::span<const char> bytes, std::vector<RecordedItem>& items);

  Compactor compactor_;
  std::uint64_t words_ = 0;
  std::uint64_t references_ = 0;
  bool complete_ = false;
};

}  // namespace vmem::sim
