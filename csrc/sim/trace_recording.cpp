#include "sim/trace_recording.hpp"

#include <cstring>
#include <utility>

#include "core/error.hpp"

namespace vmem::sim {

namespace {

constexpr std::size_t kWord = sizeof(std::uint64_t);
constexpr unsigned kTagShift = 62;
constexpr std::uint64_t kEventTag = 3;
constexpr std::uint64_t kValueMask = (1ull << kTagShift) - 1;
constexpr std::size_t kEventWords = 4;
constexpr std::uint64_t kEnd = 4;
constexpr std::size_t kMaxName = 255;

std::uint64_t word_at(std::span<const char> bytes, std::size_t index) {
  std::uint64_t value;
  std::memcpy(&value, bytes.data() + index * kWord, kWord);
  return value;
}

void append_runs(std::vector<Run> runs, std::vector<RecordedItem>& items) {
  if (!runs.empty()) items.emplace_back(std::move(runs));
}

}  // namespace

std::size_t Recording::event(std::span<const char> bytes, std::vector<RecordedItem>& items) {
  if (bytes.size() < kEventWords * kWord) return 0;
  const std::uint64_t kind = word_at(bytes, 0) & kValueMask;
  const std::uint64_t start = word_at(bytes, 1);
  const std::uint64_t length = word_at(bytes, 2);
  const std::uint64_t rights = word_at(bytes, 3);
  const std::uint64_t name_bytes = rights >> 8;
  if (kind > kEnd || name_bytes > kMaxName) throw TraceError("not an event of the recorder", words_ * kWord);
  const std::size_t size = kEventWords * kWord + (static_cast<std::size_t>(name_bytes) + kWord - 1) / kWord * kWord;
  if (bytes.size() < size) return 0;
  if (kind == kEnd) {
    if (start != words_) throw TraceError("the recorder sent " + std::to_string(start) + " words", words_ * kWord);
    complete_ = true;
    return size;
  }
  compactor_.close();
  append_runs(compactor_.take(), items);
  items.emplace_back(MapCall{static_cast<MapCall::Kind>(kind), start, length, static_cast<std::uint8_t>(rights & 7),
                             std::string(bytes.data() + kEventWords * kWord, static_cast<std::size_t>(name_bytes))});
  return size;
}

std::size_t Recording::feed(std::span<const char> bytes, std::vector<RecordedItem>& items) {
  std::size_t at = 0;
  while (bytes.size() - at >= kWord) {
    if (complete_) throw TraceError("words after the recorder's end", words_ * kWord);
    const std::uint64_t word = word_at(bytes.subspan(at), 0);
    const std::uint64_t tag = word >> kTagShift;
    std::size_t size = kWord;
    if (tag == kEventTag) {
      size = event(bytes.subspan(at), items);
      if (size == 0) break;
    } else {
      compactor_.add(word & kValueMask, static_cast<AccessKind>(tag));
      ++references_;
    }
    at += size;
    words_ += size / kWord;
  }
  append_runs(compactor_.take(), items);
  return at;
}

std::vector<Run> Recording::finish() {
  compactor_.close();
  return compactor_.take();
}

}  // namespace vmem::sim
