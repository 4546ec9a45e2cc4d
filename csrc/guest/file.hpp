// A file of the guest: where its bytes lie on the disk, and which of its pages are in memory.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/address.hpp"

namespace vmem::guest {

/// Files are numbered from 1.
using FileNumber = std::uint32_t;

struct File {
  /// A page of the file: in memory, or when it left.
  struct Place {
    std::uint32_t gfn = 0;      ///< 0: not in memory
    std::uint32_t evicted = 0;  ///< the reclaim clock then, plus 1; 0: never been there
  };
  /// What it has been read of last, one page after the other, and how far ahead that went.
  struct Readahead {
    std::uint64_t next = 0;
    std::uint64_t window = 0;
  };

  FileNumber number = 0;
  std::string name;
  std::uint64_t bytes = 0;
  std::uint64_t first_sector = 0;
  static constexpr std::uint64_t kChunk = 512;
  std::map<std::uint64_t, std::array<Place, kChunk>> chunks;  ///< of so many pages: those that have been touched
  Readahead readahead;
  std::uint64_t write_errors = 0;  ///< since the last fsync

  std::uint64_t pages() const { return (bytes + kPageMask) >> kPageShift; }
  Place& place(std::uint64_t page) { return chunks[page / kChunk][page % kChunk]; }
  Gfn find(std::uint64_t page) const {
    const auto chunk = chunks.find(page / kChunk);
    return Gfn{chunk != chunks.end() ? chunk->second[page % kChunk].gfn : 0};
  }
  /// Calls `use` with the index and the frame of every page in memory, ascending. It may take pages out.
  template <class Use>
  void each_page(Use&& use) const {
    for (const auto& [first, places] : chunks)
      for (std::uint64_t i = 0; i < kChunk; ++i)
        if (places[i].gfn != 0) use(first * kChunk + i, Gfn{places[i].gfn});
  }
};

/// A flat file system: every file is one run of sectors, at the lowest place where it fits.
class FileSystem {
 public:
  explicit FileSystem(std::uint64_t sectors) : sectors_(sectors) {}

  /// ConfigError: no disk, the name is taken, no bytes. OutOfMemory: no such run is free on the disk.
  File& create(const std::string& name, std::uint64_t bytes);
  void remove(const File& file);
  /// ConfigError if there is no such file.
  File& at(FileNumber number);
  const std::map<FileNumber, std::unique_ptr<File>>& all() const { return files_; }

 private:
  std::optional<std::uint64_t> find_run(std::uint64_t sectors) const;

  std::uint64_t sectors_;
  FileNumber next_ = 1;
  std::map<FileNumber, std::unique_ptr<File>> files_;
};

}  // namespace vmem::guest
