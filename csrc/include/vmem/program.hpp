// Programs over time, for C++: what vmem/program.h says, with errors as exceptions.
#pragma once

#include <vmem/program.h>

#include <cstdint>
#include <utility>
#include <vector>
#include <vmem/error.hpp>

namespace vmem {

/// A program that a process runs; copies name the same one. Made by Process::start; Host::run lets it go on.
class Program {
 public:
  Program(vmem_host* host, std::uint64_t number) : host_(host), number_(number) {}

  std::uint64_t number() const { return number_; }
  vmem_program_state state() const {
    auto state = structure<vmem_program_state>();
    checked(vmem_program_get_state(host_, number_, &state));
    return state;
  }
  /// Picoseconds and how many references cost so much, ascending.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> costs() const {
    std::uint64_t count = 0;
    checked(vmem_program_costs(host_, number_, nullptr, nullptr, 0, &count));
    std::vector<std::uint64_t> picoseconds(count), references(count);
    checked(vmem_program_costs(host_, number_, picoseconds.data(), references.data(), count, &count));
    std::vector<std::pair<std::uint64_t, std::uint64_t>> costs;
    for (std::uint64_t i = 0; i < count; ++i) costs.emplace_back(picoseconds[i], references[i]);
    return costs;
  }

 private:
  vmem_host* host_;
  std::uint64_t number_;
};

}  // namespace vmem
