// Synthetic programs.
#include <cmath>
#include <memory>
#include <span>
#include <utility>

#include "capi/start.hpp"
#include "sim/programs/churn.hpp"
#include "sim/programs/demand.hpp"
#include "sim/programs/stream.hpp"
#include "sim/workloads/hash.hpp"

namespace vmem::capi {
namespace {

constexpr std::uint64_t kMostBytes = 1ull << 46;

/// Names of kinds, by number: a mapping has its program's.
constexpr const char* kNames[] = {"uniform",       "zipf",          "sequential", "stride", "hot-cold",
                                  "pointer-chase", "random-update", "fork-churn", "demand", "file-scan"};
constexpr std::uint32_t kKinds = std::size(kNames);

template <class... Kind>
constexpr std::uint32_t kinds(Kind... kind) {
  return ((1u << kind) | ...);
}
constexpr std::uint32_t kDrawn = kinds(VMEM_WORKLOAD_UNIFORM, VMEM_WORKLOAD_ZIPF, VMEM_WORKLOAD_HOT_COLD);
constexpr std::uint32_t kAll = (1u << kKinds) - 1;

/// Refuses what the kind has no use for, so that no mistake passes for a setting.
void check_members(const vmem_workload& given) {
  if (given.kind >= kKinds)
    throw Refusal(VMEM_E_ARGUMENT, "kind is " + std::to_string(given.kind) + "; accepted is up to " +
                                       std::to_string(kKinds - 1) + ", VMEM_WORKLOAD_FILE_SCAN");
  const auto only = [&](bool is_set, const char* name, std::uint32_t of) {
    if (is_set && (of >> given.kind & 1) == 0)
      throw Refusal(VMEM_E_ARGUMENT,
                    std::string(name) + " is of other workloads than '" + kNames[given.kind] + "'; accepted is 0 here");
  };
  only(given.bytes != 0, "bytes", kAll & ~kinds(VMEM_WORKLOAD_DEMAND));
  only(given.references != 0, "references", kAll & ~kinds(VMEM_WORKLOAD_DEMAND));
  only(given.writes != 0, "writes", kAll & ~kinds(VMEM_WORKLOAD_RANDOM_UPDATE));
  only(given.skew != 0, "skew", kinds(VMEM_WORKLOAD_ZIPF));
  only(given.hot_share != 0, "hot_share", kinds(VMEM_WORKLOAD_HOT_COLD));
  only(given.hot != 0, "hot", kinds(VMEM_WORKLOAD_HOT_COLD));
  only(given.phase != 0, "phase", kinds(VMEM_WORKLOAD_HOT_COLD));
  only(given.step != 0, "step", kinds(VMEM_WORKLOAD_STRIDE, VMEM_WORKLOAD_FILE_SCAN));
  only(given.children != 0, "children", kinds(VMEM_WORKLOAD_FORK_CHURN));
  only(given.curve != nullptr, "curve", kinds(VMEM_WORKLOAD_DEMAND));
  only(given.points != 0, "points", kinds(VMEM_WORKLOAD_DEMAND));
  only(given.burst != 0, "burst", kDrawn);
  only(given.file != 0, "file", kinds(VMEM_WORKLOAD_FILE_SCAN));
  only(given.page != 0, "page", kAll & ~kinds(VMEM_WORKLOAD_FILE_SCAN));
  if (given.reserved != 0)
    throw Refusal(VMEM_E_ARGUMENT, "reserved is " + std::to_string(given.reserved) + "; accepted is 0");
}

/// In 2^-63.
std::uint64_t share(double given, const char* name) {
  if (!(given >= 0 && given <= 1))
    throw Refusal(VMEM_E_ARGUMENT, std::string(name) + " is " + std::to_string(given) + "; accepted is 0 to 1");
  return static_cast<std::uint64_t>(given * 0x1p63);
}

std::uint64_t or_else(std::uint64_t given, std::uint64_t usual) { return given == 0 ? usual : given; }

sim::Stores stores(const vmem_workload& given) {
  if (given.kind == VMEM_WORKLOAD_RANDOM_UPDATE) return {sim::Stores::Pattern::alternate, 0};
  return {sim::Stores::Pattern::share, share(given.writes, "writes")};
}

sim::SharedOffsets hot_cold(const vmem_workload& given) {
  constexpr double kHotShare = 0.9;
  constexpr std::uint64_t kPhase = 1'000'000;
  return sim::hot_cold_offsets(given.bytes, given.hot,
                               share(given.hot_share == 0 ? kHotShare : given.hot_share, "hot_share"),
                               or_else(given.phase, kPhase));
}

sim::SharedOffsets strided(const vmem_workload& given, std::uint64_t usual) {
  const std::uint64_t step = or_else(given.step, usual);
  if (given.kind == VMEM_WORKLOAD_FILE_SCAN && step % sim::kWord != 0)
    throw Refusal(VMEM_E_ARGUMENT, "step is " + std::to_string(step) + "; accepted is a multiple of 8");
  return sim::strided_offsets(given.bytes, step);
}

/// Where the references of a kind that is no demand go. ConfigError for what cannot be.
sim::SharedOffsets offsets(const vmem_workload& given) {
  constexpr double kSkew = 0.99;
  constexpr std::uint64_t kScanStep = 512;
  switch (given.kind) {
    case VMEM_WORKLOAD_ZIPF:
      return sim::zipf_offsets(given.bytes, given.skew == 0 ? kSkew : given.skew);
    case VMEM_WORKLOAD_SEQUENTIAL:
      return sim::strided_offsets(given.bytes, sim::kWord);
    case VMEM_WORKLOAD_STRIDE:
      return strided(given, kPageSize);
    case VMEM_WORKLOAD_HOT_COLD:
      return hot_cold(given);
    case VMEM_WORKLOAD_POINTER_CHASE:
      return sim::chase_offsets(given.bytes);
    case VMEM_WORKLOAD_RANDOM_UPDATE:
      return sim::update_offsets(given.bytes);
    case VMEM_WORKLOAD_FILE_SCAN:
      return strided(given, kScanStep);
    default:
      return sim::uniform_offsets(given.bytes);
  }
}

sim::ReferenceStream references(const vmem_workload& given, std::uint64_t seed) {
  sim::SharedOffsets where = offsets(given);
  if (given.burst > 1) where = sim::burst_offsets(std::move(where), given.burst);
  return {std::move(where), stores(given), seed};
}

/// That of an equal workload without a seed in Python.
std::uint64_t seed_of(const vmem_workload& given, const Where& where) {
  if (given.seed != 0) return given.seed;
  const std::uint64_t of_vm = sim::mix(sim::mix(1) + where.guest.vm->id());
  return sim::mix(of_vm + static_cast<std::uint64_t>(where.process.id));
}

sim::ProgramFactory churn(const vmem_workload& given, const Manner& how, std::uint64_t seed) {
  constexpr std::uint64_t kChildren = 1000, kEach = 10'000;
  const std::uint64_t children = or_else(given.children, kChildren), each = or_else(given.references, kEach);
  if (children > (1ull << 63) / each)
    throw Refusal(VMEM_E_ARGUMENT, std::to_string(children) + " children of " + std::to_string(each) +
                                       " references; accepted are 2**63 references of all");
  const sim::ChurnConfig config{references(given, seed), children, each, how.compute, how.page};
  return [config] { return std::make_unique<sim::ChurnProgram>(config); };
}

sim::ProgramFactory demand(const vmem_workload& given, const Manner& how, std::uint64_t seed) {
  require_elements(given.curve, given.points, "curve");
  constexpr Nanoseconds kLatest = 1ull << 62;
  sim::DemandConfig config{{}, stores(given), seed, how.compute, how.page};
  for (const vmem_demand_point& point : std::span(given.curve, given.points)) {
    if (point.at > kLatest || point.allocated > kMostBytes)
      throw Refusal(VMEM_E_ARGUMENT, "point " + std::to_string(config.curve.size()) +
                                         " of the curve: accepted are times up to 2**62 ns and sizes up to 64 TiB");
    config.curve.push_back({point.at, point.allocated, point.active});
  }
  const sim::DemandProgram checked(config);
  return [config] { return std::make_unique<sim::DemandProgram>(config); };
}

guest::FileRange file_of(const vmem_workload& given, const Where& where) {
  guest::Kernel& kernel = *where.guest.kernel;
  if (given.file != 0) {
    kernel.check_file_range("file-scan", given.file, 0, given.bytes);
    return {given.file, 0, true};
  }
  return {kernel.create_file("file-scan-" + std::to_string(where.process.id), given.bytes).number, 0, true};
}

sim::ProgramFactory stream(const vmem_workload& given, const Manner& how, const Where& where, std::uint64_t seed) {
  constexpr std::uint64_t kReferences = 10'000'000;
  sim::StreamConfig config{references(given, seed),
                           or_else(given.references, kReferences),
                           how.compute,
                           how.page,
                           kNames[given.kind],
                           std::nullopt};
  if (given.kind == VMEM_WORKLOAD_FILE_SCAN) config.file = file_of(given, where);
  return [config] { return std::make_unique<sim::StreamProgram>(config); };
}

}  // namespace

sim::ProgramFactory workload(const vmem_workload& given, const Manner& how, const Where& where) {
  check_members(given);
  const std::uint64_t seed = seed_of(given, where);
  switch (given.kind) {
    case VMEM_WORKLOAD_FORK_CHURN:
      return churn(given, how, seed);
    case VMEM_WORKLOAD_DEMAND:
      return demand(given, how, seed);
    default:
      return stream(given, how, where, seed);
  }
}

}  // namespace vmem::capi
