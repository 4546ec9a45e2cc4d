// The two binary formats.
#include <bit>
#include <cstring>

#include "sim/trace_parser.hpp"

namespace vmem::sim {

static_assert(std::endian::native == std::endian::little, "trace files are little-endian and are read in place");

namespace {

template <class T>
T load(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

/// ChampSim's input_instr. A memory operand of 0 means that the slot is not used.
struct ChampSimInstruction {
  std::uint64_t ip;
  std::uint8_t is_branch;
  std::uint8_t branch_taken;
  std::uint8_t destination_registers[2];
  std::uint8_t source_registers[4];
  std::uint64_t destination_memory[2];
  std::uint64_t source_memory[4];
};
static_assert(sizeof(ChampSimInstruction) == 64);

/// DynamoRIO's trace_entry_t, which is packed.
constexpr std::size_t kEntryBytes = 12;
enum EntryType : std::uint16_t {
  kRead = 0,
  kWrite = 1,
  kFirstInstruction = 10,
  kLastInstruction = 16,
  kBundle = 17,
  kTakenJump = 48,
  kUntakenJump = 49,
  kLastType = 63,  ///< above every type in use, with room for those of later versions, which are skipped
};

constexpr bool is_instruction(std::uint16_t type) {
  return (type >= kFirstInstruction && type <= kLastInstruction) || type == kTakenJump || type == kUntakenJump;
}

}  // namespace

Parsed TraceParser::champsim(std::span<const char> bytes, bool final, References& out) const {
  constexpr std::size_t kBytes = sizeof(ChampSimInstruction);
  std::size_t at = 0;
  for (; bytes.size() - at >= kBytes; at += kBytes) {
    const auto instruction = load<ChampSimInstruction>(bytes.data() + at);
    if (instruction.is_branch > 1 || instruction.branch_taken > 1)
      return {at, "not a ChampSim instruction: bytes 8 and 9 of its 64 must be 0 or 1, but are " +
                      std::to_string(instruction.is_branch) + " and " + std::to_string(instruction.branch_taken)};
    out.add(instruction.ip, AccessKind::fetch);
    for (const std::uint64_t address : instruction.source_memory)
      if (address != 0) out.add(address, AccessKind::load);
    for (const std::uint64_t address : instruction.destination_memory)
      if (address != 0) out.add(address, AccessKind::store);
  }
  if (final && at != bytes.size())
    return {at, "the last record has " + std::to_string(bytes.size() - at) + " of 64 bytes: the file is cut short"};
  return {at, {}};
}

Parsed TraceParser::drmemtrace(std::span<const char> bytes, bool final, References& out) {
  std::size_t at = 0;
  for (; bytes.size() - at >= kEntryBytes; at += kEntryBytes) {
    const char* entry = bytes.data() + at;
    const auto type = load<std::uint16_t>(entry);
    const auto size = load<std::uint16_t>(entry + 2);
    const auto address = load<std::uint64_t>(entry + 4);
    if (type == kRead || type == kWrite) {
      out.add(address, type == kRead ? AccessKind::load : AccessKind::store);
    } else if (is_instruction(type)) {
      out.add(address, AccessKind::fetch);
      next_pc_ = address + size;
    } else if (type == kBundle) {
      // `size` instructions follow each other from where the last one ended; the address bytes are their lengths.
      if (size > sizeof address) return {at, "a bundle of " + std::to_string(size) + " instructions; at most 8 fit"};
      for (std::size_t i = 0; i < size; ++i) {
        out.add(next_pc_, AccessKind::fetch);
        next_pc_ += load<std::uint8_t>(entry + 4 + i);
      }
    } else if (type > kLastType) {
      return {at, "not a drmemtrace entry: type " + std::to_string(type) + " of at most " + std::to_string(kLastType)};
    }
  }
  if (final && at != bytes.size())
    return {at, "the last entry has " + std::to_string(bytes.size() - at) + " of 12 bytes: the file is cut short"};
  return {at, {}};
}

Parsed TraceParser::feed(std::span<const char> bytes, bool final, References& out) {
  switch (format_) {
    case TraceFormat::champsim:
      return champsim(bytes, final, out);
    case TraceFormat::drmemtrace:
      return drmemtrace(bytes, final, out);
    case TraceFormat::lackey:
    case TraceFormat::classic:
    case TraceFormat::din:
      break;
  }
  return text(bytes, final, out);
}

}  // namespace vmem::sim
