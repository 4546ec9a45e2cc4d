// Which x86 instructions repeat themselves.
#pragma once

#include <cstdint>

namespace vmem::sim {

struct StringInstruction {
  bool is_string = false;  ///< INS, OUTS, MOVS, CMPS, STOS, LODS, SCAS
  bool repeats = false;    ///< with a REP prefix
};

/// SDM vol. 2, 2.1.1: prefixes in any order, then perhaps REX, then the opcode; at most 15 bytes. `byte(i)` is the i-th
/// one.
template <class Byte>
StringInstruction decode_string(Byte&& byte) {
  bool rep = false;
  for (int i = 0; i < 15; ++i) {
    const auto code = static_cast<std::uint8_t>(byte(i));
    const bool is_rep = code == 0xf2 || code == 0xf3;
    const bool is_other_prefix = code == 0x26 || code == 0x2e || code == 0x36 || code == 0x3e ||
                                 (code >= 0x64 && code <= 0x67) || code == 0xf0 || (code & 0xf0) == 0x40;
    if (is_rep || is_other_prefix) {
      rep = rep || is_rep;
      continue;
    }
    const bool is_string =
        (code >= 0x6c && code <= 0x6f) || (code >= 0xa4 && code <= 0xa7) || (code >= 0xaa && code <= 0xaf);
    return {is_string, is_string && rep};
  }
  return {};
}

}  // namespace vmem::sim
