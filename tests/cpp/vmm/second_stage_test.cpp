#include "vmm/second_stage.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <map>

#include "core/error.hpp"
#include "hw/mmu.hpp"
#include "support/random.hpp"

namespace vmem::vmm {
namespace {

using hw::SecondStageKind;
using paging::kExecute;
using paging::kRead;
using paging::kWrite;
using paging::Rights;

struct Page {
  std::uint64_t hfn;
  PageSize size;
  Rights rights;
};
/// By first gPFN.
using Model = std::map<std::uint64_t, Page>;

const Model::value_type* page_of(const Model& model, std::uint64_t gfn) {
  auto at = model.upper_bound(gfn);
  if (at == model.begin()) return nullptr;
  --at;
  return gfn < at->first + page_frames(at->second.size) ? &*at : nullptr;
}

bool any_in(const Model& model, std::uint64_t first, std::uint64_t count) {
  const auto at = model.lower_bound(first);
  return page_of(model, first) != nullptr || (at != model.end() && at->first < first + count);
}

/// The bytes that the manuals ask for: EPT write-back, NPT user.
std::uint64_t leaf_bytes(SecondStageKind kind, const Page& page) {
  std::uint64_t entry = page.hfn << 12 | (page.size == PageSize::k4K ? 0 : 0x80);
  if (kind == SecondStageKind::ept) return entry | page.rights | 6 << 3;
  entry |= 1 | 4 | (page.rights & kWrite ? 2 : 0);
  return page.rights & kExecute ? entry : entry | 1ull << 63;
}

void compare(const SecondStage& stage, const Model& model) {
  auto expected = model.begin();
  stage.for_each([&](Gfn gfn, const SecondStage::Leaf& leaf) {
    REQUIRE(expected != model.end());
    REQUIRE(gfn.value == expected->first);
    REQUIRE(leaf.size() == expected->second.size);
    REQUIRE(stage.target(leaf, gfn).value == expected->second.hfn);
    ++expected;
  });
  REQUIRE(expected == model.end());
}

void random_step(SecondStage& stage, memory::MachineMemory& memory, Model& model, test::Random& random) {
  // Few places, so that sizes meet: four 1 GiB regions from a far one on.
  const std::uint64_t gfn = (1ull << 33) + (random.below(4ull) << 18) + (random.below(3ull) << 9) + random.below(3ull);
  const SecondStage::Leaf leaf = stage.find(Gfn{gfn});
  const auto* held = page_of(model, gfn);
  REQUIRE(leaf.present == (held != nullptr));
  if (held == nullptr) {
    const auto size = static_cast<PageSize>(random.below(3));
    const std::uint64_t first = gfn / page_frames(size) * page_frames(size);
    // An empty entry at or above the page's level is the same as nothing mapped there, unless tables were left behind.
    if (leaf.level < leaf_level(size)) return;
    REQUIRE_FALSE(any_in(model, first, page_frames(size)));
    const Rights writable = random.one_in(3) ? 0 : kWrite, executable = random.one_in(3) ? 0 : kExecute;
    const Page page{random.below(1ull << 10) * page_frames(size), size,
                    static_cast<Rights>(kRead | writable | executable)};
    REQUIRE(stage.map(leaf, Gfn{first}, Hfn{page.hfn}, size, page.rights));
    model[first] = page;
    const SecondStage::Leaf mapped = stage.find(Gfn{gfn});
    REQUIRE(mapped.entry == leaf_bytes(stage.kind(), page));
    REQUIRE(memory.bytes().load<std::uint64_t>(mapped.at.value) == mapped.entry);
    return;
  }
  const auto [first, page] = *held;
  REQUIRE(stage.target(leaf, Gfn{gfn}).value == page.hfn + (gfn - first));
  REQUIRE(stage.rights(leaf.entry) == (page.rights | paging::kUser));
  if (random.one_in(3)) {
    stage.set(leaf, 0);
    model.erase(first);
  } else if (random.one_in(3)) {
    const Rights less = static_cast<Rights>(page.rights & ~kWrite);
    stage.set(leaf, stage.with_rights(leaf.entry, less));
    model[first].rights = less;
    REQUIRE(stage.find(Gfn{gfn}).entry == leaf_bytes(stage.kind(), model[first]));
  } else if (page.size != PageSize::k4K) {
    REQUIRE(stage.split(leaf));
    const auto smaller = static_cast<PageSize>(static_cast<int>(page.size) - 1);
    for (std::uint64_t at = 0; at < page_frames(page.size); at += page_frames(smaller))
      model[first + at] = {page.hfn + at, smaller, page.rights};
    REQUIRE(stage.find(Gfn{gfn}).entry == leaf_bytes(stage.kind(), page_of(model, gfn)->second));
  }
}

/// What the silicon makes of the tables.
void compare_with_hardware(const SecondStage& stage, memory::MachineMemory& memory, const Model& model, int levels) {
  hw::CpuConfig cpu = hw::cpu_preset("skylake-sp");
  cpu.host_levels = levels;
  hw::Mmu mmu({memory.bytes().data(), memory.bytes().size()}, cpu);
  hw::State state = mmu.state();
  state.second_stage = stage.kind();
  state.second_stage_root = stage.root_pointer();
  mmu.set_state(state);
  for (const auto& [first, page] : model) {
    const Gpa last = Gfn{first + page_frames(page.size) - 1}.address() + 0xff8;
    hw::HostMapping mapping;
    REQUIRE(mmu.probe_guest_physical(last, mapping));
    REQUIRE(mapping.size == page.size);
    REQUIRE(mapping.physical(last.value) == (page.hfn + page_frames(page.size)) * kPageSize - 8);
    REQUIRE((mapping.rights & (kRead | kWrite | kExecute)) == page.rights);
  }
  hw::HostMapping mapping;
  CHECK_FALSE(mmu.probe_guest_physical(Gpa{0}, mapping));
}

TEST_CASE("random maps, splits and removals agree with a map of intervals, and with what the silicon reads") {
  for (const SecondStageKind kind : {SecondStageKind::ept, SecondStageKind::npt}) {
    for (const int levels : {4, 5}) {
      CAPTURE(static_cast<int>(kind));
      CAPTURE(levels);
      memory::MachineMemory memory(64ull << 20);
      const std::uint64_t all_free = memory.buddy().free_frames();
      {
        SecondStage stage(memory, 7, kind, levels);
        Model model;
        test::Random random(static_cast<std::uint64_t>(levels));
        for (int step = 0; step < 1200; ++step) {
          random_step(stage, memory, model, random);
          if (step % 20 == 0) compare(stage, model);
        }
        compare(stage, model);
        compare_with_hardware(stage, memory, model, levels);
        CHECK(model.size() > 100);
        CHECK(stage.table_frames() == memory.used(memory::FrameUse::table));
        CHECK(stage.table_frames() == all_free - memory.buddy().free_frames());
      }
      CHECK(memory.buddy().free_frames() == all_free);  // every table is given back
    }
  }
}

TEST_CASE("a split keeps accessed and dirty bits") {
  for (const SecondStageKind kind : {SecondStageKind::ept, SecondStageKind::npt}) {
    const std::uint64_t used = kind == SecondStageKind::ept ? 3u << 8 : 3u << 5;
    memory::MachineMemory memory(1ull << 20);
    SecondStage stage(memory, 0, kind, 4);
    REQUIRE(stage.map(stage.find(Gfn{0}), Gfn{0}, Hfn{1024}, PageSize::k2M, kRead | kWrite));
    const SecondStage::Leaf clean = stage.find(Gfn{5});
    CHECK_FALSE(stage.accessed(clean.entry));
    stage.set(clean, clean.entry | used);
    REQUIRE(stage.split(stage.find(Gfn{5})));
    for (const std::uint64_t gfn : {0ull, 5ull, 511ull}) {
      const SecondStage::Leaf part = stage.find(Gfn{gfn});
      CHECK(part.level == 1);
      CHECK((part.entry & used) == used);
      CHECK(stage.accessed(part.entry));
      CHECK(stage.target(part, Gfn{gfn}) == Hfn{1024 + gfn});
    }
  }
}

TEST_CASE("the root pointer says what the registers hold") {
  memory::MachineMemory memory(1ull << 20);
  const SecondStage ept(memory, 0, SecondStageKind::ept, 5), npt(memory, 0, SecondStageKind::npt, 4);
  CHECK(ept.root_pointer() == (ept.root().value | 4 << 3 | 1 << 6 | 6));
  CHECK(npt.root_pointer() == npt.root().value);
  CHECK(memory.frame(ept.root().frame()).use == memory::FrameUse::table);
}

TEST_CASE("a machine without a frame for a table says so") {
  memory::MachineMemory memory(4 * kPageSize);  // three frames: root and two tables
  SecondStage stage(memory, 0, SecondStageKind::ept, 4);
  CHECK_FALSE(stage.map(stage.find(Gfn{0}), Gfn{0}, Hfn{1}, PageSize::k4K, kRead));
  CHECK_FALSE(stage.find(Gfn{0}).present);
  CHECK(memory.buddy().free_frames() == 0);
  CHECK_THROWS_AS(SecondStage(memory, 0, SecondStageKind::ept, 4), OutOfMemory);
}

}  // namespace
}  // namespace vmem::vmm
