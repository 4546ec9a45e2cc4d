// The three text formats.
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>

#include "core/error.hpp"
#include "sim/trace_parser.hpp"

namespace vmem::sim {

namespace {

constexpr bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

/// Reads fields from the front of one line.
class Fields {
 public:
  explicit Fields(std::string_view line) : rest_(line) {}

  void skip_blanks() {
    while (!rest_.empty() && is_blank(rest_.front())) rest_.remove_prefix(1);
  }
  bool at_end() {
    skip_blanks();
    return rest_.empty();
  }
  char peek() const { return rest_.empty() ? '\0' : rest_.front(); }
  bool take(char c) {
    if (peek() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  /// A hexadecimal number of at most 64 bits, with or without 0x.
  std::optional<std::uint64_t> hex() {
    if (rest_.starts_with("0x") || rest_.starts_with("0X")) rest_.remove_prefix(2);
    return number(16);
  }
  std::optional<std::uint64_t> decimal() { return number(10); }
  /// 'R' or 'W', as a whole field.
  std::optional<AccessKind> read_or_write() {
    const char c = peek();
    if (c != 'R' && c != 'W' && c != 'r' && c != 'w') return std::nullopt;
    if (rest_.size() > 1 && !is_blank(rest_[1])) return std::nullopt;
    rest_.remove_prefix(1);
    return c == 'R' || c == 'r' ? AccessKind::load : AccessKind::store;
  }

 private:
  std::optional<std::uint64_t> number(int base) {
    std::uint64_t value = 0;
    const auto [end, code] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value, base);
    if (code != std::errc()) return std::nullopt;
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return value;
  }

  std::string_view rest_;
};

/// "I  04001000,3", " L 1ffeff,8", " S …", " M …" (a load, then a store); "==1== …" and "--1-- …" are valgrind's own
/// messages.
bool lackey_line(std::string_view line, References& out) {
  if (line.starts_with("==") || line.starts_with("--")) return true;
  if (line.size() < 4) return line.find_first_not_of(" \t\r") == std::string_view::npos;
  const bool fetch = line.starts_with("I  ");
  const char code = fetch ? 'I' : line[1];
  if (!fetch && (line[0] != ' ' || line[2] != ' ' || (code != 'L' && code != 'S' && code != 'M'))) return false;
  Fields fields(line.substr(3));
  const auto address = fields.hex();
  if (!address || !fields.take(',') || !fields.decimal() || !fields.at_end()) return false;
  if (fetch) out.add(*address, AccessKind::fetch);
  if (code == 'L' || code == 'M') out.add(*address, AccessKind::load);
  if (code == 'S' || code == 'M') out.add(*address, AccessKind::store);
  return true;
}

/// "7fff1234 R", "R 7fff1234", "0x401000: R 0x7fff1234"; lines that begin with '#' are comments.
bool classic_line(std::string_view line, References& out) {
  Fields fields(line);
  if (fields.at_end() || fields.peek() == '#') return true;
  auto kind = fields.read_or_write();
  const bool kind_first = kind.has_value();
  if (kind_first) fields.skip_blanks();
  auto address = fields.hex();
  if (!address) return false;
  if (!kind_first) {
    const bool after_ip = fields.take(':');
    fields.skip_blanks();
    kind = fields.read_or_write();
    if (!kind) return false;
    if (after_ip) {
      fields.skip_blanks();
      address = fields.hex();
    }
  }
  if (!address || !fields.at_end()) return false;
  out.add(*address, *kind);
  return true;
}

/// "LABEL ADDRESS comment": 0 load, 1 store, 2 fetch; 3 and 4 are escapes that reference nothing.
bool din_line(std::string_view line, References& out) {
  Fields fields(line);
  if (fields.at_end()) return true;
  const char label = fields.peek();
  if (label < '0' || label > '4' || !fields.take(label) || !is_blank(fields.peek())) return false;
  fields.skip_blanks();
  const auto address = fields.hex();
  if (!address || (fields.peek() != '\0' && !is_blank(fields.peek()))) return false;
  if (label <= '2') out.add(*address, static_cast<AccessKind>(label - '0'));
  return true;
}

bool parse_line(TraceFormat format, std::string_view line, References& out) {
  switch (format) {
    case TraceFormat::lackey:
      return lackey_line(line, out);
    case TraceFormat::classic:
      return classic_line(line, out);
    case TraceFormat::din:
      return din_line(line, out);
    case TraceFormat::champsim:
    case TraceFormat::drmemtrace:
      break;
  }
  return false;
}

/// The line as it may stand in a message: printable, and no longer than a screen line.
std::string quoted(std::string_view line) {
  std::string text = "'";
  for (const char c : line.substr(0, 60)) text += c >= ' ' && c <= '~' ? c : '.';
  return text + (line.size() > 60 ? "…'" : "'");
}

}  // namespace

Parsed TraceParser::text(std::span<const char> bytes, bool final, References& out) const {
  std::size_t at = 0;
  while (at < bytes.size()) {
    const char* begin = bytes.data() + at;
    const std::size_t left = bytes.size() - at;
    const auto* newline = static_cast<const char*>(std::memchr(begin, '\n', left));
    if (newline == nullptr && !final && left <= kMaxLine) break;
    const std::size_t length = newline == nullptr ? left : static_cast<std::size_t>(newline - begin);
    if (length > kMaxLine) return {at, "a line of more than 4,096 bytes"};
    const std::string_view line(begin, length);
    if (!parse_line(format_, line, out)) return {at, "cannot read the line " + quoted(line)};
    at += length + (newline == nullptr ? 0 : 1);
  }
  return {at, {}};
}

std::string format_references(TraceFormat format, std::span<const std::uint64_t> addresses,
                              std::span<const std::uint8_t> kinds) {
  static constexpr const char* kLackey[kAccessKinds] = {" L ", " S ", "I  "};
  static constexpr char kClassic[kAccessKinds] = {'R', 'W', '?'};
  std::string text;
  text.reserve(addresses.size() * 16);
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    char digits[16];
    const char* end = std::to_chars(digits, digits + sizeof digits, addresses[i], 16).ptr;
    const std::string_view address(digits, static_cast<std::size_t>(end - digits));
    const std::uint8_t kind = kinds[i];
    if (kind >= kAccessKinds)
      throw ConfigError("kind " + std::to_string(kind) + "; accepted: 0 load, 1 store, 2 fetch");
    if (format == TraceFormat::lackey) {
      text.append(kLackey[kind])
          .append(address.size() < 8 ? 8 - address.size() : 0, '0')
          .append(address)
          .append(",1\n");
    } else if (format == TraceFormat::din) {
      text.append(1, static_cast<char>('0' + kind)).append(1, ' ').append(address).append(1, '\n');
    } else {
      if (kind == static_cast<std::uint8_t>(AccessKind::fetch))
        throw ConfigError(
            "the format 'classic' (hexaddr R|W) holds no fetches; accepted with fetches: lackey, din, npz, npy, vmt");
      text.append(address).append(1, ' ').append(1, kClassic[kind]).append(1, '\n');
    }
  }
  return text;
}

}  // namespace vmem::sim
