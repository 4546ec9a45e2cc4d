// machine MODE ADDRESSES KINDS: runs references, relative to a mapping of 64 MiB, in a VM; prints every counter.
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>
#include <vmem/host.hpp>

namespace {

template <class T>
std::vector<T> read_file(const char* path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  std::vector<T> values(static_cast<std::size_t>(file.tellg()) / sizeof(T));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(T)));
  return values;
}

}  // namespace

int main(int count, char** words) {
  if (count != 4) return 2;
  auto addresses = read_file<std::uint64_t>(words[2]);
  const auto kinds = read_file<std::uint8_t>(words[3]);

  auto config = vmem::structure<vmem_host_config>();
  config.memory = 256 << 20;
  config.cpu = "zen4";
  vmem::Host host(config);
  vmem::Vm vm = host.create_vm(128 << 20, static_cast<std::uint32_t>(std::stoul(words[1])));
  vmem::Process process = vm.spawn("program");
  const std::uint64_t start = process.mmap(64 << 20, VMEM_READ | VMEM_WRITE | VMEM_EXECUTE);
  for (std::uint64_t& address : addresses) address += start;

  const vmem_summary summary = process.access(addresses, kinds);
  std::cout << "done " << summary.done << "\nsegfaults " << summary.segfaults << '\n';
  for (std::uint32_t i = 0; const char* name = vmem_counter_name(i); ++i)
    std::cout << name << ' ' << vm.counter(name) << '\n';
  std::cout << "cycles " << vm.counter("cycles") << "\nnow " << host.now() << '\n';
  host.check();

  // Refusals are exceptions that say what was wrong.
  try {
    vm.counter("no such counter");
    return 3;
  } catch (const vmem::Error& error) {
    if (error.status() != VMEM_E_ARGUMENT || std::string(error.what()).find("no such counter") == std::string::npos)
      return 3;
  }
  try {
    process.read(0, std::as_writable_bytes(std::span(addresses)));
    return 3;
  } catch (const vmem::SegmentationFault& fault) {
    if (fault.address != 0) return 3;
  }
  return 0;
}
