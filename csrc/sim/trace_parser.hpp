// Parsers of trace formats that hold one record a reference: bytes in, references out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/access.hpp"

namespace vmem::sim {

enum class TraceFormat : std::uint8_t {
  lackey,      ///< valgrind --tool=lackey --trace-mem=yes
  classic,     ///< "hexaddr R|W", "R|W hexaddr" and pinatrace's "ip: R|W hexaddr", a line each
  din,         ///< Dinero III: "label hexaddr", a line each
  champsim,    ///< ChampSim input_instr: 64 bytes an instruction
  drmemtrace,  ///< DynamoRIO trace_entry_t: 12 bytes an entry
};

/// References in program order; both vectors have the same length.
struct References {
  std::vector<std::uint64_t> addresses;
  std::vector<std::uint8_t> kinds;

  void add(std::uint64_t address, AccessKind kind) {
    addresses.push_back(address);
    kinds.push_back(static_cast<std::uint8_t>(kind));
  }
};

struct Parsed {
  std::size_t consumed = 0;  ///< bytes of whole records read; with an error, the offset of the record that is wrong
  std::string error;         ///< empty if there is none
};

/// One parser reads one trace from its start, in any pieces: what `feed` does not consume is given again, followed by
/// more.
class TraceParser {
 public:
  /// No text record of any format is near as long; a longer line means that this is no trace.
  static constexpr std::size_t kMaxLine = 4096;

  explicit TraceParser(TraceFormat format) : format_(format) {}

  /// Appends the references of every whole record in `bytes` to `out`. `final`: nothing follows, so a record cut short
  /// is an error.
  Parsed feed(std::span<const char> bytes, bool final, References& out);

 private:
  Parsed text(std::span<const char> bytes, bool final, References& out) const;
  Parsed champsim(std::span<const char> bytes, bool final, References& out) const;
  Parsed drmemtrace(std::span<const char> bytes, bool final, References& out);

  TraceFormat format_;
  std::uint64_t next_pc_ = 0;  ///< drmemtrace: where a bundle of instructions goes on
};

/// The text of references in one of the text formats. `lackey` writes every size as 1, which is all that is known.
std::string format_references(TraceFormat format, std::span<const std::uint64_t> addresses,
                              std::span<const std::uint8_t> kinds);

}  // namespace vmem::sim
