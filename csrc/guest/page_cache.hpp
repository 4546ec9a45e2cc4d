// Pages of files in memory: reading ahead, and writing back what is dirty.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "guest/block_driver.hpp"
#include "guest/file.hpp"
#include "guest/mappings.hpp"
#include "guest/page_store.hpp"
#include "guest/psi.hpp"
#include "guest/timers.hpp"

namespace vmem::guest {

class Reclaim;

/// A page in the cache is PageUse::file, in an LRU list, and its file knows it. It may be written to through a mapping
/// only while it is dirty: writing it back takes that right away first.
class PageCache final : public PageStore {
 public:
  /// Pages read at once: 16 to 120 KiB. Linux reads up to 128 KiB; a request of the block driver holds 30 pages.
  static constexpr std::uint64_t kFirstWindow = 4, kLargestWindow = BlockDriver::kMaxSegments;
  static constexpr Nanoseconds kFlushPeriod = 5 * kSecond;      ///< vm.dirty_writeback_centisecs
  static constexpr Nanoseconds kExpire = 30 * kSecond;          ///< vm.dirty_expire_centisecs
  static constexpr std::uint64_t kBackground = 10, kMost = 20;  ///< vm.dirty_background_ratio, dirty_ratio: percent

  PageCache(PageAllocator& pages, Mappings& mappings, Timers& timers, Psi& psi, VmStat& vmstat);

  void use(BlockDriver& disk, FileSystem& files, Reclaim& reclaim);

  struct Found {
    Gfn page;               ///< 0: no memory, or the disk failed
    bool is_major = false;  ///< the disk was read
    bool failed = false;    ///< by the disk
  };
  /// The page of the file, read if it is not in memory, with some of those that follow. It has one reference more, the
  /// caller's, so that it stays.
  Found hold(hw::Vcpu& vcpu, File& file, std::uint64_t index);
  /// As `hold`, for a page that is about to be written from end to end: nothing is read.
  Found hold_empty(hw::Vcpu& vcpu, File& file, std::uint64_t index);
  /// The caller needs the page no longer.
  void release(hw::Vcpu& vcpu, Gfn gfn) const;
  /// mark_page_accessed: the second time makes it active.
  void touch(hw::Vcpu& vcpu, Gfn gfn) const;
  void mark_dirty(hw::Vcpu& vcpu, Gfn gfn);
  /// The writer waits while a fifth of memory is dirty.
  void throttle(hw::Vcpu& vcpu);
  /// Writes what is dirty of the file, and waits. False: the disk did not take all.
  bool sync(hw::Vcpu& vcpu, File& file);
  /// Gives up every page of the file, which nothing maps, without writing it.
  void truncate(hw::Vcpu& vcpu, File& file);
  /// Gives up what is clean and not mapped (drop_caches).
  void drop_clean(hw::Vcpu& vcpu);

  std::uint64_t cached() const { return cached_; }
  std::uint64_t dirty() const { return dirty_.size(); }
  /// InvariantError if files, pages and what is dirty disagree.
  void check(hw::Vcpu& vcpu) const;

  bool write(hw::Vcpu& vcpu, Gfn gfn) override;
  void start_writes(hw::Vcpu& vcpu) override;
  std::uint64_t in_flight() const override { return in_flight_; }
  bool wait_for_write(hw::Vcpu& vcpu) override;
  void evict(hw::Vcpu& vcpu, Gfn gfn, std::uint32_t age) override;

 private:
  using Key = std::pair<FileNumber, std::uint64_t>;

  std::optional<Gfn> add(hw::Vcpu& vcpu, File& file, std::uint64_t index, Need need);
  void enlist(hw::Vcpu& vcpu, File& file, std::uint64_t index, Gfn gfn);
  std::uint64_t window_at(File& file, std::uint64_t index) const;
  Found read(hw::Vcpu& vcpu, File& file, std::uint64_t index);
  bool read_from_disk(hw::Vcpu& vcpu, File& file, std::uint64_t index, const std::vector<Gfn>& pages);
  void forget(hw::Vcpu& vcpu, Gfn gfn, std::uint32_t evicted);
  void drop(hw::Vcpu& vcpu, Gfn gfn);
  /// Whether it is dirty.
  bool check_page(hw::Vcpu& vcpu, const File& file, std::uint64_t index, Gfn gfn) const;
  void protect(hw::Vcpu& vcpu, Gfn gfn);
  void flush(hw::Vcpu& vcpu);
  void on_written(hw::Vcpu& vcpu, const std::vector<Gfn>& pages, bool ok);
  std::uint64_t sector_of(Gfn gfn, hw::Vcpu& vcpu) const;
  std::uint64_t limit(hw::Vcpu& vcpu, std::uint64_t percent) const;

  PageAllocator& pages_;
  Mappings& mappings_;
  Timers& timers_;
  Psi& psi_;
  VmStat& vmstat_;
  BlockDriver* disk_ = nullptr;
  FileSystem* files_ = nullptr;
  Reclaim* reclaim_ = nullptr;
  Timers::Id flusher_;
  std::map<Key, Nanoseconds> dirty_;  ///< since when
  std::vector<Gfn> gathered_;         ///< to be written: pages of a file that follow each other
  std::uint64_t first_gathered_ = 0;  ///< its sector
  std::uint64_t cached_ = 0, in_flight_ = 0;
};

}  // namespace vmem::guest
