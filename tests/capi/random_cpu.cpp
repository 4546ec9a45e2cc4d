// Processors made of bytes.
#include "random_calls.hpp"

namespace vmem::test {
namespace {

vmem_cache some_cache(Source& source, std::uint32_t pages) {
  if (source.one_in(60)) return {source.small(1 << 23), source.small(9), source.small(5), source.small(9), 1};
  const std::uint32_t ways = 1u << source.small(3);
  return {ways << source.small(4), ways, source.small(3), pages, source.word()};
}

void fill_level(Source& source, vmem_cache (&level)[3]) {
  if (source.one_in(2)) {
    level[0] = some_cache(source, 0);
    return;
  }
  for (std::uint32_t i = 0; i < 3; ++i) level[i] = some_cache(source, 1u << i);
}

vmem_psc some_psc(Source& source) {
  vmem_psc psc{};
  for (vmem_cache* cache : {&psc.pde, &psc.pdpte, &psc.pml4e, &psc.pml5e})
    if (source.one_in(2)) *cache = some_cache(source, 0);
  return psc;
}

}  // namespace

const vmem_cpu_config* some_processor(Source& source, vmem_cpu_config& processor) {
  if (source.one_in(4)) {
    vmem_cpu_preset(vmem_cpu_name(source.small(3)), &processor);  // may refuse its size
  } else {
    fill_level(source, processor.l1d);
    fill_level(source, processor.l1i);
    if (source.one_in(2)) fill_level(source, processor.l2);
    if (source.one_in(2)) processor.psc = some_psc(source);
    if (source.one_in(2)) processor.host_psc = some_psc(source);
    if (source.one_in(2)) processor.nested_tlb = some_cache(source, 0);
  }
  if (source.one_in(20)) processor.l1d[source.upto(2)] = {};
  if (source.one_in(9)) processor.guest_levels = source.small(source.one_in(9) ? ~0u : 5);
  if (source.one_in(9)) processor.host_levels = source.small(source.one_in(9) ? ~0u : 5);
  if (source.one_in(9)) processor.maxphyaddr = source.small(source.one_in(9) ? ~0u : 64);
  processor.npt = source.small(1);
  processor.no_one_gib_pages = source.small(1);
  processor.no_execute_only = source.small(1);
  if (source.one_in(50)) processor.reserved = 1;
  return &processor;
}

}  // namespace vmem::test
