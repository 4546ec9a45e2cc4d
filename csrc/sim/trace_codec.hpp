// The payload of a block of runs in vmem's page-compact format (docs/formats/vmt.md), before general compression.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/run.hpp"

namespace vmem::sim {

/// The largest number of runs of one block; it bounds what a reader must allocate.
inline constexpr std::size_t kMaxBlockRuns = 1u << 18;

/// Encodes at most kMaxBlockRuns well-formed runs; anything else is a ConfigError.
std::string encode_runs(std::span<const Run> runs);

/// Decodes exactly `count` runs. Any byte string is safe input: a wrong one is a TraceError with the offset in
/// `payload`.
std::vector<Run> decode_runs(std::span<const char> payload, std::size_t count);

}  // namespace vmem::sim
