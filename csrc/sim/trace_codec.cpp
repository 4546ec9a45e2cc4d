#include "sim/trace_codec.hpp"

#include <algorithm>
#include <array>

#include "core/error.hpp"

namespace vmem::sim {

namespace {

/// The most recent pages of one stream, latest first. Programs return to few pages in regular patterns, so the place in
/// this list is a small number that repeats, where the address would not.
class RecentPages {
 public:
  static constexpr std::size_t kPlaces = 63;

  /// The place of `page` (a page number), or kPlaces if it has none.
  std::size_t place(std::uint64_t page) const {
    return static_cast<std::size_t>(std::find(pages_.begin(), pages_.end(), page) - pages_.begin());
  }
  std::uint64_t at(std::size_t place) const { return pages_[place]; }
  std::uint64_t latest() const { return pages_[0]; }

  /// Moves what is at `place` to the front; kPlaces pushes out the oldest.
  void touch(std::size_t place, std::uint64_t page) {
    const std::size_t last = std::min(place, kPlaces - 1);
    for (std::size_t i = last; i > 0; --i) pages_[i] = pages_[i - 1];
    pages_[0] = page;
  }

 private:
  std::array<std::uint64_t, kPlaces> pages_{};
};

/// What both sides of the codec remember from run to run: the fetch stream and the data stream do so separately.
struct History {
  RecentPages streams[2];
  RecentPages& of(AccessKind kind) { return streams[kind == AccessKind::fetch ? 1 : 0]; }
};

enum Column : std::size_t { kTokens, kPages, kFetches, kLoads, kMixedLoads, kStores, kColumns };

void put_varint(std::string& column, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) column.push_back(static_cast<char>(value | 0x80));
  column.push_back(static_cast<char>(value));
}

constexpr std::uint64_t zigzag(std::uint64_t delta) { return delta << 1 ^ (0 - (delta >> 63)); }
constexpr std::uint64_t unzigzag(std::uint64_t coded) { return coded >> 1 ^ (0 - (coded & 1)); }

/// Reads one column; offsets in errors are those of the whole payload.
class Reader {
 public:
  Reader(std::span<const char> payload, std::size_t begin, std::size_t end)
      : payload_(payload), at_(begin), end_(end) {}

  std::uint8_t byte() {
    if (at_ == end_) throw TraceError("the block's data ends early", at_);
    return static_cast<std::uint8_t>(payload_[at_++]);
  }
  std::uint64_t varint() {
    const std::size_t begin = at_;
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const std::uint8_t part = byte();
      value |= std::uint64_t{part & 0x7fu} << shift;
      if (part < 0x80) return value;
    }
    throw TraceError("a number of more than 64 bits", begin);
  }
  /// A count of references: one less is stored, since an absent count is not.
  std::uint32_t count() {
    const std::uint64_t value = varint();
    if (value >= UINT32_MAX) throw TraceError("a count of more than 32 bits", at_);
    return static_cast<std::uint32_t>(value + 1);
  }
  std::size_t at() const { return at_; }
  void expect_end() const {
    if (at_ != end_) throw TraceError("bytes left over in the block", at_);
  }

 private:
  std::span<const char> payload_;
  std::size_t at_;
  std::size_t end_;
};

/// Cuts the payload into its columns, whose lengths stand in front.
std::array<Reader, kColumns> split(std::span<const char> payload) {
  Reader header(payload, 0, payload.size());
  std::array<std::uint64_t, kColumns> lengths{};
  for (std::uint64_t& length : lengths) length = header.varint();
  std::size_t at = header.at();
  const auto next = [&](Column column) {
    if (lengths[column] > payload.size() - at) throw TraceError("a column is longer than its block", at);
    const std::size_t begin = at;
    at += static_cast<std::size_t>(lengths[column]);
    return Reader(payload, begin, at);
  };
  std::array<Reader, kColumns> columns{next(kTokens), next(kPages),      next(kFetches),
                                       next(kLoads),  next(kMixedLoads), next(kStores)};
  if (at != payload.size()) throw TraceError("bytes left over in the block", at);
  return columns;
}

}  // namespace

std::string encode_runs(std::span<const Run> runs) {
  if (runs.size() > kMaxBlockRuns) throw ConfigError(std::to_string(runs.size()) + " runs in a block; at most 262144");
  std::array<std::string, kColumns> columns;
  History history;
  for (const Run& run : runs) {
    if (!well_formed(run))
      throw ConfigError("run of page " + hex(run.page) + " with loads " + std::to_string(run.loads) + " and stores " +
                        std::to_string(run.stores) +
                        "; a run of loads or fetches has no stores, one that began with a store has some");
    const AccessKind kind = first_kind(run);
    RecentPages& recent = history.of(kind);
    const std::uint64_t page = run.page >> kPageShift;
    const std::size_t place = recent.place(page);
    columns[kTokens].push_back(static_cast<char>(static_cast<std::size_t>(kind) | place << 2));
    if (place == RecentPages::kPlaces) put_varint(columns[kPages], zigzag(page - recent.latest()));
    recent.touch(place, page);
    switch (kind) {
      case AccessKind::fetch:
        put_varint(columns[kFetches], run.loads - 1);
        break;
      case AccessKind::load:
        put_varint(columns[kLoads], run.loads - 1);
        break;
      case AccessKind::store:
        put_varint(columns[kMixedLoads], run.loads);
        put_varint(columns[kStores], run.stores - 1);
        break;
    }
  }
  std::string payload;
  for (const std::string& column : columns) put_varint(payload, column.size());
  for (const std::string& column : columns) payload += column;
  return payload;
}

std::vector<Run> decode_runs(std::span<const char> payload, std::size_t count) {
  if (count > kMaxBlockRuns) throw TraceError("a block of " + std::to_string(count) + " runs; at most 262144", 0);
  auto columns = split(payload);
  std::vector<Run> runs;
  runs.reserve(count);
  History history;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint8_t token = columns[kTokens].byte();
    if ((token & kRunKindMask) >= kAccessKinds) throw TraceError("a run of unknown kind 3", columns[kTokens].at() - 1);
    const auto kind = static_cast<AccessKind>(token & kRunKindMask);
    const std::size_t place = token >> 2;
    RecentPages& recent = history.of(kind);
    std::uint64_t page = 0;
    if (place < RecentPages::kPlaces) {
      page = recent.at(place);
    } else {
      page = recent.latest() + unzigzag(columns[kPages].varint());
      if (page >> (64 - kPageShift) != 0) throw TraceError("a page beyond 64 bits of address", columns[kPages].at());
    }
    recent.touch(place, page);
    Run run{page << kPageShift | token % 4u, 0, 0};
    switch (kind) {
      case AccessKind::fetch:
        run.loads = columns[kFetches].count();
        break;
      case AccessKind::load:
        run.loads = columns[kLoads].count();
        break;
      case AccessKind::store: {
        const std::uint64_t loads = columns[kMixedLoads].varint();
        if (loads > UINT32_MAX) throw TraceError("a count of more than 32 bits", columns[kMixedLoads].at());
        run.loads = static_cast<std::uint32_t>(loads);
        run.stores = columns[kStores].count();
        break;
      }
    }
    runs.push_back(run);
  }
  for (const Reader& column : columns) column.expect_end();
  return runs;
}

}  // namespace vmem::sim
