/* Tests of the C interface are plain programs: no framework of another language between them and the header. */
#ifndef CHECK_H
#define CHECK_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <vmem/vmem.h>

/* Never compiled away. */
#define CHECK(condition) \
  ((condition)           \
       ? (void)0         \
       : (fprintf(stderr, "%s:%d: %s (vmem: %s)\n", __FILE__, __LINE__, #condition, vmem_last_error()), exit(1)))

#define CHECK_STATUS(call, expected)                                                                          \
  do {                                                                                                        \
    const vmem_status status_ = (call);                                                                       \
    if (status_ != (expected)) {                                                                              \
      fprintf(stderr, "%s:%d: %s is %s, not %s (%s)\n", __FILE__, __LINE__, #call, vmem_status_name(status_), \
              #expected, vmem_last_error());                                                                  \
      exit(1);                                                                                                \
    }                                                                                                         \
  } while (0)

#define CHECK_OK(call) CHECK_STATUS(call, VMEM_OK)

#endif
