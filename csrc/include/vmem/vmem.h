/* The C interface of vmem: everything. */
#ifndef VMEM_VMEM_H
#define VMEM_VMEM_H

#include <vmem/cpu.h>
#include <vmem/host.h>
#include <vmem/mmu.h>
#include <vmem/program.h>
#include <vmem/status.h>
#include <vmem/version.h>

#endif
